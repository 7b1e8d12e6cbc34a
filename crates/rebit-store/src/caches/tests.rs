use std::time::Duration;

use super::*;
use crate::{CacheSharing, StoreOptions};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn fill(session: &Session, name: &str, bytes: usize, used: u64) -> crate::CacheDir {
    let made = session.cache_dir::<StoreError>(name, CacheSharing::Private, at(used), |path| {
        fs::write(path.join("file"), vec![1; bytes]).unwrap();
        Ok(())
    });
    made.unwrap()
}

fn names(caches: &[CacheInfo]) -> Vec<&str> {
    caches.iter().map(|cache| cache.name.as_str()).collect()
}

// S-77
#[test]
fn the_least_recently_used_go_first_and_one_in_use_stays() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), &StoreOptions::default()).unwrap();
    let session = store.session().unwrap();
    for (name, used) in [("b", 20), ("a", 30), ("d", 40), ("c", 10)] {
        drop(fill(&session, name, 100_000, used));
    }
    // Used again: the time is that of the last use, not of the first.
    drop(fill(&session, "b", 1, 50));
    let prune = |older: Option<u64>, max_bytes, dry_run| {
        let prune = CachePrune { older_than: older.map(at), max_bytes, dry_run };
        store.prune_caches(&prune).unwrap()
    };
    assert_eq!(prune(Some(10), Some(1 << 30), false), CachePruned::default());
    assert_eq!(names(&prune(Some(40), None, true).removed), ["c", "a"]);
    let held = fill(&session, "c", 1, 10);
    let pruned = prune(Some(11), Some(250_000), false);
    assert_eq!((names(&pruned.removed), names(&pruned.in_use)), (vec!["a", "d"], vec!["c"]));
    drop(held);
    assert_eq!(names(&prune(None, Some(0), false).removed), ["c", "b"]);
    assert!(store.caches().unwrap().iter().all(|cache| cache.bytes == 0));
}

// S-77
#[test]
fn what_replaces_a_cache_is_all_that_it_holds_then() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), &StoreOptions::default()).unwrap();
    let session = store.session().unwrap();
    let first = fill(&session, "c", 10, 1);
    drop(fill(&session, "c", 10, 1));
    assert!(session.take_cache("c", at(2)).unwrap().is_none(), "a cache in use was taken");
    drop(first);
    let held = session.take_cache("c", at(2)).unwrap().unwrap();
    assert_eq!(held.directories().len(), 2);
    let made = session.scratch_dir("cache").unwrap();
    fs::create_dir(made.path().join("fs")).unwrap();
    fs::write(made.path().join("fs/new"), "new").unwrap();
    held.replace(vec![made]).unwrap();
    let info = store.caches().unwrap().remove(0);
    assert_eq!((info.directories, info.used), (1, Some(at(2))));
    let cache = fill(&session, "c", 10, 3);
    assert!(cache.path().join("new").exists() && !cache.path().join("file").exists());
    assert!(store.hold_cache("none").unwrap().is_none() && store.caches().unwrap().len() == 1);
}
