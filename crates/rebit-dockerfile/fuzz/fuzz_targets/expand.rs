//! Any word expands or says why not, in every mode; words and mounts too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_dockerfile::Span;
use rebit_dockerfile::expand::{Expander, MAX_OUTPUT_BYTES};
use rebit_dockerfile::mode::ChmodMode;
use rebit_dockerfile::mount::MountSpec;

fuzz_target!(|input: (&str, &str)| {
    let (text, value) = input;
    let lookup = |name: &str| (name.len() % 2 == 0).then(|| value.to_owned());
    let expanders = [
        Expander::new('\\', &lookup),
        Expander::new('`', &lookup),
        Expander::new('\\', &lookup).keep_undefined(),
        Expander::heredoc(&lookup),
    ];
    for expander in expanders {
        if let Ok(expansion) = expander.expand(text) {
            assert!(expansion.text.len() <= MAX_OUTPUT_BYTES);
        }
    }
    if let Ok(spec) = MountSpec::parse(text, Span::new(0, text.len())) {
        let _ = spec.resolve(|word| Expander::new('\\', &lookup).expand_word(word));
    }
    let _ = ChmodMode::parse(text);
    let _ = rebit_dockerfile::duration::parse(text);
});
