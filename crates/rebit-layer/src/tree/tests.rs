use proptest::prelude::*;
use rebit_oci::ObjectId;
use rebit_oci::TreeId;
use rebit_oci::object::{MemoryObjects, ObjectSink, ObjectSource};

use super::*;
use crate::Compare;
use crate::testing::{path, random_pair, random_tree, tree};

fn names(found: impl Iterator<Item = (impl AsRef<[u8]>, impl Sized)>) -> Vec<String> {
    found.map(|(path, _)| String::from_utf8(path.as_ref().to_vec()).unwrap()).collect()
}

fn sample() -> Tree {
    tree(
        "d 755 0:0 a
         f 644 0:0 a/x = 1
         d 755 0:0 a/sub
         f 644 0:0 a/sub/deep = 2
         f 644 0:0 a/sub.x = 3
         f 644 0:0 a-b = 4
         f 644 0:0 a0 = 5
         l 0:0 link = a
         l 0:0 absolute = /a/sub
         l 0:0 up = ../../a/x
         l 0:0 loop = loop
         l 0:0 dangling = missing/there",
        &MemoryObjects::new(),
    )
}

#[test]
fn listing_goes_by_path_and_stays_below() {
    let tree = sample();
    let below = |at: &str| names(tree.below(&path(at)));
    assert_eq!(below("a"), ["a/sub", "a/sub.x", "a/sub/deep", "a/x"]);
    assert_eq!(below("a/x"), [""; 0]);
    assert_eq!(below("").len(), tree.len() - 1);
    let children = |at: &str| names(tree.children(&path(at)));
    assert_eq!(children("a"), ["a/sub", "a/sub.x", "a/x"]);
    assert_eq!(children(""), ["a", "a-b", "a0", "absolute", "dangling", "link", "loop", "up"]);
    assert_eq!(children("a/x"), [""; 0]);
    let counts = Counts { directories: 2, files: 5, symlinks: 5, others: 0 };
    assert_eq!((tree.counts(), tree.size()), (counts, 5));
}

#[test]
fn inserting_makes_parents_and_replaces_what_is_in_the_way() {
    let mut tree = sample();
    let file = tree.get(&path("a0")).unwrap().clone();
    let parents = Metadata::new(0o700, 7);
    tree.insert(path("a/x/y/z"), file.clone(), &parents).unwrap();
    assert_eq!(tree.get(&path("a/x")), Some(&Node::directory(parents.clone())));
    assert_eq!(tree.get(&path("a/x/y")), Some(&Node::directory(parents.clone())));
    // A directory over a directory keeps what is below, a file does not.
    tree.insert(path("a"), Node::directory(Metadata::new(0o711, 1)), &parents).unwrap();
    assert!(tree.contains(&path("a/x/y/z")));
    tree.insert(path("a"), file.clone(), &parents).unwrap();
    assert_eq!(names(tree.below(&path("a"))), [""; 0]);
    assert!(tree.contains(&path("a-b")) && tree.contains(&path("a0")));
    assert_eq!(tree.insert(path(""), file, &parents), Err(InsertError::Root));
    assert_eq!(tree.remove(&path("")), tree.len() + 7);
    assert!(tree.is_empty() && tree.contains(&path("")));
}

#[test]
fn paths_resolve_inside_the_root() {
    let tree = sample();
    let check = |input: &str, follow: bool, expected: Option<&str>| {
        let found = tree.resolve(input, follow).ok();
        assert_eq!(found, expected.map(path), "{input}");
    };
    check("", true, Some(""));
    check("/a/x", true, Some("a/x"));
    check("link/x", true, Some("a/x"));
    check("link", false, Some("link"));
    check("link", true, Some("a"));
    check("link/", false, Some("a"));
    check("absolute/deep", true, Some("a/sub/deep"));
    check("absolute/../x", true, Some("a/x"));
    check("up", true, Some("a/x"));
    check("../../..", true, Some(""));
    check("dangling", true, Some("missing/there"));
    check("dangling/more", true, Some("missing/there/more"));
    check("new/path/../other", true, Some("new/other"));
    check("loop", false, Some("loop"));
    check("loop", true, None);
    check("loop/x", false, None);
    check("a/x/y", true, None);
    check(&"n".repeat(256), true, None);
    assert!(matches!(tree.resolve("loop", true), Err(ResolveError::Loop { .. })));
    assert!(matches!(tree.resolve("a/x/y", true), Err(ResolveError::NotDirectory { .. })));
}

#[test]
fn grafting_copies_a_subtree_with_its_links() {
    let objects = MemoryObjects::new();
    let source = tree("f 644 1:1 s/a = x\nh s/b = s/a\nh s/d/c = s/a\nd 700 0:0 s/e", &objects);
    let mut target = tree("f 644 0:0 t/keep = y\nh t/keep2 = t/keep\nf 644 0:0 t/e = z", &objects);
    let parents = Metadata::default();
    let graft = |target: &mut Tree, conflict| {
        target.graft(&source, &path("s"), &path("t"), &parents, conflict, |at, node| {
            node.metadata.uid = 9;
            *at != path("t") && *at != path("t/b")
        })
    };
    assert_eq!(graft(&mut target.clone(), Conflict::Refuse), Err(GraftError::Conflict { path: path("t/e") }));
    graft(&mut target, Conflict::Replace).unwrap();
    assert_eq!(names(target.iter()), ["", "t", "t/a", "t/d", "t/d/c", "t/e", "t/keep", "t/keep2"]);
    assert_eq!(target.get(&path("t")).unwrap().metadata.uid, 0);
    assert_eq!(target.get(&path("t/a")).unwrap().metadata.uid, 9);
    assert_eq!(
        target.link_groups(),
        [vec![path("t/a"), path("t/d/c")], vec![path("t/keep"), path("t/keep2")]]
    );
    let missing = target.graft(&source, &path("no"), &path("t"), &parents, Conflict::Replace, |_, _| true);
    assert_eq!(missing, Err(GraftError::NotFound { path: path("no") }));
}

#[test]
fn metadata_changes_reach_every_name_of_a_file() {
    let mut tree = tree("f 644 0:0 a = x\nh b = a\nf 644 0:0 c = x\nl 0:0 l = a", &MemoryObjects::new());
    assert!(tree.update_metadata(&path("b"), |metadata| metadata.mode = 0o100_600));
    assert!(tree.update_metadata(&path("l"), |metadata| metadata.mode = 0o600));
    let mode = |at: &str| tree.get(&path(at)).unwrap().metadata.mode;
    assert_eq!([mode("a"), mode("b"), mode("c"), mode("l")], [0o600, 0o600, 0o644, 0o777]);
    assert!(!tree.clone().update_metadata(&path("none"), |_| {}));
}

// T-1, T-4
#[test]
fn a_stored_tree_has_golden_bytes() {
    let objects = MemoryObjects::new();
    let tree = tree(
        "d 755 0:0 d\nf 644 1:2 d/f = hello\nx d/f = user.k v\nh d/g = d/f\nl 0:0 l = d/f\nc 666 0:0 n = 1,3",
        &objects,
    );
    let id = tree.store(&objects).unwrap();
    assert_eq!(id.to_string(), GOLDEN_TREE);
    let root = object::decode_root(&objects.read(&id.object()).unwrap()).unwrap();
    assert_eq!(root.groups, [[path("d/f"), path("d/g")]]);
    let bytes = objects.read(&root.directory).unwrap();
    assert_eq!(bytes.get(..14), Some(&b"rebitdir\x01\0\x03\0\0\0"[..]));
}

const GOLDEN_TREE: &str = "478f0b7d607a9f2e5885a65279b4bcf2ab9a8f236e95f1b4d9654ff3c8037dcf";

// T-2
#[test]
fn directories_that_are_the_same_are_one_object() {
    let objects = MemoryObjects::new();
    let text = "f 644 0:0 same/a = x\nf 644 0:0 also/a = x\nf 644 0:0 other/a = y";
    let first = tree(text, &objects);
    let before = objects.len();
    first.store(&objects).unwrap();
    // The root object, the root directory, and two directories for three names.
    assert_eq!(objects.len() - before, 4);
    let mut second = first.clone();
    second.update_metadata(&path("other/a"), |metadata| metadata.mode = 0o600);
    let before = objects.len();
    second.store(&objects).unwrap();
    assert_eq!(objects.len() - before, 3);
}

// T-5, T-6
#[test]
fn loading_refuses_what_storing_never_writes() {
    let objects = MemoryObjects::new();
    let tree = tree("f 644 0:0 d/f = x\nh d/g = d/f\nf 644 0:0 z = q", &objects);
    let id = tree.store(&objects).unwrap();
    let root = object::decode_root(&objects.read(&id.object()).unwrap()).unwrap();
    let load = |root: &object::Root| {
        let id = objects.put(&object::encode_root(root), &[]).unwrap();
        Tree::load(&TreeId(*id.as_bytes()), &objects)
    };
    assert_eq!(load(&root).unwrap(), tree);
    let with_groups = |groups: &[&[&str]]| object::Root {
        groups: groups.iter().map(|group| group.iter().map(path).collect()).collect(),
        ..root.clone()
    };
    for groups in
        [&[&["d/f", "d/none"][..]][..], &[&["d", "d/f"]], &[&["d/f", "z"]], &[&["d/f", "d/g"], &["d/g", "z"]]]
    {
        assert!(matches!(load(&with_groups(groups)), Err(LoadError::Inconsistent { .. })), "{groups:?}");
    }
    for groups in [&[&["d/g", "d/f"][..]][..], &[&["d/f"]], &[&["d/f", "d/f"]], &[&["", "d/f"]]] {
        assert!(matches!(load(&with_groups(groups)), Err(LoadError::Corrupt { .. })), "{groups:?}");
    }
    let gone = object::Root { directory: ObjectId::of(b"gone"), ..root.clone() };
    assert!(matches!(load(&gone), Err(LoadError::Object { .. })));
    // A directory that holds itself would go on for ever.
    let id = Tree::load(&TreeId(*ObjectId::of(b"gone").as_bytes()), &objects);
    assert!(matches!(id, Err(LoadError::Object { .. })));
}

// T-3
#[test]
fn objects_name_what_they_refer_to() {
    /// Keeps the edges of what is put.
    #[derive(Default)]
    struct Edges(MemoryObjects, std::sync::Mutex<Vec<(ObjectId, Vec<ObjectId>)>>);
    impl ObjectSink for Edges {
        fn put(
            &self,
            content: &[u8],
            edges: &[ObjectId],
        ) -> Result<ObjectId, rebit_oci::object::ObjectError> {
            let object = self.0.put(content, edges)?;
            self.1.lock().unwrap().push((object, edges.to_vec()));
            Ok(object)
        }

        fn put_reader(
            &self,
            reader: &mut dyn std::io::Read,
        ) -> Result<(ObjectId, u64), rebit_oci::object::ObjectError> {
            self.0.put_reader(reader)
        }
    }
    let sink = Edges::default();
    let tree =
        tree("f 644 0:0 d/f = x\nf 644 0:0 a = y\nf 644 0:0 b = y\nl 0:0 l = a", &MemoryObjects::new());
    let id = tree.store(&sink).unwrap();
    let put = sink.1.into_inner().unwrap();
    let [(directory, inner), (top, outer), (root, last)] = &put[..] else { panic!("{put:?}") };
    assert_eq!(inner, &[ObjectId::of(b"x")]);
    let mut expected = vec![*directory, ObjectId::of(b"y")];
    expected.sort();
    assert_eq!(outer, &expected);
    assert_eq!((last, *root), (&vec![*top], id.object()));
}

// T-7
#[test]
fn a_tree_that_unfolds_without_end_meets_a_limit() {
    let objects = MemoryObjects::new();
    let node = Node::directory(Metadata::default());
    let mut directory = objects.put(&object::encode_directory([].into_iter()), &[]).unwrap();
    for _ in 0..=MAX_DEPTH {
        let entries = [(&b"a"[..], &node, Some(directory)), (&b"b"[..], &node, Some(directory))];
        directory = objects.put(&object::encode_directory(entries.into_iter()), &[]).unwrap();
    }
    let root = object::Root { metadata: Metadata::default(), directory, groups: Vec::new() };
    let id = objects.put(&object::encode_root(&root), &[]).unwrap();
    let loaded = Tree::load(&TreeId(*id.as_bytes()), &objects);
    assert!(matches!(loaded, Err(LoadError::Limit { .. })));
}

#[test]
fn storing_refuses_what_would_not_load() {
    let objects = MemoryObjects::new();
    let mut deep = Tree::new();
    let path = TreePath::parse(vec!["d"; MAX_DEPTH + 1].join("/")).unwrap();
    deep.insert(path, Node::directory(Metadata::default()), &Metadata::default()).unwrap();
    assert!(matches!(deep.store(&objects), Err(StoreError::Limit { .. })));
    for target in ["", "a\0b", &"t".repeat(4096)] {
        let mut tree = Tree::new();
        let node = Node::symlink(Metadata::default(), target);
        tree.insert(crate::testing::path("l"), node, &Metadata::default()).unwrap();
        assert!(matches!(tree.store(&objects), Err(StoreError::Unsupported { .. })));
    }
}

#[test]
fn equality_looks_at_link_groups_by_their_members() {
    let objects = MemoryObjects::new();
    let linked = tree("f 644 0:0 a = x\nh b = a\nf 644 0:0 c = x", &objects);
    let other = tree("f 644 0:0 b = x\nf 644 0:0 a = x\nh c = a", &objects);
    assert!(linked != other);
    let mut renumbered = linked.clone();
    for at in ["a", "b"] {
        let mut node = linked.get(&path(at)).unwrap().clone();
        node.set_link(77);
        renumbered.insert(path(at), node, &Metadata::default()).unwrap();
    }
    assert_eq!(linked, renumbered);
    renumbered.renumber_links();
    assert_eq!(renumbered.get(&path("a")).unwrap().link(), 1);
    let mut later = linked.clone();
    later.set_mtimes(5);
    assert!(later != linked && later.same(&linked, Compare::IgnoreMtime));
}

proptest! {
    #[test]
    fn a_stored_tree_loads_as_it_was(tree in random_tree()) {
        let objects = MemoryObjects::new();
        let id = tree.store(&objects).unwrap();
        let loaded = Tree::load(&id, &objects).unwrap();
        prop_assert_eq!(&loaded, &tree);
        prop_assert_eq!(loaded.store(&objects).unwrap(), id);
    }

    #[test]
    fn different_trees_have_different_identities((a, b) in random_pair()) {
        let objects = MemoryObjects::new();
        prop_assert_eq!(a.store(&objects).unwrap() == b.store(&objects).unwrap(), a == b);
    }

    #[test]
    fn decoding_takes_exactly_what_encoding_writes(tree in random_tree(), flip in any::<(usize, u8)>()) {
        let objects = MemoryObjects::new();
        let id = tree.store(&objects).unwrap();
        let root = objects.read(&id.object()).unwrap();
        let decoded = object::decode_root(&root).unwrap();
        let directory = objects.read(&decoded.directory).unwrap();
        for bytes in [&root, &directory] {
            let mut damaged = bytes.to_vec();
            let at = flip.0 % damaged.len();
            damaged[at] ^= flip.1;
            if let Ok(root) = object::decode_root(&damaged) {
                prop_assert_eq!(object::encode_root(&root), damaged.clone());
            }
            if let Ok(entries) = object::decode_directory(&damaged) {
                let again = entries.iter().map(|entry| (&entry.name[..], &entry.node, entry.directory));
                prop_assert_eq!(object::encode_directory(again), damaged);
            }
        }
    }

    #[test]
    fn resolving_never_leads_out_or_panics(tree in random_tree(), at in "[ab./]{0,12}", follow in any::<bool>()) {
        if let Ok(found) = tree.resolve(&at, follow) {
            prop_assert!(TreePath::parse(found.as_bytes()).is_ok());
        }
    }
}
