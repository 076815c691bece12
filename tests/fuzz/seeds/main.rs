//! Writes the first inputs of every target into `found/`: the vectors, and a few words of each format that has
//! none. A fuzzer finds its way from there.

use std::error::Error;
use std::fs;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
// Our crates report what they cover, also to this program that does not ask.
use libfuzzer_sys as _;
use quorate_node::feed::record;
use quorate_proto::Digest;
use serde_json::Value;

mod texts;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(here.join("../vectors"))? {
        let path = entry?.path();
        let room = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some(room) = room.strip_suffix(".json") else { continue };
        each(&serde_json::from_slice(&fs::read(&path)?)?, "", &mut |key, object, text| {
            for (target, bytes) in of_vector(room, key, object, text) {
                write(here, target, &bytes)?;
            }
            Ok(())
        })?;
    }
    for (target, kind, text) in texts::TEXTS {
        write(here, target, &[&[*kind][..], text.as_bytes()].concat())?;
    }
    Ok(())
}

/// Every text of a vector file, with its key and the file name that stands beside it.
fn each(value: &Value, key: &str, take: &mut impl FnMut(&str, &str, &str) -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let text_of = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match value {
        Value::Object(fields) => {
            let name = text_of(value, "fileName");
            for (key, value) in fields {
                match value {
                    Value::String(text) => take(key, &name, text)?,
                    value => each(value, key, take)?,
                }
            }
        }
        Value::Array(all) => {
            for value in all {
                match value {
                    Value::String(text) => take(key, "", text)?,
                    value => each(value, key, take)?,
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// What a text of a vector file is to the targets.
fn of_vector(room: &str, key: &str, name: &str, text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let with = |kind: u8, bytes: &[u8]| [&[kind][..], bytes].concat();
    let plain = text.as_bytes().to_vec();
    match (room.split('-').next().unwrap_or_default(), key) {
        ("normalize", key) if key.ends_with("Base64") => {
            BASE64.decode(text.as_bytes()).map_or_else(|_| Vec::new(), |bytes| archive(name, bytes))
        }
        ("tlog", "text") => vec![("tlog_checkpoint", plain)],
        ("tlog", "note" | "vkey") => vec![("tlog_note", plain)],
        ("tlog", "proof") => vec![("tlog_proof", plain.clone()), ("tlog_witness", plain)],
        ("tlog", "policy" | "request") => vec![("tlog_witness", plain)],
        ("statement", "frame") => {
            let frame = HEXLOWER.decode(text.as_bytes()).unwrap_or_default();
            vec![("node_records", with(1, &record::encode(&frame))), ("proto_wire", frame)]
        }
        ("mesh", "hex") => vec![("proto_wire", HEXLOWER.decode(text.as_bytes()).unwrap_or_default())],
        ("mesh", "record") => vec![("mesh_peers", HEXLOWER.decode(text.as_bytes()).unwrap_or_default())],
        ("mesh", "book") => vec![("mesh_peers", plain)],
        ("statement" | "drill", "payload" | "envelope" | "certificate") => vec![("proto_statement", plain)],
        ("tally", "policy") => vec![("tally_policy", plain)],
        ("purl", _) => vec![("proto_identifiers", plain)],
        _ => Vec::new(),
    }
}

fn archive(name: &str, bytes: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let with = |kind: u8| [&[kind][..], &bytes].concat();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".zip", ".whl"]) {
        vec![("node_release", with(0)), ("normalize_zip", bytes)]
    } else if ends(&[".a", ".deb"]) {
        vec![("normalize_ar", bytes)]
    } else if ends(&[".tar.gz", ".tgz", ".crate"]) {
        vec![("node_source", with(1)), ("normalize_tar", bytes)]
    } else if ends(&[".tar"]) {
        vec![("node_source", with(0)), ("node_release", with(1)), ("normalize_tar", bytes)]
    } else if ends(&[".tar.xz"]) {
        vec![("node_source", with(2)), ("normalize_packed", bytes)]
    } else {
        vec![("normalize_packed", bytes)]
    }
}

fn write(here: &Path, target: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = here.join("found").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("seed-{}", &Digest::of(bytes).to_hex()[..16])), bytes)
}
