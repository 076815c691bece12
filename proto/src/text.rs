//! Reading the text forms of identifiers, out of JSON in place, without a copy of the text.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// A value that its text form stands for.
pub(crate) fn parse<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    read(deserializer, T::from_str)
}

/// What `read` makes of a text.
pub(crate) fn read<'de, T, E, F, D>(deserializer: D, read: F) -> Result<T, D::Error>
where
    E: fmt::Display,
    F: FnOnce(&str) -> Result<T, E>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(Text(read, PhantomData))
}

/// The 32 bytes that 64 lower-case hex digits say. Each step is the same for all digits, so that the processor
/// takes many at once.
pub(crate) fn bytes_of_hex(hex: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut wrong = 0;
    let mut nibbles = [0; 64];
    for (nibble, digit) in nibbles.iter_mut().zip(digits) {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        wrong |= u8::from(number > 9) & u8::from(letter > 5);
        *nibble = if number > 9 { letter.wrapping_add(10) } else { number };
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(nibbles.as_chunks::<2>().0) {
        *byte = high << 4 | low;
    }
    (wrong == 0).then_some(bytes)
}

struct Text<F, T>(F, PhantomData<T>);

impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for Text<F, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<O: Error>(self, text: &str) -> Result<T, O> {
        (self.0)(text).map_err(O::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hex_is_read_as_a_library_reads_it(bytes: [u8; 32], at in 0..64_usize, byte in 0..128_u8) {
            let hex = HEXLOWER.encode(&bytes);
            prop_assert_eq!(bytes_of_hex(&hex), Some(bytes));
            let mut other = hex.into_bytes();
            other[at] = byte;
            let other = String::from_utf8(other).expect("ASCII");
            let expected = HEXLOWER.decode(other.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            prop_assert_eq!(bytes_of_hex(&other), expected);
            prop_assert_eq!(bytes_of_hex(&other[1..]), None);
            prop_assert_eq!(bytes_of_hex(&format!("{other}0")), None);
        }
    }
}
