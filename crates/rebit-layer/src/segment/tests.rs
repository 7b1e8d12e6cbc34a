use std::collections::BTreeSet;

use rebit_oci::object::MemoryObjects;

use super::*;
use crate::tar::write::entries;
use crate::testing::{path, tree};
use crate::{Changeset, Metadata, Node, Tree};

fn cut(tree: &Tree) -> Vec<Segment> {
    let changes = Changeset::full(tree);
    segments(entries(&changes, 0)).collect::<Result<_, _>>().unwrap()
}

/// A tree of files that exist only as sizes: cutting reads no content.
fn files(sizes: impl IntoIterator<Item = (String, u64)>) -> Tree {
    let mut tree = Tree::new();
    for (name, size) in sizes {
        let object = ObjectId::of(name.as_bytes());
        let node = Node::file(Metadata::new(0o644, 0), object, size);
        tree.insert(path(name), node, &Metadata::default()).unwrap();
    }
    tree
}

fn many(count: u64) -> impl Iterator<Item = (String, u64)> {
    (0..count).map(|number| (format!("d{}/f{number:05}", number / 50), number * 7919 % 60_000))
}

// L-30, L-31
#[test]
fn a_small_layer_is_one_segment() {
    for text in ["", "f 644 0:0 a = x\nf 644 0:0 b = y", "f 644 0:0 a = x*2000000"] {
        let tree = tree(text, &MemoryObjects::new());
        let segments = cut(&tree);
        assert_eq!(segments.len(), 1, "{text}");
        assert!(matches!(segments[0].pieces.last(), Some(Piece::Bytes(bytes)) if bytes.ends_with(&TRAILER)));
    }
}

// L-32, L-33
#[test]
fn segments_have_the_sizes_that_are_meant() {
    let segments = cut(&files(many(4000)));
    let sizes: Vec<u64> = segments.iter().map(|segment| segment.length).collect();
    let (last, others) = sizes.split_last().unwrap();
    assert!(*last < MAX + LARGE);
    for size in others {
        assert!((MIN..MAX + LARGE).contains(size), "{size}");
    }
    let mean = sizes.iter().sum::<u64>() / sizes.len() as u64;
    assert!((700_000..1_400_000).contains(&mean), "{mean}");
}

// L-34
#[test]
fn a_large_file_is_cut_inside_at_fixed_places() {
    const MIB: u64 = 1 << 20;
    fn check(size: u64, expected: &[(u64, u64)]) {
        let segments = cut(&files([("a".into(), 100), ("large".into(), size), ("z".into(), 100)]));
        let pieces: Vec<(u64, u64)> = segments
            .iter()
            .flat_map(|segment| &segment.pieces)
            .filter_map(|piece| match piece {
                Piece::Content { offset, length, total, .. } if *total == size => Some((*offset, *length)),
                _ => None,
            })
            .collect();
        assert_eq!(pieces, expected);
        // The small entries before and after have segments of their own.
        let inside = if size > LARGE { expected.len() + 2 } else { 1 };
        assert_eq!(segments.len(), inside, "{size}");
    }
    check(2 * MIB + 1, &[(0, MIB), (MIB, MIB + 1)]);
    check(3 * MIB - 1, &[(0, MIB), (MIB, 2 * MIB - 1)]);
    check(3 * MIB, &[(0, MIB), (MIB, MIB), (2 * MIB, MIB)]);
    check(4 * MIB + 5, &[(0, MIB), (MIB, MIB), (2 * MIB, MIB), (3 * MIB, MIB + 5)]);
}

// L-35
#[test]
fn an_insertion_moves_only_the_cuts_near_it() {
    let keys = |tree: &Tree| cut(tree).iter().map(Segment::key).collect::<BTreeSet<_>>();
    let before = files(many(4000));
    let base = keys(&before);
    for (name, size) in [("d12/f00600a", 10), ("d12/f00600a", 900_000), ("d40/new", 5_000_000), ("a", 1)] {
        let mut after = before.clone();
        let node = Node::file(Metadata::new(0o644, 0), ObjectId::of(b"new"), size);
        after.insert(path(name), node, &Metadata::default()).unwrap();
        let changed = keys(&after).difference(&base).count() as u64;
        let new = size / STRIDE + 2;
        assert!(changed <= new + 3, "{name} {size}: {changed} of {} segments are new", base.len());
    }
}

// L-36
#[test]
fn a_key_tells_segments_apart_and_knows_parts_of_a_file() {
    let object = ObjectId::of(b"x");
    let content = |offset, length| Piece::Content { object, offset, length, total: 10 };
    let key = |pieces: &[Piece]| Segment { pieces: pieces.to_vec(), length: 0 }.key();
    let different = [
        key(&[]),
        key(&[Piece::Bytes(b"ab".to_vec())]),
        key(&[Piece::Bytes(b"a".to_vec())]),
        key(&[content(0, 5)]),
        key(&[content(5, 5)]),
        key(&[content(0, 10)]),
        key(&[Piece::Bytes(b"a".to_vec()), content(0, 5)]),
    ];
    assert_eq!(BTreeSet::from(different).len(), different.len());
    // The middle of a large file is the same segment wherever the file is.
    let middle = |name: &str| {
        let tree = files([(name.to_owned(), 1), ("zz".into(), 5 << 20)]);
        cut(&tree).iter().map(Segment::key).collect::<Vec<_>>()
    };
    assert_eq!(middle("a")[2..4], middle("bb")[2..4]);
}

#[test]
fn an_entry_that_cannot_be_written_ends_the_stream() {
    let tree = files([(".wh.a".into(), 1), ("b".into(), 1)]);
    let changes = Changeset::full(&tree);
    let mut segments = segments(entries(&changes, 0));
    assert!(matches!(segments.next(), Some(Err(WriteError::Unsupported { .. }))));
    assert!(segments.next().is_none());
}
