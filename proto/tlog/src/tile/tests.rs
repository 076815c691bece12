#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

fn tile(level: u8, index: u64, width: u16) -> TilePath {
    TilePath::new(level, index, TileWidth::new(width).unwrap()).unwrap()
}

#[test]
fn paths_round_trip() {
    let table = [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(0, 0, 1), "tile/0/000.p/1"),
        (tile(0, 1_234, 5), "tile/0/x001/234.p/5"),
        (tile(1, 1_234_067, 256), "tile/1/x001/x234/067"),
        (tile(63, 999, 255), "tile/63/999.p/255"),
        (tile(0, u64::MAX, 255), "tile/0/x018/x446/x744/x073/x709/x551/615.p/255"),
    ];
    for (path, text) in table {
        assert_eq!(path.path(), text);
        assert_eq!(text.parse::<TilePath>().unwrap(), path);
    }
    let bundle = BundlePath::new(1_234_067, TileWidth::new(9).unwrap());
    assert_eq!(bundle.path(), "tile/entries/x001/x234/067.p/9");
    assert_eq!(bundle.path().parse::<BundlePath>().unwrap(), bundle);
}

#[test]
fn level_is_a_decimal_from_0_to_63_with_no_leading_zeroes() {
    for bad in ["tile/64/000", "tile/00/000", "tile/01/000", "tile/-1/000"] {
        assert_eq!(bad.parse::<TilePath>(), Err(TileError::Level), "{bad}");
    }
    assert_eq!(TilePath::new(64, 0, TileWidth::FULL), Err(TileError::Level));
}

#[test]
fn index_is_in_three_digit_elements_and_all_but_the_last_begin_with_x() {
    let bad = [
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/x01/002",
        "tile/0/x+01/002",
        "tile/0/x001//002",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/../../etc",
    ];
    for path in bad {
        assert_eq!(path.parse::<TilePath>(), Err(TileError::Index), "{path}");
    }
}

#[test]
fn partial_width_is_a_decimal_from_1_to_255_with_no_leading_zeroes() {
    for width in ["", "0", "01", "256", "1/", "-1", "+1"] {
        let path = format!("tile/0/000.p/{width}");
        assert_eq!(path.parse::<TilePath>(), Err(TileError::Width), "{path}");
    }
}

#[test]
fn a_tile_path_is_no_bundle_path_and_the_other_way_round() {
    assert!("tile/entries/000".parse::<TilePath>().is_err());
    assert!("tile/0/000".parse::<BundlePath>().is_err());
    assert!("/tile/0/000".parse::<TilePath>().is_err());
}

#[test]
fn an_oversized_path_is_refused_with_got_and_limit() {
    let long = format!("tile/0/{}", "x".repeat(100));
    assert_eq!(long.parse::<TilePath>(), Err(TileError::TooLong { got: 107, limit: PATH_BYTES_MAX }));
}

#[test]
fn partial_tiles_have_the_width_that_the_spec_gives_for_70000_leaves() {
    let expected = [
        (0, 272, Some(256)),
        (0, 273, Some(112)),
        (0, 274, None),
        (1, 0, Some(256)),
        (1, 1, Some(17)),
        (1, 2, None),
        (2, 0, Some(1)),
        (3, 0, None),
        (8, 0, None),
        (63, 0, None),
    ];
    for (level, index, width) in expected {
        let got = TilePath::in_tree(level, index, 70_000).map(|path| path.width().get());
        assert_eq!(got, width, "tile {level}/{index}");
    }
}

#[test]
fn empty_tiles_must_not_be_served() {
    assert_eq!(TileWidth::new(0), Err(TileError::Width));
    assert_eq!(TilePath::in_tree(0, 1, 256), None);
    assert_eq!(BundlePath::in_tree(0, 0), None);
    assert_eq!(BundlePath::in_tree(u64::MAX, u64::MAX), None);
}

#[test]
fn full_tiles_are_exactly_256_hashes_wide_and_partial_ones_as_their_width_says() {
    let path = tile(0, 0, 2);
    let read = |length: usize| {
        MemoryTiles([(path, vec![7; length])].into())
            .0
            .get(&path)
            .map(|_| path.read(&MemoryTiles([(path, vec![7; length])].into())))
            .unwrap()
    };
    assert_eq!(read(64).unwrap().len(), 2);
    assert_eq!(read(8192).unwrap().len(), 2, "the full tile that replaced it");
    for length in [0, 32, 63, 65, 96, 8191, 8193] {
        assert!(matches!(read(length), Err(ReadError::Length { want: 64, got, .. }) if got == length), "{length}");
    }
}
