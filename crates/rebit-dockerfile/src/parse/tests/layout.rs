//! Lines, stages, comments, spans.

use super::*;

/// Text of every instruction of the file.
fn texts(text: &str) -> Vec<String> {
    let file = good(text);
    let global = file.global_args.into_iter().map(|node| node.text);
    let stages = file.stages.into_iter().flat_map(|stage| {
        std::iter::once(stage.from.text).chain(stage.instructions.into_iter().map(|node| node.text))
    });
    global.chain(stages).collect()
}

#[test]
fn lines_and_continuations() {
    let check = |text: &str, expected: &[&str]| assert_eq!(texts(text), expected, "{text:?}");
    check("FROM a", &["FROM a"]);
    check("FROM a\n\n\nRUN b\n", &["FROM a", "RUN b"]);
    check("\u{feff}FROM a\nRUN b", &["FROM a", "RUN b"]);
    check("\u{feff}# escape=`\nFROM a\nRUN b `\n c", &["FROM a", "RUN b  c"]);
    check("FROM a\r\nRUN b \\\r\n  c\r\n", &["FROM a", "RUN b   c"]);
    check("  FROM a  \n\tRUN b\t\n", &["FROM a", "RUN b"]);
    check("FROM a\nRUN b \\\n# comment\n  && c", &["FROM a", "RUN b   && c"]);
    check("FROM a\nRUN b \\\n\n  && c", &["FROM a", "RUN b   && c"]);
    check("FROM a\nRUN b \\", &["FROM a", "RUN b"]);
    check("FROM a\nRUN b \\   \n c", &["FROM a", "RUN b  c"]);
    check("# escape=`\nFROM a\nRUN dir C:\\\nRUN b `\nc", &["FROM a", "RUN dir C:\\", "RUN b c"]);
    check("# c\n\n# escape=`\nFROM a\nRUN b \\\n c", &["FROM a", "RUN b  c"]);
    check("FROM a\nRUN echo # no comment\n", &["FROM a", "RUN echo # no comment"]);
    check("FR\\\nOM a\nRUN b", &["FROM a", "RUN b"]);
    check("from a\nrun b\nCoPy c d", &["from a", "run b", "CoPy c d"]);
    check("ARG v\nFROM a:$v", &["ARG v", "FROM a:$v"]);
    check("FROM\ta\nRUN\t\tb", &["FROM\ta", "RUN\t\tb"]);
    check("FROM a\nRUN echo \\\\\nRUN c", &["FROM a", "RUN echo \\\\", "RUN c"]);
}

#[test]
fn stages() {
    let file = good(
        "ARG v=1\nFROM a:$v AS One\nRUN x\nFROM --platform=$BUILDPLATFORM one as two\nFROM scratch\nRUN y\nRUN z",
    );
    assert_eq!(file.global_args.len(), 1);
    let seen: Vec<_> =
        file.stages.iter().map(|s| (s.index, s.name.as_deref(), s.instructions.len())).collect();
    assert_eq!(seen, [(0, Some("one"), 1), (1, Some("two"), 0), (2, None, 2)]);
    let from = &file.stages[1].from.value;
    assert_eq!(from.image.as_str(), "one");
    assert_eq!(from.platform.as_ref().map(Spanned::as_str), Some("$BUILDPLATFORM"));
    assert_eq!(file.stages[0].from.value.name.as_ref().map(Spanned::as_str), Some("One"));
    assert_eq!(file.stage("ONE").map(|s| s.index), Some(0));
    assert_eq!(file.stage("2").map(|s| s.index), Some(2));
    assert_eq!(file.stage("3"), None);
    assert_eq!(file.stage("none"), None);
    assert_eq!(file.stage_before("One", 1).map(|s| s.index), Some(0));
    assert_eq!(file.stage_before("one", 0), None);
    assert_eq!(file.stage_before("two", 1), None);
}

#[test]
fn comments_before_an_instruction() {
    let file = good(
        "# syntax=x\n# lost\n#\n# lost too\n\n# one\n#  two \nFROM a\nRUN b \\\n# inside\n c\n# three\nRUN d",
    );
    let stage = &file.stages[0];
    assert_eq!(stage.from.comments, ["one", "two"]);
    assert!(stage.instructions[0].comments.is_empty());
    assert_eq!(stage.instructions[1].comments, ["three"]);
}

#[test]
fn spans_point_at_words() {
    let text = "FROM a\nCOPY --from=x \\\n  é.txt /d\\\n/e\nRUN <<EOF\nhi\nEOF\n";
    let file = good(text);
    let at = |span: Span| &text[span.range()];
    let node = &file.stages[0].instructions[0];
    assert_eq!(at(node.span), "COPY --from=x \\\n  é.txt /d\\\n/e");
    assert_eq!(at(node.keyword.span), "COPY");
    let Instruction::Copy(copy) = &node.value else { panic!("COPY") };
    assert_eq!(at(copy.from.as_ref().unwrap().span), "--from=x");
    assert_eq!(at(copy.files.dest.span), "/d\\\n/e");
    assert_eq!(copy.files.dest.as_str(), "/d/e");
    let run = &file.stages[0].instructions[1];
    assert_eq!(at(run.span), "RUN <<EOF\nhi\nEOF");
    let Instruction::Run(run) = &run.value else { panic!("RUN") };
    assert_eq!(at(run.heredocs[0].span), "<<EOF");
    assert_eq!(at(run.heredocs[0].body_span), "hi\n");
    assert_eq!(at(run.heredocs[0].end_span), "EOF");
}

#[test]
fn diagnostics_point_at_words() {
    let at = |text: &str| {
        let parsed = parse(text);
        parsed.diagnostics.iter().map(|d| text[d.span.range()].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(at("FROM a\nRUNN x"), ["RUNN"]);
    assert_eq!(at("FROM a b"), ["b"]);
    assert_eq!(at("FROM a\nCOPY --form=x a b"), ["--form=x"]);
    assert_eq!(at("FROM a\nENV a=b c"), ["c"]);
    assert_eq!(at("FROM a\nRUN cat <<X\nabc"), ["<<X"]);
    assert_eq!(at("# escape=x\nFROM a"), ["x"]);
    assert_eq!(at("FROM a\nRUN x \\\n  --mount=b \\\n  c"), [""; 0]);
    assert_eq!(at("FROM a\nRUN --mount=typ=b \\\n  c"), ["--mount=typ=b"]);
}

#[test]
fn help_for_typing_errors() {
    let help = |text: &str| parse(text).diagnostics.into_iter().find_map(|d| d.help);
    assert_eq!(help("FORM a").as_deref(), Some("did you mean `FROM`?"));
    assert_eq!(help("FROM a\nentrypiont x").as_deref(), Some("did you mean `ENTRYPOINT`?"));
    assert_eq!(help("FROM a\nCOPY --form=x a b").as_deref(), Some("did you mean `--from`?"));
    assert_eq!(help("FROM a\nRUN --mount=taget=b c").as_deref(), Some("did you mean `target`?"));
    assert_eq!(help("FROM a\nUSER --x y").as_deref(), Some("USER takes no flags"));
}

#[test]
fn limits() {
    assert_eq!(errors(&"#".repeat(MAX_FILE_BYTES + 1)), [Code::FileTooLarge]);
    let many = "ARG a\n".repeat(MAX_INSTRUCTIONS + 1);
    assert_eq!(errors(&many), [Code::TooManyInstructions]);
    let noisy = format!("FROM a\n{}", "X\n".repeat(1000));
    let seen = errors(&noisy);
    assert_eq!(seen.len(), MAX_DIAGNOSTICS + 1);
    assert_eq!(seen.last(), Some(&Code::TooManyDiagnostics));
    let names: Vec<String> = (0..=MAX_HEREDOCS).map(|i| format!("<<E{i}")).collect();
    let bodies: String = (0..MAX_HEREDOCS).map(|i| format!("E{i}\n")).collect();
    assert_eq!(errors(&format!("FROM a\nRUN {}\n{bodies}", names.join(" "))), [Code::TooManyHeredocs]);
}
