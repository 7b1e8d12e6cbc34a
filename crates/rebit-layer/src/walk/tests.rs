use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::Mutex;

use rebit_oci::object::{MemoryObjects, ObjectError};
use tempfile::TempDir;

use super::*;
use crate::Kind;
use crate::testing::path;

fn context() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("src/deep")).unwrap();
    fs::create_dir_all(at("skip/keep")).unwrap();
    fs::create_dir_all(at("skip/none")).unwrap();
    for (name, content, mode) in [
        ("a", "1", 0o664),
        ("src/run", "2", 0o775),
        ("src/deep/x", "33", 0o600),
        ("skip/no", "", 0o644),
        ("skip/keep/yes", "4", 0o644),
    ] {
        fs::write(at(name), content).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for name in ["src", "src/deep", "skip", "skip/keep", "skip/none"] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o775)).unwrap();
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc", at("out")).unwrap();
    fs::hard_link(at("a"), at("b")).unwrap();
    directory
}

fn all(_: &TreePath, _: bool) -> Verdict {
    Verdict::Include
}

fn listing(tree: &Tree) -> Vec<String> {
    tree.iter()
        .skip(1)
        .map(|(path, node)| format!("{:o} {}", node.metadata.mode, String::from_utf8_lossy(path.as_bytes())))
        .collect()
}

#[test]
fn a_context_is_read_with_normalised_metadata() {
    let directory = context();
    let objects = MemoryObjects::new();
    let options = WalkOptions { epoch: 5, ..WalkOptions::default() };
    let walked = walk_directory(directory.path(), &objects, &all, &NoCache, &options).unwrap();
    assert_eq!(
        listing(&walked.tree),
        [
            "644 a",
            "644 b",
            "777 out",
            "755 skip",
            "755 skip/keep",
            "644 skip/keep/yes",
            "644 skip/no",
            "755 skip/none",
            "755 src",
            "755 src/deep",
            "600 src/deep/x",
            "755 src/run"
        ]
    );
    assert_eq!(walked.files_read, 6);
    assert!(walked.tree.link_groups().is_empty() && walked.report.is_empty());
    assert!(walked.tree.iter().all(|(_, node)| node.metadata.mtime == 5 && node.metadata.uid == 0));
    assert_eq!(walked.tree.get(&path("out")).unwrap().kind, Kind::Symlink { target: b"/etc".to_vec() });
    let Kind::File { object, size, .. } = walked.tree.get(&path("src/deep/x")).unwrap().kind else {
        panic!()
    };
    assert_eq!((object, size), (ObjectId::of(b"33"), 2));
}

#[test]
fn modes_follow_the_policy() {
    fn check(policy: ModePolicy, expected: [u32; 5]) {
        let found = [(0o664, false), (0o4777, false), (0o600, false), (0o1777, true), (0o700, true)]
            .map(|(mode, directory)| policy.apply(0o100_000 | mode, directory));
        assert_eq!(found, expected, "{policy:?}");
    }
    check(ModePolicy::Shared, [0o644, 0o4755, 0o600, 0o1755, 0o700]);
    check(ModePolicy::Keep, [0o664, 0o4777, 0o600, 0o1777, 0o700]);
    check(ModePolicy::Executable, [0o644, 0o755, 0o644, 0o755, 0o755]);
}

#[test]
fn the_filter_decides_and_descending_brings_directories_back() {
    let directory = context();
    let filter = |path: &TreePath, is_directory: bool| match path.as_bytes() {
        b"skip" => {
            assert!(is_directory);
            Verdict::Descend
        }
        b"skip/keep/yes" => Verdict::Include,
        bytes if bytes.starts_with(b"skip/") => Verdict::Descend,
        b"src" => Verdict::Exclude,
        bytes => {
            assert!(!bytes.starts_with(b"src/"), "an excluded directory was listed");
            Verdict::Include
        }
    };
    let objects = MemoryObjects::new();
    let options = WalkOptions { modes: ModePolicy::Keep, ..WalkOptions::default() };
    let walked = walk_directory(directory.path(), &objects, &filter, &NoCache, &options).unwrap();
    assert_eq!(
        listing(&walked.tree),
        ["664 a", "664 b", "777 out", "775 skip", "775 skip/keep", "644 skip/keep/yes"]
    );
}

#[derive(Default)]
struct MapCache(Mutex<Vec<(FileStat, ObjectId)>>);

impl StatCache for MapCache {
    fn get_many(&self, files: &[FileStat]) -> Vec<Option<ObjectId>> {
        let known = self.0.lock().unwrap();
        files
            .iter()
            .map(|file| known.iter().find(|(stat, _)| stat == file).map(|(_, object)| *object))
            .collect()
    }

    fn put_many(&self, files: &[(FileStat, ObjectId)]) {
        self.0.lock().unwrap().extend(files);
    }
}

#[test]
fn known_files_are_not_read_and_fresh_ones_are_not_remembered() {
    let directory = context();
    let objects = MemoryObjects::new();
    let cache = MapCache::default();
    let walk = |now| {
        let options = WalkOptions { now, ..WalkOptions::default() };
        walk_directory(directory.path(), &objects, &all, &cache, &options).unwrap()
    };
    // For a clock that stands where the files were made, they are too fresh.
    let first = walk(0);
    assert_eq!((first.files_read, walk(0).files_read), (6, 6));
    let far = i64::MAX / 2_000_000_000;
    assert_eq!(walk(far).files_read, 6);
    let warm = walk(far);
    assert_eq!(warm.files_read, 0);
    assert_eq!(warm.tree, first.tree);
    fs::write(directory.path().join("src/run"), "changed").unwrap();
    assert_eq!(walk(far).files_read, 1);
}

#[test]
fn sockets_are_reported_and_pipes_kept() {
    let directory = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        directory.path().join("pipe"),
        FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let objects = MemoryObjects::new();
    let walked = walk_directory(directory.path(), &objects, &all, &NoCache, &WalkOptions::default()).unwrap();
    assert_eq!(walked.tree.get(&path("pipe")).unwrap().kind, Kind::Fifo);
    assert!(!walked.tree.contains(&path("socket")));
    assert_eq!(walked.report.count(&Notice::Socket), 1);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    /// Writes to the file once its content was taken.
    struct Meddling<'a>(&'a Path, MemoryObjects);
    impl ObjectSink for Meddling<'_> {
        fn put(&self, content: &[u8], edges: &[ObjectId]) -> Result<ObjectId, ObjectError> {
            fs::write(self.0, [content, b"more"].concat()).unwrap();
            self.1.put(content, edges)
        }

        fn put_reader(&self, reader: &mut dyn std::io::Read) -> Result<(ObjectId, u64), ObjectError> {
            fs::write(self.0, b"less").unwrap();
            self.1.put_reader(reader)
        }
    }
    for size in [10, 2_000_000] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("moving");
        fs::write(&file, vec![0; size]).unwrap();
        let sink = Meddling(&file, MemoryObjects::new());
        let result = walk_directory(directory.path(), &sink, &all, &NoCache, &WalkOptions::default());
        assert!(matches!(result, Err(DiskError::Changed { path: at }) if at == path("moving")), "{size}");
    }
}

#[test]
fn a_missing_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none");
    let result = walk_directory(&missing, &MemoryObjects::new(), &all, &NoCache, &WalkOptions::default());
    assert!(matches!(result, Err(DiskError::Io { action: "open", .. })));
}
