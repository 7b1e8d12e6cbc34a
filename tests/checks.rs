//! Build checks: every page is true, and what `--check` and `--call` print.

use std::collections::BTreeMap;
use std::fs;

use rebit_dockerfile::ignore::Ignore;
use rebit_dockerfile::lint::{LintOptions, Rule, lint};
use rebit_dockerfile::{Code, parse};

use crate::support::World;
use crate::tidy::root;

/// The rules that a text breaks, each once, with nothing known of base images.
fn broken(text: &str, ignore: &str) -> Vec<Rule> {
    let parsed = parse(text);
    assert!(!parsed.has_errors(), "{text:?}: {:?}", parsed.diagnostics);
    let ignore = Ignore::parse(ignore).unwrap();
    let options =
        LintOptions { check: None, build_args: &BTreeMap::new(), ignore: Some(&ignore), base: &|_| None };
    let mut rules: Vec<Rule> = lint(text, &parsed.file, &options)
        .iter()
        .map(|found| match found.code {
            Code::Rule(rule) => rule,
            code => panic!("{code} is no rule"),
        })
        .collect();
    rules.dedup();
    rules
}

/// The fenced blocks of a page under a heading: the language of each and its text.
fn blocks(page: &str, heading: &str) -> Vec<(String, String)> {
    let Some((_, section)) = page.split_once(&format!("\n## {heading}\n")) else { return Vec::new() };
    let section = section.split("\n## ").next().unwrap();
    // Every second piece is inside a fence.
    let inside = section.split("```").skip(1).step_by(2);
    let pair = |block: &str| block.split_once('\n').map(|(name, text)| (name.to_owned(), text.to_owned()));
    inside.map(|block| pair(block).unwrap()).collect()
}

#[test]
fn every_rule_has_a_page_that_is_true() {
    let index = fs::read_to_string(root().join("docs/checks/README.md")).unwrap();
    for rule in Rule::ALL {
        let page =
            fs::read_to_string(root().join(rule.page())).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert!(page.starts_with(&format!("# {rule}\n\n{}.\n", rule.description())), "{rule}");
        let row = format!("| [{rule}]({rule}.md) | {} |", rule.description());
        assert!(index.contains(&row), "the index has no `{row}`");
        for (heading, expected) in [("Bad", vec![*rule]), ("Good", vec![])] {
            let blocks = blocks(&page, heading);
            let ignore = blocks.iter().find(|(language, _)| language == "gitignore");
            let ignore = ignore.map_or("", |(_, text)| text.as_str());
            let files: Vec<_> = blocks.iter().filter(|(language, _)| language == "dockerfile").collect();
            assert!(!files.is_empty(), "{rule} has no example under {heading}");
            for (_, text) in files {
                let text = match rule.is_experimental() {
                    true => format!("# check=experimental={rule}\n{text}"),
                    false => text.clone(),
                };
                assert_eq!(broken(&text, ignore), expected, "{rule}, {heading}: {text}");
            }
        }
    }
    for entry in fs::read_dir(root().join("docs/checks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.strip_suffix(".md").unwrap();
        assert!(stem == "README" || Rule::named(stem).is_some_and(|rule| rule.name() == stem), "{name}");
    }
}
