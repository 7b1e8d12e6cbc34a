//! Any bytes are a `policy.json` or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_remote::registry::decode::Decoder;

fuzz_target!(|bytes: &[u8]| Decoder::Policy.try_on(bytes));
