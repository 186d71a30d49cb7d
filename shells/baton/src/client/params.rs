//! Params as they are written on a command line.

use crate::report::Failure;
use serde_json::{Map, Value};

/// Reads `[COMMAND] key=value... key:=JSON...`.
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
    let Some((name, value)) = word.split_once('=') else {
        return Err(Failure::usage(format!("{word:?} is no param: write key=value, or key:=JSON")));
    };
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
        _ => match value.parse::<i64>() {
            Ok(number) if number.to_string() == value => number.into(),
            _ => value.into(),
        },
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
        assert_eq!(command.as_deref(), Some("run"));
        let expected =
            json!({"input": "a=b", "n": 3, "on": true, "s": "3", "l": [1], "zero": "007", "empty": "", "neg": -1});
        assert_eq!(Value::Object(params), expected);
        assert_eq!(read(&words(&["a=1"])).unwrap().0, None);
    }

    #[test]
    fn what_is_no_param_is_said() {
        for (given, says) in [
            (["run", "walk"], r#""walk" is no param: write key=value, or key:=JSON"#),
            (["a=1", "a=2"], r#"the param "a" stands twice"#),
            (["run", "a:=x"], r#"a:= needs JSON, and "x" is none: expected value at line 1 column 1"#),
        ] {
            assert_eq!(read(&words(&given)).unwrap_err().to_string(), says);
        }
    }
}
