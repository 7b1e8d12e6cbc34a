//! The variables that are visible at a place in the file.
//!
//! Global `ARG`s are visible in `FROM` lines only. Inside a stage an `ARG` brings in a build argument, its own default, or
//! the global value of that name, in this order; `ENV` and `ARG` share one name space in which the later one wins.

use std::collections::BTreeMap;

use rebit_dockerfile::expand::{ExpandError, Expander};

use crate::graph::BuildPlatform;

/// Names that `docker build` accepts as build arguments without an `ARG`; they are no part of a step's identity.
pub(super) const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Variables in order, each name once.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    variables: Vec<(String, String)>,
}

impl Scope {
    /// The variables of an image config's environment.
    pub(super) fn from_env(env: &[String]) -> Self {
        let mut scope = Self::default();
        for line in env {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            scope.set(name, value);
        }
        scope
    }

    /// These variables.
    pub(super) fn of(variables: &[(String, String)]) -> Self {
        Self { variables: variables.to_vec() }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.variables.iter_mut().find(|(n, _)| n == name) {
            Some((_, existing)) => value.clone_into(existing),
            None => self.variables.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(super) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    pub(super) fn expand(&self, escape: char, word: &str) -> Result<String, ExpandError> {
        Expander::new(escape, &|name| self.get(name)).expand_word(word)
    }

    pub(super) fn expand_words(&self, escape: char, word: &str) -> Result<Vec<String>, ExpandError> {
        Expander::new(escape, &|name| self.get(name)).expand_words(word)
    }

    pub(super) fn expand_heredoc(&self, body: &str) -> Result<String, ExpandError> {
        Expander::heredoc(&|name| self.get(name)).expand_word(body)
    }
}

/// The variables that describe the platforms, visible in `FROM` and, once declared by an `ARG`, in a stage.
pub(super) fn platform_args(
    build: &BuildPlatform,
    target: &BuildPlatform,
    stage: &str,
) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
        args.insert(format!("{prefix}PLATFORM"), platform.to_string());
        args.insert(format!("{prefix}OS"), platform.os.clone());
        args.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        args.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    args.insert("TARGETSTAGE".to_owned(), stage.to_owned());
    args
}
