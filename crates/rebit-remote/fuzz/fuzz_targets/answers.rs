//! Any bytes are a list or token of a registry or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_remote::registry::decode::Decoder;

fuzz_target!(|bytes: &[u8]| Decoder::Answers.try_on(bytes));
