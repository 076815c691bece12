//! Bounds what a tar reader takes in between two entries.
//!
//! Long names and extended headers are read whole into memory before an entry is seen, and their size is
//! the archive's own word. Counting what is read, rather than reading headers ahead, cannot be led to
//! count other records than the reader does. Only the holes of sparse files are never read: they are as
//! large as the archive says, so what entries say of their size is counted as well.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Most bytes of headers, long names and extended records before one entry.
pub const HEADERS_BYTES_MAX: u64 = 1 << 20;

/// A reader that ends with an error once its allowance is used up.
#[derive(Debug)]
pub struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

/// Sets the allowance of a [`Metered`].
#[derive(Clone, Debug)]
pub struct Meter {
    left: Rc<Cell<u64>>,
    content: Rc<Cell<u64>>,
}

impl Meter {
    /// Puts a meter before `inner`, whose entries may have `content_max` bytes in all.
    pub fn before<R: Read>(inner: R, content_max: u64) -> (Metered<R>, Self) {
        let left = Rc::new(Cell::new(HEADERS_BYTES_MAX));
        (Metered { inner, left: Rc::clone(&left) }, Self { left, content: Rc::new(Cell::new(content_max)) })
    }

    /// What comes next are headers. The content of the entry before must have been read to its end.
    pub fn headers(&self) {
        self.left.set(HEADERS_BYTES_MAX);
    }

    /// What comes next is the content of an entry, `size` bytes by the archive's own word.
    pub fn content(&self, size: u64) -> io::Result<()> {
        let too_much = || io::Error::new(io::ErrorKind::InvalidData, "more bytes of content than are taken");
        self.content.set(self.content.get().checked_sub(size).ok_or_else(too_much)?);
        self.left.set(u64::MAX);
        Ok(())
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            let message = format!("more than {HEADERS_BYTES_MAX} bytes of headers before one entry");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let most = usize::try_from(left).map_or(buffer.len(), |left| buffer.len().min(left));
        let count = self.inner.read(&mut buffer[..most])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}
