//! `RUN`, and the commands of other instructions.

use super::Line;
use crate::diagnostic::{Code, Diagnostic};
use crate::expand::Expander;
use crate::flags::Takes;
use crate::instruction::{Command, Device, Network, Run, Security};
use crate::json::{self, Json};
use crate::lex::Part;
use crate::mount::{Mount, MountError, MountKind, MountSpec, parse_bool, split_fields};
use crate::span::{Span, Spanned};

impl Line<'_, '_> {
    pub(super) fn run(&mut self) -> Option<Run> {
        let known = &[
            ("mount", Takes::Values),
            ("network", Takes::Value),
            ("security", Takes::Value),
            ("device", Takes::Values),
        ];
        self.flags.check(self.name, known, self.diagnostics);
        let mounts = self.mounts();
        let network = self.choice(
            "network",
            &[("default", Network::Default), ("none", Network::None), ("host", Network::Host)],
        );
        let security =
            self.choice("security", &[("sandbox", Security::Sandbox), ("insecure", Security::Insecure)]);
        let devices = self.devices();
        let command = self.command(self.args)?;
        if command.is_empty() {
            return self.missing("a command");
        }
        let heredocs = std::mem::take(&mut self.heredocs);
        Some(Run { command, heredocs, mounts, network, security, devices })
    }

    /// The command of an instruction that has nothing else.
    pub(super) fn only_command(&mut self) -> Option<Command> {
        self.flags.check(self.name, &[], self.diagnostics);
        match self.command(self.args)? {
            Command::Shell(text) if text.value.is_empty() => self.missing("a command, or `[]` for none"),
            command => Some(command),
        }
    }

    /// A command in either form.
    pub(super) fn command(&mut self, part: Part<'_>) -> Option<Command> {
        match json::read(part) {
            Json::Strings(words) => Some(Command::Exec(words)),
            Json::NotStrings => self.not_strings(part.span()),
            Json::No => {
                self.warn_near_json(part);
                Some(Command::Shell(part.spanned()))
            }
        }
    }

    fn mounts(&mut self) -> Vec<MountSpec> {
        let mut mounts = Vec::new();
        for flag in self.flags.values("mount") {
            let spec = MountSpec::parse(&flag.value, flag.span).and_then(|spec| {
                if !spec.has_variables() {
                    let none = |_: &str| None;
                    let expander = Expander::new(self.escape, &none);
                    let mount = spec.resolve(|word| expander.expand_word(word))?;
                    self.needs_target(&mount, flag.span);
                }
                Ok(spec)
            });
            match spec {
                Ok(spec) => mounts.push(spec),
                Err(error) => {
                    let code = match error {
                        MountError::VariableInFrom => Code::VariableNotSupported,
                        _ => Code::InvalidFlagValue,
                    };
                    let diagnostic = Diagnostic::new(code, flag.span, error.to_string());
                    self.diagnostics.push(match error {
                        MountError::UnknownKey { closest: Some(key), .. } => {
                            diagnostic.with_help(format!("did you mean `{key}`?"))
                        }
                        MountError::InvalidValue { key, .. } if key == "type" => {
                            diagnostic.with_help("the types are bind, cache, tmpfs, secret and ssh")
                        }
                        MountError::InvalidValue { key, .. } if key == "sharing" => {
                            diagnostic.with_help("use `shared`, `private` or `locked`")
                        }
                        MountError::VariableInFrom => diagnostic
                            .with_help("name a stage with `FROM $VARIABLE AS name` and mount from that name"),
                        _ => diagnostic,
                    });
                }
            }
        }
        mounts
    }

    /// Reports a mount that could only be on the root itself.
    fn needs_target(&mut self, mount: &Mount, span: Span) {
        let kind = match mount.kind {
            MountKind::Bind { .. } => "bind",
            MountKind::Cache { .. } => "cache",
            MountKind::Tmpfs { .. } => "tmpfs",
            MountKind::Secret { .. } | MountKind::Ssh { .. } => return,
        };
        if mount.target.is_none() {
            let message = format!("a {kind} mount needs `target`");
            let help = "say where it is: `target=/PATH`";
            self.diagnostics.push(Diagnostic::new(Code::InvalidFlagValue, span, message).with_help(help));
        }
    }

    /// A flag with a fixed set of values.
    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<Spanned<T>> {
        let flag = self.flags.value(name)?;
        if let Some((_, value)) = choices.iter().find(|(text, _)| *text == flag.value) {
            return Some(Spanned::new(*value, flag.span));
        }
        let names: Vec<String> = choices.iter().map(|(text, _)| format!("`{text}`")).collect();
        let message = format!("invalid value `{}` for `--{name}`", flag.value);
        let diagnostic = Diagnostic::new(Code::InvalidFlagValue, flag.span, message);
        self.diagnostics.push(diagnostic.with_help(format!("use {}", names.join(" or "))));
        None
    }

    fn devices(&mut self) -> Vec<Spanned<Device>> {
        let mut devices = Vec::new();
        for flag in self.flags.values("device") {
            match device(&flag.value) {
                Some(device) => devices.push(Spanned::new(device, flag.span)),
                None => {
                    let message = format!("invalid device `{}`", flag.value);
                    let diagnostic = Diagnostic::new(Code::InvalidFlagValue, flag.span, message);
                    self.diagnostics
                        .push(diagnostic.with_help("for example `vendor.com/class=name,required`"));
                }
            }
        }
        devices
    }
}

/// `name[,required[=bool]]` or `name=NAME,…`; a CDI name may hold a `=` itself.
fn device(text: &str) -> Option<Device> {
    let mut name: Option<String> = None;
    let mut required = false;
    for field in split_fields(text).ok()? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => required = true,
            ("required", Some(value)) => required = parse_bool(value)?,
            ("name", Some(value)) if name.is_none() => name = Some(value.to_owned()),
            _ if name.is_none() => name = Some(field),
            _ => return None,
        }
    }
    Some(Device { name: name.filter(|name| !name.is_empty())?, required })
}
