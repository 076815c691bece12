//! Core metadata (`METADATA`, `PKG-INFO`) with its fields in one order.
//!
//! Header fields are sorted by name, and the values of multiple-use fields among themselves. The
//! order of repeated single-use fields stays, because readers take the first or the last. The body
//! and every byte of every field stay. What does not read as `Name: value` lines has no canonical
//! form.

/// Fields that may occur more than once, as sets. Source: the core metadata specification 2.4.
const MULTIPLE_USE: [&str; 15] = [
    "classifier",
    "dynamic",
    "license-file",
    "obsoletes",
    "obsoletes-dist",
    "platform",
    "project-url",
    "provides",
    "provides-dist",
    "provides-extra",
    "requires",
    "requires-dist",
    "requires-external",
    "supported-platform",
    "import-name",
];

/// The canonical bytes, if the content reads as metadata.
pub(super) fn canonical(content: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content).ok()?;
    let (header, body) = split_body(text)?;
    let mut fields = parse_fields(header)?;
    fields.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
    let mut canonical: String = fields.iter().map(|field| field.text).collect();
    canonical.push_str(body);
    Some(canonical.into_bytes())
}

struct Field<'a> {
    name: String,
    /// Name, value, continuation lines and line ends, as they stand.
    text: &'a str,
}

impl<'a> Field<'a> {
    /// Single-use fields have one key, so that a stable sort keeps their order.
    fn sort_key(&self) -> (&str, &'a str) {
        let value = if MULTIPLE_USE.contains(&self.name.as_str()) { self.text } else { "" };
        (&self.name, value)
    }
}

/// The header with its last line end, and the body from the blank line on.
fn split_body(text: &str) -> Option<(&str, &str)> {
    let (header, body) = match text.find("\n\n") {
        Some(at) => text.split_at_checked(at + 1)?,
        None => (text, ""),
    };
    (header.ends_with('\n') && !header.contains('\r') && !header.starts_with('\n')).then_some((header, body))
}

fn parse_fields(header: &str) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    let mut rest = header;
    while !rest.is_empty() {
        let (text, after) = split_field(rest)?;
        let (name, _) = text.split_once(':')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_name {
            return None;
        }
        fields.push(Field { name: name.to_ascii_lowercase(), text });
        rest = after;
    }
    Some(fields)
}

/// The first line with the continuation lines behind it.
fn split_field(text: &str) -> Option<(&str, &str)> {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let continues = line.starts_with([' ', '\t']);
        if end > 0 && !continues {
            break;
        }
        end += line.len();
    }
    text.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_fields_does_not_count() {
        let one = b"Metadata-Version: 2.1\nName: a\nClassifier: X\nClassifier: Y\nSummary: s\n\nbody\n\nClassifier: Z\n";
        let other = b"Metadata-Version: 2.1\nSummary: s\nClassifier: Y\nName: a\nClassifier: X\n\nbody\n\nClassifier: Z\n";
        assert_eq!(canonical(one), canonical(other));
        assert!(canonical(one).is_some());
    }

    #[test]
    fn values_bodies_and_repeated_single_use_fields_count() {
        let base = canonical(b"Name: a\nName: b\nRequires-Dist: x\n\nbody\n");
        for changed in [
            &b"Name: b\nName: a\nRequires-Dist: x\n\nbody\n"[..],
            b"Name: a\nName: b\nRequires-Dist: y\n\nbody\n",
            b"Name: a\nName: b\nRequires-Dist: x\n\nBody\n",
            b"Name: a\nName: b\n\nbody\n",
            b"Name: a\nName: b\nRequires-Dist: x\n continued\n\nbody\n",
        ] {
            assert_ne!(canonical(changed), base);
        }
    }

    #[test]
    fn what_is_not_metadata_has_no_canonical_form() {
        for content in [&b""[..], b"no colon\n", b"Name: a", b"Name: a\r\n", b" leading: x\n", b"\xff: x\n", b"\n\nbody"] {
            assert_eq!(canonical(content), None, "{content:?}");
        }
    }
}
