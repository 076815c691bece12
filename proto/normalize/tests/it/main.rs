//! Comparison of archives against archives that are built, bent and broken in code.
#![expect(clippy::unwrap_used, reason = "tests")]

mod attack;
mod bounds;
mod build_formats;
mod build_tar;
mod build_zip;
mod ecosystems;
mod levels;
mod nested;
mod oracles;
mod properties;
mod tampered_formats;
mod tampered_tar;
mod tampered_wheel;
mod tampered_zip;
mod vectors;
