//! Any bytes are a name of an image or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_remote::registry::decode::Decoder;

fuzz_target!(|bytes: &[u8]| Decoder::Reference.try_on(bytes));
