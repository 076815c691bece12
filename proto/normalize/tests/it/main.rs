//! Comparison of archives against archives that are built, bent and broken in code.
#![expect(clippy::unwrap_used, reason = "tests")]

mod attack;
mod attack_table;
mod bounds;
mod build_formats;
mod build_tar;
mod build_zip;
mod ecosystems;
mod levels;
mod nested;
mod oracles;
mod properties;
mod tampered_contents;
mod tampered_crate;
mod tampered_formats;
mod tampered_heavy;
mod tampered_nested;
mod tampered_python;
mod tampered_smuggled;
mod tampered_tar;
mod tampered_wheel;
mod tampered_zip;
mod vectors;
