//! Build checks and outline of any text: no panic, and every finding points into the text.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use rebit_dockerfile::ignore::Ignore;
use rebit_dockerfile::lint::{BaseFacts, LintOptions, lint};
use rebit_dockerfile::{Check, outline};

fuzz_target!(|text: &str| {
    let parsed = rebit_dockerfile::parse(text);
    let check = Check::parse("experimental=all").ok();
    let ignore = Ignore::parse("*.log\nhidden\n").ok();
    let base = |name: &str| (name.len() % 2 == 0).then(BaseFacts::default);
    let build_args = BTreeMap::from([("A".to_owned(), "a".to_owned())]);
    let options =
        LintOptions { check: check.as_ref(), build_args: &build_args, ignore: ignore.as_ref(), base: &base };
    for found in lint(text, &parsed.file, &options) {
        assert!(text.get(found.span.range()).is_some());
        assert!(found.labels.iter().all(|label| text.get(label.span.range()).is_some()));
    }
    for target in outline::targets(&parsed.file) {
        let number = target.index.to_string();
        assert!(outline::outline(&parsed.file, Some(target.name.unwrap_or(&number))).is_some());
    }
});
