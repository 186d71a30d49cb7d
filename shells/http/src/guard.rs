//! Keeps other people's web pages from running commands: a browser says where a page comes from, and is believed.
//! It guards against browsers only; whoever else can reach the port is let in or not by other means.

use crate::answer::{Refused, forbidden};
use crate::options::Options;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use baton_core::problem::Problem;
use std::net::IpAddr;
use std::sync::Arc;

/// Lets a request through, or answers why not.
pub async fn guard(State(options): State<Arc<Options>>, request: Request, next: Next) -> Response {
    match check(&options, request.version(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => Refused(problem).into_response(),
    }
}

fn check(options: &Options, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => only(headers, &header::HOST)?,
    };
    let Some(host) = host else {
        let optional = version < Version::HTTP_11 && !headers.contains_key(header::ORIGIN);
        let missing = Problem::bad_request("the Host header is missing; HTTP/1.1 asks for it");
        return if optional { Ok(()) } else { Err(missing) };
    };
    let name = name_of(host);
    if options.loopback_only
        && !is_loopback(name)
        && !options.allowed_hosts.iter().any(|h| h.eq_ignore_ascii_case(name))
    {
        return Err(forbidden(format!(
            "this server serves its own machine only, and {host:?} is not a name of it; call it by localhost or 127.0.0.1"
        )));
    }
    match only(headers, &header::ORIGIN)? {
        Some(origin)
            if !is_own(origin, host) && !options.allowed_origins.iter().any(|o| o.eq_ignore_ascii_case(origin)) =>
        {
            Err(forbidden(format!(
                "a web page of {origin:?} may not call {host:?}: only pages that came from here may"
            )))
        }
        _ => Ok(()),
    }
}

/// The header's value, if there is one; more than one is a way to be understood differently by two readers.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Problem::bad_request(format!("the header {name} stands more than once")));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| Problem::bad_request(format!("the header {name} is not ASCII")))
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    bare.strip_suffix('.').unwrap_or(bare)
}

fn is_loopback(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a page of this origin was served under this host. `null` (a file, a sandbox) never was.
fn is_own(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    // Behind a proxy the scheme may be either; the browser leaves out the port that goes without saying.
    let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare = |authority: &str| authority.strip_suffix(default).unwrap_or(authority).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(options: &Options, host: &str, origin: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(options, Version::HTTP_11, &Uri::from_static("/tasks"), &headers).map_or_else(|p| p.status, |()| 200)
    }

    #[test]
    fn only_names_of_this_machine_are_right_on_loopback() {
        let options = Options { allowed_hosts: vec!["proxy.example".into()], ..Options::default() };
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.:80",
            "127.0.0.1:8000",
            "127.8.9.1",
            "[::1]",
            "[::1]:8000",
            "proxy.example:80",
        ] {
            assert_eq!(ask(&options, host, None), 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8000",
            "127.0.0.1.evil.example",
            "192.168.0.1:8000",
            "",
            "[::2]:1",
            "notlocalhost",
        ] {
            assert_eq!(ask(&options, host, None), 403, "{host}");
            assert_eq!(ask(&Options { loopback_only: false, ..options.clone() }, host, None), 200, "{host}");
        }
    }

    #[test]
    fn only_own_pages_may_call() {
        let options = Options {
            loopback_only: false,
            allowed_origins: vec!["https://tools.example".into()],
            ..Options::default()
        };
        for (host, origin, status) in [
            ("localhost:8000", "http://localhost:8000", 200),
            ("baton.example", "https://baton.example", 200),
            ("baton.example:443", "https://Baton.example", 200),
            ("baton.example", "http://baton.example:80", 200),
            ("baton.example", "https://tools.example", 200),
            ("localhost:8000", "http://localhost:3000", 403),
            ("localhost:8000", "http://evil.example", 403),
            ("localhost:8000", "http://evil.example:8000", 403),
            ("localhost:8000", "null", 403),
            ("localhost:8000", "", 403),
        ] {
            assert_eq!(ask(&options, host, Some(origin)), status, "{origin} to {host}");
        }
    }
}
