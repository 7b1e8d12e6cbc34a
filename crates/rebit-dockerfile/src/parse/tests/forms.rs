//! Shell and exec forms, `RUN` flags, `ONBUILD`, triggers, build checks.

use super::*;
use crate::instruction::{Command, Network, Run, Security};
use crate::mount::{Mount, MountKind};

fn run(line: &str) -> Run {
    match one(line).value {
        Instruction::Run(run) => run,
        other => panic!("{}", other.name()),
    }
}

/// The words of an exec form, or the text of a shell form.
fn command(line: &str) -> Result<Vec<String>, String> {
    let command = match one(line).value {
        Instruction::Run(i) => i.command,
        Instruction::Cmd(i) => i.command,
        Instruction::Entrypoint(i) => i.command,
        other => panic!("{}", other.name()),
    };
    match command {
        Command::Exec(words) => Ok(words.into_iter().map(|w| w.value).collect()),
        Command::Shell(text) => Err(text.value),
    }
}

#[test]
fn commands() {
    let exec = |words: &[&str]| Ok(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    let shell = |text: &str| Err(text.to_owned());
    let cases = [
        ("RUN echo $x  'a b'", shell("echo $x  'a b'")),
        ("RUN [\"echo\", \"$x\"]", exec(&["echo", "$x"])),
        ("RUN [ \"a\" ]  ", exec(&["a"])),
        ("RUN [\"a\", \\\n \"b\"]", exec(&["a", "b"])),
        ("RUN ['a', 'b']", shell("['a', 'b']")),
        ("RUN [\"a\", \"b\"] && c", shell("[\"a\", \"b\"] && c")),
        ("RUN [\"a\", \"b\"", shell("[\"a\", \"b\"")),
        ("RUN [ -f x ] || y", shell("[ -f x ] || y")),
        ("CMD echo hi", shell("echo hi")),
        ("CMD []", exec(&[])),
        ("CMD [\"a\\tb\"]", exec(&["a\tb"])),
        ("ENTRYPOINT [\"/a\"]", exec(&["/a"])),
        ("ENTRYPOINT []", exec(&[])),
        ("ENTRYPOINT exec a", shell("exec a")),
        ("cmd -- --a", shell("--a")),
        ("RUN -x", shell("-x")),
    ];
    for (line, expected) in cases {
        assert_eq!(command(line), expected, "{line:?}");
    }
}

#[test]
fn run_flags() {
    let plain = run("RUN a");
    assert!(plain.mounts.is_empty() && plain.network.is_none() && plain.security.is_none());
    let full = run(
        "RUN --mount=type=cache,target=/c --mount=target=$d,from=x --network=none --security=insecure \\\n  --device=v.com/c=d,required --device=name=e a --b",
    );
    assert_eq!(full.network.map(|n| n.value), Some(Network::None));
    assert_eq!(full.security.map(|s| s.value), Some(Security::Insecure));
    let devices: Vec<_> = full.devices.iter().map(|d| (d.value.name.as_str(), d.value.required)).collect();
    assert_eq!(devices, [("v.com/c=d", true), ("e", false)]);
    assert_eq!(full.mounts.len(), 2);
    assert_eq!(full.mounts[1].from.as_deref(), Some("x"));
    let mount = full.mounts[1].resolve(|word| Ok::<_, String>(word.replace("$d", "/d")));
    let kind = MountKind::Bind { from: Some("x".into()), source: None, writable: false };
    assert_eq!(mount, Ok(Mount { target: Some("/d".into()), kind }));
    assert!(matches!(&full.command, Command::Shell(text) if text.value == "a --b"));
    assert_eq!(run("RUN --network=host a").network.map(|n| n.value), Some(Network::Host));
    assert_eq!(run("RUN --network=default a").network.map(|n| n.value), Some(Network::Default));
    assert_eq!(run("RUN --security=sandbox a").security.map(|s| s.value), Some(Security::Sandbox));
    assert!(matches!(run("RUN --network=none [\"a\"]").command, Command::Exec(_)));
}

#[test]
fn on_build() {
    let node = one("ONBUILD  RUN --network=none a \\\n b");
    let Instruction::OnBuild(on_build) = &node.value else { panic!("ONBUILD") };
    assert!(matches!(&on_build.trigger.value, Instruction::Run(run) if run.network.is_some()));
    assert_eq!(on_build.expression(), "RUN --network=none a  b");
    assert_eq!(node.text, "ONBUILD  RUN --network=none a  b");
    let node = one("onbuild copy <<A /a\nx\nA\n");
    let Instruction::OnBuild(on_build) = &node.value else { panic!("ONBUILD") };
    assert_eq!(on_build.expression(), "copy <<A /a\nx\nA");
    assert_eq!(node.full_text(), "onbuild copy <<A /a\nx\nA");
    let back = parse_trigger(&on_build.expression()).unwrap();
    assert_eq!(back.full_text(), on_build.expression());
    assert_eq!(back.value.name(), "COPY");
}

#[test]
fn triggers() {
    let ok = |text| parse_trigger(text).map(|node| node.value.name());
    assert_eq!(ok("RUN a"), Ok("RUN"));
    assert_eq!(ok("copy a b"), Ok("COPY"));
    assert_eq!(ok("ENV a=b"), Ok("ENV"));
    assert_eq!(ok("RUN <<A cat\n<<B\nA\n"), Ok("RUN"));
    let codes =
        |text| -> Vec<Code> { parse_trigger(text).unwrap_err().into_iter().map(|d| d.code).collect() };
    assert_eq!(codes(""), [Code::InvalidTrigger]);
    assert_eq!(codes("RUN a\nRUN b"), [Code::InvalidTrigger]);
    assert_eq!(codes("FROM a"), [Code::InvalidTrigger]);
    assert_eq!(codes("ONBUILD RUN a"), [Code::InvalidTrigger]);
    assert_eq!(codes("MAINTAINER a"), [Code::InvalidTrigger]);
    assert_eq!(codes("RUNN a"), [Code::UnknownInstruction]);
    assert_eq!(codes("COPY a"), [Code::MissingArgument]);
}

#[test]
fn warnings_of_the_parser() {
    let check = |text: &str, expected: &[Code]| assert_eq!(warnings(text), expected, "{text:?}");
    check("FROM a\nRUN b", &[]);
    check("FROM a\nRUN ['a', 'b']", &[Code::InvalidJson]);
    check("FROM a\nRUN [ \"$a\" = \"b\" ]", &[]);
    check("FROM a\nHEALTHCHECK --retries=1 NONE", &[Code::IgnoredFlag]);
    // No build check, and so not touched by the directive.
    check("# check=skip=all;error=true\nFROM a\nRUN ['a', 'b']", &[Code::InvalidJson]);
    check("# check=skip=Nothing\nFROM a", &[Code::UnknownRule]);
}
