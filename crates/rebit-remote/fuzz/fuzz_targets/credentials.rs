//! Any bytes are a file of credentials or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_remote::registry::decode::Decoder;

fuzz_target!(|bytes: &[u8]| Decoder::Credentials.try_on(bytes));
