//! The variables that are visible at a place, as far as the text says what they are.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::expand::{ExpandError, Expander, Expansion};
use crate::instruction::{ArgName, Dockerfile};

/// The arguments that describe the platforms, and what they stand for while a file is checked.
pub(super) const PLATFORM_ARGS: [(&str, &str); 11] = [
    ("BUILDPLATFORM", "linux/amd64"),
    ("BUILDOS", "linux"),
    ("BUILDOSVERSION", ""),
    ("BUILDARCH", "amd64"),
    ("BUILDVARIANT", ""),
    ("TARGETPLATFORM", "linux/amd64"),
    ("TARGETOS", "linux"),
    ("TARGETOSVERSION", ""),
    ("TARGETARCH", "amd64"),
    ("TARGETVARIANT", ""),
    ("TARGETSTAGE", "stage"),
];

/// Values longer than this are taken as unknown: what is checked needs the beginning of paths and names only.
const MAX_VALUE_BYTES: usize = 256;

/// Variables by name; `None` is a variable whose value the text does not say.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    values: BTreeMap<String, Option<String>>,
    /// Whether all variables are known: those of the base image are.
    pub(super) is_complete: bool,
    /// Whether there is a `SHELL`.
    pub(super) has_shell: bool,
    /// Whether there was a `WORKDIR`.
    pub(super) has_workdir: bool,
}

/// A word with its variables replaced, and whether all of their values were known.
pub(super) struct Expanded {
    pub(super) expansion: Expansion,
    pub(super) is_exact: bool,
}

impl Scope {
    /// The arguments of `FROM` lines, with the build arguments given.
    pub(super) fn global(file: &Dockerfile, build_args: &BTreeMap<String, String>) -> Self {
        let values = PLATFORM_ARGS.iter().map(|(n, value)| ((*n).to_owned(), Some((*value).to_owned())));
        let mut scope = Self { values: values.collect(), is_complete: true, ..Self::default() };
        let escape = file.directives.escape_char();
        for arg in file.global_args.iter().flat_map(|node| &node.value.args) {
            let value = match (build_args.get(&arg.name.value), &arg.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => scope.value_of(escape, &default.value),
                (None, None) => continue,
            };
            scope.set(&arg.name.value, value);
        }
        scope
    }

    /// What an image brings.
    pub(super) fn of_base(facts: Option<super::BaseFacts>) -> Self {
        let mut scope = match facts {
            Some(facts) => {
                let mut scope = Self { is_complete: true, has_shell: facts.has_shell, ..Self::default() };
                facts.variables.into_iter().for_each(|(name, value)| scope.set(&name, Some(value)));
                scope
            }
            None => Self::default(),
        };
        // Every stage has a search path, whatever its base says.
        scope.values.entry("PATH".to_owned()).or_insert(None);
        scope
    }

    pub(super) fn set(&mut self, name: &str, value: Option<String>) {
        self.values.insert(name.to_owned(), value.filter(|value| value.len() <= MAX_VALUE_BYTES));
    }

    /// What an `ARG` of a stage does: a build argument, the default, or the global value, in this order.
    pub(super) fn declare(
        &mut self,
        arg: &ArgName,
        escape: char,
        global: &Self,
        build_args: &BTreeMap<String, String>,
    ) {
        let name = arg.name.value.as_str();
        let value = match (build_args.get(name), &arg.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => self.value_of(escape, &default.value),
            // An argument that has no value leaves a variable of this name as it is.
            (None, None) => match (global.values.get(name), self.values.get(name)) {
                (Some(value), _) | (None, Some(value)) => value.clone(),
                (None, None) => None,
            },
        };
        self.set(name, value);
    }

    pub(super) fn value_of(&self, escape: char, word: &str) -> Option<String> {
        let expanded = self.expand(escape, word).ok()?;
        expanded.is_exact.then_some(expanded.expansion.text)
    }

    pub(super) fn expand(&self, escape: char, word: &str) -> Result<Expanded, ExpandError> {
        let is_exact = Cell::new(true);
        let lookup = |name: &str| {
            let value = self.values.get(name);
            let known = value.map_or(self.is_complete, Option::is_some);
            is_exact.set(is_exact.get() && known);
            value.map(|value| value.clone().unwrap_or_else(|| "x".to_owned()))
        };
        let expansion = Expander::new(escape, &lookup).expand(word)?;
        Ok(Expanded { expansion, is_exact: is_exact.get() })
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_deref()
    }

    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.values.keys().map(String::as_str).collect()
    }
}
