//! A Release file, signed or not, is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::release::{Release, split_clear_signed};

fuzz_target!(|bytes: &[u8]| {
    let _ = Release::parse(bytes, "s", "url", 0, true);
    if let Ok((text, _)) = split_clear_signed(bytes, "url") {
        // Nothing is read that does not stand in what was signed.
        assert!(text.len() <= bytes.len());
        let _ = Release::parse(&text, "s", "url", i64::MAX, false);
    }
});
