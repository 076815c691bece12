//! `tlog-tree.json`: hashes, roots, proofs, tiles, bundles, paths.

use quorate_tlog::bundle::append_entries;
use quorate_tlog::hash::empty_root;
use quorate_tlog::{BundlePath, Entry, Hash, InclusionProof, MemoryTiles, TilePath, Tree, TreeView, leaf_hash, node_hash};
use serde::Serialize;

use crate::model;

#[derive(Serialize)]
struct Vectors {
    format: &'static str,
    about: &'static str,
    hashes: Vec<HashCase>,
    heads: Vec<HeadCase>,
    inclusion: Vec<InclusionCase>,
    inclusion_rejected: Vec<RejectedCase>,
    consistency: Vec<ConsistencyCase>,
    consistency_rejected: Vec<ConsistencyCase>,
    tiles: Vec<ResourceCase>,
    bundles: Vec<ResourceCase>,
    paths: Vec<PathCase>,
    paths_rejected: Vec<&'static str>,
}

#[derive(Serialize)]
struct HashCase {
    name: &'static str,
    hex: String,
    base64: String,
}

#[derive(Serialize)]
struct HeadCase {
    size: u64,
    root: String,
}

#[derive(Serialize)]
struct InclusionCase {
    index: u64,
    size: u64,
    root: String,
    entry: String,
    leaf_hash: String,
    path: Vec<String>,
}

#[derive(Serialize)]
struct RejectedCase {
    why: &'static str,
    #[serde(flatten)]
    case: InclusionCase,
}

#[derive(Serialize)]
struct ConsistencyCase {
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    old_size: u64,
    old_root: String,
    new_size: u64,
    new_root: String,
    path: Vec<String>,
}

#[derive(Serialize)]
struct ResourceCase {
    tree_size: u64,
    path: String,
    bytes: usize,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

#[derive(Serialize)]
struct PathCase {
    path: String,
    level: Option<u8>,
    index: u64,
    width: u16,
}

#[test]
fn tlog_tree_json_is_what_the_code_makes() {
    let vectors = Vectors {
        format: "quorate-tlog-tree/1",
        about: "Entry i of every tree here is the ASCII text `quorate test entry <i>`. Hashes and \
            roots are base64 of 32 bytes. Tiles and bundles are those that a log writes when it \
            goes from empty to tree_size in one step, for 70000 only the right edge; level is null \
            for entry bundles.",
        hashes: hash_cases(),
        heads: [0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 256, 257, 600, 65_536, 70_000].map(head_case).into(),
        inclusion: inclusion_cases(),
        inclusion_rejected: inclusion_rejected(),
        consistency: consistency_cases(),
        consistency_rejected: consistency_rejected(),
        tiles: [1, 3, 256, 257, 600, 70_000].into_iter().flat_map(tile_cases).collect(),
        bundles: [1, 3, 256, 257].into_iter().flat_map(bundle_cases).collect(),
        paths: path_cases(),
        paths_rejected: paths_rejected(),
    };
    super::check("tlog-tree.json", &vectors);
}

fn texts(path: &[Hash]) -> Vec<String> {
    path.iter().map(Hash::to_string).collect()
}

fn hash_cases() -> Vec<HashCase> {
    let (left, right) = (leaf_hash(&model::entry(0)), leaf_hash(&model::entry(1)));
    let case = |name, hash: Hash| HashCase { name, hex: format!("{hash:x}"), base64: hash.to_string() };
    vec![
        case("root of the empty tree", empty_root()),
        case("leaf hash of the empty entry", leaf_hash(b"")),
        case("leaf hash of entry 0", left),
        case("leaf hash of entry 1", right),
        case("node hash of leaf hashes 0 and 1", node_hash(&left, &right)),
    ]
}

fn head_case(size: u64) -> HeadCase {
    let root = model::root(&model::leaves(size)).to_string();
    HeadCase { size, root }
}

fn log(size: u64) -> (Tree, MemoryTiles) {
    model::grow(&model::leaves(size), &[])
}

fn inclusion_case(index: u64, size: u64) -> InclusionCase {
    let (tree, tiles) = log(size);
    let view = TreeView::new(tree.head(), &tiles).expect("a small tree");
    let (leaf, proof) = view.inclusion(index).expect("the leaf is there");
    InclusionCase {
        index,
        size,
        root: tree.root().to_string(),
        entry: String::from_utf8(model::entry(index)).expect("ASCII"),
        leaf_hash: leaf.to_string(),
        path: texts(&proof.path),
    }
}

fn inclusion_cases() -> Vec<InclusionCase> {
    let small = (1..=8).flat_map(|size| (0..size).map(move |index| (index, size)));
    let large = [(0, 257), (255, 257), (256, 257), (299, 600), (69_999, 70_000), (65_535, 70_000)];
    small.chain(large).map(|(index, size)| inclusion_case(index, size)).collect()
}

fn inclusion_rejected() -> Vec<RejectedCase> {
    let changed = |why, change: fn(&mut InclusionCase)| {
        let mut case = inclusion_case(2, 7);
        change(&mut case);
        assert!(!holds(&case), "{why}");
        RejectedCase { why, case }
    };
    assert!(holds(&inclusion_case(2, 7)));
    vec![
        changed("another index", |case| case.index = 3),
        changed("an index beyond the tree", |case| case.index = 7),
        changed("a smaller size", |case| case.size = 4),
        changed("a larger size", |case| case.size = 9),
        changed("another root", |case| case.root = empty_root().to_string()),
        changed("another leaf", |case| case.leaf_hash = case.path[0].clone()),
        changed("a hash short", |case| drop(case.path.pop())),
        changed("a hash more", |case| case.path.push(case.path[0].clone())),
        changed("two hashes exchanged", |case| case.path.swap(0, 1)),
    ]
}

fn holds(case: &InclusionCase) -> bool {
    let hash = |text: &String| text.parse::<Hash>().expect("a hash");
    let proof = InclusionProof { index: case.index, path: case.path.iter().map(hash).collect() };
    let head = quorate_tlog::TreeHead { size: case.size, root: hash(&case.root) };
    proof.verify(&hash(&case.leaf_hash), &head).is_ok()
}

fn consistency_case(old_size: u64, new_size: u64) -> ConsistencyCase {
    let (tree, tiles) = log(new_size);
    let view = TreeView::new(tree.head(), &tiles).expect("a small tree");
    let (old, proof) = view.consistency(old_size).expect("a prefix");
    ConsistencyCase {
        why: None,
        old_size,
        old_root: old.root.to_string(),
        new_size,
        new_root: tree.root().to_string(),
        path: texts(&proof.path),
    }
}

fn consistency_cases() -> Vec<ConsistencyCase> {
    let small = (1..=8).flat_map(|new| (0..=new).map(move |old| (old, new)));
    let large = [(255, 257), (256, 257), (256, 600), (599, 600), (65_536, 70_000), (300, 70_000)];
    small.chain(large).map(|(old, new)| consistency_case(old, new)).collect()
}

fn consistency_rejected() -> Vec<ConsistencyCase> {
    let changed = |why, change: fn(&mut ConsistencyCase)| {
        let mut case = consistency_case(3, 7);
        change(&mut case);
        case.why = Some(why);
        assert!(!consistent(&case), "{why}");
        case
    };
    assert!(consistent(&consistency_case(3, 7)));
    vec![
        changed("another old root", |case| case.old_root = case.path[0].clone()),
        changed("another new root", |case| case.new_root = case.path[0].clone()),
        changed("another old size", |case| case.old_size = 4),
        changed("another new size", |case| case.new_size = 9),
        changed("old and new exchanged", |case| {
            std::mem::swap(&mut case.old_size, &mut case.new_size);
            std::mem::swap(&mut case.old_root, &mut case.new_root);
        }),
        changed("a hash short", |case| drop(case.path.pop())),
        changed("a hash more", |case| case.path.push(case.path[0].clone())),
    ]
}

fn consistent(case: &ConsistencyCase) -> bool {
    let head = |size, root: &String| quorate_tlog::TreeHead { size, root: root.parse().expect("a hash") };
    let path = case.path.iter().map(|text| text.parse().expect("a hash"));
    quorate_tlog::ConsistencyProof { path: path.collect() }
        .verify(&head(case.old_size, &case.old_root), &head(case.new_size, &case.new_root))
        .is_ok()
}

fn resource(tree_size: u64, path: String, bytes: &[u8]) -> ResourceCase {
    ResourceCase {
        tree_size,
        path,
        bytes: bytes.len(),
        sha256: sha256_hex(bytes),
        hex: (bytes.len() <= 256).then(|| data_encoding::HEXLOWER.encode(bytes)),
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
}

fn tile_cases(size: u64) -> Vec<ResourceCase> {
    let (_, tiles) = log(size);
    let shown = |path: &&TilePath| size < 1000 || !path.width().is_full();
    let paths = tiles.0.keys().filter(shown);
    paths.map(|path| resource(size, path.path(), &tiles.0[path])).collect()
}

fn bundle_cases(size: u64) -> Vec<ResourceCase> {
    let entries: Vec<Entry> = (0..size).map(|index| Entry::new(model::entry(index)).expect("a short entry")).collect();
    append_entries(0, None, &entries)
        .expect("an empty log has no partial bundle")
        .iter()
        .map(|write| resource(size, write.path.path(), &write.bytes))
        .collect()
}

fn path_cases() -> Vec<PathCase> {
    let tiles =
        ["tile/0/000", "tile/0/x001/234.p/5", "tile/1/x001/x234/067", "tile/63/999.p/255", "tile/7/x018/x446/x744/x073/x709/x551/615.p/1"];
    let bundles = ["tile/entries/000.p/1", "tile/entries/x001/x234/067"];
    let tiles = tiles.map(|text| {
        let path: TilePath = text.parse().expect("a tile path");
        PathCase { path: path.path(), level: Some(path.level()), index: path.index(), width: path.width().get() }
    });
    let bundles = bundles.map(|text| {
        let path: BundlePath = text.parse().expect("a bundle path");
        PathCase { path: path.path(), level: None, index: path.index(), width: path.width().get() }
    });
    tiles.into_iter().chain(bundles).collect()
}

fn paths_rejected() -> Vec<&'static str> {
    let paths = vec![
        "tile/64/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/entries/x000/001",
        "/tile/0/000",
        "tile/data/000",
    ];
    for path in &paths {
        assert!(path.parse::<TilePath>().is_err(), "{path}");
        assert!(path.parse::<BundlePath>().is_err(), "{path}");
    }
    paths
}
