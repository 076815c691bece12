//! Other people's implementations accept what this one makes: `signed_note` and `tlog_tiles`, ports
//! of the Go checksum database's code.

use quorate_tlog::{
    BundlePath, Checkpoint, MemoryTiles, SignedNote, Signer, TilePath, TileReader as _, TileWidth, Tree, TreeHead, TreeView,
};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint as ForeignCheckpoint, Error, Hash as ForeignHash, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record,
    prove_tree, tree_hash,
};

use crate::model;

fn signer(name: &str, seed: u8) -> Signer {
    Signer::from_seed(name.parse().unwrap(), &[seed; 32])
}

/// Our tiles, read by the foreign code, which writes the tile height into its paths.
struct Served<'t>(&'t MemoryTiles);

impl TileReader for Served<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |tile: &Tile| {
            let path: TilePath = tile.path().replace("tile/8/", "tile/").parse().unwrap();
            self.0.read_tile(&path).map_err(|_| Error::BadMath)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _tiles: &[Tile], _data: &[Vec<u8>]) {}
}

fn foreign(hash: &quorate_tlog::Hash) -> ForeignHash {
    ForeignHash(*hash.as_bytes())
}

fn foreign_path(path: &[quorate_tlog::Hash]) -> Vec<ForeignHash> {
    path.iter().map(foreign).collect()
}

fn check_log(tree: &Tree, tiles: &MemoryTiles) {
    let TreeHead { size, root } = tree.head();
    let root = foreign(&root);
    let served = Served(tiles);
    let reader = TileHashReader::new(size, root, &served);
    assert_eq!(tree_hash(size, &reader).unwrap(), root);

    let view = TreeView::new(tree.head(), tiles).unwrap();
    for index in [0, 1, 2, size / 3, size / 2, size - 1] {
        if index >= size {
            continue;
        }
        let (leaf, proof) = view.inclusion(index).unwrap();
        let path = foreign_path(&proof.path);
        check_record(&path, size, root, index, foreign(&leaf)).unwrap();
        assert_eq!(prove_record(size, index, &reader).unwrap(), path);

        if index > 0 {
            let (old, proof) = view.consistency(index).unwrap();
            let path = foreign_path(&proof.path);
            check_tree(&path, size, root, index, foreign(&old.root)).unwrap();
            assert_eq!(prove_tree(size, index, &reader).unwrap(), path);
        }
    }
}

#[test]
fn tlog_tiles_reads_our_tiles_and_accepts_our_proofs() {
    for size in [1, 2, 3, 255, 256, 257, 511, 512, 1000, 65_536, 70_000] {
        let (tree, tiles) = model::grow(&model::leaves(size), &[100, 1, 700]);
        check_log(&tree, &tiles);
    }
}

#[test]
fn tlog_tiles_writes_the_same_paths() {
    for (level, index, width) in [(0, 0, 256), (0, 1_234_067, 5), (7, 999, 255), (63, 1000, 1)] {
        let ours = TilePath::new(level, index, TileWidth::new(width).unwrap()).unwrap();
        let theirs = Tile::new(8, level, index, width.into(), false);
        assert_eq!(format!("tile/8{}", &ours.path()[4..]), theirs.path());

        let ours = BundlePath::new(index, TileWidth::new(width).unwrap());
        let theirs = Tile::new(8, 0, index, width.into(), true);
        let expected = theirs.path().replace("tile/8/data/", "tile/entries/");
        assert_eq!(ours.path(), expected);
    }
}

#[test]
fn tlog_tiles_asks_for_the_tiles_that_we_write() {
    for (old, new) in [(0, 1), (0, 256), (3, 5), (250, 600), (256, 257), (65_000, 66_000)] {
        let leaves = model::leaves(new);
        let (before, after) = leaves.split_at(usize::try_from(old).unwrap());
        let (tree, _) = model::grow(before, &[]);
        let written = tree.append(after).unwrap().tiles;
        let mut ours: Vec<String> = written.iter().map(|write| write.path.path()).collect();
        let theirs = Tile::new_tiles(8, old, new);
        let mut theirs: Vec<String> = theirs.iter().map(|tile| tile.path().replace("tile/8/", "tile/")).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{old} to {new}");
    }
}

#[test]
fn signed_note_and_tlog_tiles_open_our_checkpoints() {
    let log = signer("log.example/quorate", 3);
    let origin = "log.example/quorate".parse().unwrap();
    let (tree, _) = model::grow(&model::leaves(300), &[]);
    let checkpoint = Checkpoint::new(origin, tree.head()).unwrap();
    let note = checkpoint.sign(&log).unwrap().cosign(&signer("witness.example", 4)).unwrap();

    let theirs = Note::from_bytes(note.to_string().as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&log.verifier().to_string()).unwrap();
    let known = VerifierList::new(vec![Box::new(verifier)]);
    let (by_known, by_unknown) = theirs.verify(&known).unwrap();
    assert_eq!((by_known.len(), by_unknown.len()), (1, 1));

    let parsed = ForeignCheckpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!(parsed.origin(), "log.example/quorate");
    assert_eq!(parsed.size(), 300);
    assert_eq!(*parsed.hash(), foreign(checkpoint.root()));
    assert_eq!(theirs.to_bytes(), note.to_string().into_bytes());
}

#[test]
fn notes_signed_by_signed_note_open_here() {
    // The same seed gives the same key and, Ed25519 being deterministic, the same signature.
    let ours = signer("n.example", 9);
    let key_hash = ours.verifier().id();
    let typed = [&[1_u8][..], &[9; 32]].concat();
    let skey = format!("PRIVATE+KEY+n.example+{key_hash}+{}", data_encoding::BASE64.encode(&typed));
    let theirs = signed_note::StandardSigner::new(&skey).unwrap();
    let mut note = Note::new(b"text\n", &[]).unwrap();
    note.add_sigs(&[&theirs]).unwrap();
    let parsed = SignedNote::parse(&note.to_bytes()).unwrap();
    assert!(parsed.open(std::slice::from_ref(ours.verifier())).is_ok());
    assert_eq!(parsed, SignedNote::sign("text\n".into(), &ours).unwrap());
}
