//! Framing of `/quorate/sync/2`: four bytes of big-endian length, then the protobuf message.
//!
//! A message longer than its limit is refused before a byte of it is read. Messages are handed on as
//! bytes: their one conversion is `quorate_proto::wire`.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};
use quorate_proto::wire::SYNC_BYTES_MAX;

use crate::counters::Counters;

/// Largest encoded request, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 256;

/// The codec. Counts what passes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyncCodec {
    counters: Counters,
}

impl SyncCodec {
    pub(crate) fn new(counters: Counters) -> Self {
        Self { counters }
    }

    async fn read<T: AsyncRead + Unpin + Send>(&self, io: &mut T, limit: usize) -> io::Result<Vec<u8>> {
        let frame = read_frame(io, limit).await?;
        self.counters.received(LENGTH_BYTES + frame.len());
        Ok(frame)
    }

    async fn write<T: AsyncWrite + Unpin + Send>(&self, io: &mut T, frame: &[u8], limit: usize) -> io::Result<()> {
        write_frame(io, frame, limit).await?;
        self.counters.sent(LENGTH_BYTES + frame.len());
        Ok(())
    }
}

impl request_response::Codec for SyncCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>> {
        self.read(io, REQUEST_BYTES_MAX).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>> {
        self.read(io, SYNC_BYTES_MAX).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T, frame: Vec<u8>) -> io::Result<()> {
        self.write(io, &frame, REQUEST_BYTES_MAX).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T, frame: Vec<u8>) -> io::Result<()> {
        self.write(io, &frame, SYNC_BYTES_MAX).await
    }
}

/// Bytes of the length before each frame.
const LENGTH_BYTES: usize = 4;

async fn read_frame<T: AsyncRead + Unpin + Send>(io: &mut T, limit: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; LENGTH_BYTES];
    io.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    check(length, limit)?;
    // Grows with what arrives: a peer that announces 4 MiB and sends nothing holds no 4 MiB of ours.
    let mut frame = Vec::new();
    io.take(length as u64).read_to_end(&mut frame).await?;
    if frame.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame)
}

async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, frame: &[u8], limit: usize) -> io::Result<()> {
    check(frame.len(), limit)?;
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(frame).await?;
    io.close().await
}

fn check(length: usize, limit: usize) -> io::Result<()> {
    if length <= limit {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes, limit {limit}")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use futures::io::Cursor;

    fn framed(frame: &[u8]) -> Vec<u8> {
        let mut io = Cursor::new(Vec::new());
        futures::executor::block_on(write_frame(&mut io, frame, 100)).unwrap();
        io.into_inner()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        futures::executor::block_on(read_frame(&mut Cursor::new(bytes), 100))
    }

    #[test]
    fn a_frame_is_its_length_in_four_big_endian_bytes_and_its_content() {
        assert_eq!(framed(b"abc"), b"\0\0\0\x03abc");
        assert_eq!(read(b"\0\0\0\x03abc").unwrap(), b"abc");
        assert_eq!(read(b"\0\0\0\0").unwrap(), b"");
    }

    #[test]
    fn an_oversized_frame_is_refused_by_its_length_alone() {
        assert_eq!(read(b"\0\0\0\x65").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(b"\xff\xff\xff\xff").unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut io = Cursor::new(Vec::new());
        assert!(futures::executor::block_on(write_frame(&mut io, &[0; 101], 100)).is_err());
    }

    #[test]
    fn a_truncated_frame_is_refused_at_every_length() {
        let whole = framed(b"abcdef");
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
    }
}
