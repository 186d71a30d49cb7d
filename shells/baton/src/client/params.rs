//! Params as they are written on a command line. What a type wants is the server's to know; here a value is what it looks like.

use crate::report::Failure;
use serde_json::{Map, Value};

/// Reads `[COMMAND] key=value... key:=JSON... key...`: only as the first word can one without `=` be the command.
pub fn read(words: &[String]) -> Result<(Option<String>, Map<String, Value>), Failure> {
    let (command, words) = match words.split_first() {
        Some((first, rest)) if !first.contains('=') => (Some(first.clone()), rest),
        _ => (None, words),
    };
    let mut params = Map::new();
    for word in words {
        let (name, value) = read_one(word)?;
        if params.insert(name.clone(), value).is_some() {
            return Err(Failure::usage(format!("the param {name:?} stands twice")));
        }
    }
    Ok((command, params))
}

fn read_one(word: &str) -> Result<(String, Value), Failure> {
    let (name, value) = word.split_once('=').unwrap_or((word, "true"));
    if name.trim_end_matches(':').is_empty() || name.contains(char::is_whitespace) {
        return Err(Failure::usage(format!("{word:?} is no param: write key=value, key:=JSON, or key for key=true")));
    }
    if let Some(name) = name.strip_suffix(':') {
        let json = serde_json::from_str(value)
            .map_err(|error| Failure::usage(format!("{name}:= needs JSON, and {value:?} is none: {error}")))?;
        return Ok((name.to_owned(), json));
    }
    Ok((name.to_owned(), plain(value)))
}

/// Booleans and whole numbers as such; anything else is text, also a number that would not be written the same again.
fn plain(value: &str) -> Value {
    match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        // As JSON has them: 007 and +7 are text, and so is what has more digits than 64 bits hold.
        _ if value.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) => {
            let number = serde_json::from_str::<serde_json::Number>(value).ok();
            number.filter(|number| !number.is_f64()).map_or_else(|| value.into(), Value::Number)
        }
        _ => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn values_are_what_they_look_like() {
        let (command, params) =
            read(&words(&["run", "input=a=b", "n=3", "on=true", "s:=\"3\"", "l:=[1]", "zero=007", "empty=", "neg=-1"]))
                .unwrap();
        let (_, more) =
            read(&words(&["run", "reset", "big=18446744073709551615", "huge=18446744073709551616"])).unwrap();
        assert_eq!(Value::Object(more), json!({"reset": true, "big": u64::MAX, "huge": "18446744073709551616"}));
        assert_eq!(command.as_deref(), Some("run"));
        let expected =
            json!({"input": "a=b", "n": 3, "on": true, "s": "3", "l": [1], "zero": "007", "empty": "", "neg": -1});
        assert_eq!(Value::Object(params), expected);
        assert_eq!(read(&words(&["a=1"])).unwrap().0, None);
    }

    #[test]
    fn what_is_no_param_is_said() {
        for (given, says) in [
            (["run", "=1"], r#""=1" is no param: write key=value, key:=JSON, or key for key=true"#),
            (["run", "the Q1 data"], r#""the Q1 data" is no param: write key=value, key:=JSON, or key for key=true"#),
            (["a=1", "a=2"], r#"the param "a" stands twice"#),
            (["run", "a:=x"], r#"a:= needs JSON, and "x" is none: expected value at line 1 column 1"#),
        ] {
            assert_eq!(read(&words(&given)).unwrap_err().to_string(), says);
        }
    }
}
