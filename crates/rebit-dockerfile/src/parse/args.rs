//! Instructions of words and pairs.

use std::time::Duration;

use super::{Line, Statement, as_trigger, known_name, read_node};
use crate::diagnostic::{Code, Diagnostic};
use crate::duration;
use crate::flags::Takes;
use crate::instruction::{
    Arg, ArgName, Expose, From, Healthcheck, HealthcheckCmd, KeyValue, Node, OnBuild, Shell, Volume,
};
use crate::json::{self, Json};
use crate::lex::{Part, is_blank};
use crate::span::{Span, Spanned};
use crate::words;

impl Line<'_, '_> {
    pub(super) fn from(&mut self) -> Option<From> {
        self.flags.check(self.name, &[("platform", Takes::Value)], self.diagnostics);
        let mut words = self.args.split_blanks().into_iter();
        let Some(image) = words.next() else { return self.missing("an image") };
        let name = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some(word), Some(name), None) if word.value.eq_ignore_ascii_case("AS") => Some(name),
            (Some(word), ..) => {
                let message = "FROM takes an image, or an image, `AS` and a name";
                let help = format!("to name the stage, write `FROM {} AS {}`", image.value, word.value);
                self.diagnostics
                    .push(Diagnostic::new(Code::InvalidArgument, word.span, message).with_help(help));
                None
            }
        };
        if let Some(name) = name.as_ref().filter(|name| !is_stage_name(&name.value.to_lowercase())) {
            let message = format!("invalid stage name `{}`", name.value);
            let help = "a name starts with a letter; letters, digits, `-`, `_` and `.` follow";
            self.diagnostics
                .push(Diagnostic::new(Code::InvalidStageName, name.span, message).with_help(help));
        }
        Some(From { image, platform: self.flags.value("platform"), name })
    }

    pub(super) fn arg(&mut self) -> Option<Arg> {
        self.flags.check(self.name, &[], self.diagnostics);
        let parts = words::split_parts(self.args, self.escape);
        if parts.is_empty() {
            return self.missing("a name");
        }
        let mut args = Vec::new();
        for part in parts {
            let (name, default) = split_pair(part);
            if name.value.is_empty() {
                self.report(Code::BlankName, part.span(), "a name cannot be empty");
                continue;
            }
            args.push(ArgName { name, default });
        }
        (!args.is_empty()).then_some(Arg { args })
    }

    /// The pairs of `ENV` and `LABEL`, and whether they are in the old form.
    pub(super) fn pairs(&mut self) -> Option<(Vec<KeyValue>, bool)> {
        self.flags.check(self.name, &[], self.diagnostics);
        let parts = words::split_parts(self.args, self.escape);
        let Some(first) = parts.first() else { return self.missing("a key and a value") };
        if !first.text().contains('=') {
            let (key, value) = self.args.split_word();
            if value.text().is_empty() && !self.args.text().contains(is_blank) {
                return self.missing("a key and a value, as in `key=value`");
            }
            return Some((vec![KeyValue { key: key.spanned(), value: value.spanned() }], true));
        }
        let mut pairs = Vec::new();
        for part in parts {
            match split_pair(part) {
                (key, _) if key.value.is_empty() && part.text().starts_with('=') => {
                    self.report(Code::BlankName, part.span(), "a name cannot be empty");
                }
                (key, Some(value)) => pairs.push(KeyValue { key, value }),
                (word, None) => {
                    let message = format!("`{}` has no `=`", word.value);
                    let help = "write `key=value`, and quote a value with blanks in it";
                    self.diagnostics
                        .push(Diagnostic::new(Code::MissingEquals, word.span, message).with_help(help));
                }
            }
        }
        (!pairs.is_empty()).then_some((pairs, false))
    }

    pub(super) fn expose(&mut self) -> Option<Expose> {
        self.flags.check(self.name, &[], self.diagnostics);
        let ports = self.args.split_blanks();
        if ports.is_empty() { self.missing("a port") } else { Some(Expose { ports }) }
    }

    pub(super) fn volume(&mut self) -> Option<Volume> {
        self.flags.check(self.name, &[], self.diagnostics);
        let words = self.json_or_words()?;
        if words.is_empty() {
            return self.missing("a path");
        }
        let mut paths = Vec::new();
        for word in words {
            let path = word.map(|path| path.trim().to_owned());
            if path.value.is_empty() {
                self.report(Code::InvalidArgument, path.span, "the path of a volume cannot be empty");
                continue;
            }
            paths.push(path);
        }
        (!paths.is_empty()).then_some(Volume { paths })
    }

    pub(super) fn shell(&mut self) -> Option<Shell> {
        self.flags.check(self.name, &[], self.diagnostics);
        match json::read(self.args) {
            Json::Strings(args) if !args.is_empty() => Some(Shell { args }),
            Json::NotStrings => self.not_strings(self.args.span()),
            Json::No if !self.args.text().is_empty() => {
                let diagnostic =
                    Diagnostic::new(Code::ShellNotJson, self.args.span(), "SHELL needs the JSON form");
                self.diagnostics.push(diagnostic.with_help("for example `SHELL [\"/bin/bash\", \"-c\"]`"));
                None
            }
            _ => self.missing("a program"),
        }
    }

    pub(super) fn on_build(&mut self) -> Option<OnBuild> {
        self.flags.check(self.name, &[], self.diagnostics);
        if self.args.text().is_empty() {
            return self.missing("an instruction");
        }
        let (word, _) = self.args.split_word();
        // These are refused before their arguments are looked at.
        if ["ONBUILD", "MAINTAINER", "FROM"].iter().any(|name| name.eq_ignore_ascii_case(word.text())) {
            let message = format!("{} cannot be an ONBUILD trigger", word.text().to_uppercase());
            self.report(Code::InvalidTrigger, word.span(), message);
            return None;
        }
        let heredocs = std::mem::take(&mut self.heredocs);
        let name = known_name(word, None, self.escape, self.diagnostics)?;
        let node: Node<Statement> = read_node(self.args, name, self.escape, heredocs, self.diagnostics)?;
        Some(OnBuild { trigger: Box::new(as_trigger(node, self.diagnostics)?) })
    }

    pub(super) fn healthcheck(&mut self) -> Option<Healthcheck> {
        let known = &[
            ("interval", Takes::Value),
            ("timeout", Takes::Value),
            ("start-period", Takes::Value),
            ("start-interval", Takes::Value),
            ("retries", Takes::Value),
        ];
        self.flags.check(self.name, known, self.diagnostics);
        let (kind, rest) = self.args.split_word();
        match kind.text().to_uppercase().as_str() {
            "" => self.missing("`NONE` or `CMD` and a command"),
            "NONE" => {
                if !rest.text().is_empty() {
                    self.report(Code::TooManyArguments, rest.span(), "HEALTHCHECK NONE takes no arguments");
                }
                if let Some(span) = self.flags.first_span() {
                    self.report(Code::IgnoredFlag, span, "flags mean nothing with HEALTHCHECK NONE");
                }
                Some(Healthcheck::None)
            }
            "CMD" => {
                let command = self.command(rest)?;
                if command.is_empty() {
                    return self.missing("a command after `CMD`");
                }
                Some(Healthcheck::Cmd(HealthcheckCmd {
                    command,
                    interval: self.duration("interval"),
                    timeout: self.duration("timeout"),
                    start_period: self.duration("start-period"),
                    start_interval: self.duration("start-interval"),
                    retries: self.retries(),
                }))
            }
            _ => {
                let message = format!("unknown HEALTHCHECK type `{}`", kind.text());
                let diagnostic = Diagnostic::new(Code::InvalidArgument, kind.span(), message);
                self.diagnostics.push(diagnostic.with_help("use `CMD` or `NONE`"));
                None
            }
        }
    }

    /// A time flag; zero is the same as none.
    fn duration(&mut self, name: &str) -> Option<Duration> {
        let flag = self.flags.value(name)?;
        let message = match duration::parse(&flag.value) {
            Ok(Duration::ZERO) => return None,
            Ok(value) if value >= Duration::from_millis(1) => return Some(value),
            Ok(_) => format!("`--{name}` must be at least 1ms"),
            Err(error) => format!("`--{name}={}`: {error}", flag.value),
        };
        let diagnostic = Diagnostic::new(Code::InvalidDuration, flag.span, message);
        let is_number = flag.value.parse::<u32>().is_ok();
        self.diagnostics.push(match is_number {
            true => diagnostic.with_help(format!("a time has a unit: `--{name}={}s`", flag.value)),
            false => diagnostic,
        });
        None
    }

    fn retries(&mut self) -> Option<u32> {
        let flag = self.flags.value("retries")?;
        let retries = flag.value.parse::<i32>().ok().and_then(|retries| u32::try_from(retries).ok());
        if retries.is_none() {
            let message = format!("`--retries` is a number from 0 on, not `{}`", flag.value);
            self.report(Code::InvalidFlagValue, flag.span, message);
        }
        retries
    }

    /// The words of a JSON array, or else those between blanks.
    pub(super) fn json_or_words(&mut self) -> Option<Vec<Spanned<String>>> {
        match json::read(self.args) {
            Json::Strings(words) => Some(words),
            Json::NotStrings => self.not_strings(self.args.span()),
            Json::No => {
                self.warn_near_json(self.args);
                Some(self.args.split_blanks())
            }
        }
    }

    /// Reports a JSON array of something else than strings.
    pub(super) fn not_strings<T>(&mut self, span: Span) -> Option<T> {
        let message = "a JSON array of arguments holds strings only";
        let diagnostic = Diagnostic::new(Code::JsonNotStrings, span, message);
        self.diagnostics.push(diagnostic.with_help("put every element in double quotes"));
        None
    }

    /// Warns about text that is no JSON array but was probably meant to be.
    pub(super) fn warn_near_json(&mut self, part: Part<'_>) {
        if json::looks_like_array(part.text()) {
            let message = "not a valid JSON array, so taken as plain text";
            let diagnostic = Diagnostic::new(Code::InvalidJson, part.span(), message);
            self.diagnostics.push(diagnostic.with_help(match json::repaired(part.text()) {
                Some(text) => format!("write `{text}`"),
                None => "JSON needs double quotes and commas between, none at the end".to_owned(),
            }));
        }
    }
}

/// Key and, if there is a `=`, value.
fn split_pair(part: Part<'_>) -> (Spanned<String>, Option<Spanned<String>>) {
    match part.text().find('=') {
        Some(at) => (part.sub(0, at).spanned(), Some(part.from(at + 1).spanned())),
        None => (part.spanned(), None),
    }
}

fn is_stage_name(name: &str) -> bool {
    let mut chars = name.chars();
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    chars.next().is_some_and(|c| c.is_ascii_lowercase()) && chars.all(rest)
}
