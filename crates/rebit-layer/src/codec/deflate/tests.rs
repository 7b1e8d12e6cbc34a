use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// Text, runs, noise and repetition at many distances.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 1000);
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    while bytes.len() < length {
        match random() % 8 {
            0 => bytes.extend(vec![b'a' + (random() % 4) as u8; random() % 700]),
            1 => (0..random() % 300).for_each(|_| bytes.push(random() as u8)),
            2 => (0..random() % 500).for_each(|_| bytes.push(b"etaoin shrdlu\n"[random() % 14])),
            3 => bytes.extend(format!("{:08} the quick brown fox\n", random() % 100_000).into_bytes()),
            _ => {
                let back = (random() % 40_000).min(bytes.len());
                let from = bytes.len() - back;
                let to = (from + 3 + random() % 400).min(bytes.len());
                bytes.extend_from_within(from..to);
            }
        }
    }
    bytes.truncate(length);
    bytes
}

fn deflate(flavour: Flavour, level: u8, input: &[u8], piece: usize) -> Vec<u8> {
    let (mut stream, mut out) = (Deflate::new(flavour, level), Vec::new());
    input.chunks(piece.max(1)).for_each(|piece| stream.push(piece, &mut out));
    stream.finish(&mut out);
    out
}

fn pigz(level: u8, input: &[u8], piece: usize) -> Vec<u8> {
    let (mut stream, mut out) = (Pigz::new(level), Vec::new());
    input.chunks(piece.max(1)).for_each(|piece| stream.push(piece, &mut out));
    stream.finish(&mut out);
    out
}

fn inflate(deflated: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(deflated), &mut out).unwrap();
    out
}

const SIZES: [usize; 9] = [0, 1, 2, 3, 300, 32_768, 65_536, 131_072, 700_001];

#[test]
fn what_was_deflated_inflates_and_the_sizes_of_writes_do_not_show() {
    //
    for size in SIZES {
        let input = sample(size);
        for level in 1..=9 {
            for flavour in [Flavour::Zlib, Flavour::Gnu] {
                let whole = deflate(flavour, level, &input, usize::MAX);
                assert!(inflate(&whole) == input, "{flavour:?} {level} {size}");
                assert!(deflate(flavour, level, &input, 777) == whole, "{flavour:?} {level} {size}");
            }
            let whole = pigz(level, &input, usize::MAX);
            assert!(inflate(&whole) == input, "pigz {level} {size}");
            assert!(pigz(level, &input, 7777) == whole, "pigz {level} {size}");
        }
    }
}

/// Runs a filter; `None`, said aloud, when it is not installed.
fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let line = format!("skipped: needs {program} ({error})\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
            return None;
        }
    };
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// The deflate stream of a gzip member with the shortest header.
fn body(member: &[u8]) -> &[u8] {
    &member[10..member.len() - 8]
}

#[test]
fn the_bytes_are_those_of_gzip() {
    //
    for size in SIZES {
        let input = sample(size);
        for level in 1..=9 {
            let Some(theirs) = filter("gzip", &["-n", "-c", &format!("-{level}")], &input) else { return };
            assert!(
                deflate(Flavour::Gnu, level, &input, usize::MAX) == body(&theirs),
                "level {level}, {size}"
            );
        }
    }
}

#[test]
fn the_bytes_are_those_of_pigz() {
    //
    for size in SIZES {
        let input = sample(size);
        for level in 1..=9 {
            // With one thread and a greedy level, pigz goes on with the chains of the block before.
            for threads in ["-p1", "-p2", "-p3"].iter().filter(|threads| level > 3 || **threads != "-p1") {
                let arguments = ["-n", "-c", *threads, &format!("-{level}")];
                let Some(theirs) = filter("pigz", &arguments, &input) else { return };
                assert!(pigz(level, &input, usize::MAX) == body(&theirs), "level {level}, {size}, {threads}");
            }
        }
    }
}

#[test]
fn the_bytes_are_those_of_zlib() {
    //
    const PROGRAM: &str = "import sys,zlib\n\
        c=zlib.compressobj(int(sys.argv[1]),zlib.DEFLATED,-15)\n\
        sys.stdout.buffer.write(c.compress(sys.stdin.buffer.read())+c.flush())";
    for size in SIZES {
        let input = sample(size);
        for level in 1..=9 {
            let arguments = ["-c", PROGRAM, &level.to_string()];
            let Some(theirs) = filter("python3", &arguments, &input) else { return };
            assert!(deflate(Flavour::Zlib, level, &input, usize::MAX) == theirs, "level {level}, {size}");
        }
    }
}
