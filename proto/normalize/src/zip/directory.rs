//! The end of central directory, with or without zip64, and the walk over the directory.
//!
//! The last end record in the file counts, as for the readers that installers use. That it ends
//! the file, that there is no other one, and that its numbers agree with zip64's is checked.

use quorate_proto::comparison::AnomalyKind;

use super::central::{self, Central};
use crate::fields::{Fields, len64, span};
use crate::limits::{LimitError, Limits, Quantity};
use crate::pass::Pass;
use crate::reading::{Reading, describe};

const END_SIGNATURE: &[u8; 4] = b"PK\x05\x06";
const END_BYTES: u64 = 22;
const LOCATOR_SIGNATURE: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_BYTES: u64 = 20;
const END64_SIGNATURE: &[u8; 4] = b"PK\x06\x06";
const END64_BYTES: u64 = 56;

/// Size field of a zip64 end record with no extensible data: what follows the field itself.
const END64_SIZE_FIELD: u64 = END64_BYTES - 12;

/// The members as the central directory lists them.
pub(super) struct Directory<'a> {
    pub(super) members: Vec<Central<'a>>,
    /// Where the directory starts in the file.
    pub(super) start: u64,
    /// How many bytes stand before the archive: to be added to every offset.
    pub(super) shift: u64,
}

/// Finds and reads the directory; `None` if it cannot be followed.
pub(super) fn locate<'a>(bytes: &'a [u8], limits: &Limits, reading: &mut Reading<'a>) -> Result<Option<Directory<'a>>, LimitError> {
    let Some(end) = find_end(bytes, reading) else {
        reading.broken(AnomalyKind::Truncated, None, "no end of central directory");
        return Ok(None);
    };
    let Some(end) = resolve_zip64(bytes, end, reading) else {
        reading.broken(AnomalyKind::HeaderMismatch, None, "zip64 locator without its record directly before it");
        return Ok(None);
    };
    if crate::limits::is_absurd_count(end.members) {
        reading.broken(AnomalyKind::AbsurdSize, None, format!("{} members", end.members));
        return Ok(None);
    }
    Quantity::Members.check(end.offset, end.members, limits.members_max)?;
    let start = end.offset.checked_sub(end.directory_size);
    let shift = start.and_then(|start| start.checked_sub(end.directory_offset));
    let (Some(start), Some(shift)) = (start, shift) else {
        let detail = format!("central directory of {} bytes at {}", end.directory_size, end.directory_offset);
        reading.broken(AnomalyKind::Truncated, None, detail);
        return Ok(None);
    };
    if shift > 0 {
        let detail = format!("data before the archive: {}", describe(span(bytes, 0, shift)));
        reading.findings.add(AnomalyKind::LeadingData, None, detail);
    }
    if end.zip64_offset.is_some_and(|offset| offset.saturating_add(shift) != end.offset) {
        reading.findings.add(AnomalyKind::HeaderMismatch, None, "zip64 locator points elsewhere");
    }
    let members = walk(span(bytes, start, end.offset), start, end.members, reading);
    Ok(members.map(|members| Directory { members, start, shift }))
}

/// Numbers of an end record, zip64 ones already in place of the small ones.
struct End {
    /// Where the record starts: where the directory has to end.
    offset: u64,
    members: u64,
    directory_size: u64,
    directory_offset: u64,
    zip64_offset: Option<u64>,
}

fn find_end(bytes: &[u8], reading: &mut Reading<'_>) -> Option<End> {
    let window_start = len64(bytes).saturating_sub(END_BYTES + u64::from(u16::MAX));
    let window = span(bytes, window_start, len64(bytes));
    let at = |index: usize| window_start.saturating_add(u64::try_from(index).unwrap_or(u64::MAX));
    let candidates: Vec<u64> = (0..window.len())
        .filter(|&index| window.get(index..).is_some_and(|rest| rest.starts_with(END_SIGNATURE)))
        .map(at)
        .filter(|offset| offset.saturating_add(END_BYTES) <= len64(bytes))
        .collect();
    let (&last, others) = candidates.split_last()?;
    if others.iter().any(|&other| reaches_end(bytes, other)) {
        reading.findings.add(AnomalyKind::HeaderMismatch, None, "two end of central directory records");
    }
    parse_end(bytes, last, reading)
}

/// Whether an end record here has a comment that ends exactly with the file.
fn reaches_end(bytes: &[u8], offset: u64) -> bool {
    let comment = Fields::at(bytes, offset.saturating_add(END_BYTES - 2)).u16();
    comment.is_some_and(|len| offset.saturating_add(END_BYTES).saturating_add(u64::from(len)) == len64(bytes))
}

fn parse_end(bytes: &[u8], offset: u64, reading: &mut Reading<'_>) -> Option<End> {
    let mut fields = Fields::at(bytes, offset);
    fields.expect(END_SIGNATURE)?;
    let (disk, directory_disk) = (fields.u16()?, fields.u16()?);
    let (members_here, members) = (fields.u16()?, fields.u16()?);
    let (directory_size, directory_offset) = (fields.u32()?, fields.u32()?);
    let comment_len = usize::from(fields.u16()?);
    if disk != 0 || directory_disk != 0 || members_here != members {
        let detail = format!("disk {disk}, directory on {directory_disk}, {members_here} of {members} members here");
        reading.findings.add(AnomalyKind::HeaderMismatch, None, detail);
    }
    match fields.take(comment_len) {
        None => reading.findings.add(AnomalyKind::Truncated, None, format!("archive comment cut off: {}", describe(fields.rest()))),
        Some(comment) => {
            if !comment.is_empty() {
                reading.findings.add(AnomalyKind::NonCanonical, None, format!("archive comment: {}", describe(comment)));
            }
            if !fields.rest().is_empty() {
                let detail = format!("data after the archive: {}", describe(fields.rest()));
                reading.findings.add(AnomalyKind::TrailingData, None, detail);
            }
        }
    }
    Some(End {
        offset,
        members: u64::from(members),
        directory_size: u64::from(directory_size),
        directory_offset: u64::from(directory_offset),
        zip64_offset: None,
    })
}

/// Puts the numbers of a zip64 end record in place. `None` if there is a locator and no record.
fn resolve_zip64(bytes: &[u8], end: End, reading: &mut Reading<'_>) -> Option<End> {
    let mut locator = Fields::at(bytes, end.offset.saturating_sub(LOCATOR_BYTES));
    if end.offset < LOCATOR_BYTES || locator.expect(LOCATOR_SIGNATURE).is_none() {
        return Some(end);
    }
    let (disk, zip64_offset, disks) = (locator.u32()?, locator.u64()?, locator.u32()?);
    let offset = end.offset.checked_sub(LOCATOR_BYTES + END64_BYTES)?;
    let mut fields = Fields::at(bytes, offset);
    fields.expect(END64_SIGNATURE)?;
    let size = fields.u64()?;
    reading.facts.add(Pass::ZipHostAndVersion, fields.take(4)?.to_vec());
    let (own_disk, directory_disk) = (fields.u32()?, fields.u32()?);
    let (members_here, members) = (fields.u64()?, fields.u64()?);
    let (directory_size, directory_offset) = (fields.u64()?, fields.u64()?);
    if size != END64_SIZE_FIELD || [disk, own_disk, directory_disk] != [0; 3] || disks != 1 || members_here != members {
        let detail = format!(
            "zip64 end record: size {size}, disks {disk} {own_disk} {directory_disk} of {disks}, {members_here} of {members} members here"
        );
        reading.findings.add(AnomalyKind::HeaderMismatch, None, detail);
    }
    let pairs = [
        (end.members, members, u64::from(u16::MAX)),
        (end.directory_size, directory_size, u64::from(u32::MAX)),
        (end.directory_offset, directory_offset, u64::from(u32::MAX)),
    ];
    for (small, wide, sentinel) in pairs {
        if small != wide && small != sentinel {
            let detail = format!("end record says {small}, its zip64 record {wide}");
            reading.findings.add(AnomalyKind::HeaderMismatch, None, detail);
        }
    }
    let sentinels: Vec<u8> = pairs.iter().map(|(small, wide, _)| u8::from(small == wide)).collect();
    reading.facts.add(Pass::ZipLayout, sentinels);
    Some(End { offset, members, directory_size, directory_offset, zip64_offset: Some(zip64_offset) })
}

/// Reads `count` records that fill `directory` exactly.
fn walk<'a>(directory: &'a [u8], start: u64, count: u64, reading: &mut Reading<'a>) -> Option<Vec<Central<'a>>> {
    let mut fields = Fields::new(directory);
    let mut members = Vec::new();
    for index in 0..count {
        let offset = start + len64(directory) - len64(fields.rest());
        let Some(central) = central::parse(&mut fields, &mut reading.findings) else {
            let detail = format!("central directory cannot be read at {offset}, record {index} of {count}");
            reading.broken(AnomalyKind::Truncated, None, detail);
            return None;
        };
        members.push(central);
    }
    if !fields.rest().is_empty() {
        let detail = format!("data after the last of {count} central records: {}", describe(fields.rest()));
        reading.findings.add(AnomalyKind::InteriorData, None, detail);
    }
    Some(members)
}
