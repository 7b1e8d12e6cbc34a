use rebit_layer::{Change, Changeset, Compare, Metadata, Node, Tree, TreePath, diff};
use rebit_oci::object::{MemoryObjects, ObjectSink as _, ObjectSource as _};

use super::*;

/// What the fixer `name` makes of a file, the source of modules having been changed at 7.
fn fix(name: &str, path: &str, bytes: &[u8], before: Option<&[u8]>) -> Result<Fixed, Unfit> {
    let fixers = Fixers::named([name]).unwrap();
    let fixer = fixers.iter().next().unwrap();
    assert!(fixer.is_for(path.as_bytes()), "{name} is not for {path}");
    fixer.fix(&File {
        path: path.as_bytes(),
        bytes,
        before: &|| before.map(<[u8]>::to_vec),
        mtime_of: &|path| (path == b"d/m.py").then_some(7),
        epoch: 315_532_800,
    })
}

#[track_caller]
fn check(name: &str, path: &str, bytes: &[u8], expected: &[u8]) {
    let fixed = fix(name, path, bytes, None);
    let expected = if bytes == expected { Fixed::Keep } else { Fixed::Replace(expected.to_vec()) };
    assert_eq!(fixed.as_ref(), Ok(&expected), "{name} {path}");
    // What is fixed is fixed.
    assert_eq!(fix(name, path, expected_bytes(&expected, bytes), None), Ok(Fixed::Keep), "{name} {path}");
}

fn expected_bytes<'a>(fixed: &'a Fixed, bytes: &'a [u8]) -> &'a [u8] {
    if let Fixed::Replace(bytes) = fixed { bytes } else { bytes }
}

#[test]
fn names_are_unique_and_every_fixer_says_what_it_is() {
    let mut names: Vec<&str> = FIXERS.iter().map(|fixer| fixer.name).collect();
    for fixer in FIXERS {
        assert!(fixer.version > 0 && !fixer.summary.is_empty() && !fixer.reason.is_empty());
        assert!(!fixer.files.is_empty() && !matches!(fixer.name, "all" | "none" | "help"));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FIXERS.len());
    assert_eq!(Fixers::named(["all"]).unwrap().iter().count(), FIXERS.len());
    assert_eq!(Fixers::named(["pyc", "x"]).unwrap_err().name, "x");
}

#[test]
fn times_of_modules_are_those_of_their_sources() {
    let module = |number: u16, flags: u8, time: u32| {
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&[flags, 0, 0, 0]);
        bytes.extend_from_slice(&time.to_le_bytes());
        bytes.extend_from_slice(&[9, 0, 0, 0, 0xe3]);
        bytes
    };
    check("pyc", "d/__pycache__/m.cpython-311.pyc", &module(3495, 0, 1_795_000_000), &module(3495, 0, 7));
    check("pyc", "d/other.pyc", &module(3495, 0, 1), &module(3495, 0, 315_532_800));
    // A hash instead of a time.
    check("pyc", "d/m.pyc", &module(3495, 1, 5), &module(3495, 1, 5));
    check("pyc", "d/m.pyc", b"not a module", b"not a module");
    assert!(fix("pyc", "d/m.pyc", &module(62_211, 0, 5), None).is_err());
}

#[test]
fn days_in_shadow_are_the_epoch_s_in_new_lines() {
    let check = |bytes: &str, before: &str, expected: &str| {
        let fixed = fix("shadow-dates", "etc/shadow", bytes.as_bytes(), Some(before.as_bytes())).unwrap();
        let expected = if bytes == expected { Fixed::Keep } else { Fixed::Replace(expected.into()) };
        assert_eq!(fixed, expected, "{bytes}");
    };
    let base = "root:*:19000:0:99999:7:::\n";
    check(base, base, base);
    check(&format!("{base}web:!:20781::::::\n"), base, &format!("{base}web:!:3652::::::\n"));
    check("a:!:0::::::\nb:!:::::::\nc\n", "", "a:!:0::::::\nb:!:::::::\nc\n");
    check("root:$y$:20781:0:99999:7:::\n", base, "root:$y$:3652:0:99999:7:::\n");
}

#[test]
fn small_formats_lose_what_varies() {
    let gzip = |time: u8| [&[0x1f, 0x8b, 8, 0, time, time, time, time, 0, 3][..], &[3; 10]].concat();
    check("gzip-mtime", "x.gz", &gzip(9), &gzip(0));
    check("gzip-mtime", "x.gz", b"\x1f\x8b", b"\x1f\x8b");
    check(
        "gzip-mtime",
        "x.tgz",
        b"something else that is long enough",
        b"something else that is long enough",
    );
    check("machine-id", "etc/machine-id", b"0123456789abcdef0123456789abcdef\n", b"");
    assert_eq!(fix("machine-id", "var/lib/dbus/machine-id", b"01", None), Ok(Fixed::TakeBack));
    assert_eq!(fix("apt-logs", "var/log/apt/history.log", b"", None), Ok(Fixed::TakeBack));

    let member =
        |name: &str, rest: &str, content: &str| format!("{name:16}{rest}{:<10}`\n{content}", content.len());
    let names = format!("{:48}{:<10}`\nlong\n\n", "//", 6);
    let dated = "1795000000  1000  100   100755  ";
    let archive = |rest: &str, table: &str| {
        [
            "!<arch>\n",
            &member("/", table, "tab!"),
            &names,
            &member("a.o/", rest, "odd"),
            "\n",
            &member("b.o/", rest, "ok"),
        ]
        .concat()
    };
    let fixed = archive("0           0     0     644     ", "0           0     0     0       ");
    check("ar-dates", "libx.a", archive(dated, dated).as_bytes(), fixed.as_bytes());
    check("ar-dates", "libx.a", b"text", b"text");
    assert!(fix("ar-dates", "libx.a", b"!<thin>\n", None).is_err());
    assert!(fix("ar-dates", "libx.a", b"!<arch>\nbroken", None).is_err());
    assert!(fix("ar-dates", "libx.a", &archive(dated, dated).as_bytes()[..100], None).is_err());
}

/// A zip archive of stored members, each with a time stamp as Info-ZIP writes it; with `trailed` their sizes follow them.
fn zip(members: &[(&str, &str)], time: u8, trailed: bool) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let length = (content.len() as u32).to_le_bytes();
        let sizes = [&[1, 2, 3, 4][..], &length, &length].concat();
        let extra: &[u8] = if time == 0 { &[] } else { &[0x55, 0x54, 5, 0, 1, time, time, time, time] };
        let flags = if trailed { 8 } else { 0 };
        let (stamp, there) = if time == 0 { ([0, 0, 0x21, 0], &sizes) } else { ([time; 4], &sizes) };
        let there = if trailed { vec![0; 12] } else { there.clone() };
        let name_length = [name.len() as u8, 0];
        let place = (bytes.len() as u32).to_le_bytes();
        for part in [b"PK\x03\x04\x14\0", &[flags, 0, 0, 0][..], &stamp, &there, &name_length] {
            bytes.extend_from_slice(part);
        }
        for part in [&[extra.len() as u8, 0][..], name.as_bytes(), extra, content.as_bytes()] {
            bytes.extend_from_slice(part);
        }
        if trailed {
            bytes.extend_from_slice(b"PK\x07\x08");
            bytes.extend_from_slice(&sizes);
        }
        for part in [b"PK\x01\x02\x14\x03\x14\0", &[flags, 0, 0, 0][..], &stamp, &sizes, &name_length] {
            directory.extend_from_slice(part);
        }
        for part in [&[extra.len() as u8, 0][..], &[0; 10], &place, name.as_bytes(), extra] {
            directory.extend_from_slice(part);
        }
    }
    let (start, size) = ((bytes.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    bytes.append(&mut directory);
    let count = [members.len() as u8, 0];
    for part in [b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &start, b"\x02\0hi"] {
        bytes.extend_from_slice(part);
    }
    bytes
}

#[test]
fn zip_archives_are_sorted_and_have_one_time() {
    let unsorted = [("b", "two"), ("a", "one"), ("META-INF/MANIFEST.MF", "v"), ("META-INF/", "")];
    let sorted = [("META-INF/", ""), ("META-INF/MANIFEST.MF", "v"), ("a", "one"), ("b", "two")];
    let expected = zip(&sorted, 0, false);
    for trailed in [false, true] {
        check("zip-order", "x.jar", &zip(&unsorted, 9, trailed), &expected);
    }
    check("zip-order", "x.jar", &expected, &expected);
    let empty = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    check("zip-order", "x.zip", empty, empty);
    let mut encrypted = expected.clone();
    let central = encrypted.windows(4).position(|part| part == b"PK\x01\x02").unwrap();
    encrypted[central + 8] = 1;
    assert!(fix("zip-order", "x.zip", &encrypted, None).is_err());
    for cut in 1..expected.len() {
        let _ = fix("zip-order", "x.zip", &expected[cut..], None);
        assert!(fix("zip-order", "x.zip", &expected[..cut], None).is_err(), "{cut}");
    }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

#[test]
fn only_what_the_step_wrote_is_fixed_and_its_other_names_too() {
    let objects = MemoryObjects::default();
    let file = |content: &str| {
        let object = objects.put(content.as_bytes(), &[]).unwrap();
        Node::file(Metadata::new(0o644, 7), object, content.len() as u64)
    };
    let parents = Metadata::default();
    let mut before = Tree::new();
    for (name, content) in
        [("var/log/dpkg.log", "old\n"), ("etc/machine-id", "0\n"), ("etc/shadow", "r:*:19000::::::\n")]
    {
        before.insert(path(name), file(content), &parents).unwrap();
    }
    let mut after = before.clone();
    let mut put = |name: &str, node: Node| after.insert(path(name), node, &parents).unwrap();
    put("var/log/dpkg.log", file("old\nnew\n"));
    put("var/log/apt/term.log", file("now\n"));
    put("etc/shadow", file("r:*:19000::::::\nw:!:20000::::::\n"));
    let library = "!<arch>\na.o/            1795000000  1000  100   100755  2         `\nok";
    for name in ["lib/a.a", "lib/b"] {
        let mut node = file(library);
        node.set_link(5);
        put(name, node);
    }
    let changes = diff(&before, &after, Compare::IgnoreMtime);
    let fixers = Fixers::named(["all"]).unwrap();
    let applied = apply_to_step(&fixers, &changes, &before, &objects, 315_532_800).unwrap();
    let did: Vec<(&str, Deed, &str)> =
        applied.files.iter().map(|file| (file.fixer.as_str(), file.did, file.path.as_str())).collect();
    assert_eq!(
        did,
        [
            ("shadow-dates", Deed::Rewritten, "/etc/shadow"),
            ("ar-dates", Deed::Rewritten, "/lib/a.a"),
            ("apt-logs", Deed::Removed, "/var/log/apt/term.log"),
            ("apt-logs", Deed::Restored, "/var/log/dpkg.log"),
        ]
    );
    assert!(applied.notices.is_empty());
    assert_eq!(summary(&applied.files)[0], ("apt-logs".to_owned(), Deed::Removed, 1));
    let text = |changes: &Changeset, name: &str| match changes.get(&path(name)) {
        Some(Change::Upsert(Node { kind: rebit_layer::Kind::File { object, .. }, .. })) => {
            String::from_utf8(objects.read(object).unwrap().to_vec()).unwrap()
        }
        other => format!("{other:?}"),
    };
    assert_eq!(text(&applied.changes, "etc/shadow"), "r:*:19000::::::\nw:!:3652::::::\n");
    assert_eq!(text(&applied.changes, "lib/a.a"), text(&applied.changes, "lib/b"));
    assert!(text(&applied.changes, "lib/b").contains("a.o/            0           0 "));
    assert_eq!(text(&applied.changes, "var/log/dpkg.log"), "None");
    // Nothing is on, nothing changes.
    let none = apply_to_step(&Fixers::default(), &changes, &before, &objects, 0).unwrap();
    assert_eq!((none.changes, none.files.len()), (changes, 0));
}
