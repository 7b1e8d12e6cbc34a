//! Any bytes are a URL and a location or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_remote::registry::decode::Decoder;

fuzz_target!(|bytes: &[u8]| Decoder::Address.try_on(bytes));
