//! Reading the text forms of identifiers out of JSON in place, without a copy of the text.

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
