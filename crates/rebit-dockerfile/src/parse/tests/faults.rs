//! What is refused.

use super::*;

#[test]
fn files() {
    let check = |text: &str, expected: &[Code]| assert_eq!(errors(text), expected, "{text:?}");
    check("", &[Code::EmptyFile]);
    check("# only a comment\n\n", &[Code::EmptyFile]);
    check("\u{feff}", &[Code::EmptyFile]);
    check("ARG a", &[Code::NoStage]);
    check("RUN a", &[Code::InstructionBeforeFrom]);
    check("RUN a\nFROM b", &[Code::InstructionBeforeFrom]);
    check("\\\n", &[Code::UnknownInstruction]);
    check("FROM a\n\\", &[Code::UnknownInstruction]);
    check("# escape=`\n# escape=`\nFROM a", &[Code::DuplicateDirective]);
    check("FROM a\nNOPE x\nNOPE y", &[Code::UnknownInstruction, Code::UnknownInstruction]);
    check("FROM a\nRUNx", &[Code::UnknownInstruction]);
}

#[test]
fn lines() {
    let cases: &[(&str, &[Code])] = &[
        ("FROM", &[Code::MissingArgument]),
        ("FROM a b", &[Code::InvalidArgument]),
        ("FROM a AS", &[Code::InvalidArgument]),
        ("FROM a AS b c", &[Code::InvalidArgument]),
        ("FROM a IS b", &[Code::InvalidArgument]),
        ("FROM a AS 1b", &[Code::InvalidStageName]),
        ("FROM a AS b/c", &[Code::InvalidStageName]),
        ("FROM --platfrom=x a", &[Code::UnknownFlag]),
        ("FROM --platform a", &[Code::MissingFlagValue]),
        ("FROM --platform=a --platform=b c", &[Code::DuplicateFlag]),
        ("RUN", &[Code::MissingArgument]),
        ("RUN --network=none", &[Code::MissingArgument]),
        ("RUN []", &[Code::MissingArgument]),
        ("RUN [1, 2]", &[Code::JsonNotStrings]),
        ("RUN --nope a", &[Code::UnknownFlag]),
        ("RUN --network=bridge a", &[Code::InvalidFlagValue]),
        ("RUN --network=none --network=host a", &[Code::DuplicateFlag]),
        ("RUN --security=none a", &[Code::InvalidFlagValue]),
        ("RUN --mount=type=nope a", &[Code::InvalidFlagValue]),
        ("RUN --mount=type=cache,target=/a,from=$x a", &[Code::VariableNotSupported]),
        ("RUN --mount a", &[Code::MissingFlagValue]),
        ("RUN --device=required a", &[Code::InvalidFlagValue]),
        ("RUN --device=a,b a", &[Code::InvalidFlagValue]),
        ("CMD", &[Code::MissingArgument]),
        ("CMD [null]", &[Code::JsonNotStrings]),
        ("CMD --version", &[Code::MissingArgument, Code::UnknownFlag]),
        ("ENTRYPOINT", &[Code::MissingArgument]),
        ("COPY", &[Code::MissingArgument]),
        ("COPY a", &[Code::MissingArgument]),
        ("COPY [\"a\"]", &[Code::MissingArgument]),
        ("COPY []", &[Code::MissingArgument]),
        ("COPY [1, \"a\"]", &[Code::JsonNotStrings]),
        ("COPY --from=$x a b", &[Code::VariableNotSupported]),
        ("COPY --unpack a b", &[Code::UnknownFlag]),
        ("COPY --link=maybe a b", &[Code::InvalidFlagValue]),
        ("COPY a <<EOF\nEOF", &[Code::InvalidHeredoc]),
        ("COPY << EOF /a\nEOF", &[Code::InvalidHeredoc]),
        ("COPY <<'a b' /a\na b", &[Code::InvalidHeredoc]),
        ("ADD a", &[Code::MissingArgument]),
        ("ADD --from=a b c", &[Code::UnknownFlag]),
        ("ADD --parents a b", &[Code::UnknownFlag]),
        ("ENV", &[Code::MissingArgument]),
        ("ENV a", &[Code::MissingArgument]),
        ("ENV a=b c", &[Code::MissingEquals]),
        ("ENV a=${b:-c d}", &[Code::MissingEquals]),
        ("ENV =b", &[Code::BlankName]),
        ("ENV a=b =c", &[Code::BlankName]),
        ("LABEL", &[Code::MissingArgument]),
        ("LABEL a=b c d", &[Code::MissingEquals, Code::MissingEquals]),
        ("ARG", &[Code::MissingArgument]),
        ("ARG =a", &[Code::BlankName]),
        ("ARG --a b", &[Code::UnknownFlag]),
        ("WORKDIR", &[Code::MissingArgument]),
        ("USER", &[Code::MissingArgument]),
        ("USER --x y", &[Code::UnknownFlag]),
        ("STOPSIGNAL", &[Code::MissingArgument]),
        ("MAINTAINER", &[Code::MissingArgument]),
        ("EXPOSE", &[Code::MissingArgument]),
        ("VOLUME", &[Code::MissingArgument]),
        ("VOLUME []", &[Code::MissingArgument]),
        ("VOLUME [\"\"]", &[Code::InvalidArgument]),
        ("VOLUME [\"a\", 1]", &[Code::JsonNotStrings]),
        ("SHELL", &[Code::MissingArgument]),
        ("SHELL []", &[Code::MissingArgument]),
        ("SHELL bash -c", &[Code::ShellNotJson]),
        ("SHELL [1]", &[Code::JsonNotStrings]),
        ("HEALTHCHECK", &[Code::MissingArgument]),
        ("HEALTHCHECK NONE a", &[Code::TooManyArguments]),
        ("HEALTHCHECK CMD", &[Code::MissingArgument]),
        ("HEALTHCHECK CMD []", &[Code::MissingArgument]),
        ("HEALTHCHECK curl x", &[Code::InvalidArgument]),
        ("HEALTHCHECK --interval=5 CMD a", &[Code::InvalidDuration]),
        ("HEALTHCHECK --interval=-5s CMD a", &[Code::InvalidDuration]),
        ("HEALTHCHECK --timeout=1us CMD a", &[Code::InvalidDuration]),
        ("HEALTHCHECK --retries=-1 CMD a", &[Code::InvalidFlagValue]),
        ("HEALTHCHECK --retries=x CMD a", &[Code::InvalidFlagValue]),
        ("HEALTHCHECK --retry=1 CMD a", &[Code::UnknownFlag]),
        ("ONBUILD", &[Code::MissingArgument]),
        ("ONBUILD ONBUILD RUN a", &[Code::InvalidTrigger]),
        ("ONBUILD from a", &[Code::InvalidTrigger]),
        ("ONBUILD MAINTAINER a", &[Code::InvalidTrigger]),
        ("ONBUILD NOPE", &[Code::UnknownInstruction]),
        ("ONBUILD COPY a", &[Code::MissingArgument]),
        ("ONBUILD --x RUN a", &[Code::UnknownFlag]),
        ("RUN <<EOF", &[Code::UnterminatedHeredoc]),
        ("RUN <<EOF\n EOF\n", &[Code::UnterminatedHeredoc]),
        ("RUN <<A <<B\nA\n", &[Code::UnterminatedHeredoc]),
        ("COPY <<A /a\nx", &[Code::UnterminatedHeredoc]),
        ("ONBUILD RUN <<A\nx", &[Code::UnterminatedHeredoc]),
    ];
    for (line, expected) in cases {
        assert_eq!(errors(&format!("FROM a\n{line}")), *expected, "{line:?}");
    }
}

#[test]
fn the_rest_is_still_read() {
    let parsed = parse("FROM a\nNOPE\nRUN b\nCOPY c\nUSER d");
    let names: Vec<_> = parsed.file.stages[0].instructions.iter().map(|node| node.value.name()).collect();
    assert_eq!(names, ["RUN", "USER"]);
    assert_eq!(parsed.diagnostics.len(), 2);
}

/// The first finding of a text: its code, the text at its place, its help, and the texts of its labels.
#[track_caller]
fn explained(text: &str, code: Code, at: &str, help: &str) -> Vec<String> {
    let found = parse(text).diagnostics;
    assert_eq!(found.len(), 1, "{text:?}: {found:?}");
    let seen = (found[0].code, &text[found[0].span.range()], found[0].help.as_deref().unwrap_or_default());
    assert_eq!(seen, (code, at, help), "{text:?}");
    found[0].labels.iter().map(|label| text[label.span.range()].to_owned()).collect()
}

#[test]
fn mistakes_are_explained_once() {
    // A mistyped FROM is not followed by complaints about what comes after it.
    explained("FORM a\nRUN b\nCOPY c /d", Code::UnknownInstruction, "FORM", "did you mean `FROM`?");
    explained("FROM\nRUN b", Code::MissingArgument, "FROM", "");
    let help = "put `\\` at the end of the line before to go on with it";
    let labels = explained("FROM a\nRUN b &&\n  install e", Code::UnknownInstruction, "install", help);
    assert_eq!(labels, ["&&"]);
    explained("FROM a\nRUN b;\nCOPPY x /y", Code::UnknownInstruction, "COPPY", "did you mean `COPY`?");
    explained("FROM a b", Code::InvalidArgument, "b", "to name the stage, write `FROM a AS b`");
    let help = "remove them; with `<<-` tabs before it are allowed";
    let labels = explained("FROM a\nRUN <<E\nb\n E\nRUN c", Code::UnterminatedHeredoc, "<<E", help);
    assert_eq!(labels, ["E"]);
    let help = "write `COPY b …`; `.` is the working directory";
    explained("FROM a\nCOPY b", Code::MissingArgument, "b", help);
    explained("FROM a\nCMD ['b', 'c']", Code::InvalidJson, "['b', 'c']", "write `[\"b\", \"c\"]`");
    let help = "say where it is: `target=/PATH`";
    let at = "--mount=type=cache";
    explained("FROM a\nRUN --mount=type=cache b", Code::InvalidFlagValue, at, help);
    explained("# syntx=a\nFROM a", Code::MistypedDirective, "# syntx=a", "did you mean `syntax`?");
    assert_eq!(warnings("# a=b\nFROM a"), []);
}

#[test]
fn words_that_no_value_makes_right() {
    let check = |line: &str, at: &str| {
        let text = format!("FROM a\n{line}");
        let found = parse(&text).diagnostics;
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert_eq!((found[0].code, &text[found[0].span.range()]), (Code::InvalidWord, at), "{line}");
    };
    check("ENV A=\"b c", "\"b c");
    check("LABEL a='b", "'b");
    check("ENV A=${B", "${B");
    check("COPY ${} /x", "${}");
    check("COPY \"a b\" c", "\"a");
    check("WORKDIR ${A^}", "${A^}");
    assert_eq!(errors("ARG A='\nFROM ${A"), [Code::InvalidWord, Code::InvalidWord]);
    assert_eq!(errors("FROM a\nENV A=${B:?c}\nRUN echo \"\nENV C=\\\"\nENV D=$"), []);
    assert_eq!(errors("FROM a\nCOPY --chmod=9999 --chown=a:b:c x /y"), [Code::InvalidFlagValue; 2]);
    assert_eq!(errors("FROM a\nCOPY --chmod=$m --chown=$o x /y\nADD --chmod=u+x,g= --chown=1:2 x /y"), []);
}
