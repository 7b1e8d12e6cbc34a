//! Trees for tests: written as text, or drawn at random.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rebit_oci::ObjectId;
use rebit_oci::object::{MemoryObjects, ObjectSink};

use crate::{Kind, Metadata, Node, Tree, TreePath};

pub(crate) fn path(text: impl AsRef<[u8]>) -> TreePath {
    TreePath::parse(text).unwrap()
}

/// Makes a tree from lines, blank ones and `#` comments left out:
///
/// ```text
/// d MODE UID:GID PATH
/// f MODE UID:GID PATH = CONTENT          (`CONTENT*N` repeats it N times)
/// h PATH = TARGET                        hard link
/// l UID:GID PATH = TARGET
/// c|b MODE UID:GID PATH = MAJOR,MINOR
/// p MODE UID:GID PATH
/// x PATH = NAME VALUE                    extended attribute of a node above
/// ```
pub(crate) fn tree(text: &str, objects: &MemoryObjects) -> Tree {
    let mut tree = Tree::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        add(&mut tree, line, objects);
    }
    tree.renumber_links();
    tree
}

fn add(tree: &mut Tree, line: &str, objects: &MemoryObjects) {
    let (head, value) = line.split_once(" = ").unwrap_or((line.trim_end_matches(" ="), ""));
    let words: Vec<&str> = head.split(' ').collect();
    let mode = |text: &str| u32::from_str_radix(text, 8).unwrap();
    let owner = |text: &str| {
        let (uid, gid) = text.split_once(':').unwrap();
        (uid.parse().unwrap(), gid.parse().unwrap())
    };
    let parents = Metadata::default();
    let (at, metadata) = match words[..] {
        ["h", at] => {
            let target = path(value);
            let mut node = tree.get(&target).unwrap().clone();
            if node.link() == 0 {
                node.set_link(tree.fresh_link());
                tree.insert(target, node.clone(), &parents).unwrap();
            }
            tree.insert(path(at), node, &parents).unwrap();
            return;
        }
        ["x", at] => {
            let (name, value) = value.split_once(' ').unwrap();
            assert!(tree.update_metadata(&path(at), |metadata| {
                metadata.xattrs.insert(name.into(), value.into());
            }));
            return;
        }
        ["l", owners, at] => {
            let (uid, gid) = owner(owners);
            (at, Metadata { uid, gid, ..Metadata::new(0o777, 0) })
        }
        [_, bits, owners, at] => {
            let (uid, gid) = owner(owners);
            (at, Metadata { uid, gid, ..Metadata::new(mode(bits), 0) })
        }
        _ => panic!("not a fixture line: {line}"),
    };
    let numbers = || {
        let (major, minor) = value.split_once(',').unwrap();
        (major.parse().unwrap(), minor.parse().unwrap())
    };
    let kind = match words[0] {
        "d" => Kind::Directory,
        "f" => {
            let content = match value.split_once('*') {
                Some((unit, count)) => unit.repeat(count.parse().unwrap()),
                None => value.into(),
            };
            let object = objects.put(content.as_bytes(), &[]).unwrap();
            Kind::File { object, size: content.len() as u64, link: 0 }
        }
        "l" => Kind::Symlink { target: value.into() },
        "c" => numbers_kind(numbers(), true),
        "b" => numbers_kind(numbers(), false),
        "p" => Kind::Fifo,
        other => panic!("not a kind: {other}"),
    };
    let at = TreePath::normalise(at).unwrap();
    tree.insert(at, Node { metadata, kind }, &parents).unwrap();
}

fn numbers_kind((major, minor): (u32, u32), char: bool) -> Kind {
    if char { Kind::CharDevice { major, minor } } else { Kind::BlockDevice { major, minor } }
}

/// The content that [`random_tree`] gives files, so that a test can put it into objects.
pub(crate) fn random_content(seed: u8) -> Vec<u8> {
    vec![seed; usize::from(seed) * 97]
}

/// Puts every content that [`random_tree`] uses.
pub(crate) fn random_objects() -> MemoryObjects {
    let objects = MemoryObjects::new();
    for seed in 0..4 {
        objects.put(&random_content(seed), &[]).unwrap();
    }
    objects
}

fn random_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Directory),
        6 => (0_u8..4).prop_map(|seed| {
            let content = random_content(seed);
            Kind::File { object: ObjectId::of(&content), size: content.len() as u64, link: 0 }
        }),
        1 => Just(Kind::Symlink { target: b"a/b".to_vec() }),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::CharDevice { major: 1, minor: 3 }),
    ]
}

fn random_metadata() -> impl Strategy<Value = Metadata> {
    let mode = prop_oneof![Just(0o755), Just(0o644), Just(0o4711)];
    let xattrs = proptest::collection::btree_map(
        prop_oneof![Just(b"user.a".to_vec()), Just(b"security.capability".to_vec())],
        proptest::collection::vec(any::<u8>(), 0..4),
        0..2,
    );
    (mode, prop_oneof![Just(0), Just(3_000_000)], 0_i64..3, xattrs)
        .prop_map(|(mode, uid, mtime, xattrs)| Metadata { mode, uid, gid: 0, mtime, xattrs })
}

/// One step of making a random tree.
#[derive(Debug, Clone)]
enum Op {
    Put(TreePath, Metadata, Kind),
    Link(TreePath, TreePath),
    Remove(TreePath),
}

fn random_path() -> impl Strategy<Value = TreePath> {
    let name = prop_oneof![Just("a"), Just("b"), Just("a.b"), Just("a-"), Just("\u{e9}"), Just("b0")];
    proptest::collection::vec(name, 1..4).prop_map(|names| path(names.join("/")))
}

fn random_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (random_path(), random_metadata(), random_kind()).prop_map(|(path, metadata, kind)| Op::Put(path, metadata, kind)),
        2 => (random_path(), random_path()).prop_map(|(from, to)| Op::Link(from, to)),
        1 => random_path().prop_map(Op::Remove),
    ]
}

fn apply(tree: &mut Tree, ops: Vec<Op>) {
    let parents = Metadata::default();
    for op in ops {
        match op {
            Op::Put(path, metadata, kind) => {
                tree.insert(path, Node { metadata, kind }, &parents).unwrap();
            }
            Op::Link(from, to) => {
                let Some(mut node) = tree.get(&from).cloned() else { continue };
                if !matches!(node.kind, Kind::File { .. })
                    || from == to
                    || from.is_below(&to)
                    || to.is_below(&from)
                {
                    continue;
                }
                if node.link() == 0 {
                    node.set_link(tree.fresh_link());
                    tree.insert(from, node.clone(), &parents).unwrap();
                }
                tree.insert(to, node, &parents).unwrap();
            }
            Op::Remove(path) => {
                tree.remove(&path);
            }
        }
    }
    // Names of one file have one mtime.
    let mut times: BTreeMap<u32, i64> = BTreeMap::new();
    let paths: Vec<TreePath> = tree.iter().map(|(path, _)| path.clone()).collect();
    for path in paths {
        let node = tree.get(&path).unwrap().clone();
        if node.link() != 0 {
            let mtime = *times.entry(node.link()).or_insert(node.metadata.mtime);
            tree.update_metadata(&path, |metadata| metadata.mtime = mtime);
        }
    }
}

/// Any small tree.
pub(crate) fn random_tree() -> impl Strategy<Value = Tree> {
    proptest::collection::vec(random_op(), 0..24).prop_map(|ops| {
        let mut tree = Tree::new();
        apply(&mut tree, ops);
        tree
    })
}

/// A tree and what some more steps make of it.
pub(crate) fn random_pair() -> impl Strategy<Value = (Tree, Tree)> {
    (random_tree(), proptest::collection::vec(random_op(), 0..8), any::<bool>()).prop_map(
        |(lower, ops, root)| {
            let mut upper = lower.clone();
            apply(&mut upper, ops);
            if root {
                upper.update_metadata(&TreePath::root(), |metadata| metadata.mode = 0o711);
            }
            (lower, upper)
        },
    )
}

/// Says that a test does nothing here. Not by `eprintln!`: the test runner hides what that prints in a test that passes.
pub(crate) fn skipped(reason: std::fmt::Arguments<'_>) {
    let line = format!("skipped: {reason}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}
