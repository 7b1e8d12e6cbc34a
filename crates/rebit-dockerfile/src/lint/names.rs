//! Names of stages, and upper and lower case.

use std::collections::BTreeMap;

use super::{Linter, Rule};
use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::Stage;
use crate::span::{Span, Spanned};

impl Linter<'_> {
    pub(super) fn stage_names(&mut self) {
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        for stage in &self.file.stages {
            self.as_casing(stage);
            let Some(name) = stage.from.value.name.as_ref() else { continue };
            let lower = name.value.to_lowercase();
            if lower != name.value {
                let message = format!("stage name `{}` is not lower case", name.value);
                self.report(Rule::StageNameCasing, name.span, message, format!("name it `{lower}`"));
            }
            if lower == "scratch" || lower == "context" {
                let message = format!("stage name `{lower}` is reserved");
                self.report(Rule::ReservedStageName, name.span, message, "give the stage another name");
            }
            if let Some(first) = seen.get(&lower) {
                let message = format!("two stages are named `{lower}`");
                let diagnostic = Diagnostic::new(Code::Rule(Rule::DuplicateStageName), name.span, message)
                    .with_label(*first, "first named here")
                    .with_help("give one of them another name: `COPY --from` and `--target` find the last");
                self.push(Rule::DuplicateStageName, diagnostic);
            }
            seen.entry(lower).or_insert(name.span);
        }
    }

    /// All instruction names should be in one case: that of most of them.
    pub(super) fn instruction_casing(&mut self) {
        let global = self.file.global_args.iter().map(|node| &node.keyword);
        let stages = self.file.stages.iter().flat_map(|stage| {
            let inner = stage.instructions.iter().map(|node| &node.keyword);
            std::iter::once(&stage.from.keyword).chain(inner)
        });
        let keywords: Vec<&Spanned<String>> = global.chain(stages).collect();
        let lower = keywords.iter().filter(|word| is_lower(&word.value)).count();
        let upper = keywords.iter().filter(|word| is_upper(&word.value)).count();
        for word in keywords {
            let (fits, case, wanted) = if lower > upper {
                (is_lower(&word.value), "lower", word.value.to_lowercase())
            } else {
                (is_upper(&word.value), "upper", word.value.to_uppercase())
            };
            if !fits {
                let message =
                    format!("instruction `{}` is not in {case} case, as the others are", word.value);
                let help = format!("write `{wanted}`");
                self.report(Rule::ConsistentInstructionCasing, word.span, message, help);
            }
        }
    }

    /// `FROM … AS` or `from … as`, not mixed.
    fn as_casing(&mut self, stage: &Stage) {
        let Some(name) = &stage.from.value.name else { return };
        let keyword = &stage.from.keyword.value;
        let Some(word) = stage.from.text.split_whitespace().rev().nth(1) else { return };
        // A name that is itself mixed is another rule's.
        let wanted = match (is_lower(keyword), is_upper(keyword)) {
            (true, _) => word.to_lowercase(),
            (_, true) => word.to_uppercase(),
            _ => return,
        };
        if word != wanted {
            let before = Span::new(stage.from.span.start, name.span.start);
            let at = self.text(before).trim_end().rfind(word).map(|at| before.start + at);
            let span = at.map_or(stage.from.keyword.span, |at| Span::new(at, at + word.len()));
            let message = format!("`{keyword}` and `{word}` differ in case");
            self.report(Rule::FromAsCasing, span, message, format!("write `{wanted}`"));
        }
    }
}

fn is_lower(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_uppercase())
}

fn is_upper(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_lowercase())
}
