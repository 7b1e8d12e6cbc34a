//! The chunks of a PNG picture.

use super::{Archive, Content, Field, MAX_MEMBERS, Member};
use crate::diff::{Cause, Ignored, lines};

pub(super) fn open(bytes: &[u8]) -> Option<Archive<'_>> {
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let content = after.get(..length)?;
        rest = after.get(length.checked_add(4)?..)?;
        if members.len() >= MAX_MEMBERS {
            return None;
        }
        let mut member =
            Member { name: lines::shown(name), fields: Vec::new(), content: Content::Plain(content) };
        if let (b"tIME", [y0, y1, month, day, hour, minute, second]) = (name, content) {
            let year = u16::from_be_bytes([*y0, *y1]);
            let time = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
            let field = Field::of("time", time, Cause::Time);
            member.fields.push(Field { ignorable: Some(Ignored::ImageTime), ..field });
            member.content = Content::Plain(&[]);
        }
        members.push(member);
    }
    Some(Archive { kind: "png", fields: Vec::new(), members })
}
