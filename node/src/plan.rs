//! How a candidate is built: one file an ecosystem. Plans are pure but for the toolchains they name.

pub mod cargo;
pub mod deb;
pub mod npm;
pub mod pypi;

use quorate_proto::result::Assist;

/// The assist that says that another version of a toolchain than the wanted one was used.
pub const NEAREST_TOOLCHAIN: &str = "nearest-toolchain";

/// Something that a build is told and that the source does not say.
pub fn assist(name: &str, value: &str, reason: &str) -> Assist {
    Assist { name: name.to_owned(), value: value.to_owned(), reason: reason.to_owned() }
}
