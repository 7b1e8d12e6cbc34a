//! The files of apt's configuration are read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::apt_conf::AptConf;
use rebit_distro::auth::Logins;
use rebit_distro::sources::{parse_list, parse_paragraphs};

fuzz_target!(|text: &str| {
    let _ = parse_list(text, "f");
    let _ = parse_paragraphs(text, "f");
    let _ = AptConf::default().add(text);
    let mut logins = Logins::default();
    logins.add(text);
    let _ = logins.find(text);
});
