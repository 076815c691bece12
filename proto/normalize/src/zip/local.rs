//! Local headers, compared field by field with the central directory, and data descriptors.

use quorate_proto::comparison::AnomalyKind;

use super::central::{Central, FLAG_DESCRIPTOR};
use super::extra;
use crate::fields::{Fields, len64, span};
use crate::pass::Pass;
use crate::reading::{Facts, Reading};

const SIGNATURE: &[u8; 4] = b"PK\x03\x04";
const DESCRIPTOR_SIGNATURE: &[u8; 4] = b"PK\x07\x08";

/// A member with its bytes found.
pub(super) struct Placed<'a> {
    pub(super) central: Central<'a>,
    /// Where its local header starts in the file.
    pub(super) start: u64,
    /// Where its data, or its data descriptor, ends.
    pub(super) end: u64,
    /// Its packed bytes, if they can be found.
    pub(super) data: Option<&'a [u8]>,
    pub(super) facts: Facts<'a>,
}

/// Finds the bytes of a member and compares its local header.
pub(super) fn place<'a>(
    bytes: &'a [u8],
    mut central: Central<'a>,
    shift: u64,
    directory_start: u64,
    reading: &mut Reading<'a>,
) -> Placed<'a> {
    let start = central.offset.saturating_add(shift);
    let mut facts = std::mem::take(&mut central.facts);
    let mut fields = Fields::at(bytes, start);
    let Some(mut local) = parse(&mut fields, reading, central.name) else {
        let detail = format!("no local header at {start}");
        reading.findings.add(AnomalyKind::HeaderMismatch, Some(central.name), detail);
        reading.partial();
        return Placed { central, start, end: start, data: None, facts };
    };
    facts.append(std::mem::take(&mut local.facts));
    facts.add(Pass::ZipHostAndVersion, local.needed.to_le_bytes().to_vec());
    compare(&local, &central, &mut facts, reading);
    let data_start = len64(bytes) - len64(fields.rest());
    let data_end = data_start.saturating_add(central.packed_size);
    let is_inside = data_end <= directory_start;
    let data = is_inside.then(|| span(bytes, data_start, data_end));
    if data.is_none() {
        reading.partial();
    }
    let mut placed = Placed { central, start, end: data_end, data, facts };
    if placed.central.flags & FLAG_DESCRIPTOR != 0 && is_inside {
        placed.pass_descriptor(span(bytes, data_end, directory_start), reading);
    }
    placed
}

struct Local<'a> {
    name: &'a [u8],
    needed: u16,
    flags: u16,
    method: u16,
    time: u16,
    date: u16,
    crc: u32,
    packed_size: u64,
    size: u64,
    is_zip64: bool,
    facts: Facts<'a>,
}

fn parse<'a>(fields: &mut Fields<'a>, reading: &mut Reading<'a>, central_name: &[u8]) -> Option<Local<'a>> {
    fields.expect(SIGNATURE)?;
    let (needed, flags, method, time, date) = (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
    let (crc, packed_size, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (name_len, extra_len) = (fields.u16()?, fields.u16()?);
    let name = fields.take(usize::from(name_len))?;
    let extra = extra::parse(fields.take(usize::from(extra_len))?, central_name, &mut reading.findings);
    let mut sizes = [u64::from(size), u64::from(packed_size)];
    if let Some(values) = &extra.zip64 {
        let is_asked_for = sizes.iter().all(|size| *size == u64::from(u32::MAX));
        match values.as_slice() {
            [size, packed_size] if is_asked_for => sizes = [*size, *packed_size],
            _ => reading.findings.add(AnomalyKind::HeaderMismatch, Some(central_name), "zip64 field out of place in the local header"),
        }
    }
    let [size, packed_size] = sizes;
    let is_zip64 = extra.zip64.is_some();
    Some(Local { name, needed, flags, method, time, date, crc, packed_size, size, is_zip64, facts: extra.facts })
}

fn compare(local: &Local<'_>, central: &Central<'_>, facts: &mut Facts<'_>, reading: &mut Reading<'_>) {
    let has_descriptor = central.flags & FLAG_DESCRIPTOR != 0;
    let is_deferred = has_descriptor && (local.crc, local.packed_size, local.size) == (0, 0, 0);
    let numbers: [(&str, u64, u64); 5] = [
        ("flags", local.flags.into(), central.flags.into()),
        ("method", local.method.into(), central.method.into()),
        ("time", local.time.into(), central.time.into()),
        ("date", local.date.into(), central.date.into()),
        ("crc", if is_deferred { central.crc } else { local.crc }.into(), central.crc.into()),
    ];
    let sizes = [("size", local.size, central.size), ("packed size", local.packed_size, central.packed_size)];
    let sizes = sizes.into_iter().filter(|_| !is_deferred);
    for (what, here, there) in numbers.into_iter().chain(sizes).filter(|(_, here, there)| here != there) {
        let detail = format!("{what} is {here} in the local header, {there} in the central directory");
        reading.findings.add(AnomalyKind::HeaderMismatch, Some(central.name), detail);
    }
    if local.name != central.name {
        let detail = format!("local header names `{}`", crate::names::display(local.name));
        reading.findings.add(AnomalyKind::HeaderMismatch, Some(central.name), detail);
    }
    facts.add(Pass::ZipLayout, vec![u8::from(is_deferred), u8::from(local.is_zip64)]);
}

impl Placed<'_> {
    /// Passes over the data descriptor at the start of `after`, in whichever of its four forms.
    fn pass_descriptor(&mut self, after: &[u8], reading: &mut Reading<'_>) {
        // Wide forms first: with sizes of 0 a narrow one is the beginning of a wide one.
        let forms = [(true, true), (false, true), (true, false), (false, false)];
        let found = forms.iter().find_map(|&(is_signed, is_wide)| {
            let expected = descriptor(&self.central, is_signed, is_wide)?;
            after.starts_with(&expected).then_some((len64(&expected), is_signed))
        });
        match found {
            Some((len, is_signed)) => {
                self.end = self.end.saturating_add(len);
                let form = [u8::try_from(len).unwrap_or(u8::MAX), u8::from(is_signed)];
                self.facts.add(Pass::ZipLayout, form.to_vec());
            }
            None => reading.findings.add(
                AnomalyKind::HeaderMismatch,
                Some(self.central.name),
                "data descriptor missing or other than the central directory",
            ),
        }
    }
}

/// The only right bytes of a descriptor in one of its forms.
fn descriptor(central: &Central<'_>, is_signed: bool, is_wide: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_signed {
        bytes.extend_from_slice(DESCRIPTOR_SIGNATURE);
    }
    bytes.extend_from_slice(&central.crc.to_le_bytes());
    for size in [central.packed_size, central.size] {
        if is_wide {
            bytes.extend_from_slice(&size.to_le_bytes());
        } else {
            bytes.extend_from_slice(&u32::try_from(size).ok()?.to_le_bytes());
        }
    }
    Some(bytes)
}
