use std::process::{Command, Stdio};

use proptest::prelude::*;
use rebit_oci::object::{MemoryObjects, ObjectSink};

use super::*;
use crate::report::Notice;
use crate::tar::read::{ReadOptions, read_layer};
use crate::testing::{path, random_objects, random_pair, tree};
use crate::{Compare, Metadata, Tree, diff, write_tar};

fn stream(changes: &Changeset, objects: &MemoryObjects, epoch: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_tar(changes, objects, epoch, &mut out).unwrap();
    out
}

fn emitted(changes: &Changeset) -> Vec<String> {
    entries(changes, 0).map(|entry| String::from_utf8(entry.unwrap().path).unwrap()).collect()
}

/// The one entry that a node makes.
fn one(at: &str, node: Node, epoch: i64) -> Result<TarEntry, WriteError> {
    let mut changes = Changeset::new();
    changes.insert(path(at), Change::Upsert(node));
    entries(&changes, epoch).next().unwrap()
}

fn field(header: &[u8], at: usize, length: usize) -> String {
    String::from_utf8(header[at..at + length].to_vec()).unwrap()
}

// L-20, L-21, L-22, L-23, L-24
#[test]
fn a_header_is_ustar_with_fixed_fields() {
    let metadata = Metadata { mode: 0o4755, uid: 5, gid: 6, mtime: 99, ..Metadata::default() };
    let header = one("d/name", Node::file(metadata, ObjectId::of(b"x"), 9), 1000).unwrap().header;
    assert_eq!(header.len(), 512);
    assert_eq!(field(&header, 0, 100), format!("{:\0<100}", "d/name"));
    assert_eq!(field(&header, 100, 8), "0004755\0");
    assert_eq!(field(&header, 108, 8), "0000005\0");
    assert_eq!(field(&header, 116, 8), "0000006\0");
    assert_eq!(field(&header, 124, 12), "00000000011\0");
    assert_eq!(field(&header, 136, 12), "00000001750\0");
    assert_eq!(field(&header, 156, 1), "0");
    assert_eq!(field(&header, 257, 8), "ustar\x0000");
    assert_eq!(field(&header, 265, 64), "\0".repeat(64));
    assert_eq!(field(&header, 329, 16), "0000000\x000000000\0");
    assert_eq!(field(&header, 345, 167), "\0".repeat(167));
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let stored: u32 = header[148..156].iter().map(|byte| u32::from(*byte)).sum();
    assert_eq!(field(&header, 148, 8), format!("{:06o}\0 ", sum - stored + 8 * 32));
}

// L-25
#[test]
fn what_ustar_cannot_say_goes_into_sorted_pax_records() {
    let long = format!("{}/{}", "d".repeat(156), "n".repeat(101));
    let mut metadata = Metadata { uid: 2_097_152, gid: u32::MAX, ..Metadata::default() };
    metadata.xattrs.insert(b"user.z".to_vec(), b"\0\xff".to_vec());
    metadata.xattrs.insert(b"security.capability".to_vec(), b"c".to_vec());
    let node = Node::file(metadata, ObjectId::of(b"x"), 8 << 30);
    let header = one(&long, node, -1).unwrap().header;
    assert_eq!(field(&header, 0, 100), format!("{:\0<100}", "PaxHeader"));
    assert_eq!(field(&header, 100, 8), "0000644\0");
    assert_eq!(field(&header, 136, 12), "00000000000\0");
    assert_eq!(field(&header, 156, 1), "x");
    let records = &header[512..header.len() - 512];
    let first = b"38 SCHILY.xattr.security.capability=c\n26 SCHILY.xattr.user.z=\0\xff\n";
    assert!(records.starts_with(first), "{}", records.escape_ascii());
    let text = String::from_utf8_lossy(records);
    let keys: Vec<&str> = text
        .split('\n')
        .filter_map(|line| line.split_once(' ')?.1.split_once('='))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys,
        ["SCHILY.xattr.security.capability", "SCHILY.xattr.user.z", "gid", "mtime", "path", "size", "uid"]
    );
    let last = &header[header.len() - 512..];
    assert_eq!(field(last, 0, 100), "d".repeat(100));
    assert_eq!(field(last, 108, 16), "0000000\x000000000\0");
    assert_eq!(field(last, 124, 24), "00000000000\x0000000000000\0");
    // The largest that fits needs none.
    let metadata = Metadata { uid: 2_097_151, gid: 2_097_151, ..Metadata::default() };
    assert_eq!(
        one("a", Node::file(metadata, ObjectId::of(b"x"), (8 << 30) - 1), 0).unwrap().header.len(),
        512
    );
}

// L-26
#[test]
fn names_are_bytes_and_go_as_they_are() {
    for name in ["\u{e9}t\u{e9}", "a b\nc"] {
        let header = one(name, Node::directory(Metadata::default()), 0).unwrap().header;
        assert_eq!(header.len(), 512);
        assert!(header.starts_with(format!("{name}/\0").as_bytes()));
    }
    let mut changes = Changeset::new();
    changes.insert(path(b"\xff\xfe"), Change::Upsert(Node::directory(Metadata::default())));
    let header = entries(&changes, 0).next().unwrap().unwrap().header;
    assert!(header.starts_with(b"\xff\xfe/\0"));
}

// L-15, L-16, L-17
#[test]
fn entries_are_sorted_by_the_name_they_have_in_the_stream() {
    let objects = MemoryObjects::new();
    let lower = tree(
        "f 644 0:0 d/-gone = x\nf 644 0:0 d/gone = x\nf 644 0:0 gone = x\nf 644 0:0 d/a = x\nf 644 0:0 d.x = x",
        &objects,
    );
    let upper = tree("f 644 0:0 d/a = y\nf 644 0:0 d/+ = y\nf 644 0:0 d-x = y\nd 711 0:0 /", &objects);
    let changes = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
    let expected = ["", ".wh.d.x", ".wh.gone", "d", "d-x", "d/+", "d/.wh.-gone", "d/.wh.gone", "d/a"];
    assert_eq!(emitted(&changes), expected);
    let bytes = stream(&changes, &objects, 0);
    assert!(bytes.starts_with(b"./\0"));
}

// L-18
#[test]
fn the_first_name_of_a_group_is_the_file() {
    let objects = MemoryObjects::new();
    let upper = tree("f 4755 1:1 z = content\nx z = user.k v\nh b/c = z\nh a = z", &objects);
    let found: Vec<(String, u8, String, bool)> = entries(&Changeset::full(&upper), 0)
        .map(|entry| {
            let TarEntry { path, header, body } = entry.unwrap();
            let last = &header[header.len() - 512..];
            let link = field(last, 157, 100).trim_end_matches('\0').to_owned();
            (String::from_utf8(path).unwrap(), last[156], link, body.is_some())
        })
        .skip(1)
        .collect();
    let row = |path: &str, flag: u8, link: &str, body| (path.to_owned(), flag, link.to_owned(), body);
    assert_eq!(
        found,
        [
            row("a", b'0', "", true),
            row("b", b'5', "", false),
            row("b/c", b'1', "a", false),
            row("z", b'1', "a", false)
        ]
    );
}

// L-19
#[test]
fn attributes_outside_the_list_are_dropped_and_reported_once_a_name() {
    let mut changes = Changeset::new();
    for at in ["a", "b"] {
        let mut metadata = Metadata::default();
        for name in ["security.selinux", "user.ok", "user.overlay.opaque", "system.posix_acl_access"] {
            metadata.xattrs.insert(name.into(), b"v".to_vec());
        }
        changes.insert(path(at), Change::Upsert(Node::directory(metadata)));
    }
    let mut all = entries(&changes, 0);
    let bytes: Vec<u8> = all.by_ref().flat_map(|entry| entry.unwrap().header).collect();
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("SCHILY").count(), 2);
    let report = all.into_report();
    assert_eq!(report.notices.len(), 3);
    assert_eq!(report.count(&Notice::Xattr(b"user.overlay.opaque".to_vec())), 2);
}

// L-27
#[test]
fn what_no_layer_can_say_is_refused() {
    let directory = || Node::directory(Metadata::default());
    let refused =
        |result: Result<TarEntry, WriteError>| matches!(result, Err(WriteError::Unsupported { .. }));
    assert!(refused(one(".wh.a", directory(), 0)));
    assert!(refused(one("d/.wh..wh..opq", directory(), 0)));
    assert!(!refused(one(".wh", directory(), 0)));
    let mut node = directory();
    node.metadata.xattrs.insert(b"user.a=b".to_vec(), Vec::new());
    assert!(refused(one("a", node, 0)));
    let device =
        Node { metadata: Metadata::default(), kind: Kind::CharDevice { major: 2_097_152, minor: 0 } };
    assert!(refused(one("a", device, 0)));
    for at in ["", ".wh.x"] {
        let mut changes = Changeset::new();
        changes.insert(path(at), Change::Remove);
        assert!(refused(entries(&changes, 0).next().unwrap()));
    }
}

// L-28
#[test]
fn the_stream_ends_with_two_zero_blocks_and_no_more() {
    let objects = MemoryObjects::new();
    assert_eq!(stream(&Changeset::new(), &objects, 0), [0; 1024]);
    let upper = tree("f 644 0:0 a = x", &objects);
    let bytes = stream(&Changeset::full(&upper), &objects, 0);
    assert_eq!(bytes.len(), 512 + 512 + 512 + 1024);
    assert_eq!(bytes[1024..], [&b"x"[..], &[0; 511 + 1024]].concat());
}

#[test]
fn other_programs_read_the_stream() {
    let objects = MemoryObjects::new();
    let long = format!("{}/{}", "long".repeat(30), "name".repeat(50));
    let upper = tree(
        &format!(
            "f 640 7:8 a/b = hello\nh c = a/b\nl 0:0 d = a/b\nf 644 3000000:0 {long} = x\np 600 0:0 fifo"
        ),
        &objects,
    );
    let bytes = stream(&Changeset::full(&upper), &objects, 86400);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer.tar");
    std::fs::write(&file, bytes).unwrap();
    let python = "import tarfile,sys\n\
        for m in tarfile.open(sys.argv[1]): print(m.name, oct(m.mode), m.uid, m.size, m.mtime, m.linkname)";
    let run = |program: &mut Command| {
        let output = program.stderr(Stdio::inherit()).output();
        if output.is_err() {
            crate::testing::skipped(format_args!("needs {program:?}"));
        }
        output.ok().map(|output| {
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        })
    };
    if let Some(found) = run(Command::new("python3").args(["-c", python]).arg(&file)) {
        let expected = format!(
            ". 0o755 0 0 86400 \na 0o755 0 0 86400 \na/b 0o640 7 5 86400 \nc 0o640 7 0 86400 a/b\nd 0o777 0 0 86400 a/b\n\
             fifo 0o600 0 0 86400 \n{} 0o755 0 0 86400 \n{long} 0o644 3000000 1 86400 \n",
            "long".repeat(30)
        );
        assert_eq!(found, expected);
    }
    if let Some(found) = run(Command::new("tar").args(["--numeric-owner", "--utc", "-tvf"]).arg(&file)) {
        let found: Vec<String> =
            found.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(found[2], "-rw-r----- 7/8 5 1970-01-02 00:00 a/b");
        assert_eq!(found[3], "hrw-r----- 7/8 0 1970-01-02 00:00 c link to a/b");
        assert_eq!(found.len(), 8);
    }
}

proptest! {
    #[test]
    fn a_layer_that_is_read_back_gives_the_upper_tree((lower, upper) in random_pair(), epoch in -5_i64..5) {
        let objects = random_objects();
        let changes = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
        let bytes = stream(&changes, &objects, epoch);
        let read = read_layer(&mut &bytes[..], &lower, &objects, &ReadOptions::layer()).unwrap();
        prop_assert!(read.tree.same(&upper, Compare::IgnoreMtime), "{:?}\n{:?}", read.tree, upper);
        prop_assert!(read.report.is_empty());
        // Every node that the layer names has the epoch, the others are the lower tree's.
        for (path, node) in read.tree.iter() {
            let named = matches!(changes.get(path), Some(Change::Upsert(_)));
            let expected = if named { epoch } else { lower.get(path).unwrap().metadata.mtime };
            prop_assert_eq!(node.metadata.mtime, expected);
        }
    }

    #[test]
    fn the_order_of_the_stream_does_not_matter_to_a_reader((lower, upper) in random_pair()) {
        // Appliers differ in when they look at whiteouts; a path is never both removed and written, so
        // doing all removals first, or last, is the same.
        let objects = random_objects();
        let changes = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
        for removals_first in [true, false] {
            let mut tree = lower.clone();
            for pass in [removals_first, !removals_first] {
                let mut part = Changeset::new();
                for (path, change) in changes.iter().filter(|(_, change)| (**change == Change::Remove) == pass) {
                    part.insert(path.clone(), change.clone());
                }
                let bytes = stream(&part, &objects, 0);
                tree = read_layer(&mut &bytes[..], &tree, &objects, &ReadOptions::layer()).unwrap().tree;
            }
            prop_assert!(tree.same(&upper, Compare::IgnoreMtime));
        }
    }

    #[test]
    fn a_whole_tree_goes_through_a_stream((_, upper) in random_pair()) {
        let objects = random_objects();
        let bytes = stream(&Changeset::full(&upper), &objects, 0);
        let sink = MemoryObjects::new();
        let read = read_layer(&mut &bytes[..], &Tree::new(), &sink, &ReadOptions::archive()).unwrap();
        prop_assert!(read.tree.same(&upper, Compare::IgnoreMtime));
        // Every content is in the sink: storing the tree needs them.
        for (_, node) in upper.iter() {
            if let Kind::File { object, .. } = node.kind {
                prop_assert!(rebit_oci::object::ObjectSource::read(&sink, &object).is_ok());
            }
        }
    }
}

#[test]
fn a_content_shorter_or_longer_than_its_node_says_is_an_error() {
    let objects = MemoryObjects::new();
    let object = objects.put(&[7; 3_000_000], &[]).unwrap();
    for size in [2, 2_999_999, 3_000_001, 9_000_000] {
        let mut upper = Tree::new();
        upper.insert(path("f"), Node::file(Metadata::default(), object, size), &Metadata::default()).unwrap();
        let result = write_tar(&Changeset::full(&upper), &objects, 0, &mut std::io::sink());
        assert!(matches!(result, Err(crate::EncodeError::Length { .. })), "{size}");
    }
}
