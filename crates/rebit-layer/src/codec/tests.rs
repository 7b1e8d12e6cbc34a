use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::decode::{DecodeLimits, open};
use super::*;

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

/// Bytes that compress like text, without randomness.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(format!("{:x} the line {} ", state >> 20, state >> 28).as_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn parts(compression: Compression, lengths: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let (mut plain, mut blob) = (Vec::new(), Vec::new());
    for length in lengths {
        let segment = sample(*length);
        blob.extend_from_slice(&encode_segment(compression, &segment).unwrap());
        plain.extend_from_slice(&segment);
    }
    (plain, blob)
}

// L-43
#[test]
fn parts_put_together_are_one_stream() {
    for compression in ALL {
        let (plain, blob) = parts(compression, &[1, 700_000, 0, 3_000_000]);
        let mut decoder = open(&blob[..], DecodeLimits::default()).unwrap();
        let mut out = Vec::new();
        decoder.read_to_end(&mut out).unwrap();
        assert!(out == plain, "{compression:?}");
    }
}

// L-41
#[test]
fn a_gzip_member_has_a_fixed_header() {
    let part = encode_segment(Compression::Gzip, b"content").unwrap();
    assert_eq!(part.get(..10), Some(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..]));
}

// L-42
#[test]
fn a_zstd_frame_has_size_and_checksum() {
    let part = encode_segment(Compression::Zstd, &sample(700_000)).unwrap();
    let descriptor = part.get(4).copied().unwrap();
    // Content_Size_flag of four bytes, Single_Segment_flag, Content_Checksum_flag.
    assert_eq!((descriptor >> 6, descriptor >> 5 & 1, descriptor >> 2 & 1), (2, 1, 1));
    assert_eq!(part.get(5..9), Some(&700_000_u32.to_le_bytes()[..]));
}

#[test]
fn encoding_twice_gives_the_same_bytes() {
    for compression in ALL {
        let long = sample(2_500_000);
        let first = encode_segment(compression, &long).unwrap();
        encode_segment(compression, &sample(100)).unwrap();
        assert!(first == encode_segment(compression, &long).unwrap());
    }
}

/// Pipes `blob` through a program; `None`, visibly, when it is not installed.
fn through(program: &[&str], blob: &[u8]) -> Option<Vec<u8>> {
    let child =
        Command::new(program[0]).args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        crate::testing::skipped(format_args!("needs {}", program[0]));
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let blob = blob.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&blob));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program:?}");
    Some(output.stdout)
}

// L-43
#[test]
fn other_programs_read_the_blobs() {
    let (plain, blob) = parts(Compression::Gzip, &[10, 1_200_000, 600_000]);
    let python = "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    for program in
        [&["gzip", "-dc"][..], &["pigz", "-dc"], &["python3", "-c", python], &["busybox", "gzip", "-dc"]]
    {
        if let Some(out) = through(program, &blob) {
            assert!(out == plain, "{program:?}");
        }
    }
    let (plain, blob) = parts(Compression::Zstd, &[10, 1_200_000, 600_000]);
    if let Some(out) = through(&["zstd", "-dc"], &blob) {
        assert!(out == plain);
    }
}

#[test]
fn go_reads_the_gzip_blobs() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("main.go");
    let program = "package main\nimport (\"compress/gzip\"; \"io\"; \"os\")\nfunc main() {\n\
        r, err := gzip.NewReader(os.Stdin); if err != nil { panic(err) }\n\
        if _, err := io.Copy(os.Stdout, r); err != nil { panic(err) }\n}\n";
    std::fs::write(&source, program).unwrap();
    let binary = directory.path().join("gunzip");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(&source)
        .env("GOCACHE", directory.path().join("cache"))
        .status();
    if !built.is_ok_and(|status| status.success()) {
        crate::testing::skipped(format_args!("needs go"));
        return;
    }
    let (plain, blob) = parts(Compression::Gzip, &[10, 1_200_000, 600_000]);
    assert!(through(&[binary.to_str().unwrap()], &blob).unwrap() == plain);
}

#[test]
fn a_segment_is_decoded_into_a_buffer_that_is_used_again() {
    let mut buffer = Vec::new();
    for plain in [&b"some text, some text, some text"[..], b"", &[7; 100_000], b"short"] {
        for (compression, format) in [(Compression::Gzip, Format::Gzip), (Compression::Zstd, Format::Zstd)] {
            let part = encode_segment(compression, plain).unwrap();
            let length = decode_segment(format, &part, 1 << 20, &mut buffer).unwrap();
            assert_eq!(&buffer[..length], plain, "{format:?}");
            assert!(plain.is_empty() || decode_segment(format, &part, plain.len() - 1, &mut buffer).is_err());
            let cut = &part[..part.len() - 1];
            assert!(decode_segment(format, cut, 1 << 20, &mut buffer).is_err(), "{format:?}");
        }
    }
}
