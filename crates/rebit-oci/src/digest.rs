//! Digests of stored bytes: `sha256:` and 64 lower-case hexadecimal digits.
//!
//! Source: OCI image-spec, `descriptor.md` ("Digests") and `config.md` ("Layer DiffID", "Layer ChainID").

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use sha2::digest::common::hazmat::SerializableState;

use crate::hex;

/// The SHA-256 digest of a blob's bytes, the name by which OCI documents refer to it.
///
/// SHA-256 is the one algorithm that every registry takes; a document naming another one is refused
/// with [`ParseDigestError::UnsupportedAlgorithm`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// The algorithm is registered or plausible, but not one this program computes.
    #[error("digest algorithm `{algorithm}` is not supported; `sha256` is")]
    UnsupportedAlgorithm {
        /// The text before the colon.
        algorithm: String,
    },
    /// The text is not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("`{text}` is not a digest (`sha256:` and 64 hexadecimal digits)")]
    Malformed {
        /// The text as given, cut to 100 characters.
        text: String,
    },
}

impl Digest {
    /// Computes the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Takes a SHA-256 value computed elsewhere.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the SHA-256 value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 digits after `sha256:`, as an image layout names its blob files.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(&self.0)
    }

    /// `sha256:` and the first 12 digits, for tables; never for anything that is read back.
    #[must_use]
    pub fn short(&self) -> String {
        format!("sha256:{}", hex::encode(&self.0[..6]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseDigestError::Malformed { text: text.chars().take(100).collect() };
        let (algorithm, value) = text.split_once(':').ok_or_else(malformed)?;
        if algorithm != "sha256" {
            let known = !algorithm.is_empty()
                && algorithm.len() <= 32
                && algorithm
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b));
            return Err(if known {
                ParseDigestError::UnsupportedAlgorithm { algorithm: algorithm.to_owned() }
            } else {
                malformed()
            });
        }
        hex::decode_32(value).map(Self).ok_or_else(malformed)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

digest_newtype! {
    /// The digest of a layer's uncompressed tar stream.
    DiffId
}

digest_newtype! {
    /// The identity of a stack of layers applied in order.
    ChainId
}

impl ChainId {
    /// The chain of one layer: its diff id itself.
    #[must_use]
    pub fn of_base(layer: DiffId) -> Self {
        Self(layer.0)
    }

    /// The chain made by applying `layer` on top of this one.
    #[must_use]
    pub fn then(self, layer: DiffId) -> Self {
        Self(Digest::of(format!("{self} {layer}").as_bytes()))
    }

    /// The chain of `layers`, lowest first; `None` when there is none.
    #[must_use]
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        Some(rest.iter().fold(Self::of_base(*first), |chain, layer| chain.then(*layer)))
    }
}

/// An incremental SHA-256 that also counts what it was fed.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    length: u64,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Hasher {
    /// Starts an empty hash.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// How many bytes were fed so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The state, to go on from later: the length, and what the hash keeps of it.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = self.length.to_le_bytes().to_vec();
        bytes.extend_from_slice(&SerializableState::serialize(&self.state));
        bytes
    }

    /// Goes on from a state that [`save`](Self::save) gave; `None` when it is none.
    #[must_use]
    pub fn restore(bytes: &[u8]) -> Option<Self> {
        let (length, state) = bytes.split_first_chunk::<8>()?;
        let state = sha2::Sha256::deserialize(state.try_into().ok()?).ok()?;
        Some(Self { state, length: u64::from_le_bytes(*length) })
    }

    /// Ends the hash.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that hashes what passes through it.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Wraps `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::new() }
    }

    /// Reads whatever is left, then returns the digest and the length of the whole stream.
    ///
    /// # Errors
    /// The wrapped reader's.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        let length = self.hasher.length();
        Ok((self.hasher.finish(), length))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// A reader that fails at its end unless the bytes were those of the expected digest and length.
///
/// A prefix proves nothing: only a read that returned `Ok(0)` has been verified. It never hands out
/// more than the expected length.
#[derive(Debug)]
pub struct VerifyReader<R> {
    inner: R,
    hasher: Option<Hasher>,
    expected: Digest,
    length: u64,
}

/// What a [`VerifyReader`] found, inside the [`io::Error`] it returns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The bytes hash to something else.
    #[error("blob {expected} is damaged: its bytes have digest {found}")]
    Digest {
        /// The digest asked for.
        expected: Digest,
        /// The digest of the bytes read.
        found: Digest,
    },
    /// There are fewer or more bytes than the descriptor says.
    #[error("blob {digest} is damaged: it has {found} bytes where {expected} were promised")]
    Length {
        /// The digest asked for.
        digest: Digest,
        /// The length promised.
        expected: u64,
        /// The length found; at least this many when the stream is too long.
        found: u64,
    },
}

impl<R: Read> VerifyReader<R> {
    /// Wraps `inner`, which must yield exactly `length` bytes with digest `expected`.
    pub fn new(inner: R, expected: Digest, length: u64) -> Self {
        Self { inner, hasher: Some(Hasher::new()), expected, length }
    }
}

impl<R: Read> Read for VerifyReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(hasher) = self.hasher.as_mut() else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        hasher.update(&buffer[..count]);
        let found = hasher.length();
        let wrong_length = Mismatch::Length { digest: self.expected, expected: self.length, found };
        if found > self.length || (count == 0 && found < self.length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, wrong_length));
        }
        if count == 0
            && let Some(hasher) = self.hasher.take()
        {
            let found = hasher.finish();
            if found != self.expected {
                let mismatch = Mismatch::Digest { expected: self.expected, found };
                return Err(io::Error::new(io::ErrorKind::InvalidData, mismatch));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A state is kept from run to run, so its bytes must not change with the library.
    #[test]
    fn a_hash_goes_on_from_a_saved_state() {
        let text: Vec<u8> = (0..300_u32).map(|n| (n % 251) as u8).collect();
        for cut in [0, 1, 63, 64, 65, 128, 300] {
            let mut hasher = Hasher::new();
            hasher.update(&text[..cut]);
            let mut again = Hasher::restore(&hasher.save()).unwrap();
            assert_eq!(again.length(), cut as u64);
            again.update(&text[cut..]);
            assert_eq!((again.length(), again.finish()), (300, Digest::of(&text)), "{cut}");
        }
        let mut hasher = Hasher::new();
        hasher.update(b"abc");
        let saved = hasher.save();
        let initial = "67e6096a85ae67bb72f36e3c3af54fa57f520e518c68059babd9831f19cde05b";
        let expected = format!("0300000000000000{initial}000000000000000003616263{}", "00".repeat(60));
        assert_eq!(crate::hex::encode(&saved), expected);
        assert!(Hasher::restore(&saved[..saved.len() - 1]).is_none());
        assert!(Hasher::restore(b"").is_none());
    }

    #[test]
    fn digests_parse_and_print() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
        for text in ["", "sha256", "sha256:", "sha256:E3", "sha256:zz", &EMPTY.to_uppercase(), "Ä:00", ":"] {
            assert!(
                matches!(text.parse::<Digest>(), Err(ParseDigestError::Malformed { .. })),
                "`{text}` was taken"
            );
        }
        assert_eq!(
            "sha512:00".parse::<Digest>(),
            Err(ParseDigestError::UnsupportedAlgorithm { algorithm: "sha512".into() })
        );
    }

    #[test]
    fn chains_follow_the_specification() {
        let (a, b) = (DiffId(Digest::of(b"a")), DiffId(Digest::of(b"b")));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]), Some(ChainId(a.0)));
        assert_eq!(ChainId::of(&[a, b]), Some(ChainId(Digest::of(format!("{} {}", a.0, b.0).as_bytes()))));
    }

    #[test]
    fn a_verified_reader_accepts_only_the_promised_bytes() {
        let read = |bytes: &[u8], digest, length| {
            let mut out = Vec::new();
            VerifyReader::new(bytes, digest, length).read_to_end(&mut out).map(|_| out)
        };
        let digest = Digest::of(b"abc");
        assert_eq!(read(b"abc", digest, 3).unwrap(), b"abc");
        for (bytes, length) in
            [(&b"abd"[..], 3), (b"ab", 3), (b"abcd", 3), (b"abc", 2), (b"abc", 4), (b"", 3)]
        {
            let error = read(bytes, digest, length).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(&digest.to_string()), "{error}");
        }
    }
}
