//! The anomaly loop: the script fails at its first operation, then at its second, until nothing fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use rebit_oci::Digest;
use rebit_oci::object::ObjectSource;

use super::*;
use crate::vfs::faulty::{Fault, FaultyVfs};
use crate::{FindingKind, StoreError};

/// What was acknowledged: a ref is there and whole, or known to be gone.
type Acknowledged = BTreeMap<&'static str, Option<Digest>>;

fn image(session: &Session, ref_name: &'static str, seed: u64) -> Result<Digest, StoreError> {
    // The large one is in what becomes garbage, so that a collection has a pack to rewrite.
    let large = if ref_name == "a" { (2 << 20) + 5 } else { 70_001 };
    let objects = [text(seed, 3000), noise(seed, 70_000), noise(seed + 1, large)];
    let mut ids = Vec::new();
    for content in &objects {
        ids.push(session.put_blob(content, &[])?.1);
    }
    session.commit()?;
    let (digest, root) = session.put_blob(ref_name.as_bytes(), &ids)?;
    session.set_ref(ref_name, &digest, &root, at(seed))?;
    Ok(digest)
}

fn script(root: &std::path::Path, vfs: &FaultyVfs, done: &mut Acknowledged) -> Result<(), StoreError> {
    let store = Store::open_with(root, &StoreOptions::default(), Arc::new(vfs.clone()))?;
    let session = store.session()?;
    done.insert("a", Some(image(&session, "a", 10)?));
    done.insert("b", Some(image(&session, "b", 20)?));
    drop(session);
    done.remove("a");
    store.delete_ref("a")?;
    done.insert("a", None);
    store.execute_gc(store.prepare_gc(&GcPolicy::default())?)?;
    let session = store.session()?;
    done.insert("c", Some(image(&session, "c", 30)?));
    drop(session);
    let dense = GcPolicy { dense: true, ..GcPolicy::default() };
    store.execute_gc(store.prepare_gc(&dense)?)?;
    store.execute_gc(store.prepare_gc(&GcPolicy::default())?)?;
    Ok(())
}

fn check(store: &Store, done: &Acknowledged, context: &str) {
    let report = fsck(store);
    assert!(report.is_clean(), "{context}: {:#?}", report.findings);
    for (ref_name, digest) in done {
        let found = store.get_ref(ref_name).unwrap();
        assert_eq!(found.as_ref().map(|entry| entry.digest), *digest, "{context}: ref {ref_name}");
        let Some(entry) = found else { continue };
        for edge in store.edges(&entry.root).unwrap() {
            assert!(store.read(&edge).is_ok(), "{context}: {ref_name} is not whole");
        }
        assert_eq!(store.read_blob(&entry.digest, 100).unwrap(), ref_name.as_bytes(), "{context}");
    }
}

fn anomaly_loop(fault: Fault) -> u64 {
    for nth in 1.. {
        let root = tempfile::tempdir().unwrap();
        // Making the store is not part of the script: the files it syncs are not behind the seam.
        drop(Store::open(root.path(), &StoreOptions::default()).unwrap());
        let vfs = FaultyVfs::new(root.path(), fault, nth);
        let mut done = Acknowledged::new();
        let result = script(root.path(), &vfs, &mut done);
        let power = matches!(fault, Fault::PowerLoss | Fault::Reordered(_));
        if power && vfs.reached() {
            vfs.lose_power().unwrap();
        }
        let context = format!("{fault:?} at operation {nth}, {result:?}");
        let store = Store::open(root.path(), &StoreOptions::default()).unwrap();
        check(&store, &done, &context);
        // The store goes on: a collection, a new image, an index from nothing.
        collect(&store);
        check(&store, &done, &context);
        let session = store.session().unwrap();
        done.insert("d", Some(image(&session, "d", 40).unwrap()));
        drop(session);
        check(&store, &done, &context);
        let refs = store.refs().unwrap();
        drop(store);
        let (store, _) = Store::rebuild(root.path(), &StoreOptions::default()).unwrap();
        assert_eq!(store.refs().unwrap(), refs, "{context}");
        // Without the index nobody knows where a pack's committed part ends. What is torn before something whole is named then, though
        // nothing belongs to it, and goes with the next collection.
        let torn = fsck(&store).findings;
        let harmless = |finding: &crate::Finding| {
            matches!(finding.kind, FindingKind::PackEntry | FindingKind::PackHeader)
                && finding.blobs.is_empty()
                && finding.refs.is_empty()
        };
        assert!(
            torn.is_empty() || matches!(fault, Fault::Reordered(_)) && torn.iter().all(harmless),
            "{context}: {torn:#?}"
        );
        collect(&store);
        check(&store, &done, &context);
        if !vfs.reached() {
            assert!(result.is_ok(), "{context}");
            return nth;
        }
        let stops = power || fault == Fault::Kill;
        assert!(!stops || result.is_err(), "{context}");
        if fault == Fault::NoSpace
            && let Err(error) = &result
        {
            assert!(error.to_string().contains("no space"), "{context}");
        }
    }
    unreachable!("the loop ends when no operation fails")
}

// S-60: each of these counts how many operations there were, so that the loop is known to have run. A kill
// between rows and files is among them (S-45).
#[test]
fn any_operation_may_fail() {
    assert!(anomaly_loop(Fault::Fail) > 20);
}

#[test]
fn the_process_may_be_killed_at_any_operation() {
    assert!(anomaly_loop(Fault::Kill) > 20);
}

// S-33, S-34: a ref that is acknowledged is in the index and in the journal.
#[test]
fn the_power_may_fail_at_any_operation() {
    assert!(anomaly_loop(Fault::PowerLoss) > 20);
}

/// How many orders of unsynced writes are tried at each operation.
const ORDERS: &str = "REBIT_STORE_TEST_ORDERS";

// S-60: what is not synced may be there in part and in any order.
#[test]
fn the_power_may_fail_and_any_part_of_what_was_not_synced_be_there() {
    let orders = std::env::var(ORDERS).ok().map_or(1, |orders| orders.parse().unwrap());
    let mut operations = 0;
    for seed in 0..orders {
        operations += anomaly_loop(Fault::Reordered(seed));
    }
    assert!(operations > 20 * orders);
    eprintln!("{operations} losses of power in {orders} orders");
}

#[test]
fn the_disk_may_be_full_at_any_operation() {
    assert!(anomaly_loop(Fault::NoSpace) > 20);
}

// S-7, S-62
#[test]
fn a_full_disk_says_so_and_a_collection_works_on_it() {
    let root = tempfile::tempdir().unwrap();
    let options = StoreOptions::default();
    let store = Store::open(root.path(), &options).unwrap();
    let session = store.session().unwrap();
    let garbage = put(&session, &noise(1, 1 << 20));
    let kept = put(&session, &noise(2, 100_000));
    name(&session, "ref", &[kept]);
    drop((session, store));

    let vfs = FaultyVfs::new(root.path(), Fault::NoSpace, 1);
    let store = Store::open_with(root.path(), &options, Arc::new(vfs.clone())).unwrap();
    let session = store.session().unwrap();
    put(&session, &noise(3, 1 << 20));
    let full = session.commit();
    assert!(matches!(full, Err(StoreError::DiskFull { .. })), "{full:?}");
    let again = session.commit();
    assert!(matches!(again, Err(StoreError::SessionFailed { .. })), "{again:?}");
    drop(session);

    // The disk is still full: only what the reserve gave back can be used.
    let report = collect(&store);
    assert!(report.freed_bytes > 900_000 && report.rewritten_packs == 1, "{report:?}");
    assert!(store.read(&garbage).is_err());
    assert!(read(&store, &kept) == noise(2, 100_000));
    assert_clean(&store);
    vfs.heal();
    assert!(std::fs::metadata(root.path().join("reserve")).unwrap().len() == 1 << 20);
}
