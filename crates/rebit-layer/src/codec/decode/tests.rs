use std::io::Write;

use proptest::prelude::*;

use super::*;

fn plain() -> Vec<u8> {
    b"some text, and again some text, ".repeat(2000)
}

fn compressed(format: Format, plain: &[u8]) -> Vec<u8> {
    match format {
        Format::Plain => plain.to_vec(),
        Format::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Format::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            // Without it damage to literals goes unnoticed.
            encoder.include_checksum(true).unwrap();
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Format::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Format::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
    }
}

const COMPRESSED: [Format; 4] = [Format::Gzip, Format::Zstd, Format::Bzip2, Format::Xz];

fn decode(bytes: &[u8], limits: DecodeLimits) -> io::Result<(Format, Vec<u8>)> {
    let mut decoder = open(bytes, limits)?;
    let mut out = Vec::new();
    decoder.read_to_end(&mut out)?;
    Ok((decoder.format(), out))
}

fn reason(error: &io::Error) -> &DecodeError {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap()
}

#[test]
fn every_format_is_recognised_and_read() {
    for format in [Format::Plain, Format::Gzip, Format::Zstd, Format::Bzip2, Format::Xz] {
        let mut blob = compressed(format, &plain());
        blob.extend(compressed(format, b"second"));
        let (found, out) = decode(&blob, DecodeLimits::default()).unwrap();
        assert_eq!(found, format);
        assert!(out == [&plain()[..], b"second"].concat(), "{format:?}");
    }
    for short in [&b""[..], b"B", b"\x1f", b"tar"] {
        assert_eq!(decode(short, DecodeLimits::default()).unwrap(), (Format::Plain, short.to_vec()));
    }
}

#[test]
fn a_skippable_frame_may_come_first() {
    let mut blob = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    blob.extend(compressed(Format::Zstd, b"content"));
    assert_eq!(decode(&blob, DecodeLimits::default()).unwrap(), (Format::Zstd, b"content".to_vec()));
}

#[test]
fn damage_and_truncation_are_errors() {
    for format in COMPRESSED {
        let blob = compressed(format, &plain());
        for broken in [&blob[..blob.len() - 1], &blob[..blob.len() / 2], &blob[..8]] {
            let error = decode(broken, DecodeLimits::default()).unwrap_err();
            assert!(matches!(reason(&error), DecodeError::Corrupt { .. }), "{format:?} {error}");
        }
        let mut flipped = blob.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        assert!(decode(&flipped, DecodeLimits::default()).is_err(), "{format:?}");
    }
}

#[test]
fn an_error_from_below_comes_through() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let whole = compressed(Format::Gzip, &plain());
            let rest = &whole[self.0..(self.0 + 20).min(whole.len())];
            if self.0 > 100 {
                return Err(io::Error::new(io::ErrorKind::ConnectionReset, "gone"));
            }
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.0 += count;
            Ok(count)
        }
    }
    let error = open(Failing(0), DecodeLimits::default()).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn limits_stop_a_bomb() {
    let zeros = vec![0; 1 << 20];
    for format in COMPRESSED {
        let blob = compressed(format, &zeros);
        let small = DecodeLimits { output: 1000, ..DecodeLimits::default() };
        let error = decode(&blob, small).unwrap_err();
        assert!(matches!(reason(&error), DecodeError::OutputLimit { limit: 1000, .. }), "{format:?}");
        let thin = DecodeLimits { ratio: 10, ratio_from: 1000, ..DecodeLimits::default() };
        let error = decode(&blob, thin).unwrap_err();
        assert!(matches!(reason(&error), DecodeError::RatioLimit { ratio: 10, .. }), "{format:?}");
        assert!(decode(&blob, DecodeLimits::default()).is_ok(), "{format:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(start in 0_usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut blob = compressed(COMPRESSED[start], b"x");
        blob.truncate(6);
        blob.extend(bytes);
        let _ = decode(&blob, DecodeLimits { output: 1 << 20, ..DecodeLimits::default() });
    }
}
