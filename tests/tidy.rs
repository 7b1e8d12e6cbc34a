//! Rules about the source itself that nobody should be able to break silently.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which crates of the workspace each crate may depend on, lowest first.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("rebit-oci", &[]),
    ("rebit-dockerfile", &[]),
    ("rebit-sandbox", &[]),
    ("rebit-remote", &["rebit-dockerfile", "rebit-oci"]),
    ("rebit-layer", &["rebit-oci"]),
    ("rebit-store", &["rebit-oci"]),
    ("rebit-image", &["rebit-layer", "rebit-oci", "rebit-store"]),
    ("rebit-distro", &["rebit-image", "rebit-layer", "rebit-oci", "rebit-store"]),
    (
        "rebit-build",
        &["rebit-dockerfile", "rebit-image", "rebit-layer", "rebit-oci", "rebit-sandbox", "rebit-store"],
    ),
    (
        "rebit",
        &[
            "rebit-build",
            "rebit-distro",
            "rebit-dockerfile",
            "rebit-image",
            "rebit-layer",
            "rebit-oci",
            "rebit-remote",
            "rebit-sandbox",
            "rebit-store",
        ],
    ),
];

/// Crates that only one of ours may use, because they are the capability that it confines.
const CONFINED: &[(&str, &[&str])] = &[
    ("libc", &["rebit-sandbox"]),
    ("rusqlite", &["rebit-store"]),
    ("clap", &["rebit"]),
    ("gzip-v1", &["rebit-layer"]),
    ("seccompiler", &["rebit-sandbox"]),
    ("ureq", &["rebit-remote"]),
    ("rustls", &["rebit-remote"]),
];

/// Longest source file, in lines.
const MAX_LINES: usize = 600;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The normal and build dependencies of each package, by the name they have there.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let of = |package: &serde_json::Value| {
        let list = package["dependencies"].as_array().unwrap().iter();
        list.filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| {
                dependency["rename"].as_str().or(dependency["name"].as_str()).unwrap().to_owned()
            })
            .collect()
    };
    packages.iter().map(|package| (package["name"].as_str().unwrap().to_owned(), of(package))).collect()
}

#[test]
fn crates_depend_downwards_only() {
    let dependencies = dependencies();
    let known: BTreeSet<&str> = MAY_DEPEND_ON.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(found, known, "a crate is added only together with its place in the table");
    for (name, allowed) in MAY_DEPEND_ON {
        for dependency in dependencies[*name].iter().filter(|name| known.contains(name.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn capabilities_stay_where_they_are_confined() {
    for (name, dependencies) in dependencies() {
        for (dependency, owners) in CONFINED {
            let used = dependencies.contains(*dependency);
            assert!(!used || owners.contains(&name.as_str()), "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn the_top_level_is_what_it_is() {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && name != "target" {
            found.push(name);
        }
    }
    found.sort();
    assert_eq!(found, ["Cargo.lock", "Cargo.toml", "README.md", "benches", "crates", "docs", "tests"]);
}

#[test]
fn source_files_are_short_and_open_with_what_they_are() {
    let mut wrong = Vec::new();
    for directory in ["crates", "tests", "benches"] {
        visit(&root().join(directory), &mut |path, text| {
            let lines = text.lines().count();
            if lines > MAX_LINES {
                wrong.push(format!("{} has {lines} lines", path.display()));
            }
            let is_tests =
                path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
            if !text.starts_with("//!") && !is_tests {
                wrong.push(format!("{} does not begin with its module documentation", path.display()));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_the_sandbox_only() {
    visit(&root().join("crates"), &mut |path, text| {
        let inside = path.components().any(|part| part.as_os_str() == "rebit-sandbox");
        let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
        let mut used = lines.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        assert!(inside || used.next().is_none(), "{} has unsafe code", path.display());
    });
}

#[test]
fn every_format_sentence_is_cited_by_a_test_or_by_the_code() {
    let mut source = String::new();
    for directory in ["crates", "tests"] {
        visit(&root().join(directory), &mut |_, text| source.push_str(text));
    }
    let mut missing = Vec::new();
    for entry in fs::read_dir(root().join("docs/format")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let numbers = numbers(&text);
        assert!(!numbers.is_empty(), "{} has no numbered sentence", path.display());
        missing.extend(numbers.into_iter().filter(|number| !cites(&source, number)));
    }
    assert!(missing.is_empty(), "no test cites {}", missing.join(", "));
}

/// What `docs/reproducibility.md` names as the test of a claim: `file::function`, and axes or Dockerfiles after `matrix:`.
#[test]
fn every_source_of_a_difference_has_the_test_that_it_names() {
    let text = fs::read_to_string(root().join("docs/reproducibility.md")).unwrap();
    let source = |name: &str| fs::read_to_string(root().join("tests").join(name)).unwrap_or_default();
    let matrix = source("matrix/axis.rs") + &source("matrix/case.rs");
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let (mut tests, mut axes, mut missing) = (0, 0, Vec::new());
    for cell in rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next()) {
        for part in cell.split(';') {
            for name in part.split('`').skip(1).step_by(2) {
                let there = if let Some((file, function)) = name.split_once("::") {
                    tests += 1;
                    source(&format!("{file}.rs")).contains(&format!("fn {function}("))
                } else if part.trim_start().starts_with("matrix:") {
                    axes += 1;
                    matrix.contains(&format!("\"{name}\""))
                } else {
                    continue;
                };
                missing.extend((!there).then(|| name.to_owned()));
            }
        }
    }
    assert!(missing.is_empty(), "no test is named {missing:?}");
    assert!(tests > 8 && axes > 30, "the table is not read: {tests} tests, {axes} axes");
}

/// Labels such as `L-12` at the start of a line, in bold or not.
fn numbers(text: &str) -> Vec<String> {
    let label = |line: &str| {
        let start = line.trim_start_matches(['-', '*', '|', ' ', '`']);
        let (letters, rest) = start.split_once('-')?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let holds =
            !letters.is_empty() && letters.len() <= 2 && letters.bytes().all(|b| b.is_ascii_uppercase());
        (holds && !digits.is_empty()).then(|| format!("{letters}-{digits}"))
    };
    text.lines().filter_map(label).collect()
}

fn cites(source: &str, number: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_digit());
    source.match_indices(number).any(|(at, _)| ends(&source[at + number.len()..]))
}

fn visit(directory: &Path, check: &mut dyn FnMut(&Path, &str)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target" && name != "corpus" && name != "artifacts")
            {
                visit(&path, check);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            check(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_dependency_is_under_a_licence_that_is_allowed() {
    let policy = fs::read_to_string(root().join(".deny.toml")).unwrap();
    let list = policy.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    let allowed: BTreeSet<&str> = list.split(',').map(|item| item.trim().trim_matches('"')).collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(satisfied(licence, &allowed), "{name} is under {licence}");
    }
}

/// Whether a licence expression can be met with allowed licences: any alternative, all of its parts.
fn satisfied(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.replace('/', " OR ");
    // The one shape with parentheses in use: alternatives that are all needed together with another licence.
    if let Some((group, rest)) = expression.strip_prefix('(').and_then(|rest| rest.split_once(") AND ")) {
        return satisfied(group, allowed) && satisfied(rest, allowed);
    }
    let all = |part: &str| part.split(" AND ").all(|licence| allowed.contains(licence.trim()));
    expression.split(" OR ").any(all)
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = BTreeSet::from(["MIT", "Unicode-3.0", "Apache-2.0"]);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("(GPL-3.0 OR AGPL-3.0) AND Unicode-3.0", false),
    ] {
        assert_eq!(satisfied(expression, &allowed), expected, "{expression}");
    }
}
