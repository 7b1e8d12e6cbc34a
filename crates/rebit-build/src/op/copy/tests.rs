use std::sync::Arc;

use rebit_layer::{Metadata, Node, Tree, TreePath};
use rebit_oci::encode::Preimage;
use rebit_oci::object::{MemoryObjects, ObjectSink as _};

use super::archive::is_tar_header;
use super::{place, select};
use crate::error::StepProblem;
use crate::graph::{CopyOp, CopySource, SourcePath};

const EPOCH: i64 = 7;

/// A tree from lines: `dir/` is a directory, `link -> target` a link, anything else a file holding its own path.
fn tree(objects: &MemoryObjects, lines: &[&str]) -> Tree {
    let mut tree = Tree::new();
    for line in lines {
        let metadata = Metadata::new(if line.ends_with('/') { 0o700 } else { 0o640 }, 1);
        let (path, node) = match line.split_once(" -> ") {
            Some((path, target)) => (path, Node::symlink(metadata, target)),
            None if line.ends_with('/') => (line.trim_end_matches('/'), Node::directory(metadata)),
            None => {
                let object = objects.put(line.as_bytes(), &[]).unwrap();
                (*line, Node::file(metadata, object, line.len() as u64))
            }
        };
        tree.insert(TreePath::parse(path).unwrap(), node, &Metadata::directory(1)).unwrap();
    }
    tree
}

fn op(sources: &[&str], dest: &str) -> CopyOp {
    CopyOp {
        from: CopySource::Context,
        sources: sources.iter().map(|path| SourcePath::Path((*path).to_owned())).collect(),
        dest: dest.to_owned(),
        chown: None,
        chmod: None,
        unpack: false,
        excludes: Vec::new(),
        parents: false,
        link: false,
    }
}

fn copy(op: &CopyOp, source: &[&str], lower: &[&str]) -> Result<Tree, StepProblem> {
    let objects = MemoryObjects::new();
    let (source, lower) = (Arc::new(tree(&objects, source)), tree(&objects, lower));
    let selection = select(op, &source, &[], &objects, EPOCH, "the build context")?;
    place(op, &selection, &lower, &objects, EPOCH)
}

fn names(tree: &Tree) -> Vec<String> {
    let shown = |(path, node): (&TreePath, &Node)| {
        let suffix = if node.is_directory() { "/" } else { "" };
        format!("{}{suffix}", String::from_utf8_lossy(path.as_bytes()))
    };
    tree.below(&TreePath::root()).map(shown).collect()
}

#[test]
fn sources_land_where_the_reference_says() {
    let source = ["a", "b.txt", "c.txt", "d/", "d/x", "d/s/", "d/s/y", "l -> d", "up -> /../a"];
    let check = |sources: &[&str], dest: &str, lower: &[&str], expected: &[&str]| {
        let tree = copy(&op(sources, dest), &source, lower).unwrap();
        assert_eq!(names(&tree), expected, "{sources:?} to {dest}");
    };
    check(&["a"], "/f", &[], &["f"]);
    check(&["a"], "/f/", &[], &["f/", "f/a"]);
    check(&["a"], "/f", &["f/"], &["f/", "f/a"]);
    check(&["a"], "/f", &["g/", "f -> g"], &["f", "g/", "g/a"]);
    check(&["a"], "/n/m/f", &[], &["n/", "n/m/", "n/m/f"]);
    check(&["d"], "/e", &[], &["e/", "e/s/", "e/s/y", "e/x"]);
    check(&["d", "a"], "/e/", &["e/z"], &["e/", "e/a", "e/s/", "e/s/y", "e/x", "e/z"]);
    check(&["l"], "/e", &[], &["e/", "e/s/", "e/s/y", "e/x"]);
    check(&["up"], "/e/", &[], &["e/", "e/up"]);
    check(&["*.txt"], "/e/", &[], &["e/", "e/b.txt", "e/c.txt"]);
    check(&["d/?"], "/e/", &[], &["e/", "e/x", "e/y"]);
    check(&["l/?"], "/e/", &[], &["e/", "e/x", "e/y"]);
    check(&["none*"], "/e/", &[], &[]);
    check(&["/../../a"], "/f", &[], &["f"]);
    check(&["a/"], "/f", &[], &["f"]);
    check(&["."], "/", &[], &["a", "b.txt", "c.txt", "d/", "d/s/", "d/s/y", "d/x", "l", "up"]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let check = |sources: &[&str], dest: &str, lower: &[&str], expected: &str| {
        let error =
            copy(&op(sources, dest), &["a", "d/", "d/x/", "loop -> loop"], lower).unwrap_err().to_string();
        assert!(error.contains(expected), "{sources:?}: {error}");
    };
    check(&["none"], "/f", &[], "`none` does not exist in the build context");
    check(&["d"], "/f", &["f"], "f");
    check(&["d"], "/", &["x"], "`/x` cannot be replaced");
    check(&["a"], "/f/g", &["f"], "`/f` is not a directory");
    check(&["loop"], "/f", &[], "too many symbolic links");
    check(&["[a"], "/f", &[], "`[a` is not a valid pattern");
    check(&["[ad]"], "/f", &[], "the wildcards match 2 sources");
}

#[test]
fn metadata_is_of_the_source_unless_told_otherwise() {
    let source = ["d/", "d/x"];
    let metadata = |op: &CopyOp, lower: &[&str], path: &str| {
        let tree = copy(op, &source, lower).unwrap();
        let metadata = &tree.get(&TreePath::parse(path).unwrap()).unwrap().metadata;
        (metadata.mode, metadata.uid, metadata.gid, metadata.mtime)
    };
    assert_eq!(metadata(&op(&["d"], "/n/e"), &[], "n/e/x"), (0o640, 0, 0, EPOCH));
    assert_eq!(metadata(&op(&["d"], "/n/e"), &[], "n/e"), (0o755, 0, 0, EPOCH), "its content is copied");
    assert_eq!(metadata(&op(&["."], "/n/e"), &[], "n/e/d"), (0o700, 0, 0, EPOCH));
    assert_eq!(metadata(&op(&["d"], "/n/e"), &[], "n"), (0o755, 0, 0, EPOCH));
    assert_eq!(metadata(&op(&["d"], "/e"), &["e/"], "e"), (0o700, 0, 0, 1), "a destination keeps its own");
    let mut changed = op(&["d"], "/n/e");
    (changed.chown, changed.chmod) = (Some("3:4".into()), Some("0505".into()));
    assert_eq!(metadata(&changed, &[], "n/e/x"), (0o505, 3, 4, EPOCH));
    assert_eq!(metadata(&changed, &[], "n"), (0o755, 3, 4, EPOCH));
}

#[test]
fn a_selection_is_described_by_what_is_copied() {
    let describe = |source: &[&str], path: &str| {
        let objects = MemoryObjects::new();
        let source = Arc::new(tree(&objects, source));
        let mut preimage = Preimage::new("test", 1);
        select(&op(&[path], "/"), &source, &[], &objects, EPOCH, "").unwrap().describe(&mut preimage);
        preimage.key()
    };
    assert_eq!(describe(&["d/x", "other"], "d"), describe(&["d/x", "changed"], "d"));
    assert_ne!(describe(&["d/x"], "d"), describe(&["d/y"], "d"));
    assert_ne!(describe(&["d/x"], "d"), describe(&["d/x", "d/l -> x"], "d"));
    assert_ne!(describe(&["a", "b"], "a"), describe(&["a", "b"], "b"));
}

#[test]
fn headers_are_told_from_other_blocks() {
    assert!(!is_tar_header(&[0; 512]) && !is_tar_header(&[0; 100]) && !is_tar_header(&[b'7'; 512]));
    let mut block = [0; 512];
    block[0] = b'a';
    let sum = u32::from(b'a') + 8 * u32::from(b' ');
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(is_tar_header(&block));
    block[1] = b'b';
    assert!(!is_tar_header(&block));
}

/// An operation with its flags as they are written.
fn flagged(flags: &[&str], sources: &[&str], dest: &str) -> CopyOp {
    let mut op = op(sources, dest);
    for flag in flags {
        match flag.split_once('=') {
            Some(("exclude", pattern)) => op.excludes.push(pattern.to_owned()),
            Some(("chown", owner)) => op.chown = Some(owner.to_owned()),
            Some(("chmod", mode)) => op.chmod = Some(mode.to_owned()),
            _ => match *flag {
                "parents" => op.parents = true,
                "link" => op.link = true,
                "unpack" => op.unpack = true,
                other => panic!("{other}"),
            },
        }
    }
    op
}

#[test]
fn what_is_excluded_is_not_copied() {
    let source =
        ["a.o", "b.c", "d/", "d/a.o", "d/b.c", "d/s/", "d/s/a.o", "d/s/keep/", "d/s/keep/x", "l -> d"];
    let check = |excludes: &[&str], sources: &[&str], dest: &str, expected: &[&str]| {
        let flags: Vec<String> = excludes.iter().map(|pattern| format!("exclude={pattern}")).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let tree = copy(&flagged(&flags, sources, dest), &source, &[]).unwrap();
        assert_eq!(names(&tree), expected, "{excludes:?} {sources:?}");
    };
    check(&["*.o"], &["d"], "/e", &["e/", "e/b.c", "e/s/", "e/s/a.o", "e/s/keep/", "e/s/keep/x"]);
    check(&["**/*.o"], &["d"], "/e", &["e/", "e/b.c", "e/s/", "e/s/keep/", "e/s/keep/x"]);
    check(&["d/a.o"], &["d"], "/e/", &["e/", "e/a.o", "e/b.c", "e/s/", "e/s/a.o", "e/s/keep/", "e/s/keep/x"]);
    check(&["s"], &["l"], "/e", &["e/", "e/a.o", "e/b.c"]);
    check(&["/s/"], &["d"], "/e", &["e/", "e/a.o", "e/b.c"]);
    check(&["s", "!s/keep/x"], &["d"], "/e", &["e/", "e/a.o", "e/b.c", "e/s/", "e/s/keep/", "e/s/keep/x"]);
    check(&["s", "!s/none"], &["d"], "/e", &["e/", "e/a.o", "e/b.c"]);
    check(&["*"], &["d"], "/e", &["e/"]);
    check(
        &["*.c", "s"],
        &["."],
        "/",
        &["a.o", "d/", "d/a.o", "d/b.c", "d/s/", "d/s/a.o", "d/s/keep/", "d/s/keep/x", "l"],
    );
    // A file counts as lying in its directory; a directory is not left out of itself.
    check(&["*.o", "*.c"], &["*", "d/b.c"], "/e/", &["e/", "e/s/", "e/s/a.o", "e/s/keep/", "e/s/keep/x"]);
    check(&["d"], &["d/b.c", "d/s/keep"], "/e/", &["e/", "e/b.c", "e/x"]);
    check(&["a.o"], &["a.o"], "/e/", &[]);
}

#[test]
fn parents_are_kept_below_the_destination() {
    let source = [
        "f",
        "t/a/b/c/d/e/",
        "t/a/b/c/d/e/bay",
        "t/a/b/c/d/foo",
        "t/a/b/c2/d/e/baz",
        "t/a/b2/c/d/e/bar",
        "t/a/bx",
        "l -> t/a",
    ];
    let check = |sources: &[&str], expected: &[&str]| {
        let tree = copy(&flagged(&["parents"], sources, "/o/"), &source, &[]).unwrap();
        let leaves: Vec<String> = names(&tree)
            .into_iter()
            .filter(|name| {
                !name.ends_with('/') || tree.children(&TreePath::normalise(name).unwrap()).next().is_none()
            })
            .collect();
        assert_eq!(leaves, expected, "{sources:?}");
    };
    check(&["f"], &["o/f"]);
    check(&["./t/a/b/c/d"], &["o/t/a/b/c/d/e/bay", "o/t/a/b/c/d/foo"]);
    check(&["/t/a/b/c/d/."], &["o/t/a/b/c/d/e/bay", "o/t/a/b/c/d/foo"]);
    check(&["t/a/b/./c/d/foo"], &["o/c/d/foo"]);
    check(&["t/a/./b/./c"], &["o/b/c/d/e/bay", "o/b/c/d/foo"]);
    check(&["t/a/./*/c"], &["o/b/c/d/e/bay", "o/b/c/d/foo", "o/b2/c/d/e/bar"]);
    check(&["t/a/b*/./c/**/e"], &["o/c/d/e/bar", "o/c/d/e/bay"]);
    check(&["t/a/b/c*/./d/**/baz", "t/a/b*/./c/**/bar"], &["o/c/d/e/bar", "o/d/e/baz"]);
    check(&["**/ba?"], &["o/t/a/b/c/d/e/bay", "o/t/a/b/c2/d/e/baz", "o/t/a/b2/c/d/e/bar"]);
    check(&["l/./bx", "l"], &["o/bx", "o/l"]);
    check(&["t/none*"], &["o/"]);
    check(&["none*/./x"], &[]);
    check(&["t/a/b/c/./."], &["o/d/e/bay", "o/d/foo"]);

    let fails = |path: &str, lower: &[&str], expected: &str| {
        let error = copy(&flagged(&["parents"], &[path], "/o"), &source, lower).unwrap_err().to_string();
        assert_eq!(error, expected, "{path}");
    };
    fails("t/none", &[], "`t/none` does not exist in the build context");
    fails("none/./x*", &[], "`none` does not exist in the build context");
    fails("f/./x", &[], "`f` is not a directory");
    fails("t/a/bx", &["o/t"], "`/o/t` cannot be replaced: one is a directory and the other is not");
    fails("f", &["o"], "`/o` is not a directory");
    fails("f", &["o/f/x"], "`/o/f` cannot be replaced: one is a directory and the other is not");

    let tree = copy(&flagged(&["parents", "exclude=t/a/b/c", "exclude=**/e"], &["t/a/b"], "/"), &source, &[]);
    assert_eq!(names(&tree.unwrap()), ["t/", "t/a/", "t/a/b/", "t/a/b/c2/", "t/a/b/c2/d/"]);
}

fn metadata(tree: &Tree, path: &str) -> (u32, u32, u32) {
    let metadata = &tree.get(&TreePath::parse(path).unwrap()).unwrap().metadata;
    (metadata.mode, metadata.uid, metadata.gid)
}

#[test]
fn parents_have_the_metadata_of_the_source() {
    let source = ["p/", "p/q/", "p/q/x", "p/y"];
    let made = copy(&flagged(&["parents", "chown=3:4"], &["p/q/x"], "/o/n"), &source, &["o/"]).unwrap();
    assert_eq!(metadata(&made, "o"), (0o700, 0, 0), "it was there");
    assert_eq!(metadata(&made, "o/n"), (0o755, 3, 4), "no source stands for the destination");
    assert_eq!([metadata(&made, "o/n/p"), metadata(&made, "o/n/p/q")], [(0o700, 3, 4); 2]);
    assert_eq!(metadata(&made, "o/n/p/q/x"), (0o640, 3, 4));
    let made = copy(&flagged(&["parents", "chmod=0711"], &["p/q/x"], "/"), &source, &[]).unwrap();
    assert_eq!([metadata(&made, "p"), metadata(&made, "p/q/x")], [(0o711, 0, 0); 2]);

    // A directory on the way that is there gets the mode and keeps its owner.
    let objects = MemoryObjects::new();
    let mut lower = Tree::new();
    let mut node = Node::directory(Metadata::new(0o755, 1));
    node.metadata.uid = 9;
    lower.insert(TreePath::parse("p").unwrap(), node, &Metadata::default()).unwrap();
    let source = Arc::new(tree(&objects, &source));
    let op = flagged(&["parents", "chown=3:4", "chmod=0711"], &["p/q/x"], "/");
    let selection = select(&op, &source, &[], &objects, EPOCH, "").unwrap();
    let placed = place(&op, &selection, &lower, &objects, EPOCH).unwrap();
    assert_eq!(metadata(&placed, "p"), (0o700, 9, 0));
    assert_eq!(metadata(&placed, "p/q"), (0o711, 3, 4));
}

#[test]
fn a_linked_copy_does_not_look_at_what_is_there() {
    let source = ["a", "d/", "d/x", "d/s/", "d/s/y"];
    let check = |flags: &[&str], sources: &[&str], dest: &str, lower: &[&str], expected: &[&str]| {
        let tree = copy(&flagged(&[flags, &["link"]].concat(), sources, dest), &source, lower).unwrap();
        assert_eq!(names(&tree), expected, "{sources:?} to {dest} on {lower:?}");
    };
    check(&[], &["a"], "/f", &["g"], &["f", "g"]);
    // A directory there does not make it one.
    check(&[], &["a"], "/f", &["f/", "f/z"], &["f"]);
    check(&[], &["a"], "/f/", &["f/", "f/z"], &["f/", "f/a", "f/z"]);
    check(&[], &["a"], "/f/g", &["f"], &["f/", "f/g"]);
    check(&[], &["a"], "/l/f", &["t/", "t/z", "l -> t"], &["l/", "l/f", "t/", "t/z"]);
    check(&[], &["a"], "/l", &["t", "l -> t"], &["l", "t"]);
    check(&[], &["a"], "/loop/f", &["loop -> loop"], &["loop/", "loop/f"]);
    check(&[], &["d"], "/e", &["e/s", "e/x/", "e/x/z", "e/k"], &["e/", "e/k", "e/s/", "e/s/y", "e/x"]);
    check(&["exclude=s"], &["d"], "/", &["z"], &["x", "z"]);
    check(&["parents"], &["d/s/y"], "/o", &["o -> p", "p/"], &["o/", "o/d/", "o/d/s/", "o/d/s/y", "p/"]);

    let flagged = |flags: &[&str]| copy(&flagged(flags, &["a"], "/f/g/"), &source, &["f/", "f/g/"]);
    let plain = flagged(&[]).unwrap();
    assert_eq!([metadata(&plain, "f"), metadata(&plain, "f/g")], [(0o700, 0, 0); 2]);
    let linked = flagged(&["link"]).unwrap();
    assert_eq!([metadata(&linked, "f"), metadata(&linked, "f/g")], [(0o755, 0, 0); 2]);
    let owned = flagged(&["link", "chown=3:4"]).unwrap();
    assert_eq!([metadata(&owned, "f"), metadata(&owned, "f/g")], [(0o755, 3, 4); 2]);
    assert_eq!(linked.root(), Tree::new().root(), "the root itself is no part of a layer");

    let many = copy(&self::flagged(&["link"], &["[ad]"], "/f"), &["a", "d"], &["f/"]).unwrap_err();
    assert!(many.to_string().contains("match 2 sources"), "{many}");
    let named =
        copy(&self::flagged(&["link", "chown=web"], &["a"], "/f"), &["a"], &["etc/passwd"]).unwrap_err();
    assert!(named.to_string().contains("`web`"), "{named}");
}

#[test]
fn what_is_excluded_is_not_described() {
    let describe = |flags: &[&str], source: &[&str], path: &str| {
        let objects = MemoryObjects::new();
        let source = Arc::new(tree(&objects, source));
        let mut preimage = Preimage::new("test", 1);
        let op = flagged(flags, &[path], "/");
        select(&op, &source, &[], &objects, EPOCH, "").unwrap().describe(&mut preimage);
        preimage.key()
    };
    let exclude = ["exclude=o"];
    assert_eq!(describe(&exclude, &["d/x", "d/o/1"], "d"), describe(&exclude, &["d/x", "d/o/2"], "d"));
    assert_eq!(describe(&exclude, &["d/x", "d/o/1"], "d"), describe(&exclude, &["d/x"], "d"));
    assert_ne!(describe(&exclude, &["d/x"], "d"), describe(&exclude, &["d/y"], "d"));
    assert_eq!(describe(&["parents"], &["d/x", "d/o"], "d/x"), describe(&["parents"], &["d/x", "e"], "d/x"));
    assert_ne!(
        describe(&["parents"], &["d/", "d/x"], "d/x"),
        describe(&["parents"], &["d/x"], "d/x"),
        "a mode"
    );
    // Written, or only on the way: not the same over a directory that is there.
    assert_ne!(describe(&["parents"], &["d/x"], "d/x"), describe(&["parents"], &["d/x"], "d"));
}

/// An archive with a directory `d`, a file `d/f`, a link `l` and an entry for the directory it was made of.
fn archive() -> Vec<u8> {
    let header = |name: &str, kind: u8, mode: u32, size: usize, target: &str| {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        block[108..115].copy_from_slice(b"0000005");
        block[116..123].copy_from_slice(b"0000006");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000000");
        block[148..156].copy_from_slice(b"        ");
        block[156] = kind;
        block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    };
    let mut tar = Vec::new();
    tar.extend(header("./", b'5', 0o700, 0, ""));
    tar.extend(header("./d/", b'5', 0o710, 0, ""));
    tar.extend(header("./d/f", b'0', 0o604, 1, ""));
    tar.extend([&b"x"[..], &[0; 511]].concat());
    tar.extend(header("./l", b'2', 0o777, 0, "d"));
    tar.extend([0; 1024]);
    tar
}

#[test]
fn archives_are_unpacked_over_what_is_there() {
    let objects = MemoryObjects::new();
    let mut source = tree(&objects, &["plain"]);
    let bytes = archive();
    let object = objects.put(&bytes, &[]).unwrap();
    for name in ["a.tar", "b.tar"] {
        let node = Node::file(Metadata::new(0o640, 1), object, bytes.len() as u64);
        source.insert(TreePath::parse(name).unwrap(), node, &Metadata::default()).unwrap();
    }
    let source = Arc::new(source);
    let add = |flags: &[&str], sources: &[&str], dest: &str, lower: &[&str]| {
        let op = flagged(flags, sources, dest);
        let selection = select(&op, &source, &[], &objects, EPOCH, "").unwrap();
        place(&op, &selection, &tree(&objects, lower), &objects, EPOCH).unwrap()
    };
    let check = |flags: &[&str], sources: &[&str], dest: &str, lower: &[&str], expected: &[&str]| {
        assert_eq!(names(&add(flags, sources, dest, lower)), expected, "{flags:?} {sources:?} on {lower:?}");
    };
    check(&[], &["a.tar"], "/x", &[], &["x"]);
    check(&["unpack"], &["a.tar"], "/x", &[], &["x/", "x/d/", "x/d/f", "x/l"]);
    check(&["unpack"], &["*"], "/x/", &[], &["x/", "x/d/", "x/d/f", "x/l", "x/plain"]);
    check(&["unpack"], &["*.tar"], "/", &[], &["d/", "d/f", "l"]);
    check(&["unpack"], &["a.tar"], "/", &["d/z", "l/", "l/z"], &["d/", "d/f", "d/z", "l"]);
    check(&["unpack"], &["a.tar"], "/", &["d"], &["d/", "d/f", "l"]);
    check(&["unpack", "exclude=a*"], &["*.tar"], "/x/", &[], &["x/", "x/d/", "x/d/f", "x/l"]);
    check(&["unpack", "link"], &["a.tar"], "/x", &["y/", "x -> y"], &["x/", "x/d/", "x/d/f", "x/l", "y/"]);

    let of = |tree: &Tree| ["x", "x/d", "x/d/f"].map(|path| metadata(tree, path));
    let kept = add(&["unpack"], &["a.tar"], "/x", &[]);
    assert_eq!(of(&kept), [(0o755, 0, 0), (0o710, 5, 6), (0o604, 5, 6)]);
    let changed = add(&["unpack", "chown=3:4", "chmod=0600"], &["a.tar"], "/x", &[]);
    assert_eq!(of(&changed), [(0o755, 3, 4), (0o710, 3, 4), (0o604, 3, 4)], "an owner, and no modes");
    let there = add(&["unpack", "chown=3:4"], &["a.tar"], "/x", &["x/"]);
    assert_eq!(metadata(&there, "x"), (0o700, 0, 0), "a destination keeps its own");
}

///
#[test]
fn a_fetched_source_is_described_by_what_it_gave() {
    let objects = MemoryObjects::new();
    let fetched = Arc::new(tree(&objects, &["f", "d/", "d/x"]));
    let nothing = Arc::new(Tree::new());
    let url = |url: &str, unpack| {
        let (url, name) = (url.to_owned(), "f".to_owned());
        SourcePath::Url(crate::graph::UrlSource { url, checksum: None, name, unpack })
    };
    let check = |source: SourcePath, path: &str, unpack: bool| {
        let op = CopyOp { sources: vec![source], ..op(&[], "/to/") };
        let path = TreePath::normalise(path).unwrap();
        let one = super::Fetched { tree: Arc::clone(&fetched), path, name: b"f".to_vec(), unpack };
        let selection = select(&op, &nothing, &[one], &objects, EPOCH, "").unwrap();
        let mut preimage = Preimage::new("test", 1);
        selection.describe(&mut preimage);
        (preimage.key(), names(&place(&op, &selection, &Tree::new(), &objects, EPOCH).unwrap()))
    };
    let (key, found) = check(url("http://a/f", false), "f", false);
    assert_eq!(found, ["to/", "to/f"]);
    assert_eq!(check(url("http://b/f", false), "f", false).0, key, "not the address");
    assert_ne!(check(url("http://a/f", true), "f", true).0, key);
    assert_eq!(check(url("http://a/f", false), "d", false).1, ["to/", "to/x"]);
}
