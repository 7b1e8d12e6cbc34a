//! Any bytes are a recipe in its one encoding, or an error; following one ends, whatever it says.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use rebit_layer::recipe::{self, Recipe};
use rebit_oci::object::MemoryObjects;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(decoded) = Recipe::decode(bytes) {
        assert_eq!(decoded.encode().expect("what was read can be written"), bytes);
    }
    let _ = recipe::candidates(bytes);
    let objects = MemoryObjects::new();
    if let Ok(blob) = recipe::open(&objects, bytes) {
        let _ = blob.take(1 << 20).read_to_end(&mut Vec::new());
    }
});
