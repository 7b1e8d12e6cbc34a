//! zip and what is one: jar, whl, epub, … The central directory decides; zip64 is not read.

use super::{Archive, Content, Field, MAX_MEMBERS, Member};
use crate::diff::{Cause, Ignored, lines};

const END: &[u8; 4] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const CENTRAL_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;

pub(super) fn open(bytes: &[u8]) -> Option<Archive<'_>> {
    if !matches!(bytes.first_chunk()?, b"PK\x03\x04" | b"PK\x05\x06") {
        return None;
    }
    let start = bytes.len().checked_sub(END_LENGTH)?;
    let lowest = start.saturating_sub(usize::from(u16::MAX));
    let end = (lowest..=start).rev().find(|at| bytes.get(*at..*at + 4) == Some(END))?;
    let end = bytes.get(end..)?;
    let (count, at) = (u16_at(end, 10)?, u32_at(end, 16)?);
    if usize::from(count) > MAX_MEMBERS {
        return None;
    }
    let mut rest = bytes.get(at..)?;
    let mut members = Vec::new();
    for _ in 0..count {
        let (header, after) = rest.split_first_chunk::<CENTRAL_LENGTH>()?;
        let lengths = [u16_at(header, 28)?, u16_at(header, 30)?, u16_at(header, 32)?].map(usize::from);
        let [name, extra, comment] = lengths;
        let (name, after) = after.split_at_checked(name)?;
        let (extra, after) = after.split_at_checked(extra)?;
        rest = after.get(comment..)?;
        members.push(entry(bytes, header, name, extra)?);
    }
    let fields = vec![Field::new("comment", lines::shown(end.get(END_LENGTH..)?))];
    Some(Archive { kind: "zip", fields, members })
}

fn entry<'a>(
    bytes: &'a [u8],
    header: &[u8; CENTRAL_LENGTH],
    name: &[u8],
    extra: &[u8],
) -> Option<Member<'a>> {
    if !header.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (flags, method) = (u16_at(header, 8)?, u16_at(header, 10)?);
    let (length, local) = (u32_at(header, 20)?, u32_at(header, 42)?);
    let local = bytes.get(local..)?;
    let skip = LOCAL_LENGTH + usize::from(u16_at(local, 26)?) + usize::from(u16_at(local, 28)?);
    let content = local.get(skip..skip.checked_add(length)?)?;
    let mut fields = vec![
        Field {
            ignorable: Some(Ignored::ArchiveTime),
            ..Field::of("time", dos_time(u16_at(header, 14)?, u16_at(header, 12)?), Cause::Time)
        },
        Field::of("mode", format!("{:06o}", u32_at(header, 38)? >> 16), Cause::Owner),
        Field::new("made by", u16_at(header, 4)?),
    ];
    extra_fields(extra, &mut fields);
    let content = match (method, flags & 1) {
        (0, 0) => Content::Plain(content),
        (8, 0) => Content::Deflate(content),
        _ => Content::Opaque(content),
    };
    Some(Member { name: lines::shown(name), fields, content })
}

/// The extra fields of an entry: the times and owners that Unix programs add, and the rest as bytes.
fn extra_fields(mut extra: &[u8], fields: &mut Vec<Field>) {
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(data) = extra.get(4..4 + usize::from(length)) else { return };
        extra = extra.get(4 + usize::from(length)..).unwrap_or_default();
        let hex: String = data.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
        match (id, data) {
            (0x5455, [_, time @ ..]) => {
                let time = time.first_chunk().map_or(0, |time| i64::from(u32::from_le_bytes(*time)));
                fields.push(Field { name: "extended time", ..Field::time(time) });
            }
            (0x7875 | 0x7855, _) => fields.push(Field::of("owner", hex, Cause::Owner)),
            _ => fields.push(Field::new("extra field", format!("{id:04x}:{hex}"))),
        }
    }
}

fn dos_time(date: u16, time: u16) -> String {
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        1980 + (date >> 9),
        date >> 5 & 15,
        date & 31,
        time >> 11,
        time >> 5 & 63,
        (time & 31) * 2
    )
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|number| u16::from_le_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))?;
    usize::try_from(number).ok()
}
