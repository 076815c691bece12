//! Sources: unpacking archives, the commit in one, and manifests. The first byte says which.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use quorate_node::resolve::cargo::CargoManifest;
use quorate_node::resolve::git::ManifestRule as _;
use quorate_node::resolve::npm::NpmManifest;
use quorate_node::resolve::pypi::PythonManifest;
use quorate_node::source::commit_id::{commit_id, is_commit};
use quorate_node::source::manifest::Manifest;
use quorate_node::source::unpack::{Limits, unpack_within};

const LIMITS: Limits = Limits { entries: 64, bytes: 1 << 20 };

/// In memory where the system has a place for that: every input makes files.
static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let base = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir);
    base.join(format!("quorate-fuzz-{}", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => unpacked(bytes, "a.tar"),
        1 => unpacked(bytes, "a.tar.gz"),
        2 => unpacked(bytes, "a.tar.xz"),
        3 => unpacked(&archive(&String::from_utf8_lossy(bytes)), "a.tar"),
        4 => assert!(commit_id(bytes).is_none_or(|id| is_commit(&id))),
        _ => manifest(&String::from_utf8_lossy(bytes)),
    }
});

/// Nothing is written outside of the folder, no link leads out of it, and the limits hold.
fn unpacked(bytes: &[u8], name: &str) {
    let _ = fs::remove_dir_all(&*SCRATCH);
    let (path, into) = (SCRATCH.join(name), SCRATCH.join("deep/out"));
    fs::create_dir_all(&into).expect("a folder");
    fs::write(&path, bytes).expect("a file");
    let result = unpack_within(&path, name, &into, LIMITS);
    let names = |folder: &Path| fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    assert_eq!(names(&SCRATCH.join("deep")), ["out"]);
    assert_eq!(names(&SCRATCH).len(), 2);
    let (mut folders, mut total, mut files) = (vec![into.clone()], 0, 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let (meta, path) = (entry.metadata().expect("its own"), entry.path());
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_symlink() {
                assert!(path.canonicalize().is_ok_and(|target| target.starts_with(&into)) || leads_nowhere(&path), "{}", path.display());
            } else {
                total += meta.len();
                files += 1;
            }
        }
    }
    assert!(total <= LIMITS.bytes && files <= LIMITS.entries, "{total} bytes in {files} files: {result:?}");
    fs::remove_dir_all(&*SCRATCH).expect("our own");
}

fn leads_nowhere(link: &Path) -> bool {
    fs::metadata(link).is_err()
}

/// A tar of the entries that lines name: kind, name, and target or content.
fn archive(text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(name), rest) = (words.next(), words.next(), words.next().unwrap_or_default()) else { continue };
        let kind = match kind {
            "d" => tar::EntryType::Directory,
            "l" => tar::EntryType::Symlink,
            "h" => tar::EntryType::Link,
            "s" => tar::EntryType::GNUSparse,
            _ => tar::EntryType::Regular,
        };
        let mut header = tar::Header::new_gnu();
        let fields = header.as_gnu_mut().expect("made so");
        let count = name.len().min(100);
        fields.name[..count].copy_from_slice(&name.as_bytes()[..count]);
        let is_link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
        if is_link {
            let count = rest.len().min(100);
            fields.linkname[..count].copy_from_slice(&rest.as_bytes()[..count]);
        }
        if kind == tar::EntryType::GNUSparse {
            // A hole as large as the rest says, and nothing else.
            let size = rest.parse::<u64>().unwrap_or(0) & ((1 << 63) - 1);
            for field in [&mut fields.sparse[0].offset, &mut fields.realsize] {
                field.copy_from_slice(&[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat());
            }
            fields.sparse[0].numbytes = *b"00000000000\0";
        }
        header.set_entry_type(kind);
        header.set_mode(0o644);
        let content = if is_link || kind == tar::EntryType::GNUSparse { "" } else { rest };
        header.set_size(content.len() as u64);
        header.set_cksum();
        let _ = builder.append(&header, content.as_bytes());
    }
    builder.into_inner().unwrap_or_default()
}

fn manifest(text: &str) {
    let mut parts = text.split('\0');
    let mut part = || parts.next().unwrap_or_default();
    let _ = Manifest::parse(part(), part(), part()).map(|manifest| manifest.check("demo", &"1.0".parse().expect("a version")));
    for file in PythonManifest.files() {
        let _ = PythonManifest.read(file, text.as_bytes(), None);
    }
    let _ = NpmManifest.read("package.json", text.as_bytes(), None);
    let (one, above) = text.split_once('\0').unwrap_or((text, ""));
    let _ = CargoManifest.read("Cargo.toml", one.as_bytes(), Some(above.as_bytes()));
}
