//! Several processes at once.

use std::path::Path;
use std::process::{Child, Command};

use rebit_oci::CacheKey;

use super::*;
use crate::StatKey;

const ROOT: &str = "REBIT_STORE_TEST_ROOT";
const ROLE: &str = "REBIT_STORE_TEST_ROLE";

fn command(root: &Path, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "tests::processes::child", "--test-threads", "1"])
        .env(ROOT, root)
        .env(ROLE, role)
        .stdout(std::process::Stdio::null());
    command
}

fn spawn(fixture: &Fixture, role: &str) -> Child {
    command(fixture.root.path(), role).spawn().unwrap()
}

/// Not a test of its own: what the other processes run.
#[test]
fn child() {
    let (Some(root), Ok(role)) = (std::env::var_os(ROOT), std::env::var(ROLE)) else { return };
    let store = Store::open(root.as_ref(), &StoreOptions::default()).unwrap();
    match role.as_str() {
        "collect" => {
            for _ in 0..20 {
                collect(&store);
            }
        }
        "die" => {
            let session = store.session().unwrap();
            let scratch = session.scratch_dir("left").unwrap();
            std::fs::write(scratch.path().join("file"), "x").unwrap();
            put(&session, &noise(99, 500_000));
            session.commit().unwrap();
            put(&session, &noise(98, 500_000));
            std::process::abort();
        }
        "everything" => everything(&store),
        writer => {
            let seed: u64 = writer.parse().unwrap();
            for round in 0..15 {
                let session = store.session().unwrap();
                // Half of the content is every writer's, so that they find each other's objects.
                let objects: Vec<ObjectId> = (0..20)
                    .map(|n| {
                        put(
                            &session,
                            &text(if n % 2 == 0 { round * 100 + n } else { seed * 10_000 + n }, 3000),
                        )
                    })
                    .collect();
                session.commit().unwrap();
                name(&session, &format!("ref-{seed}-{round}"), &objects);
                if round % 3 == 0 {
                    store.delete_ref(&format!("ref-{seed}-{round}")).unwrap();
                }
            }
        }
    }
}

/// One of each operation that writes.
fn everything(store: &Store) {
    let session = store.session().unwrap();
    let object = put(&session, &noise(1, 3 << 20));
    name(&session, "ref", &[object]);
    session.put_record(&CacheKey([1; 32]), b"payload", &[object], at(7)).unwrap();
    let key = StatKey { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
    session.stat_cache_put(&[(key, object)], at(100)).unwrap();
    session.put_segment(&[1; 32], "encoder", &object, 1).unwrap();
    put(&session, &noise(2, 3 << 20));
    session.commit().unwrap();
    let scratch = session.scratch_dir("checkout").unwrap();
    std::fs::write(scratch.path().join("file"), "x").unwrap();
    drop(session.publish_checkout("key", scratch).unwrap());
    drop(session);
    collect(store);
    store.rename_ref("ref", "renamed").unwrap();
    name(&store.session().unwrap(), "deleted", &[]);
    store.delete_ref("deleted").unwrap();
    store.rebuild_index().unwrap();
    assert!(store.fsck(&FsckOptions { repair: true }, &mut |_| {}).unwrap().is_clean());
    store.du().unwrap();
}

// S-5: not even for a moment, since that would show in a directory's time. Times are those given.
#[test]
fn nothing_outside_the_root_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let [root, home] = ["store", "home"].map(|name| parent.path().join(name));
    std::fs::create_dir(&root).unwrap();
    std::fs::create_dir(&home).unwrap();
    let watched = [parent.path(), home.as_path()];
    for directory in watched {
        std::fs::File::open(directory).unwrap().set_modified(at(1)).unwrap();
    }
    let mut command = command(&root, "everything");
    for variable in ["HOME", "TMPDIR", "SQLITE_TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"]
    {
        command.env(variable, &home);
    }
    assert!(command.current_dir(&home).status().unwrap().success());
    for directory in watched {
        let modified = std::fs::metadata(directory).unwrap().modified().unwrap();
        assert_eq!(modified, at(1), "something was written in {}", directory.display());
    }

    let store = Store::open(&root, &StoreOptions::default()).unwrap();
    let updated: Vec<_> =
        store.refs().unwrap().into_iter().map(|entry| (entry.name, entry.updated)).collect();
    assert_eq!(updated, [("renamed".to_owned(), at(1000))]);
    let connection = rusqlite::Connection::open(root.join("index.sqlite")).unwrap();
    let used: i64 = connection.query_row("SELECT used FROM records", [], |row| row.get(0)).unwrap();
    assert_eq!(used, 7);
}

// S-42
#[test]
fn writers_and_collectors_do_not_harm_each_other() {
    let fixture = Fixture::new();
    let mut children: Vec<Child> =
        ["1", "2", "3", "collect", "collect"].iter().map(|role| spawn(&fixture, role)).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let refs = fixture.store.refs().unwrap();
    assert_eq!(refs.len(), 30);
    for entry in &refs {
        for edge in fixture.store.edges(&entry.root).unwrap() {
            assert_eq!(ObjectId::of(&read(&fixture.store, &edge)), edge);
        }
    }
    assert_clean(&fixture.store);
    collect(&fixture.store);
    assert_clean(&fixture.store);
}

#[test]
fn a_dead_process_leaves_nothing_behind_after_a_collection() {
    let fixture = Fixture::new();
    assert!(!spawn(&fixture, "die").wait().unwrap().success());
    assert_eq!(std::fs::read_dir(fixture.root.path().join("scratch")).unwrap().count(), 1);
    assert_clean(&fixture.store);
    let report = collect(&fixture.store);
    assert_eq!((report.dead_leases, report.removed_scratch), (1, 1), "{report:?}");
    let usage = fixture.store.du().unwrap();
    assert_eq!((usage.packs, usage.objects, usage.scratch), (0, 0, 4096), "{usage:?}");
}

// S-70
#[test]
fn what_a_dead_process_left_in_scratch_goes_with_the_next_session() {
    let fixture = Fixture::new();
    assert!(!spawn(&fixture, "die").wait().unwrap().success());
    let left = || std::fs::read_dir(fixture.root.path().join("scratch")).unwrap().count();
    assert_eq!(left(), 1);
    let session = fixture.session();
    let mine = session.scratch_dir("mine").unwrap();
    drop(fixture.session());
    assert!(
        left() == 1 && mine.path().exists(),
        "the scratch of a live session went, or that of the dead one stayed"
    );
}
