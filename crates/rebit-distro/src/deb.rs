//! A package file, unpacked into the store: its files as a tree, and what its maintainer wrote about it.

use std::io::Read;
use std::time::SystemTime;

use rebit_layer::codec::decode::{self, DecodeLimits};
use rebit_layer::tar::read::Limits;
use rebit_layer::{Kind, Node, ReadOptions, Tree, TreePath, read_layer};
use rebit_oci::encode::Preimage;
use rebit_oci::object::ObjectSource as _;
use rebit_oci::{CacheKey, Digest, TreeId, json};
use rebit_store::Session;
use serde::{Deserialize, Serialize};

use crate::ar::{self, ArError};
use crate::{DebError, DistroError};

/// Largest file among those about the package.
const MAX_CONTROL_FILE: u64 = 8 << 20;
/// Most bytes of these files together.
const MAX_CONTROL: u64 = 32 << 20;
/// Most bytes of the package's files together.
const MAX_DATA: u64 = 16 << 30;

/// A package file that was unpacked.
#[derive(Debug, Clone)]
pub struct Deb {
    /// `control`, `md5sums`, `postinst` and their kin.
    pub control: Tree,
    /// The package's files.
    pub data: Tree,
}

#[derive(Serialize, Deserialize)]
struct Record {
    control: TreeId,
    data: TreeId,
}

/// Under this key it is known what a package file unpacks to.
fn key(digest: &Digest) -> CacheKey {
    let mut preimage = Preimage::new("unpacked deb", 1);
    preimage.add("deb", digest.to_string());
    preimage.key()
}

/// Unpacks a package file that the store has as a blob. What it unpacks to is remembered.
///
/// # Errors
/// [`DistroError::Deb`] naming `package`, or what the store says.
pub fn unpack(
    session: &Session,
    digest: &Digest,
    package: &str,
    now: SystemTime,
) -> Result<Deb, DistroError> {
    if let Some(payload) = session.get_record(&key(digest), now)?
        && let Ok(known) = serde_json::from_slice::<Record>(&payload)
    {
        let (control, data) = (Tree::load(&known.control, session)?, Tree::load(&known.data, session)?);
        return Ok(Deb { control, data });
    }
    let (mut reader, _) = session.open_blob(digest)?;
    let wrong = |source| DistroError::Deb { package: package.to_owned(), source };
    let deb = read(&mut reader, session).map_err(wrong)?;
    let record = Record { control: deb.control.store(session)?, data: deb.data.store(session)? };
    let payload = json::to_canonical(&record).unwrap_or_else(|_| unreachable!("two digests are JSON"));
    let edges = [record.control.object(), record.data.object()];
    session.put_record(&key(digest), &payload, &edges, now)?;
    Ok(deb)
}

/// Reads a package file; contents go to `session`.
fn read(reader: &mut (dyn Read + Send), session: &Session) -> Result<Deb, DebError> {
    let (mut control, mut data) = (None, None);
    let mut number = 0;
    ar::read::<DebError>(reader, &mut |name, content| {
        number += 1;
        if number == 1 {
            return check_format(name, content);
        }
        let stem = name.split_once(".tar").map_or(name, |(stem, _)| stem);
        match (stem, &control, &data) {
            ("control", None, None) => {
                let limits = Limits {
                    file_size: MAX_CONTROL_FILE,
                    total_size: MAX_CONTROL,
                    entries: 1_000,
                    ..Limits::default()
                };
                control = Some(tree(name, content, session, limits)?);
            }
            ("data", Some(_), None) => {
                let limits = Limits { total_size: MAX_DATA, file_size: MAX_DATA, ..Limits::default() };
                data = Some(tree(name, content, session, limits)?);
            }
            // deb(5): what begins with an underscore is to be passed over, and nothing may follow the data.
            _ if name.starts_with('_') || data.is_some() => {}
            _ => return Err(DebError::Member { name: name.chars().take(16).collect() }),
        }
        Ok(())
    })?;
    match (control, data) {
        (Some(control), Some(data)) => Ok(Deb { control, data }),
        (None, _) => Err(DebError::Missing { member: "control.tar" }),
        (_, None) => Err(DebError::Missing { member: "data.tar" }),
    }
}

fn check_format(name: &str, content: &mut (dyn Read + Send)) -> Result<(), DebError> {
    let mut text = String::new();
    let read = content.take(64).read_to_string(&mut text);
    if name != "debian-binary" || read.is_err() || !text.starts_with("2.") {
        return Err(DebError::Missing { member: "debian-binary of format 2" });
    }
    Ok(())
}

fn tree(
    name: &str,
    content: &mut (dyn Read + Send),
    session: &Session,
    limits: Limits,
) -> Result<Tree, DebError> {
    let decode = DecodeLimits { output: limits.total_size.saturating_mul(2), ..DecodeLimits::default() };
    let mut plain = decode::open(content, decode).map_err(|source| ArError::Io { source })?;
    let options = ReadOptions { limits, ..ReadOptions::archive() };
    let read = read_layer(&mut plain, &Tree::new(), session, &options);
    let read =
        read.map_err(|source| DebError::Archive { member: name.to_owned(), source: Box::new(source) })?;
    let is_device = |node: &Node| matches!(node.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. });
    if let Some((path, _)) = read.tree.iter().find(|(_, node)| is_device(node)) {
        return Err(DebError::Device { path: path.to_string() });
    }
    Ok(read.tree)
}

impl Deb {
    /// A file about the package, by its name.
    ///
    /// # Errors
    /// What the store says.
    pub fn control_file(&self, name: &str, session: &Session) -> Result<Option<Vec<u8>>, DistroError> {
        read_file(&self.control, name, session)
    }
}

/// The content of a small file of a tree; `None` when there is no such file.
pub(crate) fn read_file(tree: &Tree, path: &str, session: &Session) -> Result<Option<Vec<u8>>, DistroError> {
    let Ok(path) = TreePath::parse(path) else { return Ok(None) };
    match tree.get(&path).map(|node| &node.kind) {
        Some(Kind::File { object, size, .. }) if *size <= MAX_CONTROL_FILE => {
            Ok(Some(session.read(object)?.to_vec()))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use rebit_store::{Store, StoreOptions};
    use tempfile::TempDir;

    use super::*;
    use crate::ar::tests::write;

    /// A store in a directory of its own.
    pub(crate) fn lab() -> (TempDir, Session) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), &StoreOptions::default()).unwrap();
        let session = store.session().unwrap();
        (directory, session)
    }

    /// A tar of files and of directories, whose names end in `/`.
    pub(crate) fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(7);
            header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
            let kind = if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
            header.set_entry_type(kind);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A package file.
    pub(crate) fn deb(control: &[(&str, &[u8])], data: &[(&str, &[u8])]) -> Vec<u8> {
        write(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", &xz(&tar(control))),
            ("data.tar", &tar(data)),
        ])
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_package_is_unpacked_and_known_afterwards() {
        let (_directory, session) = lab();
        let file = deb(&[("./control", b"Package: a\n")], &[("./usr/", b""), ("./usr/x", b"y")]);
        let (digest, _) = session.put_blob(&file, &[]).unwrap();
        let first = unpack(&session, &digest, "a", NOW).unwrap();
        assert_eq!(first.control_file("control", &session).unwrap().unwrap(), b"Package: a\n");
        assert_eq!(first.control_file("postinst", &session).unwrap(), None);
        assert_eq!(read_file(&first.data, "usr/x", &session).unwrap().unwrap(), b"y");
        let again = unpack(&session, &digest, "a", NOW).unwrap();
        assert_eq!((again.control, again.data), (first.control, first.data));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let (_directory, session) = lab();
        let (control, data) = (xz(&tar(&[("control", b"x")])), tar(&[("a", b"")]));
        let check = |members: &[(&str, &[u8])], expected: &str| {
            let error = read(&mut &*write(members), &session).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[], "control.tar");
        check(&[("x", b"2.0\n")], "debian-binary");
        check(&[("debian-binary", b"3.0\n")], "debian-binary");
        check(&[("debian-binary", b"2.0\n"), ("control.tar.xz", &control)], "data.tar");
        check(&[("debian-binary", b"2.0\n"), ("data.tar", &data)], "`data.tar`");
        check(&[("debian-binary", b"2.0\n"), ("control.tar", b"not a tar, and long enough")], "control.tar");
        let cut = control.get(..control.len() / 2).unwrap();
        check(&[("debian-binary", b"2.0\n"), ("control.tar.xz", cut)], "control.tar.xz");
        assert!(read(&mut &b"no"[..], &session).is_err());
    }

    #[test]
    fn members_come_in_every_compression() {
        let (_directory, session) = lab();
        let (control, data) = (tar(&[("control", b"Package: a\n")]), tar(&[("usr/x", b"y")]));
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        type Compress<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
        let forms: [(&str, Compress<'_>); 4] =
            [(".xz", &xz), (".gz", &gzip), (".zst", &zstd), ("", &|bytes: &[u8]| bytes.to_vec())];
        for (end, compress) in forms {
            let file = write(&[
                ("debian-binary", b"2.0\n"),
                (&format!("control.tar{end}"), &compress(&control)),
                (&format!("data.tar{end}"), &compress(&data)),
            ]);
            let found = read(&mut &*file, &session).unwrap();
            assert_eq!(read_file(&found.data, "usr/x", &session).unwrap().unwrap(), b"y", "{end}");
        }
        // More comes out than went in.
        let bomb = zstd(&vec![0; 64 << 20]);
        let file = write(&[("debian-binary", b"2.0\n"), ("control.tar.zst", &bomb)]);
        assert!(read(&mut &*file, &session).unwrap_err().to_string().contains("control.tar.zst"));
    }

    /// A tar of one entry of a kind, whose name is written as it is.
    fn odd(kind: tar::EntryType, name: &str, link: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        if kind.is_character_special() || kind.is_block_special() {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_hostile_package_reaches_nothing_outside() {
        use tar::EntryType as T;
        let (_directory, session) = lab();
        let control = tar(&[("control", b"Package: a\n")]);
        let unpacked = |data: &[u8]| {
            let members: [(&str, &[u8]); 3] =
                [("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", data)];
            read(&mut &*write(&members), &session)
        };
        for (data, expected) in [
            (odd(T::Regular, "../x", ""), "data.tar cannot be read"),
            (odd(T::Regular, "usr/../../x", ""), "data.tar cannot be read"),
            (odd(T::Link, "usr/x", "../../etc/passwd"), "data.tar cannot be read"),
            (odd(T::Link, "usr/x", "/etc/passwd"), "data.tar cannot be read"),
            (odd(T::Char, "dev/null", ""), "has the device `/dev/null`"),
            (odd(T::Block, "dev/sda", ""), "has the device `/dev/sda`"),
        ] {
            let error = unpacked(&data).map(|deb| deb.data.iter().count()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}: {error:?}");
        }
        // From the root on is from the image's root on.
        let absolute = unpacked(&odd(T::Regular, "/etc/x", "")).unwrap();
        assert!(absolute.data.contains(&TreePath::parse("etc/x").unwrap()));
        // A path through a link goes where the link leads inside the image, and never out of it.
        let mut builder = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(T::Symlink);
        link.set_size(0);
        let plain = |header: &mut tar::Header| {
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_mode(0o644);
        };
        plain(&mut link);
        builder.append_link(&mut link, "usr/up", "../../../../etc").unwrap();
        let mut file = tar::Header::new_gnu();
        file.set_size(1);
        plain(&mut file);
        builder.append_data(&mut file, "usr/up/passwd", &b"x"[..]).unwrap();
        let data = builder.into_inner().unwrap();
        if let Ok(deb) = unpacked(&data) {
            let outside = Path::new("/etc/passwd");
            assert!(std::fs::read(outside).is_ok_and(|content| content != b"x"));
            assert!(deb.data.iter().all(|(path, _)| !path.to_string().contains("..")));
        }
        // Cut off anywhere, it is no package.
        let whole = deb(&[("control", b"Package: a\n")], &[("usr/x", b"y")]);
        for end in [0, 7, 8, 30, 68, 70, 100, 150, whole.len() - 600, whole.len() - 1025] {
            assert!(read(&mut &whole[..end], &session).is_err(), "{end}");
        }
    }

    #[test]
    fn no_byte_that_changed_makes_it_panic() {
        let (_directory, session) = lab();
        let whole = deb(&[("control", b"Package: a\n")], &[("usr/x", b"y")]);
        for at in (0..whole.len()).filter(|at| *at < 700 || at % 29 == 0) {
            for value in [0, b'9', 0xff] {
                let mut file = whole.clone();
                file[at] = value;
                let _ = read(&mut &*file, &session);
            }
        }
    }
}
