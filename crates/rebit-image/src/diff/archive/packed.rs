//! One compressed stream: gzip, Zstandard, xz, bzip2.

use rebit_layer::codec::decode::Format;

use super::{Archive, Content, Field, Member};
use crate::diff::{Cause, lines};

/// Longest name or comment in a gzip header, in bytes.
const MAX_HEADER: usize = 4096;

pub(super) fn open(bytes: &[u8]) -> Option<Archive<'_>> {
    let format = Format::sniff(bytes);
    let (fields, body) = match format {
        Format::Plain => return None,
        Format::Gzip => gzip(bytes)?,
        Format::Zstd | Format::Bzip2 | Format::Xz => (Vec::new(), bytes),
    };
    let content = Content::Stream { whole: bytes, body };
    let content = Member { name: "content".to_owned(), fields: Vec::new(), content };
    Some(Archive { kind: format.name(), fields, members: vec![content] })
}

/// The header of the first member (RFC 1952), and what follows it.
fn gzip(bytes: &[u8]) -> Option<(Vec<Field>, &[u8])> {
    let header: &[u8; 10] = bytes.first_chunk()?;
    let [_, _, _, flags, time @ .., level, system] = header;
    let time = u32::from_le_bytes(*time);
    let mut fields =
        vec![Field::time(i64::from(time)), Field::new("level", level), Field::new("system", system)];
    let mut rest = bytes.get(10..)?;
    if flags & 4 != 0 {
        let length = usize::from(u16::from_le_bytes(*rest.first_chunk()?));
        rest = rest.get(2 + length..)?;
    }
    for (flag, name) in [(8, "name"), (16, "comment")] {
        if flags & flag != 0 {
            let end = rest.iter().take(MAX_HEADER).position(|byte| *byte == 0)?;
            let (text, after) = (rest.get(..end)?, rest.get(end + 1..)?);
            fields.push(Field::of(name, lines::shown(text), Cause::Path));
            rest = after;
        }
    }
    Some((fields, rest))
}
