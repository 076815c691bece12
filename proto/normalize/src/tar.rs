//! Tar archives (v7, ustar, GNU, pax) from their raw blocks, in one pass over a stream.
//!
//! Every byte of the stream ends in a member, in the facts of a pass, or in a finding; the stream
//! digest covers all of them. Where readers differ (sizes of links, prefixes under GNU magic, lone
//! zero blocks, overrides that contradict the header) the archive is at fault. SPEC normal-form: Tar.

use quorate_proto::comparison::AnomalyKind;
use sha2::{Digest as _, Sha256};

use crate::limits::{LimitError, Limits, Quantity, is_absurd_count};
use crate::pass::Pass;
use crate::reading::{Content, Facts, Kind, Member, Reading, describe};
use crate::unpack::{Hold, Sink};
use extension::Pending;
use header::{BLOCK_BYTES, Block, Header};
pub(crate) use stream::Stream;

/// Size of a tar block: a content begins one behind the place of its header.
pub(crate) const BLOCK_BYTES_64: u64 = 512;

mod extension;
mod header;
mod stream;

/// Longest link target or name that an extension may give. Longer ones no system can create.
const NAME_BYTES_MAX: usize = 4096;

/// Whose conventions a tar follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Those of tar.
    Plain,
    /// A part of a Debian package: names begin with `./`.
    DebPart,
    /// The files of a Debian package, which are installed with their modes and owners.
    DebFiles,
}

/// Reads a whole archive into `reading`, and gives back the stream at its end.
pub(crate) fn read<'a>(
    stream: Stream<'a>,
    style: Style,
    limits: &Limits,
    hold: Hold<'_>,
    reading: &mut Reading<'a>,
) -> Result<Stream<'a>, LimitError> {
    let mut reader =
        TarReader { stream, style, limits, hold, skeleton: Sha256::new(), pending: Pending::default(), has_comment: false, reading };
    while let Next::More = reader.step()? {}
    reader.drain()?;
    let TarReader { stream, skeleton, reading, .. } = reader;
    reading.stream = Some(skeleton.finalize().into());
    Ok(stream)
}

/// Whether there is more to read.
enum Next {
    More,
    End,
}

struct TarReader<'a, 'r, 'h> {
    stream: Stream<'a>,
    style: Style,
    limits: &'r Limits,
    hold: Hold<'h>,
    /// Hash of the stream with contents replaced by their digests.
    skeleton: Sha256,
    /// What extension headers said about the next member.
    pending: Pending,
    /// Whether a comment for all members was met.
    has_comment: bool,
    reading: &'r mut Reading<'a>,
}

impl TarReader<'_, '_, '_> {
    fn step(&mut self) -> Result<Next, LimitError> {
        let offset = self.stream.offset();
        let mut block: Block = [0; BLOCK_BYTES];
        let len = self.stream.fill(&mut block)?;
        self.skeleton.update(block.get(..len).unwrap_or_default());
        if len < BLOCK_BYTES {
            let what = if len == 0 { "no end of archive" } else { "header cut off" };
            self.reading.findings.add(AnomalyKind::Truncated, None, format!("{what} at {offset}"));
            if len > 0 {
                self.reading.state = crate::reading::State::Broken;
            }
            return Ok(Next::End);
        }
        if block == [0; BLOCK_BYTES] {
            self.end_of_archive()?;
            return Ok(Next::End);
        }
        match Header::parse(&block) {
            Ok(header) => self.entry(&header, offset),
            Err(fault) => {
                self.reading.broken(fault.kind, None, format!("{} at {offset}", fault.detail));
                Ok(Next::End)
            }
        }
    }

    fn entry(&mut self, header: &Header<'_>, offset: u64) -> Result<Next, LimitError> {
        if matches!(header.type_flag(), b'x' | b'g' | b'L' | b'K') {
            return self.extension(header, offset);
        }
        let mut pending = std::mem::take(&mut self.pending);
        let name = pending.name(header, &mut self.reading.findings);
        let link = pending.link(header, &mut self.reading.findings);
        let size = pending.size(header, &name, &mut self.reading.findings);
        for (kind, detail) in header.lint() {
            self.reading.findings.add(kind, Some(&name), detail);
        }
        let Some(kind) = self.kind(header, &name) else { return Ok(Next::End) };
        if kind != Kind::File && size > 0 {
            // Some readers skip such data, others take it for the next header.
            self.reading.broken(AnomalyKind::HeaderMismatch, Some(&name), format!("{size} bytes of data where there can be none"));
            return Ok(Next::End);
        }
        let count = crate::fields::count64(&self.reading.members) + 1;
        if is_absurd_count(count) {
            self.reading.broken(AnomalyKind::AbsurdSize, None, format!("{count} members or more"));
            return Ok(Next::End);
        }
        Quantity::Members.check(offset, count, self.limits.members_max)?;
        let plain = self.plain_name(&name);
        let Some(content) = self.content(plain, size)? else { return Ok(Next::End) };
        let mut member = Member::new(plain, kind, content);
        member.executable = kind == Kind::File && header.mode() & 0o111 != 0;
        member.access = (self.style == Style::DebFiles).then(|| header.access(kind).into());
        member.link = match kind {
            Kind::Symlink => Some(link.into()),
            Kind::Hardlink => Some(self.plain_name(&link).into()),
            _ => None,
        };
        member.position = offset;
        let mut facts: Facts<'_> = std::mem::take(&mut pending.facts);
        header.facts().for_each(|(pass, fact)| facts.add(pass, fact));
        if kind == Kind::Directory {
            facts.add(Pass::TarFormat, vec![u8::from(name.ends_with(b"/"))]);
        }
        member.facts = facts.seal();
        self.reading.members.push(member);
        Ok(Next::More)
    }

    /// The name without the `./` that every name in a Debian package begins with.
    fn plain_name<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        match name {
            b"./" if self.style != Style::Plain => b".",
            _ if self.style != Style::Plain => name.strip_prefix(b"./").unwrap_or(name),
            _ => name,
        }
    }

    /// The type of a member; `None` if what follows cannot be understood.
    fn kind(&mut self, header: &Header<'_>, name: &[u8]) -> Option<Kind> {
        let named_directory = name.ends_with(b"/");
        let kind = match header.type_flag() {
            b'0' | 0 if named_directory => Kind::Directory,
            b'0' | 0 => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' | b'4' | b'6' => Kind::Special,
            b'5' => Kind::Directory,
            flag => {
                let what = if flag == b'S' { "sparse file" } else { "member type" };
                let detail = format!("{what} `{}`", flag.escape_ascii());
                self.reading.broken(AnomalyKind::UnsupportedFeature, Some(name), detail);
                return None;
            }
        };
        if kind == Kind::File && header.mode() & 0o6000 != 0 {
            self.reading.findings.add(AnomalyKind::SpecialFile, Some(name), "set-user-id or set-group-id bit");
        }
        Some(kind)
    }

    /// Streams a content and its padding; `None` if the stream ends before.
    fn content(&mut self, name: &[u8], size: u64) -> Result<Option<Content>, LimitError> {
        let mut sink = Sink::new(self.hold.bytes_max(name));
        self.stream.begin_content(size, name, self.hold.bytes_max(name).is_some());
        let mut left = size;
        while left > 0 {
            let piece = self.stream.chunk(usize::try_from(left).unwrap_or(usize::MAX))?;
            if piece.is_empty() {
                self.reading.broken(AnomalyKind::Truncated, Some(name), format!("contents end {left} bytes early"));
                return Ok(None);
            }
            sink.write(piece);
            left = left.saturating_sub(crate::fields::len64(piece));
            // What is there counts, not what is declared: a lie about a size is no limit of ours.
            Quantity::MemberBytes.check(self.stream.offset(), size - left, self.limits.member_bytes_max)?;
        }
        let content = sink.finish();
        self.stream.end_content(content.summary);
        self.skeleton.update(content.summary.digest.as_bytes());
        Ok(self.padding(Some(name), size)?.then_some(content))
    }

    /// Passes over the zeros that fill the last block. False if the stream ends before.
    fn padding(&mut self, name: Option<&[u8]>, size: u64) -> Result<bool, LimitError> {
        let len = usize::try_from(size.wrapping_neg() % 512).unwrap_or(0);
        let mut block: Block = [0; BLOCK_BYTES];
        let Some(padding) = block.get_mut(..len) else { return Ok(false) };
        let got = self.stream.fill(padding)?;
        self.skeleton.update(&*padding);
        if padding.iter().any(|&byte| byte != 0) {
            let detail = format!("padding that is not zero: {}", describe(padding));
            self.reading.findings.add(AnomalyKind::InteriorData, name, detail);
        }
        if got < len {
            self.reading.broken(AnomalyKind::Truncated, name, "padding cut off");
        }
        Ok(got == len)
    }

    fn extension(&mut self, header: &Header<'_>, offset: u64) -> Result<Next, LimitError> {
        let Some(size) = header.size() else { return Ok(Next::End) };
        Quantity::ExtensionBytes.check(offset, size, self.limits.extension_bytes_max)?;
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        let got = self.stream.fill(&mut data)?;
        self.skeleton.update(&data);
        if got < data.len() {
            self.reading.broken(AnomalyKind::Truncated, None, format!("extension header at {offset} cut off"));
            return Ok(Next::End);
        }
        if !self.padding(None, size)? {
            return Ok(Next::End);
        }
        for (kind, detail) in header.lint() {
            self.reading.findings.add(kind, None, format!("extension header at {offset}: {detail}"));
        }
        self.pending.take(header, &data, &mut self.has_comment, &mut self.reading.findings, &mut self.reading.facts);
        if self.pending.is_sparse {
            self.reading.broken(AnomalyKind::UnsupportedFeature, None, format!("sparse file at {offset}"));
            return Ok(Next::End);
        }
        Ok(Next::More)
    }

    /// After the first zero block only zeros may follow, in whole blocks and at least one more.
    fn end_of_archive(&mut self) -> Result<(), LimitError> {
        if !self.pending.is_empty() {
            self.reading.findings.add(AnomalyKind::InteriorData, None, "extension header without a member");
        }
        let offset = self.stream.offset();
        let mut hash = Sha256::new();
        let mut is_zero = true;
        loop {
            let piece = self.stream.chunk(usize::MAX)?;
            if piece.is_empty() {
                break;
            }
            is_zero &= piece.iter().all(|&byte| byte == 0);
            hash.update(piece);
        }
        let len = self.stream.offset() - offset;
        let digest: [u8; 32] = hash.finalize().into();
        self.skeleton.update(digest);
        let findings = &mut self.reading.findings;
        if !is_zero {
            let digest = quorate_proto::Digest::from_bytes(digest);
            findings.add(AnomalyKind::TrailingData, None, format!("data after the end of archive: {len} bytes, {digest}"));
        }
        if len < 512 || !len.is_multiple_of(512) {
            findings.add(AnomalyKind::NonCanonical, None, format!("end of archive of {} bytes", len + 512));
        }
        self.reading.facts.add(Pass::TarFormat, len.to_le_bytes().to_vec());
        Ok(())
    }

    /// Reads what is left, so that checksums around the tar can be checked.
    fn drain(&mut self) -> Result<(), LimitError> {
        while !self.stream.chunk(usize::MAX)?.is_empty() {}
        Ok(())
    }
}
