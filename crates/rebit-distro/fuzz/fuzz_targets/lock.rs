//! A lock that was read is the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::Lock;

fuzz_target!(|text: &str| {
    let Ok(lock) = Lock::parse(text, "rebit.lock") else { return };
    let written = lock.to_text();
    assert_eq!(Lock::parse(&written, "rebit.lock").expect("what was written can be read"), lock);
    assert_eq!(Lock::parse(&written, "rebit.lock").expect("again").to_text(), written);
});
