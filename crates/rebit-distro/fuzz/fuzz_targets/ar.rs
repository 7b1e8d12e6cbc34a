//! An archive is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::ar::{ArError, read};

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    let _ = read::<ArError>(&mut input, &mut |name, content| {
        assert!(!name.is_empty());
        std::io::copy(content, &mut std::io::sink()).map(|_| ()).map_err(ArError::from)
    });
});
