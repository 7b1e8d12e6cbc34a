//! This project's own rules: commands that give other bytes tomorrow, as far as the text alone says so.

use std::sync::OnceLock;

use regex::Regex;

use super::variables::is_remote;
use super::{Linter, Rule};
use crate::instruction::{Add, Instruction, Program, Run, Source, Stage};
use crate::span::Span;

impl Linter<'_> {
    pub(super) fn commands(&mut self, stage: &Stage) {
        for node in &stage.instructions {
            match &node.value {
                Instruction::Add(add) if add.checksum.is_none() => self.unchecked(add),
                Instruction::Run(run) => self.run(run, node.keyword.span),
                _ => {}
            }
        }
    }

    /// `ADD` of an address whose content may change.
    fn unchecked(&mut self, add: &Add) {
        for source in &add.files.sources {
            let Source::Path(word) = source else { continue };
            if is_remote(&word.value) && !names_commit(&word.value) {
                let message = format!("`{}` may be something else tomorrow", word.value);
                let help = "say what it is: `ADD --checksum=sha256:…`, or the commit of a git repository";
                self.report(Rule::RebitAddWithoutChecksum, word.span, message, help);
            }
        }
    }

    fn run(&mut self, run: &Run, keyword: Span) {
        let text = match run.program() {
            Program::Exec(args) => args.join(" "),
            Program::Shell(text) | Program::File { content: text, .. } => text,
        };
        let Some(patterns) = patterns() else { return };
        if patterns.apt_update.is_match(&text) && !patterns.apt_use.is_match(&text) {
            let message = "the package lists of this step are as old as its cached result";
            let help = "put `apt-get update` and `apt-get install` into one RUN";
            self.report(Rule::RebitAptUpdateAlone, self.word(keyword, "update"), message, help);
        }
        let fixed = text.contains("SOURCE_DATE_EPOCH");
        if let Some(found) = patterns.clock.find(&text).filter(|_| !fixed) {
            let message = "the time of the build gets into the image";
            let help = "use a fixed time: `date -u -d \"@$SOURCE_DATE_EPOCH\"`";
            self.report(Rule::RebitClockInRun, self.word(keyword, found.as_str()), message, help);
        }
        let checked = patterns.check.is_match(&text);
        if let Some(found) = patterns.piped.find(&text).filter(|_| !checked) {
            let message = "a script that nobody checked is run as it comes";
            let help = "`ADD --checksum=sha256:…` the script, then run it";
            let span = self.word(keyword, found.as_str().split_whitespace().next().unwrap_or_default());
            self.report(Rule::RebitPipedScript, span, message, help);
        }
    }

    /// Where a word stands in the line of an instruction; the instruction's name if it is not there as written.
    fn word(&self, keyword: Span, word: &str) -> Span {
        let rest = self.source.get(keyword.end..).unwrap_or_default();
        match rest.find(word).filter(|_| !word.is_empty()) {
            Some(at) => Span::new(keyword.end + at, keyword.end + at + word.len()),
            None => keyword,
        }
    }
}

/// Whether a git address ends in a whole commit.
fn names_commit(address: &str) -> bool {
    let is_commit = |text: &str| matches!(text.len(), 40 | 64) && text.chars().all(|c| c.is_ascii_hexdigit());
    let fragment = address.split_once('#').map(|(_, part)| part.split(':').next().unwrap_or_default());
    let query = address
        .split(['?', '&'])
        .find_map(|part| part.strip_prefix("checksum=").or(part.strip_prefix("commit=")));
    fragment.is_some_and(is_commit) || query.is_some_and(is_commit)
}

struct Patterns {
    apt_update: Regex,
    apt_use: Regex,
    clock: Regex,
    piped: Regex,
    check: Regex,
}

fn patterns() -> Option<&'static Patterns> {
    static PATTERNS: OnceLock<Option<Patterns>> = OnceLock::new();
    let compile = || {
        Some(Patterns {
            apt_update: Regex::new(r"(?:^|[\s;&|(])apt(?:-get)?(?:\s+-\S+)*\s+update\b").ok()?,
            apt_use: Regex::new(
                r"(?:^|[\s;&|(])apt(?:-get|itude)?(?:\s+-\S+(?:\s+\S+=\S+)?)*\s+(?:install|upgrade|dist-upgrade|full-upgrade|build-dep|source|download|satisfy)\b",
            )
            .ok()?,
            // Not with `-d`, `-r` or `-f`, which say which time is meant.
            clock: Regex::new(r"(?:\$\(|`)\s*date(?:\s+(?:-u|--utc|-I\w*|-R|--rfc-3339=\w+|--iso-8601(?:=\w+)?|\+\S+))*\s*(?:\)|`)|(?:^|[;&|(]\s*)date(?:\s+(?:-u|-R|\+\S+))*\s*>+").ok()?,
            piped: Regex::new(r"\b(?:curl|wget)\b[^|;&\n]*\|\s*(?:sudo\s+(?:-\S+\s+)*)?(?:/\S*/)?(?:ba|da|z|k)?sh\b").ok()?,
            check: Regex::new(r"\b(?:sha\d+sum|shasum|b2sum|gpg|gpgv|cosign|minisign)\b").ok()?,
        })
    };
    PATTERNS.get_or_init(compile).as_ref()
}
