//! Any bytes are an archive or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_layer::{Limits, ReadOptions, Tree, read_layer};
use rebit_oci::object::MemoryObjects;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { file_size: 1 << 20, total_size: 8 << 20, ..Limits::default() };
    for whiteouts in [true, false] {
        let options = ReadOptions { whiteouts, limits };
        let objects = MemoryObjects::new();
        if let Ok(layer) = read_layer(&mut &bytes[..], &Tree::new(), &objects, &options) {
            // What was read is a whole tree: it stores, unless it is too deep, and loads again.
            if let Ok(id) = layer.tree.store(&objects) {
                assert_eq!(Tree::load(&id, &objects).expect("a stored tree loads"), layer.tree);
            }
        }
    }
});
