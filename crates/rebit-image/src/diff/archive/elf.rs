//! The sections of a 64-bit little-endian ELF file.

use super::{Archive, Content, Field, MAX_MEMBERS, Member};
use crate::diff::lines;

/// A section header that has no content in the file (`SHT_NOBITS`).
const NO_BITS: u32 = 8;

pub(super) fn open(bytes: &[u8]) -> Option<Archive<'_>> {
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = usize::try_from(u64_at(bytes, 40)?).ok()?;
    let (size, count, names) = (u16_at(bytes, 58)?, u16_at(bytes, 60)?, u16_at(bytes, 62)?);
    let header = |number: u16| {
        let start = table.checked_add(usize::from(number) * usize::from(size))?;
        bytes.get(start..start.checked_add(64)?)
    };
    let content = |header: &[u8]| {
        let (start, length) = (u64_at(header, 24)?, u64_at(header, 32)?);
        let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
        if u32_at(header, 4)? == NO_BITS {
            Some(&[][..])
        } else {
            bytes.get(start..start.checked_add(length)?)
        }
    };
    let strings = content(header(names)?)?;
    let mut members = Vec::new();
    for number in 1..count {
        if members.len() >= MAX_MEMBERS {
            return None;
        }
        let header = header(number)?;
        let name = strings.get(u32_at(header, 0)? as usize..)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let fields = vec![Field::new("section size", u64_at(header, 32)?)];
        members.push(Member { name: lines::shown(name), fields, content: Content::Opaque(content(header)?) });
    }
    let fields = vec![Field::new("type", u16_at(bytes, 16)?), Field::new("machine", u16_at(bytes, 18)?)];
    (!members.is_empty()).then_some(Archive { kind: "ELF", fields, members })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|number| u16::from_le_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|number| u64::from_le_bytes(*number))
}
