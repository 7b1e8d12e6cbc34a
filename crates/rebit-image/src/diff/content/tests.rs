use proptest::prelude::*;

use super::*;
use crate::diff::Ignored;

/// Checks what is found: `place: what [causes] (ignorable)`.
fn check(path: &str, a: &[u8], b: &[u8], expected: &[&str]) {
    let found: Vec<String> = explain(path, a, b)
        .iter()
        .map(|finding| {
            let causes: Vec<String> = finding.causes.iter().map(ToString::to_string).collect();
            let ignorable = if finding.ignorable.is_some() { " (ignorable)" } else { "" };
            format!("{}: {} [{}]{ignorable}", finding.place, finding.what, causes.join(", "))
        })
        .collect();
    assert_eq!(found, expected, "{path}");
}

#[test]
fn contents_are_explained() {
    check("f", b"", b"", &[]);
    check("f", b"", b"a\n", &["f: text []"]);
    check("f", b"b\na\n", b"a\nb\n", &["f: text [order]"]);
    check("f", b"x\nbuilt 2026-11-24\n", b"x\nbuilt 2026-11-25\n", &["f: text [time stamp]"]);
    check("f", b"pid=1\nx\nby a@b\n", b"pid=2\nx\nby c@d\n", &["f: text [user or host name, process id]"]);
    check("f", b"\0\0\0\0", b"\0\0\0\x01", &["f: bytes []"]);
    check("f", b"\0\0", b"\0\0\0\x01", &["f: bytes []"]);
    let (a, b) = (1_764_000_000_u32.to_le_bytes(), 1_764_999_999_u32.to_le_bytes());
    check("f", &[&[0; 9], &a[..]].concat(), &[&[0; 9], &b[..]].concat(), &["f: bytes [time stamp]"]);
    // Strings inside of programs of different length.
    check(
        "f",
        b"\0\x01/build/one/main.c\0end",
        b"\0\x01/build/other/main.c\0end",
        &["f: bytes [build path]"],
    );
}

#[test]
fn ranges_are_named() {
    let a = vec![0_u8; 100];
    let mut b = a.clone();
    for at in [10, 12, 50] {
        b[at] = 9;
    }
    let found = explain("f", &a, &b);
    assert_eq!(
        found[0].detail,
        ["3 of 100 bytes in 2 ranges, the first at 10 (0xa)", "1 bytes at 50 (0x32)"]
    );
    let found = explain("f", &a, &a[..60]);
    assert_eq!(found[0].detail, ["100 and 60 bytes", "the first 60 bytes are the same"]);
    // The same by streaming.
    let found = explain_streams("f", &mut &a[..], &mut &b[..]).unwrap().unwrap();
    assert_eq!(found.detail[0], "3 of 100 bytes in 2 ranges, the first at 10 (0xa)");
    assert_eq!(explain_streams("f", &mut &a[..], &mut &a[..]).unwrap(), None);
    assert!(explain_streams("f", &mut &a[..], &mut &a[..99]).unwrap().is_some());
}

#[test]
fn values_that_are_ignorable_say_so() {
    let found = explain("m.pyc", &pyc(1_764_000_000, b"code"), &pyc(1_764_000_001, b"code"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].ignorable, Some(Ignored::PycTime));
    assert_eq!(found[0].a.as_deref(), Some("2025-11-24T16:00:00Z"));
}

fn pyc(time: u32, code: &[u8]) -> Vec<u8> {
    [&[0xcb, 0x0d, b'\r', b'\n', 0, 0, 0, 0][..], &time.to_le_bytes(), &[9, 0, 0, 0], code].concat()
}

const STARTS: &[&[u8]] = &[
    b"",
    b"\x1f\x8b\x08",
    b"PK\x03\x04",
    b"!<arch>\n",
    b"\x89PNG\r\n\x1a\n",
    b"\x7fELF\x02\x01",
    b"\x28\xb5\x2f\xfd",
];

proptest! {
    #[test]
    fn the_same_has_no_finding_and_another_has_one(
        start in prop::sample::select(STARTS),
        a in prop::collection::vec(any::<u8>(), 0..300),
        b in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (a, b) = ([start, &a].concat(), [start, &b].concat());
        prop_assert!(explain("x.pyc", &a, &a).is_empty());
        prop_assert_eq!(explain("x.pyc", &a, &b).is_empty(), a == b);
    }
}
