//! Entries of packs and piece lists: no input makes a decoder panic or allocate beyond its limits.
//!
//! A random input never has the right checksums, so they are put in where the header says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_store::decode::{Entry, EntryHeader, seal_for_fuzzing};

fuzz_target!(|bytes: &[u8]| {
    let _ = rebit_store::decode::pieces(bytes);
    let _ = EntryHeader::decode(bytes);
    let mut sealed = bytes.to_vec();
    seal_for_fuzzing(&mut sealed);
    if let Ok(entry) = Entry::decode(&sealed) {
        let (_, _, _) = (entry.members(), entry.blobs(), entry.edges());
        if let Ok(payload) = entry.payload() {
            assert_eq!(payload.len(), entry.header.raw as usize);
        }
    }
});
