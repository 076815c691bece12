//! Zip archives from their raw structure: end record, central directory, local headers, contents.
//!
//! The central directory decides what the members are; everything that another reader could take
//! from elsewhere (local headers, descriptors, gaps, a second end record) is compared with it and
//! becomes an anomaly where it differs. SPEC normal-form: Zip.

use std::collections::HashMap;

use quorate_proto::comparison::AnomalyKind;

use crate::fields::{len64, span};
use crate::limits::{LimitError, Limits, Quantity, is_absurd};
use crate::reading::{Content, Kind, Member, Packed, Reading, Summary, describe};
use crate::unpack::{End, Hold, Inflater, Outcome, Sink};
use central::Central;
use local::Placed;

mod central;
mod directory;
mod extra;
mod local;

const METHOD_STORED: u16 = 0;
const METHOD_DEFLATED: u16 = 8;

/// Longest target of a symbolic link that is read.
const LINK_BYTES_MAX: u64 = 4096;

/// Reads a whole archive into `reading`.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    hold: Hold<'_>,
    known: Option<&Reading<'a>>,
    reading: &mut Reading<'a>,
) -> Result<(), LimitError> {
    let Some(directory) = directory::locate(bytes, limits, reading)? else { return Ok(()) };
    let is_plausible = check_sizes(&directory.members, limits, reading)?;
    let mut placed = Vec::with_capacity(directory.members.len());
    for central in directory.members {
        placed.push(local::place(bytes, central, directory.shift, directory.start, reading));
    }
    let is_sound = is_plausible & lint_regions(bytes, &placed, directory.shift, directory.start, reading);
    let mut unpacker = Unpacker { hold, known: Known::of(known), inflater: Inflater::new() };
    for placed in placed {
        // Overlapping members would let a small file inflate for ever, and so would a bomb.
        let data = placed.data.filter(|_| is_sound);
        let member = unpacker.member(placed, data, reading);
        reading.members.push(member);
    }
    Ok(())
}

/// A declared size that no deflate stream reaches is the archive's fault, not a limit of ours.
/// False if the whole is not to be inflated.
fn check_sizes(members: &[Central<'_>], limits: &Limits, reading: &mut Reading<'_>) -> Result<bool, LimitError> {
    let (mut total, mut packed) = (0u64, 0u64);
    for central in members {
        packed = packed.saturating_add(central.packed_size);
        if is_absurd(central.size, central.packed_size) {
            let detail = format!("{} bytes are declared in {} compressed ones", central.size, central.packed_size);
            reading.findings.add(AnomalyKind::AbsurdSize, Some(central.name), detail);
            continue;
        }
        total = total.saturating_add(central.size);
        Quantity::MemberBytes.check(central.offset, central.size, limits.member_bytes_max)?;
        Quantity::TotalBytes.check(central.offset, total, limits.total_bytes_max)?;
    }
    if is_absurd(total, packed) {
        let detail = format!("{total} bytes are declared in {packed} compressed ones");
        reading.findings.add(AnomalyKind::AbsurdSize, None, detail);
    }
    Ok(!is_absurd(total, packed))
}

/// Adds gaps and overlaps between members. False if any bytes belong to two of them.
fn lint_regions(bytes: &[u8], placed: &[Placed<'_>], shift: u64, directory_start: u64, reading: &mut Reading<'_>) -> bool {
    let mut regions: Vec<&Placed<'_>> = placed.iter().collect();
    regions.sort_by_key(|placed| (placed.start, placed.end));
    let (mut end, mut is_sound) = (shift, true);
    for (rank, placed) in regions.iter().enumerate() {
        if placed.start < end {
            is_sound = false;
            let detail = format!("starts at {} before {end}, where the one before it ends", placed.start);
            reading.findings.add(AnomalyKind::OverlappingMembers, Some(placed.central.name), detail);
        } else if placed.start > end {
            let kind = if rank == 0 { AnomalyKind::LeadingData } else { AnomalyKind::InteriorData };
            let gap = describe(span(bytes, end, placed.start));
            reading.findings.add(kind, Some(placed.central.name), format!("data before the local header: {gap}"));
        }
        end = end.max(placed.end);
    }
    if end > directory_start {
        is_sound = false;
        let detail = format!("last member ends at {end}, in the central directory at {directory_start}");
        reading.findings.add(AnomalyKind::OverlappingMembers, None, detail);
    } else if end < directory_start {
        let gap = describe(span(bytes, end, directory_start));
        reading.findings.add(AnomalyKind::InteriorData, None, format!("data before the central directory: {gap}"));
    }
    if !is_sound {
        reading.partial();
    }
    is_sound
}

/// What the other side inflated, by name.
struct Known<'r, 'a>(HashMap<&'r [u8], &'r Member<'a>>);

impl<'r, 'a> Known<'r, 'a> {
    fn of(reading: Option<&'r Reading<'a>>) -> Self {
        let members = reading.into_iter().flat_map(|reading| &reading.members);
        Self(members.map(|member| (&*member.name, member)).collect())
    }

    /// The result of inflating exactly these bytes under exactly this declaration.
    fn find(&self, name: &[u8], data: &[u8], central: &Central<'_>) -> Option<(Content, Outcome)> {
        let member = self.0.get(name)?;
        let packed = member.packed.as_deref()?;
        let is_same = packed.method == central.method && packed.declared_bytes == central.size && packed.data == data;
        is_same.then(|| (member.content.clone(), packed.outcome))
    }
}

struct Unpacker<'r, 'a, 'h> {
    hold: Hold<'h>,
    known: Known<'r, 'a>,
    inflater: Inflater,
}

impl<'a> Unpacker<'_, 'a, '_> {
    fn member(&mut self, placed: Placed<'a>, data: Option<&'a [u8]>, reading: &mut Reading<'a>) -> Member<'a> {
        let Placed { central, facts, start, .. } = placed;
        let kind = central.kind(&mut reading.findings);
        let (content, packed) = self.content(&central, kind, data, reading);
        let mut member = Member::new(central.name, kind, content);
        member.executable = kind == Kind::File && central.mode() & 0o111 != 0;
        member.position = start;
        member.packed = packed.map(Box::new);
        member.facts = facts.seal();
        if kind == Kind::Symlink {
            make_link(&mut member, reading);
        } else if kind == Kind::Directory && central.size > 0 {
            reading.findings.add(AnomalyKind::NonCanonical, Some(central.name), "directory with contents");
        }
        member
    }

    fn content(
        &mut self,
        central: &Central<'a>,
        kind: Kind,
        data: Option<&'a [u8]>,
        reading: &mut Reading<'a>,
    ) -> (Content, Option<Packed<'a>>) {
        let is_readable = central.is_readable() && !is_absurd(central.size, central.packed_size);
        let Some(data) = data.filter(|_| is_readable) else {
            reading.partial();
            return (Content::unread(), None);
        };
        if self.hold.skips(central.name) {
            return (Content::unread(), None);
        }
        let held_max = if kind == Kind::Symlink { Some(LINK_BYTES_MAX) } else { self.hold.bytes_max(central.name) };
        let (content, outcome) = match self.known.find(central.name, data, central) {
            Some(known) if held_max.is_none() || known.0.held.is_some() => known,
            _ => self.unpack(central, data, held_max),
        };
        lint_outcome(central, data, outcome, reading);
        let packed = Packed { method: central.method, data, declared_bytes: central.size, outcome };
        (content, Some(packed))
    }

    fn unpack(&mut self, central: &Central<'a>, data: &'a [u8], held_max: Option<u64>) -> (Content, Outcome) {
        let mut sink = Sink::new(held_max);
        if central.method == METHOD_DEFLATED {
            let outcome = self.inflater.run(data, central.size, &mut sink);
            return (sink.finish(), outcome);
        }
        sink.write(data);
        let bytes = len64(data);
        let outcome = Outcome { end: End::Finished, consumed_bytes: bytes, produced_bytes: bytes, crc: crc32fast::hash(data) };
        (sink.finish(), outcome)
    }
}

/// Compares what came out with what the central directory declares.
fn lint_outcome(central: &Central<'_>, data: &[u8], outcome: Outcome, reading: &mut Reading<'_>) {
    let Outcome { end, consumed_bytes, produced_bytes, crc } = outcome;
    let name = Some(central.name);
    match end {
        End::Finished => {}
        End::Malformed | End::Truncated | End::Unsupported => {
            reading.partial();
            reading.findings.add(AnomalyKind::Truncated, name, format!("deflate data cannot be read after {consumed_bytes} bytes"));
            return;
        }
        End::TooLong => {
            reading.partial();
            let detail = format!("contents are longer than the declared {} bytes", central.size);
            reading.findings.add(AnomalyKind::HeaderMismatch, name, detail);
            return;
        }
    }
    if produced_bytes != central.size {
        let detail = format!("contents have {produced_bytes} bytes, declared are {}", central.size);
        reading.findings.add(AnomalyKind::HeaderMismatch, name, detail);
    }
    if consumed_bytes < len64(data) {
        let rest = describe(span(data, consumed_bytes, len64(data)));
        reading.findings.add(AnomalyKind::InteriorData, name, format!("data after the deflate stream: {rest}"));
    }
    if crc != central.crc {
        let detail = format!("contents have {crc:08x}, declared is {:08x}", central.crc);
        reading.findings.add(AnomalyKind::ChecksumMismatch, name, detail);
    }
}

/// A symbolic link's content is its target, and no content in the normal form.
fn make_link(member: &mut Member<'_>, reading: &mut Reading<'_>) {
    let Some(target) = member.content.held.clone() else {
        reading.partial();
        reading.findings.add(AnomalyKind::AbsurdSize, Some(&member.name), "link target that is too long or unreadable");
        return;
    };
    member.link = Some(target);
    member.set_normal(Summary::of(&[]));
}
