//! A tar reader that shares nothing with the one under test: ustar with the extensions of GNU and pax.

use std::collections::BTreeMap;

/// One member of an archive, with what its extension records say already applied.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) path: String,
    /// The type byte of the header; a regular file is `b'0'`.
    pub(super) kind: u8,
    pub(super) mode: u64,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) device: (u64, u64),
    pub(super) link: String,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    pub(super) content: &'a [u8],
}

/// All members, in their order. Panics when this is no tar.
pub(super) fn entries(mut rest: &[u8]) -> Vec<Entry<'_>> {
    let mut found = Vec::new();
    let mut records: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while rest.len() >= 512 && rest[..512].iter().any(|byte| *byte != 0) {
        let (header, after) = rest.split_at(512);
        assert_eq!(&header[257..262], b"ustar", "not a tar header");
        let size = records.get("size").map_or_else(|| number(&header[124..136]), |value| decimal(value));
        let size = usize::try_from(size).unwrap();
        let (content, after) = after.split_at(size);
        rest = &after[size.next_multiple_of(512) - size..];
        match header[156] {
            b'x' => records.extend(pax(content)),
            b'g' => {}
            b'L' => drop(records.insert("path".to_owned(), until_nul(content).to_vec())),
            b'K' => drop(records.insert("linkpath".to_owned(), until_nul(content).to_vec())),
            kind => found.push(entry(kind, header, content, &std::mem::take(&mut records))),
        }
    }
    found
}

fn entry<'a>(kind: u8, header: &[u8], content: &'a [u8], records: &BTreeMap<String, Vec<u8>>) -> Entry<'a> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut path = text(until_nul(&header[..100]));
    if header[262] == 0 && header[345] != 0 {
        path = format!("{}/{path}", text(until_nul(&header[345..500])));
    }
    let named = |name: &str, field: &[u8]| records.get(name).map_or_else(|| number(field), |v| decimal(v));
    Entry {
        path: records.get("path").map_or(path, |value| text(value)),
        kind: if kind == 0 { b'0' } else { kind },
        mode: number(&header[100..108]),
        uid: named("uid", &header[108..116]),
        gid: named("gid", &header[116..124]),
        device: (number(&header[329..337]), number(&header[337..345])),
        link: records.get("linkpath").map_or_else(|| text(until_nul(&header[157..257])), |value| text(value)),
        xattrs: records
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("SCHILY.xattr.")?.to_owned(), value.clone())))
            .collect(),
        content,
    }
}

/// The records of an extended header: `LENGTH NAME=VALUE\n`.
fn pax(mut rest: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
        let length = usize::try_from(decimal(&rest[..blank])).unwrap();
        let record = &rest[blank + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').unwrap();
        records
            .push((String::from_utf8_lossy(&record[..equals]).into_owned(), record[equals + 1..].to_vec()));
        rest = &rest[length..];
    }
    records
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn decimal(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

/// A field in octal digits, or in base 256 when its first bit is set.
fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        return field[1..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    }
    let digits = field.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 8 + u64::from(digit - b'0'))
}
