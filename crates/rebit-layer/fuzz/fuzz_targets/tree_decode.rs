//! Any bytes are the one encoding of something or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_layer::tree::object;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entries) = object::decode_directory(bytes) {
        let again = entries.iter().map(|entry| (&entry.name[..], &entry.node, entry.directory));
        assert_eq!(object::encode_directory(again), bytes);
    }
    if let Ok(root) = object::decode_root(bytes) {
        assert_eq!(object::encode_root(&root), bytes);
    }
});
