//! Golden vectors: made here from fixed seeds, compared byte for byte with `tests/vectors/`.
//!
//! A difference is a change of protocol. One that is meant: `QUORATE_UPDATE_VECTORS=1 cargo test`.

mod note;
mod proof;
mod tree;
mod witness;

use std::path::Path;

use serde::Serialize;

/// Compares with the file, or writes it where that is asked for.
fn check(file_name: &str, vectors: &impl Serialize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(file_name);
    let mut made = serde_json::to_string_pretty(vectors).expect("vectors are plain data");
    made.push('\n');
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("folder");
        std::fs::write(&path, &made).expect("vectors can be written");
    }
    let kept = std::fs::read_to_string(&path).expect("vectors are there");
    assert!(kept == made, "{file_name} is no longer what the code makes: a protocol change");
}

/// The seed of a test key: 32 times one byte.
fn seed_hex(byte: u8) -> String {
    data_encoding::HEXLOWER.encode(&[byte; 32])
}
