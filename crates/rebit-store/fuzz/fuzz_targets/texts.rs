//! The journal of refs and the format file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = rebit_store::decode::Journal::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = rebit_store::decode::Format::parse(text);
    }
});
