//! Any text parses without a panic, and every diagnostic points into it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let parsed = rebit_dockerfile::parse(text);
    for diagnostic in &parsed.diagnostics {
        assert!(text.get(diagnostic.span.range()).is_some());
    }
    for node in parsed.file.stages.iter().flat_map(|stage| &stage.instructions) {
        assert!(text.get(node.span.range()).is_some());
        let _ = rebit_dockerfile::parse_trigger(&node.full_text());
    }
});
