//! The header blocks of a canonical entry: ustar, with a pax header before it where ustar cannot say it.

use std::collections::BTreeMap;

/// Size of a tar block.
pub(crate) const BLOCK: usize = 512;
/// Largest value of the seven octal digits of mode, uid, gid and device numbers.
const MAX_7: u64 = 0o7_777_777;
/// Largest value of the eleven octal digits of size and mtime.
const MAX_11: u64 = 0o77_777_777_777;

/// The fields of an entry, before they are brought into blocks.
#[derive(Debug, Clone)]
pub(crate) struct Header<'a> {
    /// Full path, with a trailing `/` for a directory.
    pub(crate) path: &'a [u8],
    pub(crate) type_flag: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) link: &'a [u8],
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: &'a BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Header<'_> {
    /// The blocks of the entry up to its content. `Err` names what no tar can say.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut block = [0_u8; BLOCK];

        let (prefix, name) = split_path(self.path).unwrap_or_else(|| {
            records.insert(b"path".to_vec(), self.path.to_vec());
            (&[], self.path.get(..100).unwrap_or(self.path))
        });
        put(&mut block, 0, name);
        put(&mut block, 345, prefix);
        if self.link.len() > 100 {
            records.insert(b"linkpath".to_vec(), self.link.to_vec());
        }
        put(&mut block, 157, self.link.get(..100).unwrap_or(self.link));

        let mut number = |block: &mut [u8; BLOCK], at, digits, max, key: &str, value: u64| {
            let fits = value <= max;
            if !fits {
                records.insert(key.into(), value.to_string().into_bytes());
            }
            octal(block, at, digits, if fits { value } else { 0 });
        };
        number(&mut block, 108, 7, MAX_7, "uid", u64::from(self.uid));
        number(&mut block, 116, 7, MAX_7, "gid", u64::from(self.gid));
        number(&mut block, 124, 11, MAX_11, "size", self.size);
        match u64::try_from(self.mtime) {
            Ok(mtime) => number(&mut block, 136, 11, MAX_11, "mtime", mtime),
            Err(_) => {
                records.insert(b"mtime".to_vec(), self.mtime.to_string().into_bytes());
                octal(&mut block, 136, 11, 0);
            }
        }
        octal(&mut block, 100, 7, u64::from(self.mode));
        let (major, minor) = self.device;
        if u64::from(major.max(minor)) > MAX_7 {
            return Err(format!("device number {major}:{minor} is too large"));
        }
        octal(&mut block, 329, 7, u64::from(major));
        octal(&mut block, 337, 7, u64::from(minor));
        for (name, value) in self.xattrs {
            if name.contains(&b'=') {
                return Err(format!(
                    "the name of extended attribute `{}` holds `=`",
                    String::from_utf8_lossy(name)
                ));
            }
            records.insert([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone());
        }
        finish(&mut block, self.type_flag);

        let mut out = pax_blocks(&records);
        out.extend_from_slice(&block);
        Ok(out)
    }
}

/// Magic, version and checksum, once everything else is there.
fn finish(block: &mut [u8; BLOCK], type_flag: u8) {
    put(block, 156, &[type_flag]);
    put(block, 257, b"ustar\x0000");
    put(block, 148, b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(block, 148, 6, sum);
    put(block, 154, b"\0 ");
}

fn pax_blocks(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    if records.is_empty() {
        return Vec::new();
    }
    let mut body = Vec::new();
    for (key, value) in records {
        body.extend_from_slice(&pax_record(key, value));
    }
    let mut block = [0_u8; BLOCK];
    put(&mut block, 0, b"PaxHeader");
    octal(&mut block, 100, 7, 0o644);
    octal(&mut block, 108, 7, 0);
    octal(&mut block, 116, 7, 0);
    octal(&mut block, 124, 11, body.len() as u64);
    octal(&mut block, 136, 11, 0);
    octal(&mut block, 329, 7, 0);
    octal(&mut block, 337, 7, 0);
    finish(&mut block, b'x');
    let mut out = Vec::with_capacity(BLOCK + body.len() + padding(body.len() as u64) + BLOCK);
    out.extend_from_slice(&block);
    out.extend_from_slice(&body);
    out.resize(out.len() + padding(body.len() as u64), 0);
    out
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits too.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    let mut record = format!("{length} ").into_bytes();
    record.extend_from_slice(key);
    record.push(b'=');
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// How many zero bytes bring `length` to a multiple of the block size.
pub(crate) fn padding(length: u64) -> usize {
    // Below 512, so the cast keeps everything.
    (length.wrapping_neg() % BLOCK as u64) as usize
}

/// Splits a path into ustar's prefix and name: the longest prefix that fits, at a `/` that is not the
/// last byte. `None` when there is no such split.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((&[], path));
    }
    let end = path.len().saturating_sub(1).min(156);
    let slash = path.get(..end)?.iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    (!prefix.is_empty() && name.len() <= 100).then_some((prefix, name))
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    if let Some(field) = block.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// `digits` octal digits at `at`; the byte after them stays as it is.
fn octal(block: &mut [u8; BLOCK], at: usize, digits: usize, value: u64) {
    put(block, at, format!("{value:0digits$o}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_where_ustar_can_say_them() {
        fn check(path: &str, expected: Option<(&str, &str)>) {
            let found = split_path(path.as_bytes());
            assert_eq!(found, expected.map(|(prefix, name)| (prefix.as_bytes(), name.as_bytes())), "{path}");
        }
        let (long, longer) = ("n".repeat(100), "n".repeat(101));
        check(&long, Some(("", &long)));
        check(&longer, None);
        check(&format!("a/{long}"), Some(("a", &long)));
        check(&format!("a/{longer}"), None);
        // The `/` that marks a directory is no place to split.
        check(&format!("{long}/"), None);
        check(&format!("a/{}/", "n".repeat(99)), Some(("a", &format!("{}/", "n".repeat(99)))));
        // The longest prefix, not the shortest.
        check(&format!("a/b/{}", "n".repeat(98)), Some(("a/b", &"n".repeat(98))));
        let prefix = "p".repeat(155);
        check(&format!("{prefix}/{long}"), Some((&prefix, &long)));
        check(&format!("{prefix}p/{long}"), None);
    }

    #[test]
    fn pax_lengths_count_themselves() {
        assert_eq!(pax_record(b"a", b"b"), b"6 a=b\n");
        for value in [0, 1, 4, 5, 6, 90, 91, 92, 93, 94, 990, 991, 992, 993, 9985, 9986, 9987] {
            let record = pax_record(b"k", &vec![b'v'; value]);
            let text = String::from_utf8(record.clone()).unwrap();
            let (length, _) = text.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), record.len());
        }
    }

    #[test]
    fn padding_reaches_the_next_block() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
