//! Damage on the disk: every byte is covered, what is hit is named, the index can be made anew.

use std::fs;
use std::path::PathBuf;

use rebit_oci::object::ObjectSource;
use rebit_oci::{Digest, ObjectId};

use super::*;
use crate::FindingKind;
use crate::entry::{ENTRY_HEADER, EntryHeader, PACK_HEADER};
use crate::journal::Journal;

struct Sample {
    fixture: Fixture,
    pack: PathBuf,
    digest: Digest,
    objects: Vec<ObjectId>,
}

/// A store of one pack, with a frame of small objects, one of its own, a chunked object and a blob.
fn sample() -> Sample {
    let fixture = Fixture::new();
    let session = fixture.session();
    let objects: Vec<ObjectId> = [text(1, 500), text(2, 600), text(3, 100_000), noise(4, (2 << 20) + 1)]
        .iter()
        .map(|content| put(&session, content))
        .collect();
    let (digest, root) = session.put_blob(b"document", &objects).unwrap();
    session.set_ref("ref", &digest, &root, at(1)).unwrap();
    drop(session);
    let pack = fs::read_dir(fixture.root.path().join("packs")).unwrap().next().unwrap().unwrap().path();
    Sample { fixture, pack, digest, objects }
}

/// Where each entry starts, and its header.
fn entries(bytes: &[u8]) -> Vec<(usize, EntryHeader)> {
    let mut found = Vec::new();
    let mut offset = PACK_HEADER as usize;
    while offset < bytes.len() {
        let header = EntryHeader::decode(&bytes[offset..]).unwrap();
        found.push((offset, header));
        offset += header.entry_length() as usize;
    }
    found
}

// S-80, S-81
#[test]
fn a_flipped_bit_in_every_region_is_found_and_named() {
    let sample = sample();
    let store = &sample.fixture.store;
    assert_clean(store);
    let good = fs::read(&sample.pack).unwrap();
    let mut places = vec![(0, false), (15, false)];
    for (offset, header) in entries(&good) {
        let table = offset + ENTRY_HEADER;
        let payload = table + header.table as usize;
        let frame = header.stored > 0;
        places.extend([(offset, frame), (offset + 5, frame), (offset + 30, frame), (offset + 60, frame)]);
        places.push((table + header.table as usize / 2, frame));
        if frame {
            places.extend([(payload, true), (payload + header.stored as usize - 1, true)]);
        }
    }
    for (place, frame) in places {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        fs::write(&sample.pack, &bad).unwrap();
        let report = fsck(store);
        let finding = report.findings.first().unwrap_or_else(|| panic!("byte {place} is not covered"));
        assert_eq!(finding.pack.as_ref(), Some(&sample.pack), "{finding:?}");
        assert!(finding.offset.is_some_and(|offset| offset as usize <= place), "{finding:?}");
        if frame {
            assert!(!finding.objects.is_empty(), "byte {place}: {finding:?}");
            assert_eq!(finding.blobs, [sample.digest], "byte {place}: {finding:?}");
            assert_eq!(finding.refs, ["ref"], "byte {place}: {finding:?}");
        }
    }
    fs::write(&sample.pack, &good).unwrap();
    assert_clean(store);
}

#[test]
fn every_single_byte_of_a_small_pack_is_covered() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let leaf = put(&session, b"leaf");
    name(&session, "ref", &[leaf]);
    drop(session);
    let pack = fs::read_dir(fixture.root.path().join("packs")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&pack).unwrap();
    assert!(good.len() < 1000);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&pack, &bad).unwrap();
        assert!(!fsck(&fixture.store).is_clean(), "byte {place} is not covered");
    }
}

#[test]
fn damage_is_an_error_for_readers_never_wrong_bytes() {
    let sample = sample();
    let good = fs::read(&sample.pack).unwrap();
    for place in (PACK_HEADER as usize..good.len()).step_by(good.len() / 97) {
        let mut bad = good.clone();
        bad[place] ^= 0x80;
        fs::write(&sample.pack, &bad).unwrap();
        let store = Store::open(sample.fixture.root.path(), &StoreOptions::default()).unwrap();
        for object in &sample.objects {
            if let Ok(content) = store.read(object) {
                assert_eq!(ObjectId::of(&content), *object);
            }
        }
    }
}

// S-15
#[test]
fn a_torn_tail_is_no_damage_and_is_overwritten() {
    let sample = sample();
    let store = &sample.fixture.store;
    let good = fs::read(&sample.pack).unwrap();
    let (last, _) = entries(&good).pop().unwrap();
    for tail in [&good[last..last + 1], &good[last..good.len() - 1], &noise(1, 5000)[..]] {
        fs::write(&sample.pack, [&good[..], tail].concat()).unwrap();
        assert_eq!(assert_clean(store).unindexed_bytes, tail.len() as u64);
        let report = store.rebuild_index().unwrap();
        assert_eq!(report.damaged_bytes, tail.len() as u64);
        assert_clean(store);
    }
    let second = sample_with_tail();
    let session = second.fixture.session();
    put(&session, b"new");
    session.commit().unwrap();
    assert_eq!(assert_clean(&second.fixture.store).unindexed_bytes, 0);
    assert_eq!(second.fixture.store.du().unwrap().pack_count, 1);
}

fn sample_with_tail() -> Sample {
    let sample = sample();
    let mut bytes = fs::read(&sample.pack).unwrap();
    bytes.extend(noise(3, 999));
    fs::write(&sample.pack, bytes).unwrap();
    sample
}

// S-30
#[test]
fn a_lost_index_is_made_anew() {
    let sample = sample();
    let refs = sample.fixture.store.refs().unwrap();
    let Sample { fixture, digest, objects, .. } = sample;
    let Fixture { root, store } = fixture;
    drop(store);
    for name in crate::index::Index::file_names() {
        let _missing = fs::remove_file(root.path().join(name));
    }
    let store = Store::open(root.path(), &StoreOptions::default()).unwrap();
    assert_eq!(store.refs().unwrap(), refs);
    assert_eq!(store.read_blob(&digest, 100).unwrap(), b"document");
    for object in &objects {
        assert_eq!(ObjectId::of(&store.read(object).unwrap()), *object);
    }
    assert_clean(&store);
    drop(store);
    fs::remove_file(root.path().join("index.sqlite-wal")).unwrap();
    fs::write(root.path().join("index.sqlite"), noise(1, 4096)).unwrap();
    let opened = Store::open(root.path(), &StoreOptions::default());
    assert!(matches!(opened, Err(crate::StoreError::CorruptIndex { .. })), "{opened:?}");
    let (store, report) = Store::rebuild(root.path(), &StoreOptions::default()).unwrap();
    assert_eq!((report.packs, report.refs, report.dangling_refs.len()), (1, 1, 0));
    assert_clean(&store);
}

// S-33
#[test]
fn a_journal_is_cut_to_what_committed_and_one_that_does_not_fit_is_written_anew() {
    let sample = sample();
    let store = &sample.fixture.store;
    let path = sample.fixture.root.path().join("refs.log");
    let good = fs::read(&path).unwrap();
    // Lines of a transaction that did not commit, longer than what is appended next.
    let tail = crate::journal::delete_line("ref").repeat(50);
    fs::write(&path, [&good[..], tail.as_bytes()].concat()).unwrap();
    assert_clean(store);
    let check = || {
        name(&sample.fixture.session(), "other", &[]);
        let journal = Journal::parse(&fs::read(&path).unwrap());
        assert_eq!(journal.damaged, 0);
        assert_eq!(journal.refs.into_values().collect::<Vec<_>>(), store.refs().unwrap());
        assert_clean(store);
    };
    check();
    assert!(fs::read(&path).unwrap().starts_with(&good));

    let stranger = Fixture::new();
    for seed in 0..10 {
        name(&stranger.session(), &format!("stranger-{seed}"), &[]);
    }
    let foreign = fs::read(stranger.root.path().join("refs.log")).unwrap();
    assert!(foreign.len() > 2 * good.len());
    for wrong in [&foreign[..], &good[..good.len() - 1], b""] {
        fs::write(&path, wrong).unwrap();
        check();
    }
    fs::remove_file(&path).unwrap();
    check();
}

#[test]
fn a_rebuild_leaves_out_what_is_not_whole() {
    let sample = sample();
    let good = fs::read(&sample.pack).unwrap();
    // The last frame with a payload of more than a megabyte holds a chunk.
    let (offset, header) = entries(&good).into_iter().rfind(|(_, header)| header.raw > 100_000).unwrap();
    let mut bad = good.clone();
    bad[offset + ENTRY_HEADER + header.table as usize + 1] ^= 1;
    fs::write(&sample.pack, &bad).unwrap();
    let report = sample.fixture.store.rebuild_index().unwrap();
    // The chunked object and the document above it.
    assert_eq!((report.incomplete_objects, report.dangling_refs.as_slice()), (2, &["ref".to_owned()][..]));
    assert!(sample.fixture.store.prepare_gc(&GcPolicy::default()).is_err());
    let kinds: Vec<FindingKind> = fsck(&sample.fixture.store).findings.iter().map(|f| f.kind).collect();
    assert!(kinds.contains(&FindingKind::DanglingRef), "{kinds:?}");
}

// S-82
#[test]
fn a_repair_forgets_what_is_damaged_and_putting_it_again_mends() {
    let sample = sample();
    let store = &sample.fixture.store;
    let mut bytes = fs::read(&sample.pack).unwrap();
    let (offset, _) = entries(&bytes)[0];
    bytes[offset + ENTRY_HEADER + 3] ^= 1;
    fs::write(&sample.pack, &bytes).unwrap();
    let repair = FsckOptions { repair: true };
    let session = sample.fixture.session();
    let busy = store.fsck(&repair, &mut |_| {});
    assert!(matches!(busy, Err(crate::StoreError::InUse { sessions: 1 })), "{busy:?}");
    drop(session);
    let report = store.fsck(&repair, &mut |_| {}).unwrap();
    assert!(report.forgotten_objects > 0);
    assert!(fs::read(&sample.pack).unwrap() == bytes, "a repair wrote to a pack");
    let mut damaged = report.findings.iter().flat_map(|finding| &finding.objects).peekable();
    assert!(damaged.peek().is_some() && damaged.all(|object| store.read(object).is_err()));
    assert_eq!(store.stat_blob(&sample.digest).unwrap(), None, "what is above the damage is still there");
    let session = sample.fixture.session();
    let contents = [text(1, 500), text(2, 600), text(3, 100_000), noise(4, (2 << 20) + 1)];
    let objects: Vec<ObjectId> = contents.iter().map(|content| put(&session, content)).collect();
    session.put_blob(b"document", &objects).unwrap();
    session.commit().unwrap();
    drop(session);
    for object in &sample.objects {
        assert_eq!(ObjectId::of(&store.read(object).unwrap()), *object);
    }
    assert_eq!(store.read_blob(&sample.digest, 100).unwrap(), b"document");
    // The damaged bytes are still there, and named, until a collection has removed their pack.
    assert!(!fsck(store).is_clean());
    store.execute_gc(store.prepare_gc(&GcPolicy::default()).unwrap()).unwrap();
    assert!(fsck(store).is_clean() && !sample.pack.exists());
}

#[test]
fn a_missing_pack_is_named() {
    let sample = sample();
    fs::remove_file(&sample.pack).unwrap();
    let report = fsck(&sample.fixture.store);
    assert_eq!(report.findings[0].kind, FindingKind::PackMissing);
    assert_eq!(report.findings[0].pack.as_ref(), Some(&sample.pack));
    assert_eq!(report.findings[0].refs, ["ref"]);
}

/// Runs statements on the index behind the store's back.
fn tamper(root: &std::path::Path, statements: &str) {
    let index = rusqlite::Connection::open(root.join("index.sqlite")).unwrap();
    index.execute_batch(statements).unwrap();
}

// S-81, S-83
#[test]
fn every_kind_of_damage_has_its_name() {
    let check = |damage: &dyn Fn(&Sample), expected: FindingKind| {
        let sample = sample();
        let session = sample.fixture.session();
        session.put_record(&rebit_oci::CacheKey([7; 32]), b"payload", &[sample.objects[0]], at(5)).unwrap();
        drop(session);
        damage(&sample);
        let kinds: Vec<FindingKind> = fsck(&sample.fixture.store).findings.iter().map(|f| f.kind).collect();
        assert_eq!(kinds.first(), Some(&expected), "{kinds:?}");
        // A repair loses nothing that is good: what is still known can be read, and the rest is not known.
        let repaired = sample.fixture.store.fsck(&FsckOptions { repair: true }, &mut |_| {}).unwrap();
        for object in &sample.objects {
            if sample.fixture.store.object_length(object).unwrap().is_some() {
                assert_eq!(ObjectId::of(&read(&sample.fixture.store, object)), *object, "{repaired:?}");
            }
        }
    };
    let root = |sample: &Sample| sample.fixture.root.path().to_owned();
    let flip = |place: usize| {
        move |sample: &Sample| {
            let mut bytes = fs::read(&sample.pack).unwrap();
            bytes[place] ^= 1;
            fs::write(&sample.pack, bytes).unwrap();
        }
    };
    check(&flip(3), FindingKind::PackHeader);
    check(&flip(PACK_HEADER as usize + ENTRY_HEADER + 5), FindingKind::PackEntry);
    check(&|sample| fs::remove_file(&sample.pack).unwrap(), FindingKind::PackMissing);
    let cut = |sample: &Sample| {
        let length = fs::metadata(&sample.pack).unwrap().len();
        fs::File::options().write(true).open(&sample.pack).unwrap().set_len(length - 9).unwrap();
    };
    check(&cut, FindingKind::PackMissing);
    check(&|sample| tamper(&root(sample), "UPDATE objects SET frame = frame + 1"), FindingKind::ObjectPlace);
    // The right place, another object: two objects of one frame trade their lengths.
    check(
        &|sample| tamper(&root(sample), "UPDATE objects SET size = size + 1 WHERE kind = 0"),
        FindingKind::ObjectPlace,
    );
    check(&|sample| tamper(&root(sample), "DELETE FROM objects WHERE size = 500"), FindingKind::MissingEdge);
    check(
        &|sample| tamper(&root(sample), "UPDATE blobs SET digest = zeroblob(32)"),
        FindingKind::BlobContent,
    );
    check(&|sample| tamper(&root(sample), "DELETE FROM blobs"), FindingKind::DanglingRef);
    check(&|sample| tamper(&root(sample), "UPDATE records SET payload = x'00'"), FindingKind::Record);
    let journal = |sample: &Sample| {
        let path = root(sample).join("refs.log");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 5;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    check(&journal, FindingKind::RefJournal);
}

// S-83
#[test]
fn a_repair_drops_records_and_mends_the_journal() {
    let sample = sample();
    let store = &sample.fixture.store;
    let session = sample.fixture.session();
    for key in [1, 2] {
        session.put_record(&rebit_oci::CacheKey([key; 32]), b"payload", &[], at(5)).unwrap();
    }
    drop(session);
    tamper(
        sample.fixture.root.path(),
        "UPDATE records SET payload = x'00' WHERE key = (SELECT min(key) FROM records)",
    );
    fs::write(sample.fixture.root.path().join("refs.log"), "no journal\n").unwrap();
    let report = store.fsck(&FsckOptions { repair: true }, &mut |_| {}).unwrap();
    assert_eq!((report.dropped_records, report.rewrote_journal, report.forgotten_objects), (1, true, 0));
    assert_clean(store);
    assert_eq!(store.du().unwrap().records, 1);
    let refs = store.refs().unwrap();
    store.rebuild_index().unwrap();
    assert_eq!(store.refs().unwrap(), refs);
}

// S-84
#[test]
fn strays_and_an_index_older_than_the_packs_are_named_and_no_damage() {
    let sample = sample();
    let root = sample.fixture.root.path();
    let index = fs::read(root.join("index.sqlite")).unwrap();
    let wal = fs::read(root.join("index.sqlite-wal")).unwrap();
    assert_eq!(assert_clean(&sample.fixture.store).stray_files, Vec::<PathBuf>::new());
    name(&sample.fixture.session(), "newer", &[sample.objects[0]]);
    let newer = sample.fixture.store.get_ref("newer").unwrap();
    let strays = ["core", "loose/what", "packs/notes.txt"].map(|name| root.join(name));
    strays.iter().for_each(|path| fs::write(path, "x").unwrap());
    fs::write(root.join("config.toml"), "").unwrap();
    let Sample { fixture, .. } = sample;
    let Fixture { root, store } = fixture;
    drop(store);
    // A backup of the index comes back over a store that has gone on.
    fs::write(root.path().join("index.sqlite"), index).unwrap();
    fs::write(root.path().join("index.sqlite-wal"), wal).unwrap();
    fs::remove_file(root.path().join("index.sqlite-shm")).unwrap();
    let store = Store::open(root.path(), &StoreOptions::default()).unwrap();
    assert_eq!(store.get_ref("newer").unwrap(), None);
    let report = assert_clean(&store);
    assert_eq!(
        (report.unindexed_refs.as_slice(), &report.stray_files[..]),
        (&["newer".to_owned()][..], &strays[..])
    );
    assert!(report.unindexed_bytes > 0);
    drop(store);
    let (store, _) = Store::rebuild(root.path(), &StoreOptions::default()).unwrap();
    assert_eq!(store.get_ref("newer").unwrap(), newer);
    assert_eq!(assert_clean(&store).unindexed_refs, Vec::<String>::new());
}
