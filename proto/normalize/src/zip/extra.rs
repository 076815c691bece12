//! Extra fields of zip headers: zip64, times, owners; all else is an anomaly.

use quorate_proto::comparison::AnomalyKind;

use crate::fields::Fields;
use crate::pass::Pass;
use crate::reading::{Facts, Findings, describe};

const ZIP64: u16 = 0x0001;
const NTFS_TIMES: u16 = 0x000a;
const EXTENDED_TIMESTAMP: u16 = 0x5455;
/// Info-ZIP's first Unix field: times, and maybe owners.
const UNIX_OLD: u16 = 0x5855;
const UNIX_OWNER: u16 = 0x7855;
const UNIX_OWNER_NEW: u16 = 0x7875;

/// Bytes of all fields that passes drop of one header: one of each kind, and to spare.
const DROPPED_BYTES_MAX: usize = 128;

/// The extra fields of one header.
pub(super) struct Extra<'a> {
    /// The 64-bit values of a zip64 field, in its order; three and maybe a disk number.
    pub(super) zip64: Option<Vec<u64>>,
    pub(super) facts: Facts<'a>,
    /// Bytes that were dropped.
    dropped_bytes: usize,
}

/// What passes drop, and how long such a field can be at most: what is longer carries something else.
fn dropped(tag: u16) -> Option<(Pass, usize)> {
    match tag {
        NTFS_TIMES => Some((Pass::ZipExtraTimestamps, 32)),
        EXTENDED_TIMESTAMP => Some((Pass::ZipExtraTimestamps, 13)),
        UNIX_OLD => Some((Pass::ZipExtraTimestamps, 12)),
        UNIX_OWNER => Some((Pass::ZipExtraOwner, 8)),
        UNIX_OWNER_NEW => Some((Pass::ZipExtraOwner, 19)),
        _ => None,
    }
}

/// Reads all fields of a header; what is unknown or cut off becomes a finding.
pub(super) fn parse<'a>(bytes: &'a [u8], name: &[u8], findings: &mut Findings) -> Extra<'a> {
    let mut fields = Fields::new(bytes);
    let mut extra = Extra { zip64: None, facts: Facts::default(), dropped_bytes: 0 };
    while !fields.rest().is_empty() {
        let rest = fields.rest();
        let Some((tag, value)) = next(&mut fields) else {
            findings.add(AnomalyKind::NonCanonical, Some(name), format!("extra field cut off: {}", describe(rest)));
            break;
        };
        extra.take(tag, value, name, findings);
    }
    extra
}

fn next<'a>(fields: &mut Fields<'a>) -> Option<(u16, &'a [u8])> {
    let (tag, len) = (fields.u16()?, fields.u16()?);
    Some((tag, fields.take(usize::from(len))?))
}

impl<'a> Extra<'a> {
    fn take(&mut self, tag: u16, value: &'a [u8], name: &[u8], findings: &mut Findings) {
        let is_short = self.dropped_bytes.saturating_add(value.len()) <= DROPPED_BYTES_MAX;
        let kind = dropped(tag).filter(|(_, len_max)| value.len() <= *len_max && is_short);
        match (tag, kind) {
            (ZIP64, _) if self.zip64.is_none() && value.len().is_multiple_of(8) && !value.is_empty() => {
                let mut fields = Fields::new(value);
                self.zip64 = Some(std::iter::from_fn(|| fields.u64()).collect());
            }
            (_, Some((pass, _))) => self.drop_field(pass, tag, value),
            _ => findings.add(AnomalyKind::NonCanonical, Some(name), format!("extra field {tag:#06x}: {}", describe(value))),
        }
    }

    fn drop_field(&mut self, pass: Pass, tag: u16, value: &'a [u8]) {
        self.dropped_bytes = self.dropped_bytes.saturating_add(value.len());
        self.facts.add(pass, tag.to_le_bytes().to_vec());
        self.facts.add(pass, value);
    }
}
