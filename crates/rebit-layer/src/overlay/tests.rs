use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use rebit_oci::object::MemoryObjects;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;
use crate::testing::{path, tree};
use crate::{Change, Changeset, CheckoutOptions, Compare, Whiteouts, checkout, diff};

const EPOCH: i64 = 500;

/// A lower tree whose owner is who runs the test, so that no test needs root to make its upper directory.
fn lower(text: &str, objects: &MemoryObjects) -> Tree {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut tree = tree(text, objects);
    let paths: Vec<TreePath> = tree.iter().map(|(path, _)| path.clone()).collect();
    for path in paths {
        tree.update_metadata(&path, |metadata| (metadata.uid, metadata.gid) = (uid, gid));
    }
    tree.set_mtimes(7);
    tree
}

fn upper_directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn make(directory: &TempDir, name: &str, content: Option<&str>, mode: u32) {
    let at = directory.path().join(name);
    match content {
        Some(content) => fs::write(&at, content).unwrap(),
        None => fs::create_dir_all(&at).unwrap(),
    }
    fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
}

fn read(lower: &Tree, upper: &TempDir) -> Result<(Tree, Report), DiskError> {
    let mut report = Report::new();
    let tree = upper_tree(lower, upper.path(), &MemoryObjects::new(), EPOCH, &mut report)?;
    Ok((tree, report))
}

fn changes(lower: &Tree, upper: &Tree) -> Vec<String> {
    let changes = diff(lower, upper, Compare::IgnoreMtime);
    let sign = |change: &Change| if *change == Change::Remove { '-' } else { '+' };
    changes.iter().map(|(path, change)| format!("{}{path}", sign(change))).collect()
}

fn mark(directory: &TempDir, name: &str, key: &str, value: &str) -> bool {
    let at = directory.path().join(name);
    let set = rustix::fs::setxattr(&at, key, value.as_bytes(), rustix::fs::XattrFlags::empty()).is_ok();
    if !set {
        crate::testing::skipped(format_args!("needs a file system with user attributes"));
    }
    set
}

#[test]
fn what_was_only_copied_up_is_not_a_change() {
    let objects = MemoryObjects::new();
    let lower = lower("d 750 0:0 d\nf 640 0:0 d/f = x\nh d/g = d/f\nl 0:0 d/l = f", &objects);
    let upper = upper_directory();
    make(&upper, "d", None, 0o750);
    make(&upper, "d/f", Some("x"), 0o640);
    symlink("f", upper.path().join("d/l")).unwrap();
    let (merged, report) = read(&lower, &upper).unwrap();
    assert_eq!(merged, lower);
    assert!(report.is_empty());
}

#[test]
fn changes_get_the_epoch_and_others_keep_their_node() {
    let objects = MemoryObjects::new();
    let lower = lower("d 750 0:0 d\nf 640 0:0 d/f = x\nf 640 0:0 d/g = y", &objects);
    let upper = upper_directory();
    make(&upper, "d", None, 0o750);
    make(&upper, "d/f", Some("new"), 0o640);
    make(&upper, "new", Some("large ".repeat(300_000).as_str()), 0o4711);
    let (merged, _) = read(&lower, &upper).unwrap();
    assert_eq!(changes(&lower, &merged), ["+/d/f", "+/new"]);
    let mtime = |at: &str| merged.get(&path(at)).unwrap().metadata.mtime;
    assert_eq!([mtime(""), mtime("d"), mtime("d/f"), mtime("d/g"), mtime("new")], [7, 7, EPOCH, 7, EPOCH]);
    let node = merged.get(&path("new")).unwrap();
    assert_eq!((node.metadata.mode, node.size()), (0o4711, 1_800_000));
}

#[test]
fn the_root_has_the_metadata_of_the_upper_directory() {
    let lower = lower("", &MemoryObjects::new());
    let upper = upper_directory();
    fs::set_permissions(upper.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let (merged, _) = read(&lower, &upper).unwrap();
    assert_eq!(changes(&lower, &merged), ["+/"]);
    assert_eq!(merged.root().mode, 0o711);
}

#[test]
fn hard_links_are_found_by_inode() {
    let objects = MemoryObjects::new();
    let lower = lower("f 644 0:0 a = x\nh b = a\nf 644 0:0 c = x", &objects);
    let upper = upper_directory();
    make(&upper, "new", Some("n"), 0o644);
    fs::create_dir(upper.path().join("d")).unwrap();
    fs::hard_link(upper.path().join("new"), upper.path().join("d/again")).unwrap();
    // `c` became a name of a new file, `a` and `b` stayed one.
    fs::hard_link(upper.path().join("new"), upper.path().join("c")).unwrap();
    make(&upper, "a", Some("x"), 0o644);
    fs::hard_link(upper.path().join("a"), upper.path().join("b")).unwrap();
    let (merged, _) = read(&lower, &upper).unwrap();
    assert_eq!(
        merged.link_groups(),
        [vec![path("a"), path("b")], vec![path("c"), path("d/again"), path("new")]]
    );
    assert_eq!(merged.get(&path("a")), lower.get(&path("a")));
    assert_eq!(changes(&lower, &merged), ["+/c", "+/d", "+/d/again", "+/new"]);
}

#[test]
fn whiteouts_remove() {
    let objects = MemoryObjects::new();
    let lower = lower("f 644 0:0 d/f = x\nf 644 0:0 d/g = x\nf 644 0:0 top/x = x", &objects);
    let upper = upper_directory();
    make(&upper, "d", None, 0o755);
    if mknodat(CWD, upper.path().join("top"), FileType::CharacterDevice, Mode::empty(), 0).is_ok() {
        let (merged, _) = read(&lower, &upper).unwrap();
        assert_eq!(changes(&lower, &merged), ["-/top"]);
    } else {
        crate::testing::skipped(format_args!("needs mknod of a character device 0:0"));
    }
    make(&upper, "d/f", Some(""), 0o644);
    if mark(&upper, "d/f", "user.overlay.whiteout", "y") {
        let (merged, report) = read(&lower, &upper).unwrap();
        assert!(changes(&lower, &merged).contains(&"-/d/f".to_owned()));
        assert!(!merged.contains(&path("d/f")) && report.is_empty());
    }
}

#[test]
fn opaque_directories_hide_what_was_there() {
    let objects = MemoryObjects::new();
    let lower = lower("f 644 0:0 d/f = x\nf 644 0:0 d/sub/g = x", &objects);
    let upper = upper_directory();
    make(&upper, "d/sub", None, 0o755);
    make(&upper, "d/new", Some("n"), 0o644);
    if mark(&upper, "d", "user.overlay.opaque", "y") {
        let (merged, report) = read(&lower, &upper).unwrap();
        assert_eq!(changes(&lower, &merged), ["-/d/f", "+/d/new", "-/d/sub/g"]);
        assert!(report.is_empty());
    }
}

#[test]
fn features_that_hide_content_are_refused() {
    for key in ["user.overlay.redirect", "user.overlay.metacopy"] {
        let upper = upper_directory();
        make(&upper, "d", None, 0o755);
        if mark(&upper, "d", key, "/elsewhere") {
            let result = read(&Tree::new(), &upper);
            assert!(matches!(result, Err(DiskError::Unsupported { path: at, .. }) if at == path("d")));
        }
    }
}

#[test]
fn sockets_and_attributes_are_reported() {
    let upper = upper_directory();
    let _socket = UnixListener::bind(upper.path().join("socket")).unwrap();
    make(&upper, "f", Some("x"), 0o644);
    let marked = mark(&upper, "f", "user.kept", "v") && mark(&upper, "f", "user.overlay.origin", "o");
    let lower = lower("f 644 0:0 socket = was a file", &MemoryObjects::new());
    let (merged, report) = read(&lower, &upper).unwrap();
    assert_eq!((report.count(&Notice::Socket), report.notices.len()), (1, 1));
    assert_eq!(changes(&lower, &merged), ["+/f", "-/socket"]);
    if marked {
        let names: Vec<_> = merged.get(&path("f")).unwrap().metadata.xattrs.keys().cloned().collect();
        assert_eq!(names, [b"user.kept".to_vec()]);
    }
}

/// A real overlay mount, removed when the test ends.
struct Mount {
    directory: TempDir,
}

impl Mount {
    fn new(lower: &Tree, objects: &MemoryObjects) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            crate::testing::skipped(format_args!("needs root to mount"));
            return None;
        }
        // The upper directory must not be on an overlay itself.
        let base = tempfile::tempdir().ok()?;
        let mount = Self { directory: base };
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(mount.at(name)).unwrap();
            fs::set_permissions(mount.at(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let options = CheckoutOptions {
            whiteouts: Whiteouts::Plain,
            allow_missing_devices: false,
            allow_other_owner: false,
        };
        checkout(&Changeset::full(lower), &mount.at("lower"), objects, &options).unwrap();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr",
            mount.at("lower").display(),
            mount.at("upper").display(),
            mount.at("work").display()
        );
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(mount.at("merged"))
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            crate::testing::skipped(format_args!("needs an overlay mount"));
        }
        mounted.then_some(mount)
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.at("merged")).status();
    }
}

#[test]
fn a_real_overlay_gives_the_tree_that_is_seen_in_it() {
    let objects = MemoryObjects::new();
    let lower = tree(
        "d 755 0:0 d\nf 644 0:0 d/gone = x\nf 644 0:0 d/changed = x\nf 644 0:0 d/touched = x\n\
         f 644 0:0 replaced/by/new = x\nf 644 0:0 becomes-file/x = x\nf 644 0:0 becomes-dir = x\n\
         f 644 3:3 owned = x\nl 0:0 link = d",
        &objects,
    );
    let Some(mount) = Mount::new(&lower, &objects) else { return };
    let merged = mount.at("merged");
    fs::remove_file(merged.join("d/gone")).unwrap();
    fs::write(merged.join("d/changed"), "y").unwrap();
    fs::set_permissions(merged.join("d/touched"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_dir_all(merged.join("replaced")).unwrap();
    fs::create_dir(merged.join("replaced")).unwrap();
    fs::write(merged.join("replaced/other"), "z").unwrap();
    fs::remove_dir_all(merged.join("becomes-file")).unwrap();
    fs::write(merged.join("becomes-file"), "f").unwrap();
    fs::remove_file(merged.join("becomes-dir")).unwrap();
    fs::create_dir(merged.join("becomes-dir")).unwrap();
    chown(merged.join("owned"), Some(4), Some(5)).unwrap();
    fs::write(merged.join("one"), "linked").unwrap();
    fs::hard_link(merged.join("one"), merged.join("two")).unwrap();
    let mut report = Report::new();
    let seen = upper_tree(&lower, &mount.at("upper"), &objects, EPOCH, &mut report).unwrap();
    let expected = [
        "+/becomes-dir",
        "+/becomes-file",
        "+/d/changed",
        "-/d/gone",
        "+/one",
        "+/owned",
        "-/replaced/by",
        "+/replaced/other",
        "+/two",
    ];
    assert_eq!(changes(&lower, &seen), expected);
    assert!(report.is_empty());
    assert_eq!(seen.link_groups(), [[path("one"), path("two")]]);
    // The merged directory, read as if nothing had been below, is the same tree.
    let whole = upper_tree(&Tree::new(), &merged, &objects, EPOCH, &mut report).unwrap();
    assert!(whole.same(&seen, Compare::IgnoreMtime));
}
