//! Any text is paragraphs or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::deb822::Paragraphs;

fuzz_target!(|bytes: &[u8]| {
    for paragraph in Paragraphs::new(bytes) {
        let Ok(fields) = paragraph else { return };
        assert!(fields.fields().all(|(name, _)| fields.get(name).is_some()));
    }
});
