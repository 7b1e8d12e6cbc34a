//! Garbage collection: what is reached stays, the rest goes, and sessions are never robbed.

use rebit_oci::CacheKey;
use rebit_oci::object::{ObjectSink, ObjectSource};

use super::*;
use crate::StatKey;

fn packs(store: &Store) -> u64 {
    store.du().unwrap().pack_count
}

// S-40, S-41
#[test]
fn what_is_reached_stays_and_the_rest_goes() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let kept = put(&session, &noise(1, 300_000));
    let large = put(&session, &noise(2, 5 << 20));
    let small_kept = put(&session, b"small and kept");
    let small_lost = put(&session, b"small and lost");
    let lost = put(&session, &noise(3, 5 << 20));
    name(&session, "ref", &[kept, large, small_kept]);
    session.commit().unwrap();
    drop(session);
    let plan = fixture.store.prepare_gc(&GcPolicy::default()).unwrap();
    assert!(plan.unreachable_bytes >= 5 << 20 && plan.kept_bytes >= 5 << 20, "{plan:?}");
    let report = collect(&fixture.store);
    assert_eq!(report.dropped_objects, plan.unreachable_objects);
    assert!(report.freed_bytes > 4 << 20, "{report:?}");
    for object in [lost, small_lost] {
        assert!(fixture.store.read(&object).is_err());
    }
    for (object, content) in
        [(kept, noise(1, 300_000)), (large, noise(2, 5 << 20)), (small_kept, b"small and kept".to_vec())]
    {
        assert!(read(&fixture.store, &object) == content);
    }
    assert_clean(&fixture.store);
    let again = collect(&fixture.store);
    assert_eq!((again.dropped_objects, again.removed_packs), (0, 0), "{again:?}");

    fixture.store.rebuild_index().unwrap();
    assert_eq!(collect(&fixture.store).removed_packs, 0, "a rebuild counts otherwise than a commit");

    fixture.store.delete_ref("ref").unwrap();
    collect(&fixture.store);
    assert_eq!((packs(&fixture.store), fixture.store.du().unwrap().objects), (0, 0));
    assert_clean(&fixture.store);
}

// S-43
#[test]
fn what_a_session_put_or_found_stays_until_it_ends() {
    let fixture = Fixture::new();
    let first = fixture.session();
    let (leaf, content) = (put(&first, &noise(1, 100_000)), noise(1, 100_000));
    let parent = first.put(b"parent", &[leaf]).unwrap();
    first.commit().unwrap();

    // Found while another session keeps it, then only by the finder.
    let finder = fixture.session();
    assert!(finder.contains(&parent).unwrap());
    drop(first);
    for _ in 0..3 {
        let report = collect(&fixture.store);
        assert_eq!((report.dropped_objects, report.deferred_objects), (0, 2));
    }
    assert!(read(&fixture.store, &leaf) == content);

    // Found when it is condemned already: it is taken off the list, with all below it.
    let late = fixture.session();
    assert!(late.contains(&parent).unwrap());
    drop(finder);
    let report = collect(&fixture.store);
    assert_eq!(report.dropped_objects, 0, "a session was robbed");
    let last = fixture.session();
    assert!(last.contains(&leaf).unwrap());
    name(&late, "ref", &[parent]);
    drop((late, last));
    assert_eq!(collect(&fixture.store).dropped_objects, 0);
    assert!(read(&fixture.store, &leaf) == content);
    fixture.store.delete_ref("ref").unwrap();
    assert_eq!(collect(&fixture.store).dropped_objects, 3);
    assert_clean(&fixture.store);
}

#[test]
fn a_collection_between_putting_and_committing_takes_no_edges() {
    let fixture = Fixture::new();
    let first = fixture.session();
    let leaf = put(&first, b"leaf");
    first.commit().unwrap();
    drop(first);
    let session = fixture.session();
    let parent = session.put(b"parent", &[leaf]).unwrap();
    // The leaf is condemned now, by a generation that this session holds back.
    assert_eq!(collect(&fixture.store).deferred_objects, 1);
    session.commit().unwrap();
    // One that sees the new parent must be able to rely on the leaf, though its lease is younger.
    let younger = fixture.session();
    assert!(younger.contains(&parent).unwrap());
    drop(session);
    assert_eq!(collect(&fixture.store).dropped_objects, 0);
    assert_eq!(read(&younger, &leaf), b"leaf");
}

// S-44
#[test]
fn records_are_kept_by_age_and_by_size() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let keys: Vec<CacheKey> = (0..4).map(|n| CacheKey([n; 32])).collect();
    for (key, n) in keys.iter().zip(0..) {
        let object = put(&session, &noise(n, 1 << 20));
        session.put_record(key, b"payload", &[object], at(100 + n)).unwrap();
    }
    drop(session);
    let found = || {
        let session = fixture.session();
        keys.iter().map(|key| session.get_record(key, at(0)).unwrap().is_some()).collect::<Vec<_>>()
    };
    collect(&fixture.store);
    assert_eq!(found(), [true, true, true, true]);
    collect_by(&fixture.store, &GcPolicy { keep_records_newer: Some(at(101)), ..GcPolicy::default() });
    assert_eq!(found(), [false, true, true, true]);
    // Using the oldest makes it the newest.
    assert!(fixture.session().get_record(&keys[1], at(500)).unwrap().is_some());
    collect_by(&fixture.store, &GcPolicy { max_bytes: Some(5 << 19), ..GcPolicy::default() });
    assert_eq!(found(), [false, true, false, true]);
    collect_by(&fixture.store, &GcPolicy { max_bytes: Some(0), ..GcPolicy::default() });
    assert_eq!(found(), [false, false, false, false]);
    assert_eq!(fixture.store.du().unwrap().objects, 0);
    assert_clean(&fixture.store);
}

#[test]
fn digests_of_blobs_survive_a_rewrite_and_a_rebuild() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let object = put(&session, b"content");
    session.commit().unwrap();
    drop(session);
    // The digest goes into another pack than the content.
    let hold = fixture.session();
    put(&hold, &noise(9, 100));
    hold.commit().unwrap();
    let session = fixture.session();
    put(&session, &noise(5, 3 << 20));
    let (digest, root) = session.put_blob(b"content", &[]).unwrap();
    assert_eq!(root, object);
    session.set_ref("ref", &digest, &root, at(1)).unwrap();
    drop((session, hold));
    for _ in 0..3 {
        collect(&fixture.store);
        fixture.store.rebuild_index().unwrap();
        assert_eq!(fixture.store.read_blob(&digest, 100).unwrap(), b"content");
        assert_clean(&fixture.store);
    }
    assert_eq!(packs(&fixture.store), 1);
}

// S-41: a pack that is to be emptied is not the one that is written to.
#[test]
fn one_collection_gives_everything_back() {
    let fixture = Fixture::new();
    // Each has a pack of its own, which later sessions would go on with.
    let sessions = [1, 2, 3].map(|seed| (seed, fixture.session()));
    for (seed, session) in &sessions {
        let kept = put(session, &noise(*seed, 300_000));
        name(session, &format!("ref-{seed}"), &[kept]);
        put(session, &noise(seed + 10, 5 << 20));
        session.commit().unwrap();
    }
    drop(sessions);
    let report = collect(&fixture.store);
    assert_eq!(report.rewritten_packs, 3, "{report:?}");
    let usage = fixture.store.file_usage().unwrap();
    assert!(usage.packs < 1_000_000 && usage.pack_count == 1, "{usage:?}");
    assert_clean(&fixture.store);
}

#[test]
fn many_small_commits_are_no_waste() {
    let fixture = Fixture::new();
    for n in 0..20 {
        name(&fixture.session(), &format!("ref-{n}"), &[]);
        let session = fixture.session();
        let object = put(&session, &[n]);
        name(&session, &format!("other-{n}"), &[object]);
    }
    assert_eq!(packs(&fixture.store), 1);
    let report = collect(&fixture.store);
    assert_eq!((report.removed_packs, report.dropped_objects), (0, 0), "{report:?}");
    assert_clean(&fixture.store);
}

// S-46
#[test]
fn a_damaged_ref_stops_a_collection() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let leaf = put(&session, b"leaf");
    name(&session, "ref", &[leaf]);
    put(&session, b"garbage");
    session.commit().unwrap();
    drop(session);
    let connection = rusqlite::Connection::open(fixture.root.path().join("index.sqlite")).unwrap();
    connection.execute("DELETE FROM objects WHERE id = ?1", [leaf.as_bytes()]).unwrap();
    let error = fixture.store.prepare_gc(&GcPolicy::default()).unwrap_err();
    assert!(
        matches!(error, crate::StoreError::DanglingRef { name, object } if name == "ref" && object == leaf)
    );
    // Putting it again mends it.
    put(&fixture.session(), b"leaf");
    let session = fixture.session();
    put(&session, b"leaf");
    session.commit().unwrap();
    drop(session);
    collect(&fixture.store);
    assert_clean(&fixture.store);
}

#[test]
fn usage_is_told_by_ref() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let [own, shared, other] = [1, 2, 3].map(|seed| put(&session, &noise(seed, 200_000)));
    name(&session, "a", &[own, shared]);
    name(&session, "b", &[shared, other]);
    put(&session, &noise(4, 200_000));
    session.commit().unwrap();
    let usage = fixture.store.du().unwrap();
    assert_eq!(usage.refs.len(), 2);
    for entry in &usage.refs {
        assert!((200_000..202_000).contains(&entry.shared_bytes), "{usage:?}");
        assert!((200_000..202_000).contains(&entry.exclusive_bytes), "{usage:?}");
    }
    assert_eq!(usage.unreferenced_objects, 1);
    assert!((200_000..201_000).contains(&usage.unreferenced_bytes));
    assert!(usage.packs > 800_000 && usage.index > 0 && usage.reserve == 1 << 20);
}

// S-45: that rows go first is shown in `faults`.
#[test]
fn a_file_that_is_gone_is_done_and_one_without_a_row_goes() {
    let fixture = Fixture::new();
    let session = fixture.session();
    put(&session, &noise(1, 1000));
    session.commit().unwrap();
    drop(session);
    let directory = fixture.root.path().join("packs");
    let files = || std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    files().for_each(|pack| std::fs::remove_file(pack).unwrap());
    std::fs::write(directory.join("0123456789abcdef.pack"), noise(2, 500)).unwrap();
    let report = collect(&fixture.store);
    assert_eq!((report.dropped_objects, report.removed_packs), (1, 2), "{report:?}");
    assert_eq!((files().count(), packs(&fixture.store)), (0, 0));
    assert_clean(&fixture.store);
}

// S-54
#[test]
fn the_caches_keep_nothing_alive() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let [file, encoded, kept] = [1, 2, 3].map(|seed| put(&session, &noise(seed, 1000)));
    let key = |ino| StatKey { dev: 1, ino, size: 1000, mtime_ns: 0, ctime_ns: 0 };
    session.stat_cache_put(&[(key(1), file), (key(2), kept)], at(100)).unwrap();
    session.put_segment(&[1; 32], "encoder", &encoded, 1000).unwrap();
    session.put_segment(&[2; 32], "encoder", &kept, 1000).unwrap();
    name(&session, "ref", &[kept]);
    let known = |session: &Session| {
        let files = session.stat_cache_get_many(&[key(1), key(2)]).unwrap();
        let segments = [[1; 32], [2; 32]].map(|key| session.segment(&key, "encoder").unwrap());
        (files, segments.map(|found| found.map(|(object, _)| object)))
    };
    assert_eq!(known(&session), (vec![Some(file), Some(kept)], [Some(encoded), Some(kept)]));
    drop(session);
    assert_eq!(collect(&fixture.store).dropped_objects, 2);
    for object in [file, encoded] {
        assert!(fixture.store.read(&object).is_err(), "a cache kept {object}");
    }
    assert_eq!(known(&fixture.session()), (vec![None, Some(kept)], [None, Some(kept)]));
    assert_clean(&fixture.store);
}

fn record(session: &Session, key: u8, object: &ObjectId, used: u64) {
    session.put_record(&rebit_oci::CacheKey([key; 32]), b"payload", &[*object], at(used)).unwrap();
}

// S-44
#[test]
fn what_the_last_builds_used_stays_whatever_its_age() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let objects = [1, 2, 3, 4].map(|seed| put(&session, &noise(seed, 1000)));
    for (key, used) in [(0, 10), (1, 20), (2, 20), (3, 30)] {
        record(&session, key, &objects[usize::from(key)], used);
    }
    drop(session);
    let policy =
        |keep_last| GcPolicy { keep_records_newer: Some(at(1000)), keep_last, ..GcPolicy::default() };
    let check = |keep_last, expected: u64| {
        assert_eq!(fixture.store.prepare_gc(&policy(keep_last)).unwrap().dropped_records, expected);
    };
    check(3, 0);
    check(2, 1);
    check(1, 3);
    check(0, 4);
    assert_eq!(collect_by(&fixture.store, &policy(2)).dropped_records, 1);
    let kept = objects.map(|object| fixture.store.read(&object).is_ok());
    assert_eq!(kept, [false, true, true, true]);
}

// S-47
#[test]
fn a_collection_makes_the_store_fit_the_least_recently_used_first() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let objects: Vec<ObjectId> = (0..8).map(|seed| put(&session, &noise(seed, 1 << 20))).collect();
    let named = put(&session, &noise(100, 1 << 20));
    name(&session, "ref", &[named]);
    for (key, object) in (0..).zip(&objects) {
        record(&session, key, object, u64::from(key));
    }
    let cache = session
        .cache_dir::<crate::StoreError>("cache", crate::CacheSharing::Shared, at(1), |path| {
            std::fs::write(path.join("file"), noise(5, 2 << 20)).unwrap();
            Ok(())
        })
        .unwrap();
    drop((cache, session));
    let total = || fixture.store.file_usage().unwrap().total();
    let fit = |max| {
        let policy = GcPolicy { max_total: Some(max), ..GcPolicy::default() };
        let plan = fixture.store.prepare_gc(&policy).unwrap();
        let planned = (plan.dropped_records, plan.caches);
        (planned, fixture.store.execute_gc(plan).unwrap())
    };
    let kept = || objects.iter().map(|object| fixture.store.read(object).is_ok()).collect::<Vec<_>>();
    assert_eq!(fit(total()).1.dropped_records, 0);
    let max = total() - (3 << 20);
    let (planned, report) = fit(max);
    assert!(report.total_bytes <= max && total() == report.total_bytes, "{report:?}");
    assert!((3..=4).contains(&report.dropped_records) && planned.1 == 0, "{planned:?} {report:?}");
    let dropped = report.dropped_records as usize;
    assert_eq!(kept(), (0..8).map(|n| n >= dropped).collect::<Vec<_>>(), "the least recently used go first");
    // No size is too small to be tried: what is left is what refs need.
    let (planned, report) = fit(0);
    assert_eq!((planned.1, report.removed_caches, report.total_bytes > 0), (1, 1, true), "{report:?}");
    assert!(fixture.store.read(&named).is_ok() && !kept().contains(&true));
    assert_clean(&fixture.store);
}

#[test]
fn refs_to_be_dropped_go_unless_they_were_set_anew() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let object = put(&session, &noise(1, 1000));
    for ref_name in ["a", "b"] {
        name(&session, ref_name, &[object]);
    }
    drop(session);
    let policy = GcPolicy { drop_refs: fixture.store.refs().unwrap(), ..GcPolicy::default() };
    let plan = fixture.store.prepare_gc(&policy).unwrap();
    assert_eq!((plan.dropped_refs, plan.unreachable_objects), (2, 2));
    let entry = fixture.store.get_ref("b").unwrap().unwrap();
    fixture.session().set_ref("b", &entry.digest, &entry.root, at(5000)).unwrap();
    let report = fixture.store.execute_gc(plan).unwrap();
    assert_eq!((report.dropped_refs, report.dropped_objects), (1, 0));
    assert_eq!(fixture.store.refs().unwrap().len(), 1);
}

// S-43: what one session has seen before a collection is not below what it adds after a commit without being looked at again.
#[test]
fn nothing_below_what_is_new_stays_condemned() {
    let fixture = Fixture::new();
    let first = fixture.session();
    let leaf = put(&first, b"leaf");
    first.commit().unwrap();
    drop(first);
    let session = fixture.session();
    assert_eq!(put(&session, b"leaf"), leaf);
    assert_eq!(collect(&fixture.store).deferred_objects, 1);
    put(&session, b"anything");
    session.commit().unwrap();
    let above = session.put(b"above", &[leaf]).unwrap();
    session.commit().unwrap();
    // The process dies before it names anything; the next one finds its object there and relies on it.
    drop(session);
    let session = fixture.session();
    assert_eq!(session.put(b"above", &[]).unwrap(), above);
    collect(&fixture.store);
    assert_clean(&fixture.store);
    name(&session, "ref", &[above]);
    assert_eq!(read(&fixture.store, &leaf), b"leaf");
}
