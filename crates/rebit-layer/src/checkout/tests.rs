use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use rebit_oci::object::MemoryObjects;

use super::*;
use crate::testing::{path, tree};
use crate::{Compare, Tree, diff};

const PLAIN: CheckoutOptions =
    CheckoutOptions { whiteouts: Whiteouts::Plain, allow_missing_devices: true, allow_other_owner: true };
const OVERLAY: CheckoutOptions = CheckoutOptions { whiteouts: Whiteouts::Overlay, ..PLAIN };

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Type, mode, size or target, and mtime of everything below a directory, in order of path.
fn listing(directory: &Path) -> Vec<String> {
    fn visit(at: &Path, name: &str, rows: &mut Vec<String>) {
        let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for entry in names {
            let (at, entry) = (at.join(&entry), entry.to_string_lossy().into_owned());
            let name = if name.is_empty() { entry } else { format!("{name}/{entry}") };
            let stat = fs::symlink_metadata(&at).unwrap();
            let kind = stat.file_type();
            let what = if kind.is_symlink() {
                format!("l {}", fs::read_link(&at).unwrap().display())
            } else if kind.is_dir() {
                format!("d {:o}", stat.mode() & 0o7777)
            } else if kind.is_file() {
                format!("f {:o} {}", stat.mode() & 0o7777, fs::read_to_string(&at).unwrap())
            } else if kind.is_fifo() {
                format!("p {:o}", stat.mode() & 0o7777)
            } else {
                format!("c {:x}", stat.rdev())
            };
            rows.push(format!("{name} {what} @{}", stat.mtime()));
            if kind.is_dir() {
                visit(&at, &name, rows);
            }
        }
    }
    let mut rows = Vec::new();
    visit(directory, "", &mut rows);
    rows
}

fn sample(objects: &MemoryObjects) -> Tree {
    let mut tree = tree(
        "d 711 0:0 /
         d 1777 0:0 tmp
         d 555 0:0 d
         f 4755 0:0 d/su = su
         x d/su = user.note hi
         f 600 0:0 d/empty =
         h link = d/su
         l 0:0 sym = /etc/passwd
         p 622 0:0 pipe",
        objects,
    );
    tree.set_mtimes(1000);
    tree
}

#[test]
fn a_tree_is_written_as_it_is() {
    let objects = MemoryObjects::new();
    let directory = tempfile::tempdir().unwrap();
    let changes = Changeset::full(&sample(&objects));
    let report = checkout(&changes, directory.path(), &objects, &PLAIN).unwrap();
    assert_eq!((report.entries, report.bytes), (changes.len() as u64, 2));
    let expected = [
        "d d 555 @1000",
        "d/empty f 600  @1000",
        "d/su f 4755 su @1000",
        "link f 4755 su @1000",
        "pipe p 622 @1000",
        "sym l /etc/passwd @1000",
        "tmp d 1777 @1000",
    ];
    assert_eq!(listing(directory.path()), expected);
    let stat = fs::metadata(directory.path()).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o711, 1000));
    let inode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().ino();
    assert_eq!(inode("link"), inode("d/su"));
    if report.report.is_empty() {
        let fd = Root::open(directory.path()).unwrap().directory(&path("d")).unwrap();
        let xattrs = disk::xattrs(&fd, b"su").unwrap();
        assert_eq!(xattrs.get(&b"user.note"[..]).map(Vec::as_slice), Some(&b"hi"[..]));
    } else {
        crate::testing::skipped(format_args!("needs a file system with user attributes"));
    }
    // Writing it once more over itself changes nothing.
    checkout(&changes, directory.path(), &objects, &PLAIN).unwrap();
    assert_eq!(listing(directory.path()), expected);
    fs::set_permissions(directory.path().join("d"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_plain_directory_is_brought_from_one_tree_to_the_next() {
    let objects = MemoryObjects::new();
    let lower = tree(
        "f 644 0:0 a/gone = 1\nf 644 0:0 a/stays = 1\nf 644 0:0 b/c/d = 2\nf 644 0:0 e = 3\nl 0:0 l = a",
        &objects,
    );
    let upper =
        tree("f 644 0:0 a/stays = 1\nf 644 0:0 b = file\nf 644 0:0 e/now = dir\nd 755 0:0 l", &objects);
    let directory = tempfile::tempdir().unwrap();
    checkout(&Changeset::full(&lower), directory.path(), &objects, &PLAIN).unwrap();
    let changes = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
    checkout(&changes, directory.path(), &objects, &PLAIN).unwrap();
    let second = tempfile::tempdir().unwrap();
    checkout(&Changeset::full(&upper), second.path(), &objects, &PLAIN).unwrap();
    assert_eq!(listing(directory.path()), listing(second.path()));
}

#[test]
fn symbolic_links_in_the_target_are_not_followed() {
    let objects = MemoryObjects::new();
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("victim"), "unharmed").unwrap();
    symlink(outside.path(), directory.path().join("d")).unwrap();
    symlink(outside.path().join("victim"), directory.path().join("f")).unwrap();
    // Without an entry for the directory the link is in the way, with one it is replaced.
    let upper = tree("f 644 0:0 d/victim = x\nf 644 0:0 f = y", &objects);
    let mut partial = Changeset::new();
    partial.insert(path("d/victim"), Change::Upsert(upper.get(&path("d/victim")).unwrap().clone()));
    assert!(matches!(checkout(&partial, directory.path(), &objects, &PLAIN), Err(DiskError::Io { .. })));
    checkout(&Changeset::full(&upper), directory.path(), &objects, &PLAIN).unwrap();
    assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "unharmed");
    assert_eq!(listing(outside.path()).len(), 1);
    assert_eq!(fs::read_to_string(directory.path().join("d/victim")).unwrap(), "x");
}

#[test]
fn removals_become_whiteouts_for_an_overlay() {
    let objects = MemoryObjects::new();
    let directory = tempfile::tempdir().unwrap();
    let probe =
        mknodat(rustix::fs::CWD, directory.path().join("probe"), FileType::CharacterDevice, Mode::empty(), 0);
    if probe.is_err() {
        crate::testing::skipped(format_args!("needs mknod of a character device 0:0"));
        return;
    }
    fs::remove_file(directory.path().join("probe")).unwrap();
    let lower = tree("f 644 0:0 a/gone = 1\nf 644 0:0 top = 2\nd 700 0:0 a", &objects);
    let upper = tree("d 700 0:0 a", &objects);
    let changes = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
    checkout(&changes, directory.path(), &objects, &OVERLAY).unwrap();
    let stat = fs::symlink_metadata(directory.path().join("a/gone")).unwrap();
    assert!(stat.file_type().is_char_device() && stat.rdev() == 0);
    let names: Vec<String> =
        listing(directory.path()).iter().map(|row| row.split(" @").next().unwrap().into()).collect();
    assert_eq!(names, ["a d 700", "a/gone c 0", "top c 0"]);
}

#[test]
fn owners_and_devices_are_made_or_counted() {
    let objects = MemoryObjects::new();
    let directory = tempfile::tempdir().unwrap();
    let upper = tree("f 644 12:34 f = x\nc 640 12:34 dev = 1,3\nl 12:34 l = x", &objects);
    let changes = Changeset::full(&upper);
    let report = checkout(&changes, directory.path(), &objects, &PLAIN).unwrap().report;
    let made = directory.path().join("dev").exists();
    assert_eq!(report.count(&Notice::Device), u64::from(!made));
    if !is_root() {
        crate::testing::skipped(format_args!("needs root to set owners"));
        assert!(report.count(&Notice::Owner) >= 2);
        return;
    }
    let stat = fs::symlink_metadata(directory.path().join("l")).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (12, 34));
    if made {
        let stat = fs::symlink_metadata(directory.path().join("dev")).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.rdev()), (0o640, 12, 0x103));
    }
}

#[test]
fn a_content_that_is_missing_or_wrong_is_an_error() {
    let objects = MemoryObjects::new();
    let object = rebit_oci::object::ObjectSink::put(&objects, &[0; 2_000_000], &[]).unwrap();
    for (object, size) in [(ObjectId::of(b"none"), 3), (object, 3), (object, 1_999_999), (object, 2_000_001)]
    {
        let directory = tempfile::tempdir().unwrap();
        let mut upper = Tree::new();
        upper.insert(path("f"), Node::file(Metadata::default(), object, size), &Metadata::default()).unwrap();
        let result = checkout(&Changeset::full(&upper), directory.path(), &objects, &PLAIN);
        assert!(matches!(result, Err(DiskError::Object { path: at, .. }) if at == path("f")), "{size}");
    }
}
