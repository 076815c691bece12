//! One file, read as what its name says, linted and with its manifests canonical.

use crate::limits::{LimitError, Limits, Quantity};
use crate::names::Target;
use crate::packed::PackedStream;
use crate::reading::{Codec, Container, Format, Kind, Member, Reading, State};
use crate::tape::Tape;
use crate::tar::{Stream, Style};
use crate::unpack::{Hold, Sink};
use crate::{ar, deb, fields, manifest, names, tar, zip};

/// Name of the one member of a compressed file that is no tar.
pub(crate) const PACKED_MEMBER: &[u8] = b"content";

/// Reads, lints and canonicalises `bytes`. What `known` inflated already is not inflated again.
pub(crate) fn read<'a>(bytes: &'a [u8], file_name: &str, limits: &Limits, known: Option<&Reading<'a>>) -> Result<Reading<'a>, LimitError> {
    read_with(bytes, file_name, limits, known, &mut None)
}

/// The same, while `tape` listens to the stream of a tar.
pub(crate) fn read_with<'a>(
    bytes: &'a [u8],
    file_name: &str,
    limits: &Limits,
    known: Option<&Reading<'a>>,
    tape: &mut Option<Tape>,
) -> Result<Reading<'a>, LimitError> {
    Quantity::FileBytes.check(0, fields::len64(bytes), limits.file_bytes_max)?;
    let (container, format) = (Container::of(file_name), Format::of(file_name));
    let hold = Hold::Manifests(format, limits.manifest_bytes_max);
    let mut reading = read_container(bytes, container, limits, hold, Beside { known, tape })?;
    match container {
        // The parts of a package were linted where they were read.
        Container::Deb | Container::Opaque => {}
        _ if format == Format::Npm => names::lint(&mut reading, Target::StrippedFolder),
        _ => names::lint(&mut reading, Target::Folder),
    }
    if reading.state == State::Complete {
        manifest::apply(&mut reading, format, limits)?;
    }
    Ok(reading)
}

/// Reads `bytes` a second time for the contents that `hold` names, and no more than those where
/// the container allows it.
pub(crate) fn reread<'a>(bytes: &'a [u8], container: Container, limits: &Limits, hold: Hold<'_>) -> Result<Reading<'a>, LimitError> {
    read_container(bytes, container, limits, hold, Beside { known: None, tape: &mut None })
}

/// What a reading takes part in.
struct Beside<'r, 'a> {
    known: Option<&'r Reading<'a>>,
    tape: &'r mut Option<Tape>,
}

fn read_container<'a>(
    bytes: &'a [u8],
    container: Container,
    limits: &Limits,
    hold: Hold<'_>,
    Beside { known, tape }: Beside<'_, 'a>,
) -> Result<Reading<'a>, LimitError> {
    let mut reading = Reading::new(container, limits.anomalies_max);
    match container {
        Container::Zip => zip::read(bytes, limits, hold, known, &mut reading)?,
        Container::Tar(codec) => *tape = read_tar((bytes, codec), (Style::Plain, tape.take()), limits, hold, &mut reading)?,
        Container::Packed(codec) => read_packed(bytes, codec, limits, hold, &mut reading)?,
        Container::Ar => ar::read(bytes, limits, hold, &mut reading)?,
        Container::Deb => deb::read(bytes, limits, hold, &mut reading)?,
        Container::Opaque => {}
    }
    Ok(reading)
}

/// Reads a tar, compressed or not, and gives back the tape that listened.
pub(crate) fn read_tar<'a>(
    (bytes, codec): (&'a [u8], Option<Codec>),
    (style, tape): (Style, Option<Tape>),
    limits: &Limits,
    hold: Hold<'_>,
    reading: &mut Reading<'a>,
) -> Result<Option<Tape>, LimitError> {
    let Some(codec) = codec else {
        return Ok(tar::read(Stream::plain(bytes).with_tape(tape), style, limits, hold, reading)?.into_parts().1);
    };
    let Some(stream) = PackedStream::open(codec, bytes, limits, reading) else { return Ok(None) };
    let stream = tar::read(Stream::packed(stream).with_tape(tape), style, limits, hold, reading)?;
    let (stream, tape) = stream.into_parts();
    if let Some(stream) = stream {
        stream.close(bytes, reading);
    }
    Ok(tape)
}

fn read_packed<'a>(bytes: &'a [u8], codec: Codec, limits: &Limits, hold: Hold<'_>, reading: &mut Reading<'a>) -> Result<(), LimitError> {
    let Some(mut stream) = PackedStream::open(codec, bytes, limits, reading) else { return Ok(()) };
    let mut sink = Sink::new(hold.bytes_max(PACKED_MEMBER));
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
    reading.members.push(Member::new(PACKED_MEMBER, Kind::File, content));
    stream.close(bytes, reading);
    Ok(())
}
