//! JSON from strangers: read strictly. A duplicate key or a document nested too deep is refused, not guessed at.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// How deep objects and arrays of a submitted document may nest.
pub const MAX_NESTING: usize = 16;

/// Reads a document. The error is serde's sentence, with line and column.
pub fn read_strictly(body: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Strict { room: MAX_NESTING }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// A value that may nest `room` levels deeper.
#[derive(Clone, Copy)]
struct Strict {
    room: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.room.checked_sub(1) {
            Some(room) => Ok(Self { room }),
            None => Err(E::custom(format_args!("nested deeper than {MAX_NESTING} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(serde::de::Error::custom(format_args!("the key {name:?} stands twice")));
            }
            let value = fields.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ambiguous_documents_are_refused() {
        for (body, says) in [
            (r#"{"a": 1, "a": 2}"#.to_owned(), r#"the key "a" stands twice at line 1 column 12"#),
            (r#"{"p": {"x": 1, "x": 1}}"#.to_owned(), r#"the key "x" stands twice at line 1 column 18"#),
            ("[".repeat(17) + &"]".repeat(17), "nested deeper than 16 levels at line 1 column 18"),
            ("[1] x".to_owned(), "trailing characters at line 1 column 5"),
            (String::new(), "EOF while parsing a value at line 1 column 0"),
        ] {
            assert_eq!(read_strictly(body.as_bytes()).unwrap_err().to_string(), says);
        }
    }

    proptest! {
        #[test]
        fn what_serde_reads_is_read_alike(text in r#"\{"a": (1|-2|3\.5|true|null|"x"|\[1, \{\}\])\}"#) {
            prop_assert_eq!(read_strictly(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
        }
    }
}
