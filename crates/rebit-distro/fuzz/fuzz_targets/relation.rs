//! A field that was read says the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::relation::relation;

fuzz_target!(|text: &str| {
    let _ = rebit_distro::relation::parse(text);
    if let Ok(found) = relation(text) {
        let again = relation(&found.to_string()).expect("what was written can be read");
        assert_eq!((again.name, again.version), (found.name, found.version));
    }
});
