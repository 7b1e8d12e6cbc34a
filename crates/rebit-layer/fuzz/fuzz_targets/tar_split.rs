//! Any bytes split and join again.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use rebit_layer::recipe::Splitter;
use rebit_layer::{Limits, ReadOptions, Tree, read_layer_split};
use rebit_oci::object::MemoryObjects;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { file_size: 1 << 20, total_size: 8 << 20, ..Limits::default() };
    let objects = MemoryObjects::new();
    let mut reader = bytes;
    let mut splitter = Splitter::new(&mut reader, &objects);
    let options = ReadOptions { whiteouts: true, limits };
    let _ = read_layer_split(&mut splitter, &Tree::new(), &objects, &options);
    if let Some(split) = splitter.finish().expect("reading from memory does not fail") {
        let mut joined = Vec::new();
        split.join(&objects).read_to_end(&mut joined).expect("all objects are there");
        assert_eq!(joined, bytes);
    }
});
