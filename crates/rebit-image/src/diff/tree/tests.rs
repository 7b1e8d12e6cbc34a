use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use rebit_layer::{Metadata, Tree};
use rebit_oci::object::{MemoryObjects, ObjectError, ObjectSink as _};

use super::*;

/// Counts what is read.
struct Counting<'a>(&'a MemoryObjects, AtomicUsize);

impl ObjectSource for Counting<'_> {
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read(object)
    }

    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        self.0.open(object)
    }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

/// A tree of files `path=content`; groups of hard links are added afterwards.
fn tree(files: &[(String, String)], objects: &MemoryObjects) -> Tree {
    let mut tree = Tree::new();
    for (name, content) in files {
        let object = objects.put(content.as_bytes(), &[]).unwrap();
        let node = Node::file(Metadata::new(0o644, 0), object, content.len() as u64);
        let _ = tree.insert(path(name), node, &Metadata::default());
    }
    tree
}

fn files(text: &str) -> Vec<(String, String)> {
    let pair = |word: &str| word.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    text.split_whitespace().map(pair).collect()
}

fn compare(a: &Tree, b: &Tree, objects: &MemoryObjects) -> (TreeChanges, usize) {
    let counting = Counting(objects, AtomicUsize::new(0));
    let side = |tree: &Tree| TreeSide { objects: &counting, tree: tree.store(objects).unwrap() };
    let found = changes(&side(a), &side(b), true).unwrap();
    let read = counting.1.load(Ordering::Relaxed);
    (found, read)
}

#[test]
fn changes_are_found() {
    let check = |a: &str, b: &str, expected: &[&str]| {
        let objects = MemoryObjects::new();
        let (found, _) = compare(&tree(&files(a), &objects), &tree(&files(b), &objects), &objects);
        let said = |change: &TreeChange| {
            let sign = match (&change.a, &change.b) {
                (Some(_), None) => '-',
                (None, _) => '+',
                (Some(_), Some(_)) => '*',
            };
            format!("{sign}{} {:?}", change.path, change.below)
        };
        assert_eq!(found.changes.iter().map(said).collect::<Vec<_>>(), expected);
    };
    check("a=1", "a=1", &[]);
    check("a=1", "a=2", &["*/a (0, 0)"]);
    check("a=1", "a=1 b=2", &["+/b (0, 0)"]);
    check("d/a=1 d/b/c=22", "x=1", &["-/d (3, 3)", "+/x (0, 0)"]);
    check("d/a=1 d/b=2 e=1", "d/a=1 d/b=3 d/c=4 e=2", &["*/d/b (0, 0)", "+/d/c (0, 0)", "*/e (0, 0)"]);
    check("d/a=1", "d=1", &["*/d (0, 0)"]);
}

#[test]
fn what_is_the_same_is_not_read() {
    let objects = MemoryObjects::new();
    let mut list: Vec<(String, String)> = Vec::new();
    for directory in 0..50 {
        list.extend((0..50).map(|file| (format!("d{directory}/e/f{file}"), format!("{directory}.{file}"))));
    }
    let a = tree(&list, &objects);
    list[7].1 = "other".to_owned();
    let b = tree(&list, &objects);
    let (found, read) = compare(&a, &b, &objects);
    assert_eq!(found.changes.len(), 1);
    // On each side: the root object, the root directory, d0, d0/e.
    assert_eq!(read, 8);
    assert_eq!(compare(&a, &a, &objects).1, 0);
}

#[test]
fn times_count_when_asked() {
    let objects = MemoryObjects::new();
    let a = tree(&files("a=1"), &objects);
    let mut b = a.clone();
    b.set_mtimes(5);
    let side = |tree: &Tree| TreeSide { objects: &objects, tree: tree.store(&objects).unwrap() };
    assert_eq!(changes(&side(&a), &side(&b), true).unwrap().changes.len(), 1);
    assert_eq!(changes(&side(&a), &side(&b), false).unwrap(), TreeChanges::default());
    assert!(!same(&side(&a), &side(&b)).unwrap() && same(&side(&a), &side(&a)).unwrap());
    // That of the root does not.
    let mut b = a.clone();
    b.update_metadata(&TreePath::root(), |metadata| metadata.mtime = 5);
    assert_ne!(a, b);
    assert_eq!(changes(&side(&a), &side(&b), true).unwrap(), TreeChanges::default());
    assert!(same(&side(&a), &side(&b)).unwrap());
}

proptest! {
    #[test]
    fn a_tree_is_itself_and_each_way_finds_the_same(
        a in prop::collection::vec(("[ab](/[ab]){0,3}", "[01]"), 0..8),
        b in prop::collection::vec(("[ab](/[ab]){0,3}", "[01]"), 0..8),
    ) {
        let objects = MemoryObjects::new();
        let (a, b) = (tree(&a, &objects), tree(&b, &objects));
        prop_assert_eq!(compare(&a, &a.clone(), &objects).0, TreeChanges::default());
        let (there, back) = (compare(&a, &b, &objects).0, compare(&b, &a, &objects).0);
        prop_assert_eq!(there.changes.is_empty(), a == b);
        let turned: Vec<TreeChange> = back.changes.into_iter()
            .map(|change| TreeChange { a: change.b, b: change.a, ..change }).collect();
        prop_assert_eq!(there.changes, turned);
    }
}
