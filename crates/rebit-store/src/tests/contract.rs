//! What the store promises those that use it.

use std::io::Read;

use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};
use rebit_oci::{CacheKey, Digest, ObjectId};

use super::*;
use crate::{BlobForm, StatKey, StoreError};

const SIZES: [usize; 12] = [
    0,
    1,
    1000,
    64 << 10,
    (64 << 10) + 1,
    300 << 10,
    2 << 20,
    (2 << 20) + 1,
    5 << 20,
    (8 << 20) - 1,
    8 << 20,
    (9 << 20) + 17,
];

fn contents() -> Vec<Vec<u8>> {
    let sizes = SIZES.iter().zip(0..);
    sizes.flat_map(|(size, seed)| [noise(seed, *size), text(seed, *size)]).collect()
}

// S-20, S-23
#[test]
fn objects_of_every_size_come_back_before_and_after_a_commit() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let contents = contents();
    let ids: Vec<ObjectId> = contents.iter().map(|content| put(&session, content)).collect();
    for (content, id) in contents.iter().zip(&ids) {
        assert_eq!(*id, ObjectId::of(content));
        assert!(read(&session, id) == *content, "{} bytes before the commit", content.len());
        assert!(content.is_empty() || fixture.store.read(id).is_err());
    }
    session.commit().unwrap();
    drop(session);
    let store = Store::open(fixture.root.path(), &StoreOptions::default()).unwrap();
    for (content, id) in contents.iter().zip(&ids) {
        assert!(read(&store, id) == *content, "{} bytes after the commit", content.len());
        assert_eq!(store.object_length(id).unwrap(), Some(content.len() as u64));
        let mut streamed = Vec::new();
        store.open(id).unwrap().read_to_end(&mut streamed).unwrap();
        assert!(streamed == *content);
    }
    assert_clean(&store);
}

// S-20
#[test]
fn many_tiny_objects_in_one_session_take_little() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let content = |number: usize| number.to_string().into_bytes().repeat(number % 4);
    let objects: Vec<ObjectId> = (0..20_000).map(|number| put(&session, &content(number))).collect();
    name(&session, "ref", &objects[..10_000]);
    drop(session);
    for number in (0..20_000).step_by(501) {
        assert_eq!(read(&fixture.store, &objects[number]), content(number));
    }
    let usage = fixture.store.du().unwrap();
    assert_eq!(usage.pack_count, 1);
    // A row of a frame's table takes 53 bytes; the rest is little.
    assert!(usage.packs < 20_000 * 80, "{usage:?}");
    assert_clean(&fixture.store);
}

#[test]
fn a_reader_and_a_slice_give_the_same_objects() {
    let fixture = Fixture::new();
    let session = fixture.session();
    for content in contents() {
        let slice = put(&session, &content);
        let (id, length) = session.put_reader(&mut &content[..]).unwrap();
        assert_eq!((id, length), (slice, content.len() as u64));
    }
    let other = Fixture::new();
    let other_session = other.session();
    for content in contents() {
        let (id, _) = other_session.put_reader(&mut &content[..]).unwrap();
        session.commit().unwrap();
        other_session.commit().unwrap();
        assert_eq!(fixture.store.edges(&id).unwrap(), other.store.edges(&id).unwrap());
    }
}

#[test]
fn the_same_content_is_stored_once() {
    let fixture = Fixture::new();
    let store = |seed| {
        let session = fixture.session();
        put(&session, &noise(seed, 5 << 20));
        session.commit().unwrap();
        drop(session);
        fixture.store.du().unwrap().packs
    };
    let once = store(1);
    assert_eq!(store(1), once);
    assert!(store(2) > once + (4 << 20));
    // One byte more at the front moves everything: only the chunks around it are new.
    let mut shifted = vec![1];
    shifted.extend(noise(2, 5 << 20));
    let before = fixture.store.du().unwrap().packs;
    let session = fixture.session();
    put(&session, &shifted);
    session.commit().unwrap();
    assert!(fixture.store.du().unwrap().packs < before + (3 << 20));
}

// S-27
#[test]
fn missing_things_are_not_found() {
    let fixture = Fixture::new();
    let id = ObjectId::of(b"absent");
    assert!(matches!(fixture.store.read(&id), Err(ObjectError::NotFound { object }) if object == id));
    let digest = Digest::of(b"absent");
    assert!(matches!(fixture.store.read_blob(&digest, 10), Err(StoreError::BlobNotFound { .. })));
    assert_eq!(fixture.store.stat_blob(&digest).unwrap(), None);
    assert_eq!(fixture.store.get_ref("absent").unwrap(), None);
    assert!(!fixture.store.delete_ref("absent").unwrap());
    let session = fixture.session();
    assert!(session.put(b"x", &[id]).is_err());
    let now = at(0);
    assert!(matches!(session.set_ref("a", &digest, &id, now), Err(StoreError::MissingEdge { .. })));
    let object = put(&session, b"here");
    assert!(matches!(session.set_ref("a", &digest, &object, now), Err(StoreError::BlobNotFound { .. })));
    let key = CacheKey([1; 32]);
    assert!(matches!(session.put_record(&key, b"", &[id], now), Err(StoreError::MissingEdge { .. })));
    assert_eq!(session.get_record(&key, now).unwrap(), None);
    assert_eq!(session.miss_reason(&key), None);
    let nowhere = tempfile::tempdir().unwrap();
    let options = StoreOptions { create: false, ..StoreOptions::default() };
    assert!(matches!(Store::open(nowhere.path(), &options), Err(StoreError::NoStore { .. })));
    std::fs::write(nowhere.path().join("file"), "").unwrap();
    let opened = Store::open(nowhere.path(), &StoreOptions::default());
    assert!(matches!(opened, Err(StoreError::NotAStore { .. })));
}

// S-24
#[test]
fn blobs_are_found_by_digest_in_both_forms() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let (digest, object) = session.put_blob(b"document", &[]).unwrap();
    let stat = session.stat_blob(&digest).unwrap().unwrap();
    assert_eq!((stat.size, stat.object, stat.form), (8, object, BlobForm::Plain));

    let large = noise(7, 6 << 20);
    let (large_digest, _, length) = session.put_blob_reader(&mut &large[..], &[]).unwrap();
    assert_eq!((large_digest, length), (Digest::of(&large), large.len() as u64));

    let parts: Vec<(ObjectId, u64)> =
        [&large[..], b"", b"tail"].iter().map(|part| (put(&session, part), part.len() as u64)).collect();
    let whole = [&large[..], b"tail"].concat();
    let composite = Digest::of(&whole);
    session.put_composite(&composite, whole.len() as u64, &parts).unwrap();
    for round in ["pending", "stored"] {
        assert!(session.read_blob(&composite, u64::MAX).unwrap() == whole, "{round}");
        assert!(session.read_blob(&large_digest, u64::MAX).unwrap() == large, "{round}");
        session.commit().unwrap();
    }
    assert_eq!(fixture.store.read_blob(&digest, 8).unwrap(), b"document");
    assert!(matches!(fixture.store.read_blob(&digest, 7), Err(StoreError::Limit { .. })));
    let stat = fixture.store.stat_blob(&composite).unwrap().unwrap();
    assert_eq!((stat.size, stat.form), (whole.len() as u64, BlobForm::Composite));
    let wrong = session.put_composite(&composite, 5, &parts);
    assert!(matches!(wrong, Err(StoreError::CorruptBlob { .. })));
    let wrong = session.put_composite(&composite, 5, &[(parts[2].0, 5)]);
    assert!(matches!(wrong, Err(StoreError::CorruptBlob { .. })));

    // A composite that lies about its digest cannot be read.
    let lie = Digest::of(b"something else");
    session.put_composite(&lie, 4, &parts[2..]).unwrap();
    assert!(matches!(session.read_blob(&lie, 10), Err(StoreError::CorruptBlob { .. })));
}

// S-26
#[test]
fn edges_given_later_are_added() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let [a, b, c] = [b"a", b"b", b"c"].map(|content| put(&session, content));
    let root = session.put(b"root", &[a]).unwrap();
    session.put(b"root", &[b]).unwrap();
    session.commit().unwrap();
    assert_eq!(fixture.store.edges(&root).unwrap(), [a, b]);
    session.put(b"root", &[c, a]).unwrap();
    session.commit().unwrap();
    drop(session);
    assert_eq!(fixture.store.edges(&root).unwrap(), [a, b, c]);
    fixture.store.rebuild_index().unwrap();
    let mut edges = fixture.store.edges(&root).unwrap();
    edges.sort();
    let mut expected = vec![a, b, c];
    expected.sort();
    assert_eq!(edges, expected);
}

#[test]
fn refs_are_set_renamed_and_deleted() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let root = name(&session, "b", &[]);
    name(&session, "a b", &[root]);
    let names = || fixture.store.refs().unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(names(), ["a b", "b"]);
    let found = fixture.store.get_ref("b").unwrap().unwrap();
    assert_eq!((found.root, found.updated), (root, at(1000)));
    assert!(matches!(fixture.store.rename_ref("b", "a b"), Err(StoreError::RefExists { .. })));
    assert!(matches!(fixture.store.rename_ref("x", "y"), Err(StoreError::RefNotFound { .. })));
    assert!(matches!(fixture.store.rename_ref("b", ""), Err(StoreError::InvalidName { .. })));
    fixture.store.rename_ref("b", "c").unwrap();
    assert_eq!(names(), ["a b", "c"]);
    assert!(fixture.store.delete_ref("c").unwrap());
    assert_eq!(names(), ["a b"]);
    assert_clean(&fixture.store);
}

// S-50, S-51
#[test]
fn records_are_found_only_whole() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let object = put(&session, b"result");
    let [key, bad] = [CacheKey([1; 32]), CacheKey([2; 32])];
    session.put_record(&key, b"payload", &[object], at(10)).unwrap();
    session.put_record(&bad, b"payload", &[object], at(10)).unwrap();
    let session = fixture.session();
    assert_eq!(session.get_record(&key, at(20)).unwrap().as_deref(), Some(&b"payload"[..]));
    session.put_record(&key, b"newer", &[], at(30)).unwrap();
    assert_eq!(session.get_record(&key, at(40)).unwrap().as_deref(), Some(&b"newer"[..]));
    let damage = |sql: &str| {
        let connection = rusqlite::Connection::open(fixture.root.path().join("index.sqlite")).unwrap();
        connection.execute(sql, []).unwrap();
    };
    damage(
        "UPDATE records SET payload = x'00' WHERE key = x'0202020202020202020202020202020202020202020202020202020202020202'",
    );
    assert_eq!(session.get_record(&bad, at(20)).unwrap(), None);
    assert!(session.miss_reason(&bad).unwrap().contains("damaged"));
    session.put_record(&bad, b"payload", &[object], at(10)).unwrap();
    drop(session);
    damage("DELETE FROM objects");
    let session = fixture.session();
    assert_eq!(session.get_record(&bad, at(20)).unwrap(), None);
    assert!(session.miss_reason(&bad).unwrap().contains(&object.to_string()));
}

#[test]
fn segments_are_remembered_per_encoder() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let object = put(&session, b"encoded");
    session.put_segment(&[3; 32], "gzip-1", &object, 7).unwrap();
    for _ in 0..2 {
        assert_eq!(session.segment(&[3; 32], "gzip-1").unwrap(), Some((object, 7)));
        assert_eq!(session.segment(&[3; 32], "gzip-2").unwrap(), None);
        assert_eq!(session.segment(&[4; 32], "gzip-1").unwrap(), None);
        session.commit().unwrap();
    }
    assert_eq!(fixture.session().segment(&[3; 32], "gzip-1").unwrap(), Some((object, 7)));
}

fn key(dev: u64, ino: u64) -> StatKey {
    StatKey { dev, ino, size: 1, mtime_ns: 5_000_000_000, ctime_ns: 5_000_000_000 }
}

// S-52, S-53
#[test]
fn the_stat_cache_knows_settled_files_only() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let object = put(&session, b"content");
    let changed = |seconds: i64| StatKey { ctime_ns: seconds * 1_000_000_000, ..key(1, 9) };
    for (ctime, kept) in [(100, false), (99, false), (98, true), (200, false)] {
        session.stat_cache_put(&[(changed(ctime), object)], at(100)).unwrap();
        assert_eq!(session.stat_cache_get(&changed(ctime)).unwrap().is_some(), kept, "changed at {ctime}");
    }
    // Many keys, some known, in any order, on two devices, with gaps longer than a stride.
    let entries: Vec<(StatKey, ObjectId)> =
        (0..3000).map(|n| (key(n % 2, n * n % 7919 + u64::MAX / 2), object)).collect();
    session.stat_cache_put(&entries[..2000], at(100)).unwrap();
    let known: std::collections::BTreeSet<_> = entries[..2000].iter().map(|(key, _)| *key).collect();
    let keys: Vec<StatKey> = entries.iter().rev().step_by(7).map(|(key, _)| *key).collect();
    let found = session.stat_cache_get_many(&keys).unwrap();
    for (key, found) in keys.iter().zip(found) {
        assert_eq!(found.is_some(), known.contains(key), "{key:?}");
    }
    let other_size = StatKey { size: 2, ..entries[0].0 };
    assert_eq!(session.stat_cache_get_many(&[other_size, entries[0].0]).unwrap(), [None, Some(object)]);
    assert_eq!(session.stat_cache_get_many(&[]).unwrap(), []);
}

// S-6
#[test]
fn a_quota_is_a_cap_on_everything_under_the_root() {
    let limit = 24 << 20;
    let fixture = Fixture::with(&StoreOptions { max_bytes: Some(limit), ..StoreOptions::default() });
    let session = fixture.session();
    let mut error = None;
    for seed in 0..100 {
        let put = session.put(&noise(seed, 1 << 20), &[]).and_then(|_| Ok(session.commit()?));
        if let Err(found) = put {
            error = Some(found);
            break;
        }
    }
    let error = error.expect("100 MiB fit into 24");
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<StoreError>();
    assert!(matches!(source, Some(StoreError::Full { limit: l, .. }) if *l == limit), "{error:?}");
    drop(session);
    // Directories count too, and can be asked for first.
    let session = fixture.session();
    let left = limit - fixture.store.file_usage().unwrap().total();
    session.check_space(left / 2).unwrap();
    let full = session.check_space(left + 1);
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    drop(session);
    let used = fixture.store.du().unwrap().total();
    assert!(used <= limit && used > limit / 2, "{used}");
    collect(&fixture.store);
    assert!(fixture.store.du().unwrap().total() < 4 << 20);
    put(&fixture.session(), b"fits again");
}

#[test]
fn threads_put_through_one_session() {
    let fixture = Fixture::new();
    let session = fixture.session();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let session = &session;
            scope.spawn(move || {
                for n in 0..200 {
                    // Every content is put by two threads.
                    let content = text(n * 2 + thread % 2, 5000 + n as usize);
                    let leaf = put(session, &content);
                    session.put(format!("parent of {leaf}").as_bytes(), &[leaf]).unwrap();
                    if n % 50 == 0 {
                        session.commit().unwrap();
                    }
                }
            });
        }
    });
    session.commit().unwrap();
    assert_eq!(fixture.store.du().unwrap().objects, 800);
    assert_clean(&fixture.store);
}

// S-35
#[test]
fn a_root_is_replaced_only_while_it_is_the_one_that_was_seen() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let (digest, first) = session.put_blob(b"first", &[]).unwrap();
    let second = put(&session, b"second");
    let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(77);
    session.set_ref("x", &digest, &first, then).unwrap();
    assert!(!session.replace_root("y", &first, &second).unwrap());
    assert!(!session.replace_root("x", &second, &first).unwrap());
    assert!(session.replace_root("x", &first, &second).unwrap());
    let found = fixture.store.get_ref("x").unwrap().unwrap();
    assert_eq!((found.digest, found.root, found.updated), (digest, second, then));
    assert!(session.replace_root("x", &second, &ObjectId::of(b"absent")).is_err());
    assert_eq!(fixture.store.get_ref("x").unwrap(), Some(found));
}
