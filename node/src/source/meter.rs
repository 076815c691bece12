//! Bounds what a tar reader takes in between two entries.
//!
//! Long names and extended headers are read whole into memory before an entry is seen, and their size is
//! the archive's own word. Counting what is read, rather than reading headers ahead, cannot be led to
//! count other records than the reader does.

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
}

impl Meter {
    /// Puts a meter before `inner`.
    pub fn before<R: Read>(inner: R) -> (Metered<R>, Self) {
        let left = Rc::new(Cell::new(HEADERS_BYTES_MAX));
        (Metered { inner, left: Rc::clone(&left) }, Self { left })
    }

    /// What comes next are headers. The content of the entry before must have been read to its end.
    pub fn headers(&self) {
        self.left.set(HEADERS_BYTES_MAX);
    }

    /// What comes next is content, which the caller counts.
    pub fn content(&self) {
        self.left.set(u64::MAX);
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
