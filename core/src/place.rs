//! Where in a TOML file something stands, by its path: `types.report.params[0]` is at a line and a column.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line and the column, from 1, of what the path names, or of the nearest thing around it that is there.
pub fn place_of(text: &str, path: &str) -> Option<(usize, usize)> {
    let table = DeTable::parse(text).ok()?;
    let at = in_table(table.get_ref(), path)?;
    let before = text.get(..at)?;
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
}

/// A name may hold dots itself.
fn in_table(table: &DeTable<'_>, path: &str) -> Option<usize> {
    let begins = |name: &str| path.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let found = table.iter().filter_map(|(key, value)| Some((key, value, begins(key.get_ref())?)));
    let (key, value, rest) = found.min_by_key(|(_, _, rest)| rest.len())?;
    in_value(value, rest).or(Some(key.span().start))
}

fn in_value(value: &Spanned<DeValue<'_>>, rest: &str) -> Option<usize> {
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, rest.strip_prefix('.')?),
        DeValue::Array(values) => {
            let (number, rest) = rest.strip_prefix('[')?.split_once(']')?;
            let value = values.get(number.parse::<usize>().ok()?)?;
            in_value(value, rest).or(Some(value.span().start))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_names_is_found() {
        let text = "[types.a]\nparams = [\n  { name = \"x\" },\n  { name = \"y\", minimum = 3 },\n]\n[types.\"b.c\".limits]\nmemory = 1\n";
        for (path, place) in [
            ("types.a.params[1].minimum", Some((4, 17))),
            ("types.a.params[0]", Some((3, 3))),
            ("types.b.c.limits.memory", Some((7, 1))),
            ("types.a.params[7]", Some((2, 1))),
            ("types.a.agent", Some((1, 8))),
            ("elsewhere", None),
        ] {
            assert_eq!(place_of(text, path), place, "{path}");
        }
    }
}
