//! TOML values in one spelling: keys sorted, no comments, no layout.

use std::fmt::Write as _;

use toml::Value;

/// Writes a value so that equal values, and only those, have equal texts.
pub(super) fn write(value: &Value, text: &mut String) {
    match value {
        // A JSON string is unambiguous, and so are the bits of a number.
        Value::String(string) => text.push_str(&serde_json::Value::from(string.as_str()).to_string()),
        Value::Integer(number) => push(text, format_args!("{number}")),
        Value::Float(number) => push(text, format_args!("f{:016x}", number.to_bits())),
        Value::Boolean(flag) => push(text, format_args!("{flag}")),
        Value::Datetime(time) => push(text, format_args!("@{time}")),
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write(value, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Table(table) => write_table(table, text),
    }
}

fn write_table(table: &toml::Table, text: &mut String) {
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort_unstable();
    text.push('{');
    for key in keys {
        text.push_str(&serde_json::Value::from(key.as_str()).to_string());
        text.push(':');
        if let Some(value) = table.get(key) {
            write(value, text);
        }
        text.push(',');
    }
    text.push('}');
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

/// Whether a TOML text that parses has a comment anywhere.
pub(super) fn has_comment(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(['#', '"', '\'']) {
        let Some(from) = rest.get(at..).filter(|from| !from.starts_with('#')) else { return true };
        let delimiter = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| from.starts_with(quote)).unwrap_or("\"");
        let Some(after) = from.get(delimiter.len()..).and_then(|body| skip_string(body, delimiter)) else { return true };
        rest = after;
    }
    false
}

/// What is behind a string, from its first character on.
fn skip_string<'t>(body: &'t str, delimiter: &str) -> Option<&'t str> {
    let is_basic = delimiter.starts_with('"');
    let mut rest = body;
    loop {
        if let Some(after) = rest.strip_prefix(delimiter) {
            // Up to two more quotes belong to a long string.
            let quote = delimiter.chars().next()?;
            return Some(if delimiter.len() == 3 { after.trim_start_matches(quote) } else { after });
        }
        let mut characters = rest.chars();
        if characters.next()? == '\\' && is_basic {
            characters.next()?;
        }
        rest = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_found_outside_of_strings_only() {
        for text in ["a = 1 # x", "# x", "a = '#' # x", "a = \"\\\"\" #", "a = '''\n'''#"] {
            assert!(has_comment(text), "{text}");
        }
        for text in ["a = '#'", "a = \"\\\"#\"", "a = \"\"\"x\"#\"y\"\"\"\"\nb = 1", "a = '''#'''", "a = \"\"\nb = ''", "'#' = 1"] {
            assert!(!has_comment(text), "{text}");
        }
    }

    #[test]
    fn order_of_keys_does_not_count_and_types_do() {
        let text = |toml: &str| {
            let mut text = String::new();
            write_table(&toml.parse().unwrap_or_default(), &mut text);
            text
        };
        assert_eq!(text("a = 1\nb = 'x'"), text("b = \"x\"\na = 1"));
        assert_ne!(text("a = 1"), text("a = 1.0"));
        assert_ne!(text("a = '1'"), text("a = 1"));
        assert_ne!(text("a = [1]"), text("a = 1"));
    }
}
