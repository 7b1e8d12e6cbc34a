//! The store as a whole, through its public operations.

use std::time::{Duration, SystemTime};

use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectSink, ObjectSource};
use tempfile::TempDir;

use crate::{FsckOptions, FsckReport, GcPolicy, GcReport, Session, Store, StoreOptions};

mod checkouts;
mod collect;
mod contract;
mod damage;
mod dense;
mod faults;
mod layout;
mod processes;
mod random;

/// A store in a directory of its own.
struct Fixture {
    root: TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&StoreOptions::default())
    }

    fn with(options: &StoreOptions) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), options).unwrap();
        Self { root, store }
    }

    fn session(&self) -> Session {
        self.store.session().unwrap()
    }
}

#[test]
fn handles_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Store>();
    shared::<Session>();
}

/// A time that tests call now.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Bytes that compress well, different for each seed.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let line = format!("line of text number {seed}, and again\n");
    line.bytes().cycle().take(length).collect()
}

fn put(session: &Session, content: &[u8]) -> ObjectId {
    session.put(content, &[]).unwrap()
}

/// Puts a root that refers to `objects`, and names it.
fn name(session: &Session, name: &str, objects: &[ObjectId]) -> ObjectId {
    let document = objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let (digest, root) = session.put_blob(document.as_bytes(), objects).unwrap();
    session.set_ref(name, &digest, &root, at(1000)).unwrap();
    root
}

fn read(source: &dyn ObjectSource, object: &ObjectId) -> Vec<u8> {
    source.read(object).unwrap().to_vec()
}

fn fsck(store: &Store) -> FsckReport {
    store.fsck(&FsckOptions::default(), &mut |_| {}).unwrap()
}

fn assert_clean(store: &Store) -> FsckReport {
    let report = fsck(store);
    assert!(report.is_clean(), "{:#?}", report.findings);
    report
}

fn collect(store: &Store) -> GcReport {
    collect_by(store, &GcPolicy { checkouts: true, ..GcPolicy::default() })
}

fn collect_by(store: &Store, policy: &GcPolicy) -> GcReport {
    let report = store.execute_gc(store.prepare_gc(policy).unwrap()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    report
}
