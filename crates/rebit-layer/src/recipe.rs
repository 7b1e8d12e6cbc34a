//! Recipes: how a layer's blob is made again from the files that are in the store anyway.
//!
//! ```text
//! blob ──decode──► tar ──Splitter──► scaffold (headers, padding, whatever is no file's content) ──► objects
//!                                └─► contents: the objects that the import has put
//! recipe = scaffold + contents in order ──join──► tar ──encoders in order──► blob
//! ```
//!
//! A recipe is an object; its bytes are specified in `docs/format/recipe.md`. Which encoder made a blob is found out by
//! trying ([`candidates`]); that a recipe holds is proved by following it, before anything is dropped.
//!
//! * [`split`]: from a tar stream to scaffold and contents. [`open`](mod@open): the way back.
//! * [`cover`](mod@cover): what keeps the objects that a recipe refers to. [`encoder`]: the encoders by name. [`framing`]: where members and frames of a blob begin and end.
//! * [`guess`]: which encoders may have made a blob.

pub mod cover;
pub mod encoder;
pub mod framing;
pub mod guess;
pub mod open;
pub mod split;

pub use cover::cover;
pub use encoder::Encoder;
pub use framing::{Frame, Framing};
pub use guess::candidates;
pub use open::{encoded, open};
pub use split::{Split, Splitter};

use rebit_oci::{DiffId, Digest, ObjectId};

const MAGIC: [u8; 8] = *b"rebitrcp";
const VERSION: u16 = 1;
/// Most contents that a recipe refers to.
pub const MAX_CONTENTS: usize = 1 << 20;
/// Most parts of a blob, and of a scaffold.
pub const MAX_PARTS: usize = 1 << 18;
/// Most bytes of a blob that a recipe holds as they are.
pub const MAX_VERBATIM: usize = 16 << 20;
/// Longest block of a scaffold.
pub const MAX_BLOCK: u64 = 8 << 20;
/// Most different encoders of a blob.
const MAX_ENCODERS: usize = 16;
/// Longest name of an encoder.
const MAX_NAME: usize = 64;

/// A content that stands in a tar stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// How many bytes of the scaffold come before it, after the content before.
    pub before: u64,
    /// The whole content.
    pub object: ObjectId,
    /// Its length.
    pub length: u64,
}

/// A part of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Verbatim(Vec<u8>),
    /// What the encoder makes of the next `plain` bytes of the tar stream.
    Encoded {
        /// The encoder.
        encoder: Encoder,
        /// How many bytes it takes.
        plain: u64,
    },
}

/// How a blob is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The digest of the blob.
    pub digest: Digest,
    /// The length of the blob.
    pub size: u64,
    /// The digest of the tar stream.
    pub diff_id: DiffId,
    /// The parts of the blob, in order.
    pub parts: Vec<Part>,
    /// The tar stream.
    pub tar: Split,
}

/// Why bytes are not a recipe that can be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// The bytes are not a recipe.
    #[error("the recipe is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// A later version wrote it.
    #[error("the recipe has version {version}; this program reads {VERSION}")]
    Version {
        /// What it says.
        version: u16,
    },
    /// It needs an encoder that this program does not have.
    #[error("the recipe needs the encoder `{name}`, which this program does not have")]
    UnknownEncoder {
        /// The encoder's name.
        name: String,
    },
    /// There is more of something than the format allows.
    #[error("the recipe has more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

fn malformed(reason: &'static str) -> RecipeError {
    RecipeError::Malformed { reason }
}

fn limited(what: &'static str, count: usize, limit: usize) -> Result<usize, RecipeError> {
    if count > limit { Err(RecipeError::Limit { what, limit: limit as u64 }) } else { Ok(count) }
}

impl Recipe {
    /// The objects without which the recipe cannot be followed, each once.
    #[must_use]
    pub fn edges(&self) -> Vec<ObjectId> {
        let scaffold = self.tar.scaffold.iter().map(|block| block.0);
        let mut edges: Vec<ObjectId> =
            scaffold.chain(self.tar.contents.iter().map(|content| content.object)).collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    /// The encoders that the recipe needs, each once, in order of first use.
    #[must_use]
    pub fn encoders(&self) -> Vec<Encoder> {
        let mut encoders = Vec::new();
        for part in &self.parts {
            if let Part::Encoded { encoder, .. } = part
                && !encoders.contains(encoder)
            {
                encoders.push(*encoder);
            }
        }
        encoders
    }

    /// Writes the recipe.
    ///
    /// # Errors
    /// [`RecipeError`] when there is more than a recipe may hold.
    pub fn encode(&self) -> Result<Vec<u8>, RecipeError> {
        let encoders = self.encoders();
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.digest.as_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(self.diff_id.0.as_bytes());
        out.push(limited("encoders", encoders.len(), MAX_ENCODERS)? as u8);
        for encoder in &encoders {
            let name = encoder.to_string();
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
        put_count(&mut out, limited("parts", self.parts.len(), MAX_PARTS)?);
        for part in &self.parts {
            match part {
                Part::Verbatim(bytes) => {
                    out.push(0);
                    put_number(&mut out, bytes.len() as u64);
                    out.extend_from_slice(bytes);
                }
                Part::Encoded { encoder, plain } => {
                    let at = encoders.iter().position(|other| other == encoder).unwrap_or(0);
                    out.push(at as u8 + 1);
                    put_number(&mut out, *plain);
                }
            }
        }
        put_count(&mut out, limited("scaffold blocks", self.tar.scaffold.len(), MAX_PARTS)?);
        for (object, length) in &self.tar.scaffold {
            out.extend_from_slice(&object.0);
            put_number(&mut out, *length);
        }
        put_count(&mut out, limited("contents", self.tar.contents.len(), MAX_CONTENTS)?);
        // Identities do not compress; the numbers do, when they stand together.
        self.tar.contents.iter().for_each(|content| out.extend_from_slice(&content.object.0));
        for content in &self.tar.contents {
            put_number(&mut out, content.before);
            put_number(&mut out, content.length);
        }
        Ok(out)
    }

    /// Reads a recipe. What it says is bounded and fits together; the objects are not looked at.
    ///
    /// # Errors
    /// [`RecipeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecipeError> {
        let mut input = Input(bytes);
        if input.array::<8>()? != MAGIC {
            return Err(malformed("it does not begin as one"));
        }
        let version = u16::from_le_bytes(input.array()?);
        if version != VERSION {
            return Err(RecipeError::Version { version });
        }
        let digest = Digest::from_bytes(input.array()?);
        let size = u64::from_le_bytes(input.array()?);
        let diff_id = DiffId(Digest::from_bytes(input.array()?));
        let encoders = input.encoders()?;
        let parts = input.parts(&encoders)?;
        let tar = input.tar()?;
        if !input.0.is_empty() {
            return Err(malformed("something follows it"));
        }
        let plain = |part: &Part| match part {
            Part::Verbatim(_) => 0,
            Part::Encoded { plain, .. } => *plain,
        };
        let total = parts.iter().try_fold(0_u64, |total, part| total.checked_add(plain(part)));
        if total.is_none() || total != tar.length() {
            return Err(malformed("its parts do not take the tar stream"));
        }
        let recipe = Self { digest, size, diff_id, parts, tar };
        if recipe.encode().as_deref() != Ok(bytes) {
            return Err(malformed("it is not written in the one way"));
        }
        Ok(recipe)
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], RecipeError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(malformed("it is cut short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecipeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(malformed("it is cut short"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn number(&mut self) -> Result<u64, RecipeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("a number is too long"))
    }

    fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, RecipeError> {
        limited(what, u32::from_le_bytes(self.array()?) as usize, limit)
    }

    fn encoders(&mut self) -> Result<Vec<Encoder>, RecipeError> {
        let [count] = self.array()?;
        limited("encoders", count.into(), MAX_ENCODERS)?;
        let mut encoders = Vec::new();
        for _ in 0..count {
            let [length] = self.array()?;
            limited("bytes in the name of an encoder", length.into(), MAX_NAME)?;
            let name = String::from_utf8_lossy(self.bytes(length.into())?).into_owned();
            match name.parse() {
                Ok(encoder) => encoders.push(encoder),
                Err(()) => {
                    let name = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
                    return Err(RecipeError::UnknownEncoder { name });
                }
            }
        }
        Ok(encoders)
    }

    fn parts(&mut self, encoders: &[Encoder]) -> Result<Vec<Part>, RecipeError> {
        let count = self.count("parts", MAX_PARTS)?;
        let mut parts = Vec::new();
        let mut verbatim = 0;
        for _ in 0..count {
            let [kind] = self.array()?;
            let number = self.number()?;
            parts.push(match usize::from(kind).checked_sub(1) {
                None => {
                    let length = usize::try_from(number).unwrap_or(usize::MAX);
                    let bytes = self.bytes(limited("verbatim bytes", length, MAX_VERBATIM)?)?;
                    verbatim = limited("verbatim bytes", verbatim + bytes.len(), MAX_VERBATIM)?;
                    Part::Verbatim(bytes.to_vec())
                }
                Some(at) => {
                    let encoder = encoders.get(at).copied().ok_or(malformed("a part has no encoder"))?;
                    if encoder.most().is_some_and(|most| number > most) {
                        return Err(RecipeError::Limit {
                            what: "bytes in a part that is encoded at once",
                            limit: encoder.most().unwrap_or_default(),
                        });
                    }
                    Part::Encoded { encoder, plain: number }
                }
            });
        }
        Ok(parts)
    }

    fn tar(&mut self) -> Result<Split, RecipeError> {
        let mut scaffold = Vec::new();
        let mut left = 0_u64;
        for _ in 0..self.count("scaffold blocks", MAX_PARTS)? {
            let (object, length) = (ObjectId(self.array()?), self.number()?);
            if length == 0 || length > MAX_BLOCK {
                return Err(malformed("a block of the scaffold has no valid length"));
            }
            left += length;
            scaffold.push((object, length));
        }
        let count = self.count("contents", MAX_CONTENTS)?;
        let (ids, _) = self.bytes(count * 32)?.as_chunks::<32>();
        let mut contents = Vec::with_capacity(ids.len());
        for id in ids {
            let (before, length) = (self.number()?, self.number()?);
            left = left.checked_sub(before).ok_or(malformed("its scaffold is too short"))?;
            if length == 0 {
                return Err(malformed("a content is empty"));
            }
            contents.push(Content { before, object: ObjectId(*id), length });
        }
        Ok(Split { scaffold, contents })
    }
}

#[cfg(test)]
mod tests;
