//! Versions have a total order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::version::Version;

fuzz_target!(|texts: (&str, &str, &str)| {
    let parse = |text: &str| text.parse::<Version>().ok();
    let (Some(a), Some(b), Some(c)) = (parse(texts.0), parse(texts.1), parse(texts.2)) else { return };
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    assert!(!(a <= b && b <= c) || a <= c);
});
