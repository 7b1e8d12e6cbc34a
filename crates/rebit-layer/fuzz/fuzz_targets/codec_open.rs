//! Any bytes decompress within the limits or fail.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use rebit_layer::codec::decode::{DecodeLimits, open};

fuzz_target!(|bytes: &[u8]| {
    let limits = DecodeLimits { output: 4 << 20, ..DecodeLimits::default() };
    if let Ok(mut decoder) = open(bytes, limits) {
        let mut out = Vec::new();
        let _ = decoder.read_to_end(&mut out);
        // One read may go over the limit before the check stops it.
        assert!(out.len() as u64 <= limits.output);
    }
});
