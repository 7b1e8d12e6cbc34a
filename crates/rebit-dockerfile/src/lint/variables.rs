//! What depends on the variables in force: a walk through a stage with its scope.

use std::collections::BTreeSet;

use super::scope::Scope;
use super::{Linter, Rule, suggestion};
use crate::instruction::{Add, Arg, Command, Copy, Env, Files, Instruction, Source, Stage};
use crate::span::{Span, Spanned};

/// The arguments that BuildKit takes out of the variables: using one is no mistake.
const SBOM_ARGS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// A name with one of these words in it is that of a secret …
const SECRET_WORDS: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];

/// … unless it has one of these too.
const HARMLESS_WORDS: [&str; 3] = ["public", "file", "version"];

impl Linter<'_> {
    /// Walks through a stage; gives the scope at its end, for the stages that start from it.
    pub(super) fn variables(&mut self, stage: &Stage, ends: &[Scope]) -> Scope {
        let mut scope = self.start(stage, ends);
        for node in &stage.instructions {
            self.undefined(&node.value, &scope);
            match &node.value {
                Instruction::Arg(arg) => self.arg(arg, &mut scope),
                Instruction::Env(env) => self.env(env, &mut scope),
                Instruction::Shell(_) => scope.has_shell = true,
                Instruction::Workdir(workdir) => self.workdir(&workdir.path, &mut scope),
                Instruction::Expose(expose) => {
                    expose.ports.iter().for_each(|port| self.expose(port, &scope));
                }
                Instruction::Cmd(cmd) => self.shell_form(&cmd.command, "CMD", node.span, &scope),
                Instruction::Entrypoint(entry) => {
                    self.shell_form(&entry.command, "ENTRYPOINT", node.span, &scope);
                }
                Instruction::Copy(Copy { files, from: None, .. }) => self.ignored("COPY", files, &scope),
                Instruction::Add(Add { files, .. }) => self.ignored("ADD", files, &scope),
                _ => {}
            }
        }
        scope
    }

    /// What a stage starts with.
    fn start(&self, stage: &Stage, ends: &[Scope]) -> Scope {
        let image = &stage.from.value.image.value;
        let name = self.global.value_of(self.file.directives.escape_char(), image);
        let Some(name) = name else { return Scope::of_base(None) };
        if let Some(end) = self.file.stage_before(&name, stage.index).and_then(|stage| ends.get(stage.index))
        {
            return end.clone();
        }
        Scope::of_base(if name == "scratch" {
            Some(super::BaseFacts::default())
        } else {
            (self.options.base)(&name)
        })
    }

    /// Variables that nothing defines.
    fn undefined(&mut self, instruction: &Instruction, scope: &Scope) {
        let escape = self.file.directives.escape_char();
        for word in instruction.expanded_words() {
            if !word.value.contains('$') {
                continue;
            }
            let Ok(expanded) = scope.expand(escape, &word.value) else { continue };
            if expanded.expansion.undefined.is_empty() || self.found.is_full() {
                continue;
            }
            let names = scope.names();
            for name in expanded.expansion.undefined.iter().filter(|n| !SBOM_ARGS.contains(&n.as_str())) {
                self.undefined_name(word.span, name, scope, &names);
            }
        }
    }

    fn undefined_name(&mut self, span: Span, name: &str, scope: &Scope, names: &BTreeSet<&str>) {
        let close = suggestion(name, names);
        let help = match close {
            Some(close) => format!("did you mean `${close}`?"),
            // The base image may define it.
            None if !scope.is_complete => return,
            None if self.global.names().contains(name) => {
                format!(
                    "an ARG before the first FROM is not visible in a stage: put `ARG {name}` before this"
                )
            }
            None => format!("define it with `ARG {name}` or `ENV {name}=…` before this"),
        };
        let message = format!("`${name}` is not defined");
        self.report(Rule::UndefinedVar, self.variable_span(span, name), message, help);
    }

    fn arg(&mut self, arg: &Arg, scope: &mut Scope) {
        let escape = self.file.directives.escape_char();
        for arg in &arg.args {
            self.secret("ARG", &arg.name);
            scope.declare(arg, escape, &self.global, self.options.build_args);
        }
    }

    fn env(&mut self, env: &Env, scope: &mut Scope) {
        let escape = self.file.directives.escape_char();
        // All values are expanded with the environment as it was before.
        let mut set = Vec::new();
        for pair in &env.pairs {
            self.secret("ENV", &pair.key);
            if let Some(name) = scope.value_of(escape, &pair.key.value) {
                set.push((name, scope.value_of(escape, &pair.value.value)));
            }
        }
        set.into_iter().for_each(|(name, value)| scope.set(&name, value));
    }

    fn secret(&mut self, instruction: &str, name: &Spanned<String>) {
        let lower = name.value.to_lowercase();
        let has = |words: &[&str]| lower.split('_').any(|word| words.contains(&word));
        if has(&SECRET_WORDS) && !has(&HARMLESS_WORDS) {
            let message =
                format!("`{}` looks like a secret, and {instruction} is kept in the image", name.value);
            let help = "give it to the step that needs it: `RUN --mount=type=secret,id=…`";
            self.report(Rule::SecretsUsedInArgOrEnv, name.span, message, help);
        }
    }

    /// Only the first directory of a stage counts: the others are relative to it.
    fn workdir(&mut self, path: &Spanned<String>, scope: &mut Scope) {
        let first = !std::mem::replace(&mut scope.has_workdir, true);
        let escape = self.file.directives.escape_char();
        if let (true, Ok(expanded)) = (first, scope.expand(escape, &path.value)) {
            let unknown = !expanded.is_exact && path.value.starts_with('$');
            if !unknown && !expanded.expansion.text.starts_with('/') {
                let message = format!("`{}` is relative to a directory that the base image sets", path.value);
                let help = "write the directory with all its parents, from `/` on";
                self.report(Rule::WorkdirRelativePath, path.span, message, help);
            }
        }
    }

    fn expose(&mut self, port: &Spanned<String>, scope: &Scope) {
        let escape = self.file.directives.escape_char();
        let words = match scope.expand(escape, &port.value) {
            Ok(expanded) if expanded.is_exact => expanded.expansion.words,
            // A part that is not known is not judged.
            _ => vec![port.value.clone()],
        };
        for word in words {
            let (ports, protocol) = word.split_once('/').unwrap_or((&word, ""));
            if !protocol.contains('$') && protocol.contains(|c: char| c.is_uppercase()) {
                let message = format!("the protocol of `{word}` is not lower case");
                let help = format!("write `{ports}/{}`", protocol.to_lowercase());
                self.report(Rule::ExposeProtoCasing, port.span, message, help);
            }
            let Some((host, container)) = ports.rsplit_once(':') else { continue };
            // `${port:-80}` is no mapping.
            if !host.is_empty() && !ports.contains('$') {
                let message = format!("`{word}` maps a port, and EXPOSE only names the container's");
                let help = format!("write `{container}`; ports are mapped when a container is started");
                self.report(Rule::ExposeInvalidFormat, port.span, message, help);
            }
        }
    }

    fn shell_form(&mut self, command: &Command, name: &str, span: Span, scope: &Scope) {
        let Command::Shell(line) = command else { return };
        // The parser has said of what is almost an array what is wrong with it.
        if !scope.has_shell && !crate::json::looks_like_array(&line.value) {
            let message = format!("{name} in shell form: the program does not get signals");
            let help = format!("write it as a JSON array: `{name} [\"program\", \"argument\"]`");
            self.report(Rule::JsonArgsRecommended, span, message, help);
        }
    }

    /// Sources that the ignore file leaves out. With exceptions in it, what is below a source may be there after all.
    fn ignored(&mut self, name: &str, files: &Files, scope: &Scope) {
        let Some(ignore) = self.options.ignore.filter(|ignore| !ignore.has_exceptions()) else { return };
        let escape = self.file.directives.escape_char();
        for source in &files.sources {
            let Source::Path(word) = source else { continue };
            let Some(path) = scope.value_of(escape, &word.value) else { continue };
            if !is_remote(&path) && ignore.matches(&clean(&path)) {
                let message = format!("{name} of `{path}`, which the ignore file leaves out");
                let help = "take it out of .dockerignore, or do not copy it";
                self.report(Rule::CopyIgnoredFile, word.span, message, help);
            }
        }
    }
}

/// Whether a source is an address and not a path.
pub(super) fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@")
}

/// A path below the context: no `.`, `..`, repeated or outer `/`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
