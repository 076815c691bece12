//! What must hold for any archive.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use quorate_normalize::{Input, Limits, compare, normal_form};
use quorate_proto::comparison::Level;

use crate::build_tar::{Entry, gzip, tar};
use crate::build_zip::{Member, deflate, zip};

type Files = Vec<(String, (Vec<u8>, bool))>;

fn files() -> impl Strategy<Value = Files> {
    let content = vec(prop_oneof![Just(b'a'), Just(b'\n'), any::<u8>()], 0..60);
    btree_map("[a-d]{1,3}/[e-h]{1,3}", (content, any::<bool>()), 1..6).prop_map(|files| files.into_iter().collect())
}

/// What the normal form drops, chosen at random for each member.
fn noise() -> impl Strategy<Value = Vec<(u16, u32, u32)>> {
    vec((any::<u16>(), 0..3u32, 0..10u32), 6)
}

fn as_zip(files: &Files, noise: &[(u16, u32, u32)]) -> Vec<u8> {
    let members = files.iter().zip(noise).map(|((name, (content, executable)), (time, mode, level))| {
        let modes = if *executable { [0o755, 0o700, 0o744] } else { [0o644, 0o600, 0o666] };
        Member::packed(name.as_bytes(), content, 8, deflate(content, *level))
            .both(|header| header.time = *time)
            .with(|member| member.external = (0o100_000 | modes[usize::try_from(*mode).unwrap()]) << 16)
    });
    zip(&members.collect::<Vec<_>>())
}

fn as_tar_gz(files: &Files, noise: &[(u16, u32, u32)]) -> Vec<u8> {
    let entries = files.iter().zip(noise).map(|((name, (content, executable)), (time, mode, _))| {
        let modes = if *executable { ["0000755\0", "0000700\0", "0000744\0"] } else { ["0000644\0", "0000600\0", "0000666\0"] };
        Entry::file(name, content).with(|entry| {
            entry.mtime = format!("{time:011o}\0").into_bytes();
            entry.mode = modes[usize::try_from(*mode).unwrap()].as_bytes().to_vec();
        })
    });
    gzip(&tar(&entries.collect::<Vec<_>>()), noise[0].2)
}

fn level(published: &[u8], rebuilt: &[u8], file_name: &str) -> Option<Level> {
    compare(&Input { published, rebuilt, file_name }, &Limits::default()).ok().map(|comparison| comparison.level)
}

fn assert_noise_is_dropped(one: &[u8], other: &[u8], file_name: &str) {
    let form = |bytes| normal_form(bytes, file_name, &Limits::default()).unwrap();
    assert_eq!(form(one), form(other));
    let comparison = crate::attack::compared(one, other, file_name);
    assert!(comparison.level <= Level::Normal, "{comparison:#?}");
    assert_eq!(comparison.passes.is_empty(), one == other);
    assert_eq!(level(other, one, file_name), Some(comparison.level));
    assert_eq!(level(one, one, file_name), Some(Level::Byte));
}

/// Whatever is not `different` after a flip has an equal normal form and a pass that says why.
fn assert_flip_is_seen(bytes: &[u8], at: usize, flip: u8, file_name: &str) {
    let mut flipped = bytes.to_vec();
    let at = at % flipped.len();
    flipped[at] ^= flip;
    let comparison = crate::attack::compared(&flipped, bytes, file_name);
    if comparison.level == Level::Different {
        assert!(!comparison.differences.is_empty(), "offset {at}");
    } else {
        assert!(!comparison.passes.is_empty(), "offset {at}");
        assert_eq!(comparison.published.normal, comparison.rebuilt.normal, "offset {at}");
    }
    if let Some(turned) = level(bytes, &flipped, file_name) {
        assert_eq!(turned, comparison.level, "offset {at}");
    }
}

proptest! {
    #[test]
    fn order_times_modes_and_compression_keep_the_normal_form(files in files(), one in noise(), other in noise(), turn in 0..6usize) {
        let mut turned = files.clone();
        turned.rotate_left(turn % files.len());
        assert_noise_is_dropped(&as_zip(&files, &one), &as_zip(&turned, &other), "p.zip");
        assert_noise_is_dropped(&as_tar_gz(&files, &one), &as_tar_gz(&turned, &other), "p.tar.gz");
    }

    #[test]
    fn a_flipped_byte_is_explained_or_different(files in files(), noise in noise(), at in any::<usize>(), flip in 1..=255u8) {
        assert_flip_is_seen(&as_zip(&files, &noise), at, flip, "p.zip");
        assert_flip_is_seen(&as_tar_gz(&files, &noise), at, flip, "p.tar.gz");
    }

    #[test]
    fn a_flipped_byte_of_a_plain_tar_is_explained_or_different(files in files(), at in any::<usize>(), flip in 1..=255u8) {
        let entries: Vec<Entry> = files.iter().map(|(name, (content, _))| Entry::file(name, content)).collect();
        assert_flip_is_seen(&tar(&entries), at, flip, "p.tar");
    }

    #[test]
    fn other_files_are_never_equal(one in files(), other in files(), noise in noise()) {
        let equal = one == other;
        let published = as_zip(&one, &noise);
        let found = crate::attack::compared(&published, &as_zip(&other, &noise), "p.zip").level;
        prop_assert_eq!(found != Level::Different, equal);
        let found = crate::attack::compared(&as_tar_gz(&one, &noise), &as_tar_gz(&other, &noise), "p.tar.gz").level;
        prop_assert_eq!(found != Level::Different, equal);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), name in prop_oneof![Just("p.whl"), Just("p.tar"), Just("p.tar.gz"), Just("p.gz")]) {
        let found = level(&bytes, &as_zip(&vec![("a/b".to_owned(), (Vec::new(), false))], &[(0, 0, 0)]), name);
        prop_assert!(matches!(found, None | Some(Level::Different)));
    }
}

#[test]
fn every_single_byte_of_a_zip_and_a_tar_is_covered() {
    let streamed = zip(&[Member::deflated("p/a.py", b"print()\n").streamed(), Member::stored("p/b", b"b")]);
    let plain = tar(&[Entry::file("p/a.py", b"print()\n"), Entry::link("p/l", b'2', "a.py")]);
    for (bytes, file_name) in [(streamed, "p.zip"), (plain.clone(), "p.tar"), (gzip(&plain, 6), "p.tar.gz")] {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80] {
                assert_flip_is_seen(&bytes, at, flip, file_name);
            }
        }
    }
}
