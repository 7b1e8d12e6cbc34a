//! Zip archives (APPNOTE.TXT 6.3): members sorted, their times set.
//!
//! The compressed bytes of members stay as they are. What cannot be written anew from the central directory alone is left: zip64,
//! encryption, several disks, and archives behind something else (a script that unpacks itself).

use super::{File, Fixed, Unfit};
use crate::time;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const LOCAL_SIZE: usize = 30;
const CENTRAL_SIZE: usize = 46;
const END_SIZE: usize = 22;
/// Set in a member that is encrypted.
const ENCRYPTED: u16 = 1;
/// Set in a member whose sizes follow its content.
const TRAILED: u16 = 1 << 3;
/// Extra fields with times or owners: NTFS, extended time stamp, the two of Info-ZIP with numbers of users.
const VARYING: [u16; 4] = [0x000a, 0x5455, 0x5855, 0x7875];
const ZIP64: u16 = 0x0001;
/// Names that have to come first, in this order: Java looks for its manifest there, EPUB and OpenDocument for their type.
const FIRST: [&[u8]; 3] = [b"mimetype", b"META-INF/", b"META-INF/MANIFEST.MF"];

struct Member<'a> {
    /// The fixed part of the central header.
    central: Vec<u8>,
    name: &'a [u8],
    extra: Vec<u8>,
    comment: &'a [u8],
    /// The fixed part of the local header, its name and extra fields.
    local: Vec<u8>,
    local_name: &'a [u8],
    local_extra: Vec<u8>,
    content: &'a [u8],
}

/// Sorts members by name and sets their times to the epoch.
pub(super) fn archive(file: &File<'_>) -> Result<Fixed, Unfit> {
    if !file.bytes.starts_with(&LOCAL.to_le_bytes()) {
        let empty = file.bytes.starts_with(&END.to_le_bytes());
        return if empty { Ok(Fixed::Keep) } else { Err(Unfit("it does not begin as a zip archive")) };
    }
    let (mut members, comment) = read(file.bytes)?;
    let rank = |name: &[u8]| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    // Members of one name stay in order: the last one counts.
    members.sort_by(|a, b| (rank(a.name), a.name).cmp(&(rank(b.name), b.name)));
    Ok(Fixed::Replace(write(&members, comment, dos_time(file.epoch))?))
}

fn read(bytes: &[u8]) -> Result<(Vec<Member<'_>>, &[u8]), Unfit> {
    let broken = Unfit("it is a broken or unusual zip archive");
    // The comment is at most 65535 bytes and ends the file.
    let least = bytes.len().saturating_sub(END_SIZE + usize::from(u16::MAX));
    let last = bytes.len().checked_sub(END_SIZE).ok_or(broken)?;
    let found = (least..=last).rev().find(|at| {
        u32_at(bytes, *at) == Some(END)
            && u16_at(bytes, at + 20).is_some_and(|n| at + END_SIZE + usize::from(n) == bytes.len())
    });
    let end = found.ok_or(broken)?;
    let count = u16_at(bytes, end + 10).ok_or(broken)?;
    if u32_at(bytes, end + 4) != Some(0) || u16_at(bytes, end + 8) != Some(count) {
        return Err(Unfit("it is a part of an archive of several"));
    }
    let (size, start) = (number_at(bytes, end + 12), number_at(bytes, end + 16));
    let start = start.ok_or(broken)?;
    if count == u16::MAX || size.is_none_or(|size| start.checked_add(size) != Some(end)) {
        return Err(Unfit("it is a zip64 archive, or one with something before or behind its members"));
    }
    let mut members = Vec::new();
    let mut at = start;
    for _ in 0..count {
        let (member, next) = member(bytes, at)?;
        members.push(member);
        at = next;
    }
    if at != end {
        return Err(broken);
    }
    Ok((members, bytes.get(end + END_SIZE..).unwrap_or_default()))
}

/// The member whose central header is at `at`, and where the next one is.
fn member(bytes: &[u8], at: usize) -> Result<(Member<'_>, usize), Unfit> {
    let broken = Unfit("it is a broken or unusual zip archive");
    let part = |at: usize, size: usize| bytes.get(at..at.checked_add(size)?);
    let short = |at: usize| u16_at(bytes, at).map(usize::from);
    let central = part(at, CENTRAL_SIZE).filter(|_| u32_at(bytes, at) == Some(CENTRAL)).ok_or(broken)?;
    let lengths = [at + 28, at + 30, at + 32].map(short);
    let [Some(name_length), Some(extra_length), Some(comment_length)] = lengths else { return Err(broken) };
    let name = part(at + CENTRAL_SIZE, name_length).ok_or(broken)?;
    let extra = part(at + CENTRAL_SIZE + name_length, extra_length).ok_or(broken)?;
    let comment = part(at + CENTRAL_SIZE + name_length + extra_length, comment_length).ok_or(broken)?;
    let next = at + CENTRAL_SIZE + name_length + extra_length + comment_length;
    if u16_at(central, 8).is_none_or(|flags| flags & ENCRYPTED != 0) {
        return Err(Unfit("members are encrypted"));
    }
    let (packed, place) = (number_at(central, 20).ok_or(broken)?, number_at(central, 42).ok_or(broken)?);
    let local = part(place, LOCAL_SIZE).filter(|_| u32_at(bytes, place) == Some(LOCAL)).ok_or(broken)?;
    let (local_name, local_extra) = (short(place + 26).ok_or(broken)?, short(place + 28).ok_or(broken)?);
    let data = place + LOCAL_SIZE + local_name + local_extra;
    let member = Member {
        central: central.to_vec(),
        name,
        extra: without_times(extra)?,
        comment,
        local: local.to_vec(),
        local_name: part(place + LOCAL_SIZE, local_name).ok_or(broken)?,
        local_extra: without_times(part(place + LOCAL_SIZE + local_name, local_extra).ok_or(broken)?)?,
        content: part(data, packed).ok_or(broken)?,
    };
    Ok((member, next))
}

/// Extra fields without those that hold times or users. What is no field (padding) stays.
fn without_times(mut extra: &[u8]) -> Result<Vec<u8>, Unfit> {
    let mut kept = Vec::new();
    while let (Some(id), Some(size)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        if id == ZIP64 {
            return Err(Unfit("it is a zip64 archive"));
        }
        let Some((field, rest)) = extra.split_at_checked(4 + usize::from(size)) else { break };
        if !VARYING.contains(&id) {
            kept.extend_from_slice(field);
        }
        extra = rest;
    }
    kept.extend_from_slice(extra);
    Ok(kept)
}

fn write(members: &[Member<'_>], comment: &[u8], time: [u8; 4]) -> Result<Vec<u8>, Unfit> {
    let large = Unfit("it is too large");
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let place = u32::try_from(bytes.len()).map_err(|_| large)?;
        let (mut central, mut local) = (member.central.clone(), member.local.clone());
        let flags = u16_at(&central, 8).unwrap_or_default() & !TRAILED;
        let lengths = |extra: &[u8]| u16::try_from(extra.len()).map(u16::to_le_bytes).map_err(|_| large);
        put(&mut central, 8, &flags.to_le_bytes());
        put(&mut central, 12, &time);
        put(&mut central, 30, &lengths(&member.extra)?);
        put(&mut central, 42, &place.to_le_bytes());
        let local_flags = u16_at(&local, 6).unwrap_or_default() & !TRAILED;
        put(&mut local, 6, &local_flags.to_le_bytes());
        put(&mut local, 10, &time);
        // Checksum and sizes: a member that had them behind its content has them here now.
        put(&mut local, 14, central.get(16..28).unwrap_or_default());
        put(&mut local, 28, &lengths(&member.local_extra)?);
        for part in [&local, member.local_name, &member.local_extra, member.content] {
            bytes.extend_from_slice(part);
        }
        for part in [&central, member.name, &member.extra, member.comment] {
            directory.extend_from_slice(part);
        }
    }
    let count = u16::try_from(members.len()).map_err(|_| large)?.to_le_bytes();
    let number = |length: usize| u32::try_from(length).map(u32::to_le_bytes).map_err(|_| large);
    let (start, size) = (number(bytes.len())?, number(directory.len())?);
    bytes.append(&mut directory);
    bytes.extend_from_slice(&END.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for part in [&count[..], &count, &size, &start] {
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(&u16::try_from(comment.len()).map_err(|_| large)?.to_le_bytes());
    bytes.extend_from_slice(comment);
    Ok(bytes)
}

/// Time and date as DOS counts them, from 1980 to 2107, in UTC.
fn dos_time(epoch: i64) -> [u8; 4] {
    const FIRST: i64 = 315_532_800;
    const LAST: i64 = 4_354_819_198;
    let second = epoch.clamp(FIRST, LAST);
    let (year, month, day) = time::civil(second.div_euclid(86_400));
    let of_day = second.rem_euclid(86_400);
    let clock = ((of_day / 3_600) << 11) | ((of_day / 60 % 60) << 5) | (of_day % 60 / 2);
    let date = ((year - 1980) << 9) | (i64::from(month) << 5) | i64::from(day);
    let [a, b] = (clock as u16).to_le_bytes();
    let [c, d] = (date as u16).to_le_bytes();
    [a, b, c, d]
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A size or place; what zip64 would say elsewhere is none.
fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    u32_at(bytes, at).filter(|number| *number != u32::MAX).and_then(|number| usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_dos() {
        let check = |epoch: i64, date: u16, clock: u16| {
            let [a, b, c, d] = dos_time(epoch);
            assert_eq!((u16::from_le_bytes([c, d]), u16::from_le_bytes([a, b])), (date, clock), "{epoch}");
        };
        check(315_532_800, (1 << 5) | 1, 0);
        check(0, (1 << 5) | 1, 0);
        // 2024-02-29 23:59:58
        check(1_709_251_198, (44 << 9) | (2 << 5) | 29, (23 << 11) | (59 << 5) | 29);
        check(i64::MAX, (127 << 9) | (12 << 5) | 31, (23 << 11) | (59 << 5) | 29);
    }
}
