use proptest::prelude::*;
use rebit_oci::object::{MemoryObjects, ObjectSource};
use tar::{Builder, EntryType, Header};

use super::*;
use crate::report::Notice;
use crate::testing::{path, tree};
use crate::{Kind, Metadata, Node};

/// One entry of an archive: type, name, link target, content.
type Row<'a> = (u8, &'a str, &'a str, &'a [u8]);

/// Makes an archive with the `tar` crate, so that the reader is not tested against its own writer.
fn archive(rows: &[Row<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, link, content) in rows {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(*kind));
        header.set_mode(0o640);
        header.set_uid(1);
        header.set_gid(2);
        header.set_mtime(77);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            builder.append_link(&mut header, name, link).unwrap();
        } else if name.len() < 100 {
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        } else {
            builder.append_data(&mut header, name, *content).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn read(bytes: &[u8], lower: &Tree, options: &ReadOptions) -> Result<ImportedLayer, ReadError> {
    read_layer(&mut &bytes[..], lower, &MemoryObjects::new(), options)
}

/// Applies `rows` to the tree `lower` and checks the paths of the result.
fn check(lower: &str, rows: &[Row<'_>], expected: &str) -> Tree {
    let lower = tree(lower, &MemoryObjects::new());
    let layer = read(&archive(rows), &lower, &ReadOptions::layer()).unwrap();
    let found: Vec<String> = layer
        .tree
        .iter()
        .skip(1)
        .map(|(path, node)| {
            let path = String::from_utf8(path.as_bytes().to_vec()).unwrap();
            if node.is_directory() { path + "/" } else { path }
        })
        .collect();
    assert_eq!(found.join(" "), expected);
    layer.tree
}

#[test]
fn entries_become_nodes() {
    let rows: &[Row<'_>] = &[
        (b'5', "d/", "", b""),
        (b'0', "d/f", "", b"content"),
        (b'2', "l", "d/f", b""),
        (b'6', "p", "", b""),
        (b'7', "contiguous", "", b"x"),
    ];
    let tree = check("", rows, "contiguous d/ d/f l p");
    let node = tree.get(&path("d/f")).unwrap();
    let metadata = Metadata { mode: 0o640, uid: 1, gid: 2, mtime: 77, ..Metadata::default() };
    assert_eq!(node, &Node::file(metadata.clone(), ObjectId::of(b"content"), 7));
    assert_eq!(tree.get(&path("l")), Some(&Node::symlink(metadata, "d/f")));
}

#[test]
fn names_in_any_spelling_find_their_place() {
    check("", &[(b'0', "./a//b", "", b""), (b'0', "/abs", "", b"")], "a/ a/b abs");
    let tree = check("", &[(b'5', "./", "", b"")], "");
    assert_eq!(tree.root().mode, 0o640);
    // A file whose name ends in a slash is a directory, as it was before POSIX.
    check("", &[(b'0', "old/", "", b"")], "old/");
    let long = "n".repeat(200);
    check("", &[(b'0', &long, "", b""), (b'2', "l", &long, b"")], &format!("l {long}"));
}

#[test]
fn the_directory_of_an_entry_resolves_inside_the_root() {
    check("l 0:0 lib = usr/lib", &[(b'0', "lib/a", "", b"")], "lib usr/ usr/lib/ usr/lib/a");
    check("l 0:0 out = ../../etc\nd 755 0:0 etc", &[(b'0', "out/a", "", b"")], "etc/ etc/a out");
    // A directory entry replaces the link itself.
    check("l 0:0 lib = usr", &[(b'5', "lib/", "", b""), (b'0', "lib/a", "", b"")], "lib/ lib/a");
    // The link comes in the archive itself, after an entry of the directory it replaces.
    let rows: &[Row<'_>] = &[
        (b'0', "d/a", "", b""),
        (b'2', "d", "e", b""),
        (b'0', "d/b", "", b""),
        (b'5', "d", "", b""),
        (b'0', "d/c", "", b""),
    ];
    check("", rows, "d/ d/c e/ e/b");
    for (lower, name) in
        [("f 644 0:0 f = x", "f/a"), ("l 0:0 l = l", "l/a"), ("l 0:0 l = f\nf 644 0:0 f = x", "l/a")]
    {
        let lower = tree(lower, &MemoryObjects::new());
        let result = read(&archive(&[(b'0', name, "", b"")]), &lower, &ReadOptions::layer());
        assert!(matches!(result, Err(ReadError::Resolve { entry, .. }) if entry == name));
    }
}

#[test]
fn later_entries_win() {
    let tree = check("", &[(b'0', "a", "", b"1"), (b'0', "a", "", b"22")], "a");
    assert_eq!(tree.get(&path("a")).unwrap().size(), 2);
    check("", &[(b'0', "a/b", "", b""), (b'0', "a", "", b"")], "a");
    check("", &[(b'0', "a/b", "", b""), (b'5', "a", "", b"")], "a/ a/b");
    check("f 644 0:0 a/b = x", &[(b'2', "a", "t", b"")], "a");
}

#[test]
fn whiteouts_hide_what_is_below_and_only_that() {
    let lower = "f 644 0:0 d/a = x\nf 644 0:0 d/b = x\nf 644 0:0 d/e/f = x";
    check(lower, &[(b'0', "d/.wh.a", "", b"")], "d/ d/b d/e/ d/e/f");
    check(lower, &[(b'0', ".wh.d", "", b"")], "");
    check(lower, &[(b'0', "d/.wh.none", "", b"")], "d/ d/a d/b d/e/ d/e/f");
    check(lower, &[(b'0', "d/.wh..wh..opq", "", b"")], "d/");
    // In either order, what the layer itself brings stays.
    let (opaque, own) = ((b'0', "d/.wh..wh..opq", "", &b""[..]), (b'0', "d/e/own", "", &b""[..]));
    check(lower, &[opaque, own], "d/ d/e/ d/e/own");
    check(lower, &[own, opaque], "d/ d/e/ d/e/own");
    check(lower, &[own, (b'0', ".wh.d", "", b"")], "d/ d/e/ d/e/own");
    check(lower, &[(b'0', "d/a", "", b"new"), (b'0', "d/.wh.a", "", b"")], "d/ d/a d/b d/e/ d/e/f");
    check(lower, &[(b'0', ".wh..wh..opq", "", b"")], "");
    check("l 0:0 l = d\nf 644 0:0 d/a = x", &[(b'0', "l/.wh.a", "", b"")], "d/ l");
    check("l 0:0 l = d\nf 644 0:0 d/a = x", &[(b'0', "l/.wh..wh..opq", "", b"")], "d/ l");
    // Names of another union file system mean nothing here.
    check(lower, &[(b'5', ".wh..wh.plnk/", "", b"")], "d/ d/a d/b d/e/ d/e/f");
}

#[test]
fn an_archive_has_no_whiteouts() {
    let rows: &[Row<'_>] = &[(b'0', "d/.wh.a", "", b""), (b'0', ".wh..wh..opq", "", b"")];
    let lower = tree("f 644 0:0 d/a = x", &MemoryObjects::new());
    let layer = read(&archive(rows), &lower, &ReadOptions::archive()).unwrap();
    assert_eq!(layer.tree.len(), 5);
    assert!(layer.tree.contains(&path("d/.wh.a")));
}

#[test]
fn hard_links_share_the_file() {
    let rows: &[Row<'_>] = &[(b'0', "a", "", b"x"), (b'1', "d/b", "a", b""), (b'1', "c", "/d/b", b"")];
    let tree = check("", rows, "a c d/ d/b");
    assert_eq!(tree.link_groups(), [[path("a"), path("c"), path("d/b")]]);
    // To a file of the lower tree, through a link, and to itself.
    let tree =
        check("f 600 9:9 a = x\nl 0:0 l = .", &[(b'1', "b", "l/a", b""), (b'1', "a", "a", b"")], "a b l");
    assert_eq!(tree.link_groups(), [[path("a"), path("b")]]);
    assert_eq!(tree.get(&path("b")).unwrap().metadata.uid, 9);
    // A symbolic link or a pipe has no group: it is copied.
    check("", &[(b'2', "s", "t", b""), (b'1', "h", "s", b"")], "h s");
    for target in ["none", "d", "h", "d/../a"] {
        let rows: &[Row<'_>] = &[(b'5', "d", "", b""), (b'1', "h", target, b"")];
        assert!(read(&archive(rows), &Tree::new(), &ReadOptions::layer()).is_err(), "{target}");
    }
}

#[test]
fn what_is_left_out_is_reported() {
    let rows: [Row<'_>; 3] =
        [(b'V', "volume", "", b""), (b'M', "multi", "", b"xx"), (b'5', ".wh..wh.aufs", "", b"")];
    let mut bytes = archive(&rows);
    bytes.truncate(bytes.len() - 1024);
    let records = [("SCHILY.xattr.user.ok", "value"), ("SCHILY.xattr.security.selinux", "x")];
    bytes.extend(pax(&records, (b'0', "a", "", b"x")));
    let layer = read(&bytes, &Tree::new(), &ReadOptions::layer()).unwrap();
    assert_eq!(layer.tree.len(), 2);
    let xattrs = &layer.tree.get(&path("a")).unwrap().metadata.xattrs;
    assert_eq!(xattrs.get(&b"user.ok"[..]).map(Vec::as_slice), Some(&b"value"[..]));
    let notices: Vec<&Notice> = layer.report.notices.keys().collect();
    let xattr = Notice::Xattr(b"security.selinux".to_vec());
    assert_eq!(notices, [&xattr, &Notice::EntryType(b'M'), &Notice::EntryType(b'V'), &Notice::ReservedName]);
}

fn pax(records: &[(&str, &str)], row: Row<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 1..).find(|length| length.to_string().len() + rest == *length).unwrap();
        body.extend(format!("{length} {key}={value}\n").into_bytes());
    }
    archive(&[(b'x', "pax", "", &body), row])
}

#[test]
fn pax_records_win_over_the_header() {
    let records =
        [("path", "real/name"), ("uid", "4000000000"), ("gid", "7"), ("mtime", "-3.5"), ("atime", "1")];
    let bytes = pax(&records, (b'0', "short", "", b"x"));
    let tree = read(&bytes, &Tree::new(), &ReadOptions::layer()).unwrap().tree;
    let metadata = &tree.get(&path("real/name")).unwrap().metadata;
    assert_eq!((metadata.uid, metadata.gid, metadata.mtime), (4_000_000_000, 7, -4));
    // A size in a record counts, whatever the header says.
    let mut bytes = pax(&[("size", "3")], (b'0', "a", "", b"abc"));
    let header = Header::from_byte_slice(&bytes[1024..1536]);
    let mut zero = header.clone();
    zero.set_size(0);
    zero.set_cksum();
    bytes[1024..1536].copy_from_slice(zero.as_bytes());
    let tree = read(&bytes, &Tree::new(), &ReadOptions::layer()).unwrap().tree;
    assert_eq!(tree.get(&path("a")).unwrap().size(), 3);
}

#[test]
fn sparse_files_are_filled_with_zeros() {
    let expected = [&[0; 100][..], b"abc", &[0; 397], b"xy", &[0; 498]].concat();
    let check = |bytes: &[u8]| {
        let objects = MemoryObjects::new();
        let layer = read_layer(&mut &bytes[..], &Tree::new(), &objects, &ReadOptions::layer()).unwrap();
        let Kind::File { object, size, .. } = layer.tree.get(&path("s")).unwrap().kind else { panic!() };
        assert_eq!((&objects.read(&object).unwrap()[..], size), (&expected[..], 1000));
        assert!(layer.tree.contains(&path("after")));
    };
    // pax 0.1, with the map in a record; 1.0, with the map before the content.
    let after = archive(&[(b'0', "after", "", b"")]);
    let join = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 1024);
        bytes.extend(&after);
        bytes
    };
    let records = [("GNU.sparse.size", "1000"), ("GNU.sparse.map", "100,3,500,2"), ("GNU.sparse.name", "s")];
    check(&join(pax(&records, (b'0', "x/s", "", b"abcxy"))));
    let mut body = b"3\n100\n3\n500\n2\n1000\n0\n".to_vec();
    body.resize(512, 0);
    body.extend(b"abcxy");
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "1000"),
        ("GNU.sparse.name", "s"),
    ];
    check(&join(pax(&records, (b'0', "x/s", "", &body))));
    // The old format: the map in the header.
    let mut bytes = archive(&[(b'S', "s", "", b"abcxy")]);
    let mut header = Header::from_byte_slice(&bytes[..512]).clone();
    let gnu = header.as_gnu_mut().unwrap();
    for (piece, (offset, length)) in gnu.sparse.iter_mut().zip([(100, 3), (500, 2)]) {
        piece.set_offset(offset);
        piece.set_length(length);
    }
    gnu.set_real_size(1000);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    check(&join(bytes));
}

#[test]
fn malformed_archives_are_refused_by_name() {
    fn fails(bytes: &[u8]) -> ReadError {
        read(bytes, &Tree::new(), &ReadOptions::layer()).unwrap_err()
    }
    let good = archive(&[(b'0', "first", "", b""), (b'0', "name", "", &[1; 600])]);
    for length in [513, 900, 1030, 1600] {
        assert!(matches!(fails(&good[..length]), ReadError::Truncated { .. }), "{length}");
    }
    assert!(matches!(fails(&good[..1600]), ReadError::Truncated { entry } if entry == "name"));
    // Without a trailer it is whole all the same.
    assert!(read(&good[..good.len() - 1024], &Tree::new(), &ReadOptions::layer()).is_ok());
    let mut sum = good.clone();
    sum[150] ^= 1;
    assert!(matches!(fails(&sum), ReadError::Malformed { .. }));
    for name in ["../a", "a/../../b", &format!("a/{}", "n".repeat(300))] {
        assert!(
            matches!(fails(&pax(&[("path", name)], (b'0', "x", "", b""))), ReadError::Path { .. }),
            "{name}"
        );
    }
    assert!(matches!(fails(&archive(&[(b'0', ".", "", b"")])), ReadError::Malformed { .. }));
    assert!(matches!(
        fails(&archive(&[(b'x', "pax", "", b"no record\n"), (b'0', "a", "", b"")])),
        ReadError::Malformed { .. }
    ));
    assert!(matches!(fails(&archive(&[(b'x', "pax", "", b"6 a=b\n")])), ReadError::Malformed { .. }));
    let x = (b'0', "x", "", &b"abcxy"[..]);
    for records in [
        [("uid", "x"), ("gid", "0")],
        [("uid", "4294967296"), ("gid", "0")],
        [("mtime", "soon"), ("gid", "0")],
        [("GNU.sparse.size", "1000"), ("GNU.sparse.map", "100,3,50,2")],
        [("GNU.sparse.size", "101"), ("GNU.sparse.map", "100,3,500,2")],
        [("GNU.sparse.size", "1000"), ("GNU.sparse.map", "100,3,500,3")],
        [("GNU.sparse.size", "1000"), ("GNU.sparse.map", "100,3,500")],
        [("GNU.sparse.realsize", "1000"), ("gid", "0")],
    ] {
        assert!(matches!(fails(&pax(&records, x)), ReadError::Malformed { .. }), "{records:?}");
    }
    let old = pax(&[("GNU.sparse.offset", "1")], x);
    assert!(matches!(fails(&old), ReadError::Unsupported { .. }));
}

#[test]
fn limits_hold() {
    let limits = Limits { entries: 3, file_size: 10, total_size: 15, extension_size: 100 };
    let fails = |bytes: &[u8]| {
        let options = ReadOptions { whiteouts: true, limits };
        matches!(read(bytes, &Tree::new(), &options), Err(ReadError::Limit { .. }))
    };
    let row = |name: &'static str, content: &'static [u8]| (b'0', name, "", content);
    assert!(!fails(&archive(&[row("a", b"0123456789"), row("b", b"01234")])));
    assert!(fails(&archive(&[row("a", b"0123456789x")])));
    assert!(fails(&archive(&[row("a", b"0123456789"), row("b", b"012345")])));
    assert!(fails(&archive(&[row("a", b""), row("b", b""), row("c", b""), row("d", b"")])));
    assert!(fails(&archive(&[(b'0', &"n".repeat(200), "", b"")])));
    // A size in a header costs nothing by itself.
    let mut header = Header::new_gnu();
    header.set_size(1 << 40);
    header.set_entry_type(EntryType::XHeader);
    header.set_cksum();
    assert!(fails(header.as_bytes()));
}

#[test]
fn large_files_stream_and_errors_below_come_through() {
    let content = vec![5_u8; 3_000_000];
    let bytes = archive(&[(b'0', "large", "", &content), (b'0', "after", "", b"x")]);
    let layer = read(&bytes, &Tree::new(), &ReadOptions::layer()).unwrap();
    assert_eq!(
        layer.tree.get(&path("large")).unwrap(),
        &Node::file(
            Metadata { mode: 0o640, uid: 1, gid: 2, mtime: 77, ..Metadata::default() },
            ObjectId::of(&content),
            3_000_000,
        )
    );
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::ErrorKind::ConnectionReset.into()) } else { self.0.read(buffer) }
        }
    }
    for length in [100, 600, 2_000_000] {
        let mut reader = Failing(&bytes[..length]);
        let error =
            read_layer(&mut reader, &Tree::new(), &MemoryObjects::new(), &ReadOptions::layer()).unwrap_err();
        assert!(
            matches!(&error, ReadError::Io { source, .. } if source.kind() == io::ErrorKind::ConnectionReset),
            "{length}: {error:?}"
        );
    }
    assert!(matches!(
        read(&bytes[..2_000_000], &Tree::new(), &ReadOptions::layer()),
        Err(ReadError::Truncated { .. })
    ));
}

#[test]
fn a_sink_that_fails_fails_the_import() {
    struct Full;
    impl ObjectSink for Full {
        fn put(&self, _content: &[u8], _edges: &[ObjectId]) -> Result<ObjectId, ObjectError> {
            Err(ObjectError::Limit { what: "the store".into(), limit: 0 })
        }

        fn put_reader(&self, reader: &mut dyn Read) -> Result<(ObjectId, u64), ObjectError> {
            let _ = reader.read(&mut [0]);
            self.put(&[], &[]).map(|object| (object, 0))
        }
    }
    for size in [1, 2_000_000] {
        let bytes = archive(&[(b'0', "f", "", &vec![0; size])]);
        let result = read_layer(&mut &bytes[..], &Tree::new(), &Full, &ReadOptions::layer());
        assert!(matches!(result, Err(ReadError::Object { entry, .. }) if entry == "f"), "{size}");
    }
}

#[test]
fn gnu_tar_archives_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("d")).unwrap();
    let long = "n".repeat(180);
    std::fs::write(source.join("d").join(&long), "x").unwrap();
    std::fs::hard_link(source.join("d").join(&long), source.join("link")).unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    for format in ["gnu", "posix"] {
        let output = std::process::Command::new("tar")
            .args(["--format", format, "-cS", "-C"])
            .arg(&source)
            .arg(".")
            .output();
        let Ok(output) = output else {
            crate::testing::skipped(format_args!("needs tar"));
            return;
        };
        assert!(output.status.success());
        let tree = read(&output.stdout, &Tree::new(), &ReadOptions::layer()).unwrap().tree;
        assert_eq!(tree.link_groups(), [[path(format!("d/{long}")), path("link")]], "{format}");
        assert_eq!(tree.get(&path("sparse")).unwrap().size(), 1 << 20, "{format}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..1500),
        flips in proptest::collection::vec((0_usize..2048, any::<u8>()), 0..4),
        whole in any::<bool>(),
    ) {
        let mut archive = archive(&[(b'L', "l", "", b"long\0"), (b'0', "a", "", b"x"), (b'1', "b", "a", b"")]);
        if !whole {
            archive = bytes;
        }
        for (at, flip) in flips {
            if let Some(byte) = archive.get_mut(at) {
                *byte ^= flip;
            }
        }
        // Headers with a right checksum get further.
        for block in archive.chunks_exact_mut(512) {
            if block.iter().any(|byte| *byte != 0) {
                let mut header = Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let limits = Limits { file_size: 1 << 20, ..Limits::default() };
        let _ = read(&archive, &Tree::new(), &ReadOptions { whiteouts: true, limits });
    }
}
