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
