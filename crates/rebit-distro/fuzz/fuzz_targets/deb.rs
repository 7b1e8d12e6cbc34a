//! A package file is unpacked or refused.
#![no_main]

use std::sync::OnceLock;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use rebit_distro::deb::unpack;
use rebit_store::{Store, StoreOptions};

static STORE: OnceLock<Store> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let store = STORE.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("rebit-fuzz-deb-{}", std::process::id()));
        Store::open(&directory, &StoreOptions::default()).expect("a store")
    });
    let session = store.session().expect("a session");
    let (digest, _) = session.put_blob(bytes, &[]).expect("a blob");
    let _ = unpack(&session, &digest, "fuzz", SystemTime::UNIX_EPOCH);
});
