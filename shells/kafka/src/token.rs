//! Tokens to log in with (SASL's OAUTHBEARER), from a file that is kept fresh by whoever issues them. A token is a JWT, of which only
//! whose it is and until when it is good is read: whether it is genuine is for the brokers to say. No error may ever show one.
//!
//! librdkafka asks for a token where its events are read, and has built-in ways that need more libraries. Most clients here have
//! their queues read in other ways; so each is given its token as it is made, and another before it is used, when that is due.

use crate::raw;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How soon a file of which no token came is read again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A token is replaced when this share of its time is left, as librdkafka does it.
const LEFT: u32 = 5;

/// What of a token's claims matters here.
#[derive(Deserialize)]
struct Claims {
    /// Until when it is good, in seconds since 1970, perhaps with a fraction.
    exp: Option<f64>,
    /// Whose it is.
    #[serde(default)]
    sub: String,
}

/// Keeps a client logged in. Clones are the same client's.
#[derive(Clone)]
pub(crate) struct Tokens {
    file: PathBuf,
    due: Arc<Mutex<Instant>>,
}

impl Tokens {
    /// Of this file, which is read when a token is due; the first is at once.
    pub fn new(file: PathBuf) -> Self {
        Self { file, due: Arc::new(Mutex::new(Instant::now())) }
    }

    /// The token that stands in the file now, or what is wrong with it.
    pub fn read(&self) -> Result<OAuthToken, String> {
        let shown = self.file.display();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| format!("could not read --kafka-token-file {shown}: {error}"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        read(text.trim(), now).map_err(|why| format!("--kafka-token-file {shown}: {why}"))
    }

    /// Gives the client another token if one is due.
    pub fn renew(&self, client: &Client<impl ClientContext>) {
        let now = Instant::now();
        if now >= *self.due.lock().unwrap_or_else(PoisonError::into_inner) {
            self.give(client);
        }
    }

    /// Gives the client the token that stands in the file.
    pub fn give(&self, client: &Client<impl ClientContext>) {
        let given = self.read().and_then(|token| {
            raw::set_token(client, &token)?;
            Ok(left_of(&token))
        });
        let again = match given {
            Ok(left) => left.saturating_sub(left / LEFT),
            Err(why) => {
                tracing::warn!(why, "there is no fresh token to log in to Kafka with");
                AGAIN_AFTER
            }
        };
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + again;
    }
}

/// For how long a token is good.
fn left_of(token: &OAuthToken) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(u64::try_from(token.lifetime_ms).unwrap_or(0)).saturating_sub(now)
}

/// Reads a token, which must be good at `now`, since 1970.
fn read(text: &str, now: Duration) -> Result<OAuthToken, String> {
    let parts: Vec<&str> = text.split('.').collect();
    let [_, payload, _] = parts[..] else {
        return Err("it holds no JWT, which is three parts with dots between them".into());
    };
    let claims = URL_SAFE_NO_PAD.decode(payload).ok().and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    let claims = claims.ok_or("the claims of its JWT can't be read")?;
    let expires = claims.exp.ok_or("its JWT does not say until when it is good (exp)")?;
    let expires = Duration::try_from_secs_f64(expires).map_err(|_| "the exp of its JWT is no time")?;
    if expires <= now {
        let ago = now.saturating_sub(expires).as_secs();
        return Err(format!("its JWT expired {ago} s ago; whoever issues it must keep the file fresh"));
    }
    let lifetime_ms = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
    Ok(OAuthToken { token: text.to_owned(), principal_name: claims.sub, lifetime_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("{}.{}.c2lnbmVk", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn whose_it_is_and_until_when_is_read_and_nothing_else() {
        let text = jwt(r#"{"sub":"worker","exp":1000.5,"scope":["a"],"aud":null}"#);
        let token = read(&text, Duration::from_secs(1000)).unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms, token.token), ("worker", 1_000_500, text));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_token() {
        for (text, says) in [
            ("s3cret".to_owned(), "it holds no JWT, which is three parts with dots between them"),
            (String::new(), "it holds no JWT, which is three parts with dots between them"),
            ("a.s3cret.c".to_owned(), "the claims of its JWT can't be read"),
            (jwt("[]"), "the claims of its JWT can't be read"),
            (jwt(r#"{"sub":"s3cret"}"#), "its JWT does not say until when it is good (exp)"),
            (jwt(r#"{"exp":-1}"#), "the exp of its JWT is no time"),
            (jwt(r#"{"exp":940}"#), "its JWT expired 60 s ago; whoever issues it must keep the file fresh"),
        ] {
            assert_eq!(read(&text, Duration::from_secs(1000)).err().as_deref(), Some(says), "{text}");
        }
    }
}
