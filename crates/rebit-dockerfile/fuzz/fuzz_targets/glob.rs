//! Any pattern and any name match or not, without a panic and without taking forever.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (pattern, name) = input;
    let _ = rebit_dockerfile::glob::matches(pattern, name);
    let plain = !name.iter().any(|byte| b"*?[]\\/".contains(byte));
    if plain && !name.is_empty() {
        assert_eq!(rebit_dockerfile::glob::matches(name, name).ok(), Some(true));
        assert_eq!(rebit_dockerfile::glob::matches(b"*", name).ok(), Some(true));
    }
});
