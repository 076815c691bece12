//! Normal forms and comparisons of archives made in memory, against decompressing and hashing the same
//! members with the same libraries, in one run; each case in a process of its own, with the memory that it
//! took beyond its input.
//!
//! `cargo run -p quorate-normalize --release --example throughput -- [MiB]`. Given the path of an archive
//! instead, it is read once and its normal form timed; given two, they are compared; with `write FOLDER [MiB]`
//! the archives are written there, for other programs to be measured with.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time and memory")]

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use quorate_normalize::{Comparison, Input, Limits, compare, normal_form};
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;

/// Bytes of each file.
const FILE_BYTES: usize = 100_000;

/// Runs of each measurement; the fastest counts.
const RUNS: usize = 3;

type Files = Vec<(String, Vec<u8>)>;

/// The cases, by the names of their files; and one of very many members.
const CASES: [&str; 6] = ["p-1.tar.gz", "p-1.zip", "p-1.tar.xz", "p-1.tar.zst", "p-1.tar.bz2", "many.tar.gz"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let size = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(200);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["case", name, ..] => case(name, size(2)),
        ["write", folder, ..] => write(folder, size(2)),
        [path] if std::path::Path::new(path).exists() => one_file(path),
        [published, rebuilt] => two_files(published, rebuilt),
        _ => every_case(size(0)),
    }
}

fn every_case(mib: usize) {
    let program = std::env::current_exe().expect("this program's path");
    for name in CASES {
        let status = std::process::Command::new(&program).args(["case", name, &mib.to_string()]).status();
        status.expect("starting this program again");
    }
}

fn write(folder: &str, mib: usize) {
    for name in ["p-1.tar.gz", "p-1.zip"] {
        let (_, published, rebuilt) = pair(name, mib);
        for (side, bytes) in [("a", published), ("b", rebuilt)] {
            let path = std::path::Path::new(folder).join(side).join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
            std::fs::write(path, bytes).expect("writing an archive");
        }
    }
}

fn case(name: &str, mib: usize) {
    let (bytes, published, rebuilt) = pair(name, mib);
    let unpack: Unpack = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("zip") => unzip,
        Some("xz") => unxz,
        Some("zst") => unzstd,
        Some("bz2") => bunzip2,
        _ => gunzip,
    };
    report(name, bytes, &published, &rebuilt, &|| unpack(&published));
}

/// Bytes inside, and two archives of the same files that were packed at two times.
fn pair(name: &str, mib: usize) -> (usize, Vec<u8>, Vec<u8>) {
    if name == "many.tar.gz" {
        let many: Files = (0..240_000).map(|n| (format!("pkg/folder{}/m{n}.py", n % 100), Vec::new())).collect();
        return (many.len() * 512, gzip(&tar(&many, 1)), gzip(&tar(&many, 2)));
    }
    let files: Files = (0..(mib << 20) / FILE_BYTES).map(|n| (format!("pkg/m{n}.py"), source(u32::try_from(n).unwrap_or(0)))).collect();
    let pack: Pack = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("zip") => return (mib << 20, zip(&files, 6, 2020), zip(&files, 9, 2021)),
        Some("xz") => xz,
        Some("zst") => zstd,
        Some("bz2") => bzip2,
        _ => gzip,
    };
    (mib << 20, pack(&tar(&files, 1)), pack(&tar(&files, 2)))
}

type Pack = fn(&[u8]) -> Vec<u8>;
type Unpack = fn(&[u8]);

fn report(file_name: &str, bytes: usize, published: &[u8], rebuilt: &[u8], unpack: &dyn Fn()) {
    let base = fastest(unpack);
    let (form, form_kib) = with_peak(|| fastest(|| drop(black_box(normal_form(published, file_name, &Limits::default())))));
    let mut comparison = None;
    let (both, both_kib) = with_peak(|| {
        let start = Instant::now();
        comparison = compare(&Input { published, rebuilt, file_name }, &Limits::default()).ok();
        start.elapsed()
    });
    let replay = comparison.as_ref().and_then(|found: &Comparison| found.header_replay.as_ref()).map(|replay| replay.outcome);
    println!(
        "{file_name}: {} MiB in {} KiB; unpack and hash {base:.2?}; normal form {form:.2?}, ratio {:.2}, {form_kib} KiB; compare {both:.2?}, {both_kib} KiB, {:?}, replay {replay:?}",
        bytes >> 20,
        published.len() >> 10,
        base.as_secs_f64() / form.as_secs_f64(),
        comparison.map(|found| found.level),
    );
}

fn one_file(path: &str) {
    let bytes = std::fs::read(path).expect("reading the archive");
    let name = std::path::Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (form, kib) = with_peak(|| {
        let start = Instant::now();
        let form = normal_form(&bytes, name, &Limits::default());
        (form, start.elapsed())
    });
    let (form, time) = form;
    match form {
        Ok(form) => println!("{name} {} {} anomalies, {time:.2?}, {kib} KiB", form.digest, form.anomalies.len()),
        Err(error) => println!("{name} {error}"),
    }
}

fn two_files(published: &str, rebuilt: &str) {
    let file_name = std::path::Path::new(published).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let [published, rebuilt] = [published, rebuilt].map(|path| std::fs::read(path).expect("reading an archive"));
    let start = Instant::now();
    match compare(&Input { published: &published, rebuilt: &rebuilt, file_name }, &Limits::default()) {
        Ok(found) => println!("{:?} {:.3} s, {} differences", found.level, start.elapsed().as_secs_f64(), found.differences.len()),
        Err(error) => println!("{error}"),
    }
}

/// What `run` gives, and how far it raised the peak of the resident memory.
fn with_peak<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = status("VmRSS:");
    let result = run();
    (result, status("VmHWM:").saturating_sub(before))
}

fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn fastest(mut run: impl FnMut()) -> Duration {
    let times = (0..RUNS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn hash(mut reader: impl std::io::Read) {
    let (mut sha, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    while let Ok(len @ 1..) = reader.read(&mut buffer) {
        sha.update(&buffer[..len]);
    }
    black_box(sha.finalize());
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(content).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn gunzip(bytes: &[u8]) {
    hash(flate2::bufread::GzDecoder::new(bytes));
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).expect("writing to memory");
    writer.write_all(content).expect("writing to memory");
    writer.finish().expect("writing to memory")
}

fn unxz(bytes: &[u8]) {
    hash(lzma_rust2::XzReader::new(bytes, false));
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn unzstd(bytes: &[u8]) {
    hash(ruzstd::decoding::StreamingDecoder::new(bytes).expect("a frame"));
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(9));
    encoder.write_all(content).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn bunzip2(bytes: &[u8]) {
    hash(bzip2::read::BzDecoder::new(bytes));
}

fn unzip(bytes: &[u8]) {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a zip");
    for at in 0..archive.len() {
        hash(archive.by_index(at).expect("a member").by_ref());
    }
}

/// Text that compresses about as well as source code does.
fn source(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut text = Vec::new();
    while text.len() < FILE_BYTES {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let words = ["return", "self", "value", "if", "None", "def", "import", "data"];
        let word = words[(state % 8) as usize];
        text.extend(format!("    {word}_{:x} = {}({:?})\n", state % 4096, words[(state >> 8) as usize % 8], state >> 20).bytes());
    }
    text
}

fn tar(files: &[(String, Vec<u8>)], mtime: u64) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(mtime);
        builder.append_data(&mut header, name, content.as_slice()).expect("writing to memory");
    }
    builder.into_inner().expect("writing to memory")
}

fn zip(files: &[(String, Vec<u8>)], level: i64, year: u16) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let time = zip::DateTime::from_date_and_time(year, 1, 1, 0, 0, 0).unwrap_or_default();
    let options = SimpleFileOptions::default().compression_level(Some(level)).last_modified_time(time);
    for (name, content) in files {
        writer.start_file(name.as_str(), options).expect("writing to memory");
        writer.write_all(content).expect("writing to memory");
    }
    writer.finish().expect("writing to memory").into_inner()
}
