//! Unix archives: a magic line, and members with a 60-byte header of text fields each.
//!
//! Every byte ends in a member, in the facts of a pass, or in a finding. Names may be written as
//! Debian does (padded with spaces), as System V and GNU do (ended by `/`, longer ones in a table)
//! and as BSD does not: those are not part of the profile. SPEC normal-form: Unix archives.

use quorate_proto::comparison::AnomalyKind;

use crate::fields::{Fields, len64, span};
use crate::limits::{LimitError, Limits, Quantity};
use crate::pass::Pass;
use crate::reading::{Facts, Kind, Member, Reading, describe};
use crate::unpack::{Hold, Sink};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_END: &[u8] = b"`\n";

/// What the index of symbols in a static library is called here; its own name would be `/`.
const SYMBOLS: &[u8] = b"(symbols)";

/// One member as it stands in the file.
pub(crate) struct Raw<'a> {
    pub(crate) name: Vec<u8>,
    pub(crate) data: &'a [u8],
    /// Where its header starts.
    pub(crate) offset: u64,
    pub(crate) mode: u64,
    pub(crate) facts: Facts<'static>,
}

/// Reads a whole archive into `reading`.
pub(crate) fn read<'a>(bytes: &'a [u8], limits: &Limits, hold: Hold<'_>, reading: &mut Reading<'a>) -> Result<(), LimitError> {
    for raw in walk(bytes, limits, reading)? {
        Quantity::MemberBytes.check(raw.offset, len64(raw.data), limits.member_bytes_max)?;
        let mut sink = Sink::new(hold.bytes_max(&raw.name));
        sink.write(raw.data);
        let content = sink.finish();
        let mut member = Member::new(&raw.name, Kind::File, content);
        member.executable = raw.mode & 0o111 != 0;
        member.position = raw.offset;
        member.facts = raw.facts.seal();
        reading.members.push(member);
    }
    Ok(())
}

/// The members in their order. What cannot be followed ends the list and breaks the reading.
pub(crate) fn walk<'a>(bytes: &'a [u8], limits: &Limits, reading: &mut Reading<'a>) -> Result<Vec<Raw<'a>>, LimitError> {
    let mut fields = Fields::new(bytes);
    let mut members = Vec::new();
    if fields.expect(MAGIC).is_none() {
        reading.broken(AnomalyKind::Truncated, None, "not a Unix archive");
        return Ok(members);
    }
    let mut names = LongNames { table: &[], used_bytes: 0 };
    while !fields.rest().is_empty() {
        let offset = len64(bytes) - len64(fields.rest());
        let count = crate::fields::count64(&members) + 1;
        if crate::limits::is_absurd_count(count) {
            reading.broken(AnomalyKind::AbsurdSize, None, format!("{count} members or more"));
            break;
        }
        Quantity::Members.check(offset, count, limits.members_max)?;
        match read_member(&mut fields, offset, &mut names, reading) {
            Step::Member(raw) => members.push(raw),
            Step::Table(table) => names.table = table,
            Step::End => break,
        }
    }
    names.lint(reading);
    Ok(members)
}

enum Step<'a> {
    Member(Raw<'a>),
    Table(&'a [u8]),
    End,
}

fn read_member<'a>(fields: &mut Fields<'a>, offset: u64, names: &mut LongNames<'a>, reading: &mut Reading<'a>) -> Step<'a> {
    let Some(header) = Header::take(fields) else {
        reading.broken(AnomalyKind::Truncated, None, format!("header cut off at {offset}"));
        return Step::End;
    };
    let size = decimal(header.size).and_then(|size| usize::try_from(size).ok());
    let (Some(size), true) = (size, header.end == HEADER_END) else {
        reading.broken(AnomalyKind::NonCanonical, None, format!("header that cannot be read at {offset}: {}", describe(header.end)));
        return Step::End;
    };
    let Some(data) = fields.take(size) else {
        reading.broken(AnomalyKind::Truncated, None, format!("member at {offset} cut off"));
        return Step::End;
    };
    if size % 2 == 1 {
        match fields.take(1) {
            Some(b"\n") => {}
            Some(padding) => reading.findings.add(AnomalyKind::InteriorData, None, format!("padding at {offset}: {}", describe(padding))),
            None => reading.findings.add(AnomalyKind::NonCanonical, None, format!("padding missing at {offset}")),
        }
    }
    if header.name == b"//              " {
        header.lint_table(offset, names, reading);
        return Step::Table(data);
    }
    let Some(name) = names.resolve(header.name) else {
        reading.broken(AnomalyKind::UnsupportedFeature, None, format!("name at {offset}: {}", header.name.escape_ascii()));
        return Step::End;
    };
    let mode = header.lint(&name, reading);
    Step::Member(Raw { name, data, offset, mode, facts: header.facts() })
}

struct Header<'a> {
    name: &'a [u8],
    mtime: &'a [u8],
    uid: &'a [u8],
    gid: &'a [u8],
    mode: &'a [u8],
    size: &'a [u8],
    end: &'a [u8],
}

impl<'a> Header<'a> {
    fn take(fields: &mut Fields<'a>) -> Option<Self> {
        let (name, mtime) = (fields.take(16)?, fields.take(12)?);
        let (uid, gid, mode) = (fields.take(6)?, fields.take(6)?, fields.take(8)?);
        let (size, end) = (fields.take(10)?, fields.take(2)?);
        Some(Self { name, mtime, uid, gid, mode, size, end })
    }

    /// Adds what is wrong with the fields that decide little, and gives the mode.
    fn lint(&self, name: &[u8], reading: &mut Reading<'_>) -> u64 {
        let numbers =
            [("time", decimal(self.mtime), self.mtime), ("uid", decimal(self.uid), self.uid), ("gid", decimal(self.gid), self.gid)];
        let mode = octal(self.mode);
        for (what, value, raw) in numbers.into_iter().chain([("mode", mode, self.mode)]) {
            if value.is_none() && raw.iter().any(|&byte| byte != b' ') {
                let detail = format!("{what} is no number: `{}`", raw.escape_ascii());
                reading.findings.add(AnomalyKind::NonCanonical, Some(name), detail);
            }
        }
        let mode = mode.unwrap_or_default();
        if mode & 0o6000 != 0 {
            reading.findings.add(AnomalyKind::SpecialFile, Some(name), "set-user-id or set-group-id bit");
        }
        if ![0, 0o100_000].contains(&(mode & 0o170_000)) {
            reading.findings.add(AnomalyKind::SpecialFile, Some(name), format!("file type in mode {mode:o}"));
        }
        mode
    }

    fn facts(&self) -> Facts<'static> {
        let mut facts = Facts::default();
        facts.add(Pass::ArHeader, [self.mtime, self.uid, self.gid].concat());
        facts.add(Pass::ModeBits, self.mode.to_vec());
        facts.add(Pass::ArHeader, [self.name, self.size].concat());
        facts
    }

    fn lint_table(&self, offset: u64, names: &LongNames<'_>, reading: &mut Reading<'_>) {
        let rest = [self.mtime, self.uid, self.gid, self.mode].concat();
        if !names.table.is_empty() || rest.iter().any(|byte| !matches!(byte, b' ' | b'0')) {
            reading.findings.add(AnomalyKind::NonCanonical, None, format!("second or odd table of names at {offset}: {}", describe(&rest)));
        }
    }
}

/// The table of names that do not fit, each ended by `/` and a line end.
struct LongNames<'a> {
    table: &'a [u8],
    /// How much of the table members named, from its start on.
    used_bytes: u64,
}

impl LongNames<'_> {
    fn resolve(&mut self, field: &[u8]) -> Option<Vec<u8>> {
        let end = field.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
        let text = field.get(..end)?;
        match text {
            b"/" | b"/SYM64/" => Some(SYMBOLS.to_vec()),
            [b'/', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => self.long(digits),
            _ if text.starts_with(b"#1/") || text.starts_with(b"/") => None,
            _ => Some(text.strip_suffix(b"/").unwrap_or(text).to_vec()),
        }
    }

    fn long(&mut self, digits: &[u8]) -> Option<Vec<u8>> {
        let start: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let rest = span(self.table, start, len64(self.table));
        let end = rest.windows(2).position(|pair| pair == b"/\n")?;
        if start == self.used_bytes {
            self.used_bytes = start + u64::try_from(end).ok()? + 2;
        }
        rest.get(..end).map(<[u8]>::to_vec)
    }

    /// What no member names could be anything.
    fn lint(&self, reading: &mut Reading<'_>) {
        let rest = span(self.table, self.used_bytes, len64(self.table));
        if !matches!(rest, b"" | b"\n") {
            reading.findings.add(AnomalyKind::NonCanonical, None, format!("names in the table that no member has: {}", describe(rest)));
        }
    }
}

/// Digits, then spaces.
fn number(field: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_end_matches(' ');
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str_radix(text, radix).ok()).flatten()
}

fn decimal(field: &[u8]) -> Option<u64> {
    number(field, 10)
}

fn octal(field: &[u8]) -> Option<u64> {
    number(field, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_ended_by_a_slash_or_in_the_table() {
        let mut names = LongNames { table: b"a_rather_long_name.o/\nb/\n", used_bytes: 0 };
        assert_eq!(names.resolve(b"debian-binary   "), Some(b"debian-binary".to_vec()));
        assert_eq!(names.resolve(b"x.o/            "), Some(b"x.o".to_vec()));
        assert_eq!(names.resolve(b"/0              "), Some(b"a_rather_long_name.o".to_vec()));
        assert_eq!(names.resolve(b"/22             "), Some(b"b".to_vec()));
        assert_eq!(names.used_bytes, 25);
        for field in [b"#1/20           ", b"/99             ", b"/x              "] {
            assert_eq!(names.resolve(field), None);
        }
    }

    #[test]
    fn numbers_are_digits_and_spaces() {
        assert_eq!(decimal(b"12        "), Some(12));
        assert_eq!(octal(b"100644  "), Some(0o100_644));
        for field in [&b"          "[..], b"+1        ", b"1 2       ", b"0x10      "] {
            assert_eq!(decimal(field), None, "{field:?}");
        }
    }
}
