//! Armored text is decoded or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::armor;

fuzz_target!(|bytes: &[u8]| {
    let _ = armor::is_armored(bytes);
    if let Some(plain) = armor::decode(bytes) {
        assert!(plain.len() <= bytes.len());
    }
});
