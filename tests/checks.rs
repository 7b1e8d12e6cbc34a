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

/// `rebit build` of a Dockerfile with these arguments: exit code, standard output, standard error.
fn ask(world: &World, dockerfile: &str, args: &[&str]) -> (i32, String, String) {
    world.write("context/Dockerfile", dockerfile);
    let ended = world.run(["build"].iter().chain(args).chain(&["context"]));
    (ended.code, ended.stdout, ended.stderr)
}

#[test]
fn a_check_builds_nothing_and_its_exit_code_says_whether_it_found_something() {
    let world = World::new();
    let (code, out, _) = ask(&world, "FROM nowhere\nCMD [\"a\"]\n", &["--check"]);
    assert_eq!((code, out.as_str()), (0, "no findings\n"));
    let (code, out, said) = ask(&world, "FROM nowhere AS Build\nCMD a\n", &["--check"]);
    assert_eq!((code, out.as_str()), (1, ""));
    for part in [
        "warning[StageNameCasing]",
        "Dockerfile:1:17",
        "help: name it `build`",
        "see docs/checks/StageNameCasing.md",
        "warning[JSONArgsRecommended]",
        "the check has 2 findings",
    ] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    // A mistake in the file is said with the warnings of the parser, and nothing is looked for in what could not be read.
    let (code, _, said) = ask(&world, "FROM nowhere AS Build\nRUNN a\n", &["--call=check"]);
    assert!(code == 1 && said.contains("unknown-instruction") && !said.contains("StageNameCasing"), "{said}");
}

#[test]
fn settings_come_from_the_file_or_the_command_line() {
    let world = World::new();
    let check = |first: &str, args: &[&str]| {
        let args: Vec<&str> = ["--check"].iter().chain(args).copied().collect();
        ask(&world, &format!("{first}\nFROM nowhere AS Build\nCMD a\n"), &args)
    };
    let (code, _, said) = check("# check=skip=StageNameCasing", &[]);
    assert!(code == 1 && said.contains("one finding"), "{said}");
    assert_eq!(check("# check=skip=all", &[]).0, 0);
    let given = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=JSONArgsRecommended;error=true";
    let (code, _, said) = check("# check=skip=all", &[given]);
    assert!(code == 1 && said.contains("error[StageNameCasing]"), "{said}");
    let (code, _, said) = check("", &["--build-arg=BUILDKIT_DOCKERFILE_CHECK=nonsense"]);
    assert!(code == 2 && said.contains("invalid check option `nonsense`"), "{said}");
    let (_, _, said) = check("# check=skip=StageNameCase", &[]);
    assert!(said.contains("there is no build check `StageNameCase`"), "{said}");
    let (code, _, said) = ask(&world, "# check=error=true\nFROM scratch AS Build\nLABEL a=b\n", &[]);
    assert!(code == 1 && said.contains("error[StageNameCasing]"), "{said}");
    let (code, _, said) = ask(
        &world,
        "FROM scratch AS Build\nLABEL a=b\n",
        &["--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all"],
    );
    assert!(code == 0 && !said.contains("warning"), "{said}");
}

#[test]
fn variables_of_an_image_in_the_store_are_known() {
    let world = World::new();
    ask(&world, "FROM scratch\nENV HOME_OF=/x\nSHELL [\"/s\"]\n", &["-t", "base"]);
    let (code, _, said) = ask(&world, "FROM base\nCOPY . $HOME_OF\nCMD a\n", &["--check"]);
    assert_eq!(code, 0, "{said}");
    let (code, _, said) = ask(&world, "FROM base\nCOPY . $OTHER\n", &["--check"]);
    assert!(code == 1 && said.contains("`$OTHER` is not defined"), "{said}");
    assert_eq!(ask(&world, "FROM unknown\nCOPY . $OTHER\n", &["--check"]).0, 0);
    let args = ["--check", "--build-context=b=docker-image://base"];
    assert_eq!(ask(&world, "FROM b\nCOPY . $HOME_OF\n", &args).0, 0);
}

#[test]
fn ignored_files_are_found_with_the_ignore_file() {
    let world = World::new();
    world.write("context/.dockerignore", "hidden\n");
    let text = "# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY hidden /\n";
    let (code, _, said) = ask(&world, text, &["--check"]);
    assert!(code == 1 && said.contains("warning[CopyIgnoredFile]"), "{said}");
}

#[test]
fn programs_get_json() {
    let world = World::new();
    let text = "# BASE is what it starts from\nARG BASE=a\n# app is the program\nFROM $BASE AS app\nRUN \
        --mount=type=secret,id=key,required=true x\nCMD a\n";
    let (code, out, said) = ask(&world, text, &["--call=check,format=json"]);
    assert_eq!((code, said.as_str()), (1, ""));
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["warnings"][0]["ruleName"], "JSONArgsRecommended");
    assert_eq!(value["warnings"][0]["url"], "docs/checks/JSONArgsRecommended.md");
    assert_eq!(value["warnings"][0]["location"]["ranges"][0]["start"]["line"], 6);
    assert_eq!(value["errors"].as_array().map(Vec::len), Some(0));
    let (code, out, _) = ask(&world, text, &["--call=targets,format=json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["targets"][0]["name"]), (0, &serde_json::json!("app")));
    assert_eq!(value["targets"][0]["description"], "is the program");
    let (code, out, _) = ask(&world, text, &["--call=outline,format=json", "--target=app"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["args"][0]["value"]), (0, &serde_json::json!("a")));
    assert_eq!(value["secrets"][0]["required"], true);
    let (code, out, _) = ask(&world, "FROM a\nRUNN x\n", &["--call=check,format=json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["errors"][0]["ruleName"]), (1, &serde_json::json!("unknown-instruction")));
}

#[test]
fn people_get_tables() {
    let world = World::new();
    let text = "# tools holds compilers\nFROM a AS tools\nFROM b\n# MODE says how\nARG MODE=fast\n";
    let (code, out, _) = ask(&world, text, &["--call=targets"]);
    let expected =
        "TARGET        BASE   DESCRIPTION\ntools         a      holds compilers\n1 (default)   b\n";
    assert_eq!((code, out.as_str()), (0, expected));
    let (code, out, _) = ask(&world, text, &["--call=outline"]);
    let expected = "target 1\n\nBUILD ARG   VALUE   DESCRIPTION\nMODE        fast    says how\n";
    assert_eq!((code, out.as_str()), (0, expected));
    let (code, _, said) = ask(&world, text, &["--call=outline", "--target=none"]);
    assert!(code == 1 && said.contains("the stages are tools, 1"), "{said}");
    assert_eq!(ask(&world, text, &["--call=nothing"]).0, 2);
    assert_eq!(ask(&world, text, &["--call=check", "--check"]).0, 2);
}
