//! One file, read as what its name says, linted and with its manifests canonical.

use quorate_proto::comparison::AnomalyKind;

use crate::gzip::GzipStream;
use crate::limits::{LimitError, Limits, Quantity};
use crate::reading::{Container, Kind, Member, Reading, State, describe};
use crate::tar::Stream;
use crate::unpack::{Hold, Sink};
use crate::{fields, gzip, manifest, names, tar, zip};

/// Name of the one member of a gzip file that is no tar.
pub(crate) const GZIP_MEMBER: &[u8] = b"content";

/// Reads, lints and canonicalises `bytes`. What `known` inflated already is not inflated again.
pub(crate) fn read<'a>(bytes: &'a [u8], file_name: &str, limits: &Limits, known: Option<&Reading<'a>>) -> Result<Reading<'a>, LimitError> {
    Quantity::FileBytes.check(0, fields::len64(bytes), limits.file_bytes_max)?;
    let hold = Hold::Manifests(limits.manifest_bytes_max);
    let mut reading = read_container(bytes, Container::of(file_name), limits, hold, known)?;
    names::lint(&mut reading);
    if reading.state == State::Complete {
        manifest::apply(&mut reading, file_name, limits)?;
    }
    Ok(reading)
}

/// Reads `bytes` a second time for the contents that `hold` names, and no more than those where
/// the container allows it.
pub(crate) fn reread<'a>(bytes: &'a [u8], container: Container, limits: &Limits, hold: Hold<'_>) -> Result<Reading<'a>, LimitError> {
    read_container(bytes, container, limits, hold, None)
}

fn read_container<'a>(
    bytes: &'a [u8],
    container: Container,
    limits: &Limits,
    hold: Hold<'_>,
    known: Option<&Reading<'a>>,
) -> Result<Reading<'a>, LimitError> {
    let mut reading = Reading::new(container, limits.anomalies_max);
    match container {
        Container::Zip => zip::read(bytes, limits, hold, known, &mut reading)?,
        Container::Tar => {
            tar::read(Stream::plain(bytes), limits, hold, &mut reading)?;
        }
        Container::TarGzip => read_gzip(bytes, limits, hold, &mut reading, true)?,
        Container::Gzip => read_gzip(bytes, limits, hold, &mut reading, false)?,
        Container::Opaque => {}
    }
    Ok(reading)
}

fn read_gzip<'a>(bytes: &'a [u8], limits: &Limits, hold: Hold<'_>, reading: &mut Reading<'a>, is_tar: bool) -> Result<(), LimitError> {
    let Some(stream) = GzipStream::open(bytes, limits, reading) else { return Ok(()) };
    let stream = if is_tar {
        tar::read(Stream::gzip(stream), limits, hold, reading)?.into_gzip()
    } else {
        Some(read_single(stream, limits, hold, reading)?)
    };
    let Some(stream) = stream else { return Ok(()) };
    let rest = stream.close(bytes, reading);
    lint_rest(rest, reading);
    Ok(())
}

fn read_single<'a>(
    mut stream: GzipStream<'a>,
    limits: &Limits,
    hold: Hold<'_>,
    reading: &mut Reading<'a>,
) -> Result<GzipStream<'a>, LimitError> {
    let mut sink = Sink::new(hold.bytes_max(GZIP_MEMBER));
    loop {
        let piece = stream.chunk(usize::MAX)?;
        if piece.is_empty() {
            break;
        }
        sink.write(piece);
    }
    let content = sink.finish();
    Quantity::MemberBytes.check(0, content.summary.size, limits.member_bytes_max)?;
    reading.stream = Some(*content.summary.digest.as_bytes());
    reading.members.push(Member::new(GZIP_MEMBER, Kind::File, content));
    Ok(stream)
}

fn lint_rest(rest: &[u8], reading: &mut Reading<'_>) {
    if rest.is_empty() {
        return;
    }
    let (kind, what) = if rest.starts_with(&gzip::MAGIC) {
        reading.partial();
        (AnomalyKind::ExtraStream, "another gzip stream follows")
    } else {
        (AnomalyKind::TrailingData, "data after the gzip stream")
    };
    reading.findings.add(kind, None, format!("{what}: {}", describe(rest)));
}
