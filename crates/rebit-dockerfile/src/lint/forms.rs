//! Forms of instructions that are better written another way.

use std::collections::BTreeMap;

use super::{Linter, Rule};
use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{ArgName, Instruction, Stage};
use crate::span::Span;

impl Linter<'_> {
    /// `ARG`s before the first `FROM`.
    pub(super) fn global_args(&mut self) {
        for node in &self.file.global_args {
            self.arg_description(&node.value.args, &node.comments);
        }
    }

    pub(super) fn forms(&mut self, stage: &Stage) {
        if let Some(name) = &stage.from.value.name {
            self.description("stage", &[name.value.as_str()], name.span, &stage.from.comments);
        }
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for node in &stage.instructions {
            match &node.value {
                Instruction::Arg(arg) => self.arg_description(&arg.args, &node.comments),
                Instruction::Maintainer(maintainer) => {
                    let author = maintainer.name.value.replace('"', "'");
                    self.report(
                        Rule::MaintainerDeprecated,
                        node.keyword.span,
                        "MAINTAINER is deprecated",
                        format!("write `LABEL org.opencontainers.image.authors=\"{author}\"`"),
                    );
                }
                Instruction::Env(env) if env.legacy => self.legacy("ENV", &env.pairs, node.span),
                Instruction::Label(label) if label.legacy => self.legacy("LABEL", &label.pairs, node.span),
                Instruction::Cmd(_) | Instruction::Entrypoint(_) | Instruction::Healthcheck(_) => {
                    if let Some(before) = seen.insert(node.value.name(), node.keyword.span) {
                        self.repeated(node.value.name(), before, node.keyword.span);
                    }
                }
                _ => {}
            }
        }
    }

    /// Of some instructions only the last one in a stage counts; the one that does not is the finding.
    fn repeated(&mut self, name: &str, before: Span, now: Span) {
        let rule = Rule::MultipleInstructionsDisallowed;
        let diagnostic =
            Diagnostic::new(Code::Rule(rule), before, format!("only the last {name} of a stage counts"))
                .with_label(now, "overrides it")
                .with_help("remove the one that has no effect");
        self.push(rule, diagnostic);
    }

    fn legacy(&mut self, name: &str, pairs: &[crate::instruction::KeyValue], span: Span) {
        let key = pairs.first().map_or("key", |pair| pair.key.value.as_str());
        let message = format!("{name} without `=`");
        self.report(Rule::LegacyKeyValueFormat, span, message, format!("write `{name} {key}=…`"));
    }

    fn arg_description(&mut self, args: &[ArgName], comments: &[String]) {
        let names: Vec<&str> = args.iter().map(|arg| arg.name.value.as_str()).collect();
        let Some(first) = args.first() else { return };
        self.description("argument", &names, first.name.span, comments);
    }

    /// The comment before a definition describes it if it begins with its name.
    fn description(&mut self, what: &str, names: &[&str], span: Span, comments: &[String]) {
        let Some(comment) = comments.last() else { return };
        let word = comment.split_whitespace().next().unwrap_or_default();
        if names.contains(&word) {
            return;
        }
        let message = format!("the comment before this {what} does not begin with its name");
        let name = names.first().copied().unwrap_or_default();
        let help = format!("write `# {name} …`, or put an empty line after a comment that is no description");
        self.report(Rule::InvalidDefinitionDescription, span, message, help);
    }
}
