//! Any ignore file and any path match without a panic, and a directory that may be skipped holds nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_dockerfile::ignore::Ignore;

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, dir, name) = input;
    let Ok(ignore) = Ignore::parse(text) else { return };
    if !dir.is_empty() && !name.is_empty() && ignore.matches(dir) && !ignore.may_include_below(dir) {
        assert!(ignore.matches(&format!("{dir}/{name}")));
    }
});
