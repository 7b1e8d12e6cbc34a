use std::io::Write;

use flate2::{Compression, GzBuilder};

use crate::diff::{Finding, Ignored, explain};

fn gzip(time: u32, level: u32, content: &[u8]) -> Vec<u8> {
    let mut writer = GzBuilder::new().mtime(time).write(Vec::new(), Compression::new(level));
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn tar(files: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, time, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(*time);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn ar(files: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, time, content) in files {
        out.extend(format!("{name:16}{time:<12}{:6}{:6}{:8}{:<10}`\n", 0, 0, 100_644, content.len()).bytes());
        out.extend_from_slice(content);
        out.resize(out.len() + content.len() % 2, b'\n');
    }
    out
}

fn zip(files: &[(&str, u16, u16, &[u8])]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, date, method, content) in files {
        let at = u32::try_from(out.len()).unwrap();
        let packed = if *method == 8 {
            let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), Compression::new(6));
            writer.write_all(content).unwrap();
            writer.finish().unwrap()
        } else {
            content.to_vec()
        };
        let mut common = Vec::new();
        for number in [20, 0, *method, 0, *date] {
            common.extend_from_slice(&number.to_le_bytes());
        }
        common.extend_from_slice(&[0; 4]);
        common.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &packed].concat());
        central.extend(
            [b"PK\x01\x02\x14\x03", &common[..], &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat(),
        );
    }
    let at = u32::try_from(out.len()).unwrap();
    out.extend_from_slice(&central);
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    out.extend(u32::try_from(central.len()).unwrap().to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn png(second: u8, data: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [(b"IDAT", data), (b"tIME", &[0x07, 0xea, 11, 24, 13, 15, second])] {
        out.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        out.extend([&name[..], content, &[0; 4]].concat());
    }
    out
}

/// A file with the sections `.note.gnu.build-id` and `.rodata`.
fn elf(id: &[u8; 4], data: &[u8; 8]) -> Vec<u8> {
    let names = b"\0.note.gnu.build-id\0.rodata\0.shstrtab\0";
    let mut out = vec![0_u8; 64];
    out[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let contents = [(1_u32, &id[..]), (20, data), (28, names)];
    let mut headers = vec![0_u8; 64];
    for (name, content) in contents {
        let mut header = vec![0_u8; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4] = 1;
        header[24..32].copy_from_slice(&(out.len() as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(content.len() as u64).to_le_bytes());
        headers.extend(header);
        out.extend_from_slice(content);
    }
    let table = (out.len() as u64).to_le_bytes();
    out[40..48].copy_from_slice(&table);
    out[58..64].copy_from_slice(&[64, 0, 4, 0, 3, 0]);
    out.extend(headers);
    out
}

fn said(finding: &Finding) -> String {
    let causes: Vec<String> = finding.causes.iter().map(ToString::to_string).collect();
    let ignorable = if finding.ignorable.is_some() { " (ignorable)" } else { "" };
    format!("{}: {} [{}]{ignorable}", finding.place, finding.what, causes.join(", "))
}

fn check(path: &str, a: &[u8], b: &[u8], expected: &[&str]) {
    let found: Vec<String> = explain(path, a, b).iter().map(said).collect();
    assert_eq!(found, expected, "{path}");
    assert_eq!(explain(path, a, a), []);
}

const NOW: u32 = 1_764_000_000;

#[test]
fn compressed_files_are_looked_into() {
    let text = b"some text that is long enough to be compressed, long enough to be compressed\n";
    check(
        "f.gz",
        &gzip(NOW, 6, text),
        &gzip(NOW + 1, 6, text),
        &["f.gz: gzip time [time stamp] (ignorable)"],
    );
    check(
        "f.gz",
        &gzip(0, 9, text),
        &gzip(0, 0, text),
        &["f.gz: gzip level []", "f.gz: gzip compressed in another way [compression] (ignorable)"],
    );
    check("f.gz", &gzip(0, 6, b"a\n"), &gzip(0, 6, b"b\n"), &["f.gz!content: text []"]);
    let zstd = |level| zstd::bulk::compress(&text.repeat(50), level).unwrap();
    if zstd(1) != zstd(19) {
        check(
            "f.zst",
            &zstd(1),
            &zstd(19),
            &["f.zst: zstd compressed in another way [compression] (ignorable)"],
        );
    }
}

#[test]
fn archives_are_looked_into() {
    let now = u64::from(NOW);
    check(
        "f.tar",
        &tar(&[("a", now, b"1\n"), ("b", 0, b"2\n"), ("c", 0, b"3\n")]),
        &tar(&[("b", 0, b"2\n"), ("a", now + 5, b"1\n"), ("d", 0, b"3\n")]),
        &[
            "f.tar: tar order of members [order]",
            "f.tar!a: tar time [time stamp] (ignorable)",
            "f.tar!c: tar member only in the first []",
            "f.tar!d: tar member only in the second []",
        ],
    );
    check(
        "f.a",
        &ar(&[("x.o/", now, b"one")]),
        &ar(&[("x.o/", now + 1, b"two")]),
        &["f.a!x.o/: ar time [time stamp] (ignorable)", "f.a!x.o/: text []"],
    );
    check(
        "f.jar",
        &zip(&[("a", 33, 8, b"text\n"), ("b", 33, 0, b"x\n")]),
        &zip(&[("a", 34, 8, b"text\n"), ("b", 33, 8, b"x\n")]),
        &[
            "f.jar!a: zip time [time stamp] (ignorable)",
            "f.jar: zip compressed in another way [compression] (ignorable)",
        ],
    );
    // One in another.
    let inner = |time| gzip(0, 6, &tar(&[("m.txt", time, b"x\n")]));
    check(
        "f.zip",
        &zip(&[("d.tgz", 33, 0, &inner(now))]),
        &zip(&[("d.tgz", 33, 0, &inner(now + 9))]),
        &["f.zip!d.tgz!content!m.txt: tar time [time stamp] (ignorable)"],
    );
}

#[test]
fn pictures_and_programs_are_looked_into() {
    let found = explain("f.png", &png(1, b"x"), &png(2, b"x"));
    assert_eq!(found.iter().map(said).collect::<Vec<_>>(), ["f.png!tIME: png time [time stamp] (ignorable)"]);
    assert_eq!(found[0].ignorable, Some(Ignored::ImageTime));
    check(
        "prog",
        &elf(b"abcd", b"12345678"),
        &elf(b"efgh", b"12345678"),
        &["prog!.note.gnu.build-id: bytes [build id]"],
    );
    check(
        "prog",
        &elf(b"\0\0\0\x01", b"12:15:01"),
        &elf(b"\0\0\0\x02", b"12:15:02"),
        &["prog!.note.gnu.build-id: bytes [build id]", "prog!.rodata: text [time stamp]"],
    );
}

#[test]
fn limits_hold() {
    // Five archives inside each other: the innermost is compared as it is.
    let nest = |time| (0..5).fold(gzip(time, 6, b"x"), |inner, _| gzip(0, 6, &inner));
    let found = explain("f.gz", &nest(NOW), &nest(NOW + 1));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].place, "f.gz!content!content!content!content");
    // A bomb is not unpacked to its end.
    let bomb = |byte| gzip(0, 9, &vec![byte; 160 << 20]);
    check(
        "f.gz",
        &bomb(0),
        &bomb(1),
        &["f.gz!content: content, not looked into: damaged or too large to unpack []"],
    );
    // More differences than are listed.
    let many: Vec<String> = (0..500).map(|n| format!("f{n:03}")).collect();
    let made = |time| tar(&many.iter().map(|name| (name.as_str(), time, &b""[..])).collect::<Vec<_>>());
    let found = explain("f.tar", &made(1), &made(2));
    assert_eq!(found.len(), 201);
    assert!(found[200].what.starts_with("not looked into further"), "{:?}", found[200]);
}

#[test]
fn every_prefix_of_an_archive_is_read_without_trouble() {
    let samples = [
        gzip(NOW, 6, b"text"),
        tar(&[("a", 1, b"x")]),
        ar(&[("a", 1, b"x")]),
        zip(&[("a", 33, 8, b"text")]),
        png(1, b"x"),
        elf(b"abcd", b"12345678"),
    ];
    for sample in samples {
        for end in 0..sample.len() {
            assert!(!explain("f", &sample[..end], &sample).is_empty());
        }
    }
}
