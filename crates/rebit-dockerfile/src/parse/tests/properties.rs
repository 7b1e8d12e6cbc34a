//! Nothing panics, and spans are of the source.

use proptest::prelude::*;

use super::*;
use crate::instruction::Source;

const REAL: &[&str] = &[
    "# syntax=docker/dockerfile:1\nARG GO=1.22\nFROM --platform=$BUILDPLATFORM golang:${GO}-alpine AS build\nWORKDIR /src\n\
     COPY go.mod go.sum ./\nRUN --mount=type=cache,target=/go/pkg/mod,sharing=locked go mod download\nCOPY . .\n\
     RUN --mount=type=bind,target=. --network=none \\\n    # why\n    CGO_ENABLED=0 go build -o /out/app ./cmd/app\n\n\
     FROM scratch\nCOPY --from=build --chown=65532:65532 /out/app /app\nUSER 65532\nEXPOSE 8080/tcp\nENTRYPOINT [\"/app\"]\n",
    "FROM debian:12\nLABEL a=\"b c\" \\\n      d='e'\nENV PATH=/opt/bin:$PATH X=\"1 2\"\nRUN <<EOF bash -e\napt-get update\nEOF\n\
     COPY <<-'CONF' <<B /etc/\n\tlisten 80;\nCONF\nb\nB\nHEALTHCHECK --interval=30s --retries=3 CMD curl -f http://localhost/ || exit 1\n\
     ONBUILD COPY --link . /app\nSHELL [\"/bin/bash\", \"-c\"]\nVOLUME [\"/data\"]\nSTOPSIGNAL SIGTERM\nCMD [\"a\", \"b\\n\"]\n",
    "\u{feff}# escape=`\r\nFROM mcr.example.com/windows\r\nRUN dir `\r\n  C:\\ü\r\nMAINTAINER é <e@x>\r\nADD --checksum=sha256:00 https://x/y /z\r\n",
];

/// Every span of a file.
fn spans(parsed: &Parsed) -> Vec<Span> {
    let mut spans: Vec<Span> = parsed
        .diagnostics
        .iter()
        .flat_map(|d| std::iter::once(d.span).chain(d.labels.iter().map(|l| l.span)))
        .collect();
    for node in &parsed.file.global_args {
        spans.extend([node.span, node.keyword.span]);
    }
    for stage in &parsed.file.stages {
        spans.extend([stage.from.span, stage.from.value.image.span]);
        stage.instructions.iter().for_each(|node| instruction_spans(node, &mut spans));
    }
    spans
}

fn instruction_spans(node: &Node<Instruction>, spans: &mut Vec<Span>) {
    spans.extend([node.span, node.keyword.span]);
    match &node.value {
        Instruction::Env(env) => spans.extend(env.pairs.iter().flat_map(|p| [p.key.span, p.value.span])),
        Instruction::Label(label) => {
            spans.extend(label.pairs.iter().flat_map(|p| [p.key.span, p.value.span]))
        }
        Instruction::Arg(arg) => spans.extend(arg.args.iter().map(|a| a.name.span)),
        Instruction::OnBuild(on_build) => instruction_spans(&on_build.trigger, spans),
        Instruction::Expose(expose) => spans.extend(expose.ports.iter().map(|p| p.span)),
        Instruction::Run(run) => {
            spans.extend(run.heredocs.iter().flat_map(|h| [h.span, h.body_span, h.end_span]));
            spans.extend(run.mounts.iter().map(|m| m.span));
        }
        Instruction::Copy(copy) => {
            spans.push(copy.files.dest.span);
            spans.extend(copy.files.sources.iter().map(|source| match source {
                Source::Path(path) => path.span,
                Source::Heredoc(heredoc) => heredoc.body_span,
            }));
        }
        _ => {}
    }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let parsed = parse(text);
    for span in spans(&parsed) {
        prop_assert!(span.start <= span.end, "{span:?} in {text:?}");
        prop_assert!(text.get(span.range()).is_some(), "{span:?} in {text:?}");
    }
    for stage in &parsed.file.stages {
        for node in &stage.instructions {
            if let Instruction::Run(run) = &node.value {
                run.program();
            }
            // With the usual escape character, an instruction reads back from its own text.
            let usual = parsed.file.directives.escape.is_none() && !parsed.has_errors();
            if let (true, Ok(again)) = (usual, parse_trigger(&node.full_text())) {
                prop_assert_eq!(&again.text, &node.text);
                prop_assert_eq!(again.value.name(), node.value.name());
            }
        }
    }
    let _ = parse_trigger(text);
    Ok(())
}

#[test]
fn real_files_are_clean() {
    for text in REAL {
        good(text);
    }
}

proptest! {
    #[test]
    fn any_text(text: String) {
        check(&text)?;
    }

    #[test]
    fn text_of_syntax(words in proptest::collection::vec(prop_oneof![
        Just("FROM a\n"), Just("RUN "), Just("COPY "), Just("ONBUILD "), Just("ENV "), Just("HEALTHCHECK "), Just("LABEL "),
        Just("<<E"), Just("<<-'F'"), Just("E\n"), Just("F\n"), Just("\n"), Just("\r\n"), Just("\\\n"), Just("\\ \n"), Just(" "),
        Just("# "), Just("--mount="), Just("--from=x "), Just("[\"a\", \"b\"]"), Just("[\""), Just("\""), Just("'"), Just("$"),
        Just("${x:-"), Just("}"), Just("="), Just("é"), Just("a"), Just("\t"), Just("type=cache,target=/x "), Just("CMD "),
    ], 0..40)) {
        check(&words.concat())?;
        check(&format!("FROM a\n{}", words.concat()))?;
    }

    #[test]
    fn mutated_files(
        index in 0..REAL.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..6, "[\\\\\"'<$\n\r =#é\\[\\]-]{0,3}"), 1..6),
    ) {
        let mut chars: Vec<char> = REAL[index].chars().collect();
        for (at, remove, insert) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + remove).min(chars.len());
            chars.splice(at..end, insert.chars());
        }
        check(&chars.into_iter().collect::<String>())?;
    }

    #[test]
    fn cut_files(index in 0..REAL.len(), at in any::<prop::sample::Index>()) {
        let chars: Vec<char> = REAL[index].chars().collect();
        let cut = at.index(chars.len() + 1);
        check(&chars[..cut].iter().collect::<String>())?;
        check(&chars[cut..].iter().collect::<String>())?;
    }
}
