//! Packs that a collection writes anew, smaller.

use std::time::Duration;

use super::*;

fn dense() -> GcPolicy {
    GcPolicy { dense: true, ..GcPolicy::default() }
}

fn pack_bytes(store: &Store) -> u64 {
    store.file_usage().unwrap().packs
}

/// Text that compresses to about half, no line of which is in another seed's.
fn prose(seed: u64, length: usize) -> Vec<u8> {
    noise(seed, length / 2).iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// Contents of every kind: small and large, alike and not, compressible and not, and chunked.
fn contents() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for seed in 0..40 {
        all.push(text(seed, 100));
        all.push(prose(seed, 20_000));
        all.push(noise(seed, 3000));
    }
    for version in 0..10 {
        let mut content = prose(1000, 60_000);
        content.extend_from_slice(format!("version {version}").as_bytes());
        all.push(content);
    }
    all.extend([prose(2000, 1_500_000), noise(2001, 1_500_000), prose(2002, 5 << 20), Vec::new()]);
    all
}

// S-48
#[test]
fn what_packs_hold_is_written_anew_once_and_reads_back() {
    let fixture = Fixture::new();
    let contents = contents();
    let session = fixture.session();
    let mut kept = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        kept.push(put(&session, content));
        // Garbage between what stays, in frames of its own and in shared ones.
        put(&session, &noise(10_000 + number as u64, 2000));
        if number % 40 == 0 {
            put(&session, &noise(20_000 + number as u64, 100_000));
            session.commit().unwrap();
        }
    }
    name(&session, "ref", &kept);
    drop(session);
    let whole = |store: &Store| {
        for (object, content) in kept.iter().zip(&contents) {
            assert!(read(store, object) == *content);
        }
        assert_clean(store);
    };
    collect(&fixture.store);
    let before = pack_bytes(&fixture.store);
    let report = collect_by(&fixture.store, &dense());
    assert!(report.rewritten_packs > 0, "{report:?}");
    let after = pack_bytes(&fixture.store);
    // Nine of ten versions, 30 KB each, cost next to nothing.
    assert!(before - after > 9 * 25_000, "{before} {after}");
    whole(&fixture.store);
    let again = collect_by(&fixture.store, &dense());
    assert_eq!((again.rewritten_packs, pack_bytes(&fixture.store)), (0, after), "{again:?}");

    // What comes later is put together with a pack that is short.
    let session = fixture.session();
    let late = put(&session, &prose(3000, 50_000));
    name(&session, "late", &[late]);
    drop(session);
    assert_eq!(fixture.store.file_usage().unwrap().pack_count, 2);
    assert_eq!(collect_by(&fixture.store, &dense()).rewritten_packs, 2);
    assert_eq!(fixture.store.file_usage().unwrap().pack_count, 1);
    whole(&fixture.store);
    assert!(read(&fixture.store, &late) == prose(3000, 50_000));

    // The note of what was done goes with the index; what was done stays good.
    fixture.store.rebuild_index().unwrap();
    whole(&fixture.store);
    assert_eq!(collect_by(&fixture.store, &dense()).rewritten_packs, 1);
    whole(&fixture.store);
}

// S-42, S-43: an index that is shrunk, and packs that are written anew, are seen by sessions that read and write meanwhile.
#[test]
fn sessions_go_on_while_packs_are_written_anew() {
    let fixture = Fixture::new();
    let writer = fixture.session();
    let early: Vec<ObjectId> = (0..50).map(|seed| put(&writer, &prose(seed, 20_000))).collect();
    writer.commit().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..10 {
                let session = fixture.session();
                let object = put(&session, &prose(100 + round, 300_000));
                name(&session, &format!("ref-{round}"), &[object]);
                drop(session);
                std::thread::sleep(Duration::from_millis(5));
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            collect_by(&fixture.store, &dense());
            for (object, seed) in early.iter().zip(0..) {
                assert!(read(&writer, object) == prose(seed, 20_000));
            }
        }
    });
    name(&writer, "early", &early);
    drop(writer);
    collect_by(&fixture.store, &dense());
    assert_eq!(fixture.store.refs().unwrap().len(), 11);
    assert_clean(&fixture.store);
}
