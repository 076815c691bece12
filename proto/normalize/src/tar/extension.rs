//! Extension headers: GNU long names and pax records, and how far they may override a header.

use std::collections::BTreeMap;

use quorate_proto::comparison::AnomalyKind;

use super::NAME_BYTES_MAX;
use super::header::{Header, NAME_LEN, OCTAL_SIZE_MAX};
use crate::pass::Pass;
use crate::reading::{Facts, Findings, describe};

/// Most digits of a number, and of the fraction of a time.
const DIGITS_MAX: usize = 20;

/// Longest name of a user or group, and longest comment: `git archive` writes a commit id.
const TEXT_BYTES_MAX: usize = 256;

/// What extension headers say about the next member.
#[derive(Default)]
pub(super) struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: BTreeMap<String, Vec<u8>>,
    pub(super) is_sparse: bool,
    pub(super) facts: Facts<'static>,
    is_used: bool,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        !self.is_used
    }

    /// Takes the data of one extension header. Those of global headers go to `whole`.
    pub(super) fn take(
        &mut self,
        header: &Header<'_>,
        data: &[u8],
        has_comment: &mut bool,
        findings: &mut Findings,
        whole: &mut Facts<'_>,
    ) {
        match header.type_flag() {
            b'g' => {
                header.extension_facts().for_each(|(pass, fact)| whole.add(pass, fact));
                take_global(data, has_comment, findings, whole);
                return;
            }
            b'x' => self.take_records(data, findings),
            b'L' => take_long("name", &mut self.long_name, data, findings),
            _ => take_long("link", &mut self.long_link, data, findings),
        }
        self.is_used = true;
        header.extension_facts().for_each(|(pass, fact)| self.facts.add(pass, fact));
    }

    /// The name of the member.
    pub(super) fn name(&self, header: &Header<'_>, findings: &mut Findings) -> Vec<u8> {
        let in_header = header.name();
        let short = header.short_name();
        let (record, long) = (self.records.get("path"), self.long_name.as_ref());
        Names { key: "path", record, long, in_header: &in_header, short }.resolve(findings)
    }

    /// The target of the member, if it is a link.
    pub(super) fn link(&self, header: &Header<'_>, findings: &mut Findings) -> Vec<u8> {
        let short = header.short_link();
        let (record, long) = (self.records.get("linkpath"), self.long_link.as_ref());
        if let Some(target) = record.or(long).filter(|target| target.len() > NAME_LEN && !header.is_link()) {
            let detail = format!("target of what is no link: {}", describe(target));
            findings.add(AnomalyKind::HeaderMismatch, None, detail);
        }
        Names { key: "linkpath", record, long, in_header: short, short }.resolve(findings)
    }

    /// The size of the member.
    pub(super) fn size(&self, header: &Header<'_>, name: &[u8], findings: &mut Findings) -> u64 {
        let in_header = header.size().unwrap_or_default();
        let Some(record) = self.records.get("size") else { return in_header };
        let value = std::str::from_utf8(record).ok().filter(|text| is_decimal(text)).and_then(|text| text.parse().ok());
        let Some(size) = value else {
            findings.add(AnomalyKind::NonCanonical, Some(name), "pax size that is no number");
            return in_header;
        };
        if size != in_header && size <= OCTAL_SIZE_MAX {
            let detail = format!("pax size {size} overrides {in_header}");
            findings.add(AnomalyKind::HeaderMismatch, Some(name), detail);
        }
        size
    }

    fn take_records(&mut self, data: &[u8], findings: &mut Findings) {
        for (key, value) in parse_records(data, findings) {
            let is_known = matches!(key.as_str(), "path" | "linkpath" | "size");
            if is_sparse_key(&key) {
                self.is_sparse = true;
            } else if let Some(pass) = pass_of(&key) {
                self.facts.add(pass, key.clone().into_bytes());
                lint_value(&key, &value, findings);
                self.facts.add(pass, value.clone());
            } else if !is_known {
                findings.add(AnomalyKind::UnsupportedFeature, None, format!("pax record `{}`: {}", shown(&key), describe(&value)));
            }
            self.facts.add(Pass::TarFormat, key.clone().into_bytes());
            if value.is_empty() || self.records.insert(key.clone(), value).is_some() {
                findings.add(AnomalyKind::NonCanonical, None, format!("pax record `{}` empty or twice", shown(&key)));
            }
        }
    }
}

/// The places that may name one member, or the target of one link.
struct Names<'n> {
    key: &'static str,
    record: Option<&'n Vec<u8>>,
    long: Option<&'n Vec<u8>>,
    in_header: &'n [u8],
    /// The name field of the header alone.
    short: &'n [u8],
}

impl Names<'_> {
    /// Chooses between the pax record, the GNU extension and the header, and adds what they
    /// contradict each other in.
    fn resolve(&self, findings: &mut Findings) -> Vec<u8> {
        let Self { key, record, long, in_header, short } = *self;
        let Some(chosen) = record.or(long) else { return in_header.to_vec() };
        if record.is_some() && long.is_some() {
            findings.add(AnomalyKind::HeaderMismatch, Some(chosen), format!("both a pax {key} and a GNU one"));
        }
        if chosen.len() > NAME_BYTES_MAX {
            findings.add(AnomalyKind::AbsurdSize, Some(chosen), format!("{key} of {} bytes", chosen.len()));
        }
        let needs_extension = chosen.len() > NAME_LEN || !chosen.is_ascii();
        if in_header == chosen.as_slice() {
            if !needs_extension {
                findings.add(AnomalyKind::NonCanonical, Some(chosen), format!("extended {key} that the header has already"));
            }
        } else if !needs_extension || !is_stand_in(short, chosen) {
            let shown = crate::names::display(in_header);
            findings.add(AnomalyKind::HeaderMismatch, Some(chosen), format!("extended {key} overrides `{shown}`"));
        }
        chosen.clone()
    }
}

/// A global header may only comment: all else changes members far from it.
fn take_global(data: &[u8], has_comment: &mut bool, findings: &mut Findings, whole: &mut Facts<'_>) {
    for (key, value) in parse_records(data, findings) {
        if key == "comment" && !*has_comment {
            *has_comment = true;
            lint_value(&key, &value, findings);
            whole.add(Pass::TarComment, value);
        } else if key == "comment" {
            findings.add(AnomalyKind::NonCanonical, None, format!("another comment for all: {}", describe(&value)));
        } else {
            let detail = format!("global pax record `{}`: {}", shown(&key), describe(&value));
            findings.add(AnomalyKind::UnsupportedFeature, None, detail);
        }
    }
}

/// A value that a pass drops has to be what its key says, and no longer than such a thing is.
fn lint_value(key: &str, value: &[u8], findings: &mut Findings) {
    let is_number = |text: &[u8]| !text.is_empty() && text.len() <= DIGITS_MAX && text.iter().all(u8::is_ascii_digit);
    let is_right = match key {
        "mtime" | "atime" | "ctime" => {
            let value = value.strip_prefix(b"-").unwrap_or(value);
            let mut parts = value.splitn(2, |&byte| byte == b'.');
            parts.next().is_some_and(is_number) && parts.next().is_none_or(is_number)
        }
        "uid" | "gid" => is_number(value),
        _ => value.len() <= TEXT_BYTES_MAX && std::str::from_utf8(value).is_ok(),
    };
    // An empty value is a finding already.
    if !is_right && !value.is_empty() {
        findings.add(AnomalyKind::NonCanonical, None, format!("pax record `{key}` of another form: {}", describe(value)));
    }
}

/// Which pass drops a pax record.
fn pass_of(key: &str) -> Option<Pass> {
    match key {
        "mtime" | "atime" | "ctime" => Some(Pass::TarTimes),
        "uid" | "gid" | "uname" | "gname" => Some(Pass::TarOwner),
        "comment" => Some(Pass::TarComment),
        _ => None,
    }
}

fn is_sparse_key(key: &str) -> bool {
    key.starts_with("GNU.sparse.")
}

fn shown(key: &str) -> String {
    crate::names::display(key.as_bytes())
}

fn take_long(what: &str, slot: &mut Option<Vec<u8>>, data: &[u8], findings: &mut Findings) {
    let name = data.strip_suffix(b"\0").unwrap_or(data);
    if name.len() == data.len() || name.contains(&0) {
        findings.add(AnomalyKind::NonCanonical, None, format!("long {what} not ended by its one NUL: {}", describe(data)));
    }
    if slot.replace(name.to_vec()).is_some() {
        findings.add(AnomalyKind::HeaderMismatch, Some(name), format!("two long {what}s for one member"));
    }
}

/// Whether the name field holds what writers put there when the name does not fit: its beginning,
/// as it is or with `?` for what is not ASCII. A pax path may stand beside a ustar prefix as well.
fn is_stand_in(short: &[u8], name: &[u8]) -> bool {
    let replaced: Vec<u8> =
        String::from_utf8_lossy(name).chars().map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?')).collect();
    name.starts_with(short) || replaced.starts_with(short)
}

fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

/// `<length> <key>=<value>\n` records. What cannot be read ends the list and becomes a finding.
fn parse_records(data: &[u8], findings: &mut Findings) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let Some((key, value, next)) = parse_record(rest) else {
            findings.add(AnomalyKind::NonCanonical, None, format!("pax records cannot be read: {}", describe(rest)));
            break;
        };
        records.push((key, value.to_vec()));
        rest = next;
    }
    records
}

fn parse_record(data: &[u8]) -> Option<(String, &[u8], &[u8])> {
    let space = data.iter().take(20).position(|&byte| byte == b' ')?;
    let digits = std::str::from_utf8(data.get(..space)?).ok().filter(|text| is_decimal(text))?;
    let (record, rest) = data.split_at_checked(digits.parse().ok()?)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let key = std::str::from_utf8(body.get(..equals)?).ok().filter(|key| !key.is_empty())?;
    Some((key.to_owned(), body.get(equals + 1..)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_are_read_strictly() {
        assert_eq!(parse_record(b"8 a=bcd\n"), Some(("a".to_owned(), &b"bcd"[..], &b""[..])));
        for data in [&b"08 a=bcd\n"[..], b"8 abcde\n", b"8 =abcd\n", b"99 a=bcd\n", b"0 \n", b"a=b\n", b"8 a=bcde"] {
            assert!(parse_record(data).is_none(), "{data:?}");
        }
    }

    #[test]
    fn a_stand_in_is_the_beginning_of_the_name() {
        assert!(is_stand_in(b"caf?", "caf\u{e9}/long".as_bytes()));
        assert!(is_stand_in(b"a/b", b"a/bc"));
        assert!(!is_stand_in(b"evil", b"good"));
    }
}
