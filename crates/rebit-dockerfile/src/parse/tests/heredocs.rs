//! Heredocs.

use super::*;
use crate::instruction::{Program, Source};

/// Name, descriptor, expand, chomp and body of each heredoc.
fn heredocs(text: &str) -> Vec<(String, u32, bool, bool, String)> {
    let heredocs = match one(text).value {
        Instruction::Run(run) => run.heredocs,
        Instruction::Copy(copy) => from_sources(copy.files.sources),
        Instruction::Add(add) => from_sources(add.files.sources),
        _ => Vec::new(),
    };
    heredocs.into_iter().map(|h| (h.name, h.fd, h.expand, h.chomp, h.body)).collect()
}

fn from_sources(sources: Vec<Source>) -> Vec<Heredoc> {
    let heredoc = |source| match source {
        Source::Heredoc(heredoc) => Some(heredoc),
        Source::Path(_) => None,
    };
    sources.into_iter().filter_map(heredoc).collect()
}

#[test]
fn words() {
    let check = |text: &str, expected: &[(&str, u32, bool, bool, &str)]| {
        let seen = heredocs(text);
        let seen: Vec<_> =
            seen.iter().map(|(n, fd, e, c, b)| (n.as_str(), *fd, *e, *c, b.as_str())).collect();
        assert_eq!(seen, expected, "{text:?}");
    };
    check("RUN ls", &[]);
    check("RUN <<E\nE", &[("E", 0, true, false, "")]);
    check("RUN <<E\nE\n", &[("E", 0, true, false, "")]);
    check("RUN <<E\na\n\tb\nE\n", &[("E", 0, true, false, "a\n\tb\n")]);
    check("RUN 3<<E\nE\n", &[("E", 3, true, false, "")]);
    check("RUN <<-E\n\ta\n\tE\n", &[("E", 0, true, true, "\ta\n")]);
    check("RUN <<'E'\n$x\nE\n", &[("E", 0, false, false, "$x\n")]);
    check("RUN <<-\"E\"\nE\n", &[("E", 0, false, true, "")]);
    check("RUN <<e'o'f\neof\n", &[("eof", 0, false, false, "")]);
    check("RUN <<eo\\'f\neo'f\n", &[("eo'f", 0, true, false, "")]);
    check("RUN <<'e'o\\'f\neo'f\n", &[("eo'f", 0, false, false, "")]);
    check("RUN <<'one two'\na\none two\n", &[("one two", 0, false, false, "a\n")]);
    check("RUN <<$E\n$E\n", &[("$E", 0, true, false, "")]);
    check("RUN <<  E\nE\n", &[("E", 0, true, false, "")]);
    check("RUN <<  E > foo\nE\n", &[("E", 0, true, false, "")]);
    check("RUN << -E\n-E\n", &[("-E", 0, true, false, "")]);
    check("RUN cat <<A <<B\n1\nA\n2\nB\n", &[("A", 0, true, false, "1\n"), ("B", 0, true, false, "2\n")]);
    check("RUN <<X <<Y\nY\nX\nX\nY\n", &[("X", 0, true, false, "Y\n"), ("Y", 0, true, false, "X\n")]);
    check(
        "RUN a <<E && b <<-F\nx\nE\n\ty\n\tF",
        &[("E", 0, true, false, "x\n"), ("F", 0, true, true, "\ty\n")],
    );
    check("RUN --mount=target=/m <<E\n# not a comment\nE", &[("E", 0, true, false, "# not a comment\n")]);
    check("RUN a \\\n <<E\nx \\\ny\nE", &[("E", 0, true, false, "x \\\ny\n")]);
    check("RUN <<E\r\na\r\nE\r\n", &[("E", 0, true, false, "a\r\n")]);
    check(
        "COPY <<a.txt <<b.txt c /d/\n1\na.txt\n2\nb.txt\n",
        &[("a.txt", 0, true, false, "1\n"), ("b.txt", 0, true, false, "2\n")],
    );
    check("ADD <<E /e\n\"q\" 'r'\nE", &[("E", 0, true, false, "\"q\" 'r'\n")]);
    check("COPY <<E <<E /e\n1\nE\n2\nE", &[("E", 0, true, false, "1\n"), ("E", 0, true, false, "2\n")]);
}

#[test]
fn what_is_none() {
    let check = |text: &str| assert_eq!(heredocs(text), [], "{text:?}");
    check("RUN \"<<E\"");
    check("RUN '<<E'");
    check("RUN [\"<<E\"]");
    check("RUN cat <<<word");
    check("RUN a << b<c");
    check("RUN echo $((1<<2))");
    check("RUN \\<<E");
    check("RUN cat <<'E");
    check("RUN cat <<");
    check("RUN cat <<- E");
    check("RUN a<<");
    check("RUN echo a<<E");
    check("USER <<E");
    check("ENV a=<<E");
    check("CMD cat <<E");
    check("COPY [\"<<E\", \"/a\"]");
}

#[test]
fn lines_after_a_heredoc_go_on() {
    let file = good("FROM a\nRUN <<A\nFROM x\nRUN y\nA\nCOPY <<B <<C /\nb\nB\nc\nC\n\nUSER z\n");
    let names: Vec<_> = file.stages[0].instructions.iter().map(|node| node.value.name()).collect();
    assert_eq!(names, ["RUN", "COPY", "USER"]);
}

#[test]
fn texts() {
    let node = one("RUN cat <<A <<-B\n1\nA\n\t2\nB\n");
    assert_eq!(node.text, "RUN cat <<A <<-B");
    assert_eq!(node.full_text(), "RUN cat <<A <<-B\n1\nA\n\t2\nB");
    assert_eq!(parse_trigger(&node.full_text()).unwrap().full_text(), node.full_text());
}

#[test]
fn content_without_tabs() {
    let Instruction::Run(run) = one("RUN <<-E\n\t\ta\n\tb\tc\n\n\tE").value else { panic!("RUN") };
    assert_eq!(run.heredocs[0].content(), "a\nb\tc\n\n");
}

#[test]
fn programs() {
    let check = |text: &str, expected: Program| {
        let Instruction::Run(run) = one(text).value else { panic!("RUN") };
        assert_eq!(run.program(), expected, "{text:?}");
    };
    let shell = |text: &str| Program::Shell(text.to_owned());
    check("RUN a b", shell("a b"));
    check("RUN [\"a\", \"b\"]", Program::Exec(vec!["a".into(), "b".into()]));
    check("RUN <<E\na\nb\nE", shell("a\nb\n"));
    check("RUN <<-E\n\ta\n\tE", shell("a\n"));
    check("RUN <<'E'\n$a\nE", shell("$a\n"));
    check("RUN python3 <<E\na\nE", shell("python3 <<E\na\nE"));
    check("RUN cat <<A <<B\n1\nA\n2\nB", shell("cat <<A <<B\n1\nA\n2\nB"));
    check("RUN <<E\n#!/bin/x\na\nE", Program::File { name: "E".into(), content: "#!/bin/x\na\n".into() });
    check("RUN cat <<E\n#!/bin/x\nE", shell("cat <<E\n#!/bin/x\nE"));
}
