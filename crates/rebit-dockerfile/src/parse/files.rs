//! `COPY` and `ADD`.

use super::Line;
use crate::diagnostic::{Code, Diagnostic};
use crate::flags::Takes;
use crate::heredoc::{Heredoc, Opening};
use crate::instruction::{Add, Copy, Files, Source};
use crate::json::{self, Json};
use crate::span::Spanned;

impl Line<'_, '_> {
    pub(super) fn copy(&mut self) -> Option<Copy> {
        let known = &[
            ("from", Takes::Value),
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Bool),
            ("parents", Takes::Bool),
            ("exclude", Takes::Values),
        ];
        self.flags.check(self.name, known, self.diagnostics);
        let from = self.flags.value("from");
        if let Some(from) = from.as_ref().filter(|from| from.value.contains('$')) {
            let message = "`--from` cannot hold a variable";
            let diagnostic = Diagnostic::new(Code::VariableNotSupported, from.span, message);
            let help = "name a stage with `FROM $VARIABLE AS name` and copy from that name";
            self.diagnostics.push(diagnostic.with_help(help));
        }
        let parents = self.flags.bool("parents", self.diagnostics).unwrap_or(false);
        Some(Copy { files: self.files()?, from, parents })
    }

    pub(super) fn add(&mut self) -> Option<Add> {
        let known = &[
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Bool),
            ("checksum", Takes::Value),
            ("keep-git-dir", Takes::Bool),
            ("unpack", Takes::Bool),
            ("exclude", Takes::Values),
        ];
        self.flags.check(self.name, known, self.diagnostics);
        let checksum = self.flags.value("checksum");
        let keep_git_dir = self.flags.bool("keep-git-dir", self.diagnostics);
        let unpack = self.flags.bool("unpack", self.diagnostics);
        Some(Add { files: self.files()?, checksum, keep_git_dir, unpack })
    }

    /// What both have in common.
    fn files(&mut self) -> Option<Files> {
        let json = matches!(json::read(self.args), Json::Strings(_));
        let mut words = self.json_or_words()?;
        let Some(dest) = words.pop() else {
            return self.missing("at least one source, and a destination");
        };
        if words.is_empty() {
            let message = format!("{} has a source, but no destination", self.name);
            let help = format!("write `{} {} …`; `.` is the working directory", self.name, dest.value);
            self.diagnostics.push(Diagnostic::new(Code::MissingArgument, dest.span, message).with_help(help));
            return None;
        }
        let sources =
            if json { words.into_iter().map(Source::Path).collect() } else { self.sources(words, &dest) };
        Some(Files {
            sources,
            dest,
            json,
            chown: self.flags.value("chown"),
            chmod: self.flags.value("chmod"),
            link: self.flags.bool("link", self.diagnostics),
            excludes: self.flags.values("exclude"),
        })
    }

    /// Tells heredocs from paths.
    fn sources(&mut self, words: Vec<Spanned<String>>, dest: &Spanned<String>) -> Vec<Source> {
        if is_opening(&dest.value) {
            self.report(Code::InvalidHeredoc, dest.span, "a destination cannot be a heredoc");
        }
        let mut heredocs = std::mem::take(&mut self.heredocs).into_iter().peekable();
        let mut sources = Vec::new();
        for word in words {
            if !is_opening(&word.value) {
                sources.push(Source::Path(word));
            } else if let Some(heredoc) = heredocs.next_if(|heredoc: &Heredoc| heredoc.span == word.span) {
                sources.push(Source::Heredoc(heredoc));
            } else {
                self.report(Code::InvalidHeredoc, word.span, "heredoc without a body");
            }
        }
        // Left over: a delimiter with blanks in it, which does not stay one word here, or one that is the destination.
        for heredoc in heredocs.filter(|heredoc| heredoc.span != dest.span) {
            let message = "a heredoc with blanks in its word cannot be copied";
            self.report(Code::InvalidHeredoc, heredoc.span, message);
        }
        sources
    }
}

fn is_opening(word: &str) -> bool {
    matches!(Opening::parse(word), Ok(Some(_)))
}
