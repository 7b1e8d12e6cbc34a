//! What a check found, as text and as JSON.

use rebit_build::fix::FIXERS;
use rebit_build::graph::Op;
use rebit_dockerfile::{SourceFile, Span};
use rebit_oci::Digest;
use serde_json::{Value, json};
use std::io::IsTerminal as _;

use super::builds::{Bench, Ran};
use super::cause::Cause;
use super::difference::Difference;
use super::judge::{Judged, Verdict};
use super::today::{Dated, DatedFile};
use crate::diagnostics::{render_error, render_warning};
use crate::error::{CommandError, ExitKind, printable};
use crate::output::{cut, json, line, say};

/// How many files of a step are shown as text; JSON has them all.
const SHOWN: usize = 12;
/// How many differences inside of a file are shown as text.
const INSIDE: usize = 3;
/// The longest text of an instruction in a title.
const TITLE: usize = 60;

/// What a check found.
pub(super) struct Report<'a> {
    bench: &'a Bench<'a>,
    digest: Digest,
    /// Whether the two builds made different images of the same trees.
    encoded_differently: bool,
    steps: usize,
    runs: usize,
    moved: Vec<String>,
    judged: Vec<Judged>,
    /// What is the same today.
    dated: Vec<Dated>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        bench: &'a Bench<'a>,
        first: &Ran,
        second: &Ran,
        moved: Vec<String>,
        judged: Vec<Judged>,
        dated: Vec<Dated>,
    ) -> Result<Self, CommandError> {
        let done = |run: bool| {
            let counted = first.trees.keys().filter_map(|id| bench.step(*id)).filter(|step| match step.op {
                Op::Run(_) => true,
                Op::Config => false,
                _ => !run,
            });
            counted.count()
        };
        let digest = first.digest.ok_or_else(|| CommandError::message("the build made no image"))?;
        let encoded_differently = first.digest != second.digest;
        let (steps, runs) = (done(false), done(true));
        Ok(Self { bench, digest, encoded_differently, steps, runs, moved, judged, dated })
    }

    fn is_reproducible(&self) -> bool {
        self.judged.is_empty() && self.moved.is_empty() && !self.encoded_differently
    }

    /// Prints it; an error without words when the build is not reproducible.
    pub(super) fn print(&self, as_json: bool) -> Result<(), CommandError> {
        if as_json {
            json(&self.json())?
        } else {
            self.text()?
        }
        if self.is_reproducible() { Ok(()) } else { Err(CommandError::silent(ExitKind::NotVerified)) }
    }

    fn text(&self) -> Result<(), CommandError> {
        let styled = std::io::stdout().is_terminal();
        for found in &self.judged {
            let Some(step) = self.bench.step(found.id) else { continue };
            let title = format!("`{}` {}", printable(&cut(&step.text, TITLE)), title(found.verdict));
            let fixes = fixes(found);
            let own = fixes.first().filter(|_| fixes.len() == 1).cloned();
            let hint = match (fixers_hint(found), own) {
                (Some(fixers), Some(own)) => Some(format!("{fixers}\nor: {own}")),
                (fixers, own) => fixers.or(own),
            };
            line(render_error(
                &self.bench.input.file,
                step.span,
                &title,
                &notes(found, fixes.len() > 1),
                hint.as_deref(),
                styled,
            ))?;
        }
        self.dated.iter().for_each(|found| self.say_dated(found));
        self.moved.iter().try_for_each(|moved| line(format!("moved: {moved}")))?;
        if self.encoded_differently {
            line(
                "error: the same trees were encoded to different images: this is a mistake in rebit; report it with the Dockerfile",
            )?;
        }
        let twice = format!(
            "{} executed twice, {} of them RUN",
            plural(self.steps, "step was", "steps were"),
            self.runs
        );
        if self.is_reproducible() {
            say(format!("reproducible: {twice}; what was not the same:"));
            self.bench.ground.changed().iter().for_each(|condition| say(format!("  {condition}")));
            self.bench
                .ground
                .unchanged()
                .iter()
                .for_each(|condition| say(format!("  not tried: {condition}")));
            return line(self.digest.to_string());
        }
        if self.judged.is_empty() {
            say(format!("{twice}, and gave the same"));
        } else {
            let count = plural(self.judged.len(), "step", "steps");
            say(format!(
                "not reproducible: {twice}; {count} gave something else, each starting from the same files"
            ));
        }
        Ok(())
    }

    fn say_dated(&self, found: &Dated) {
        let Some(step) = self.bench.step(found.id) else { return };
        let title = format!(
            "`{}` left the date: the same today, it may differ tomorrow",
            printable(&cut(&step.text, TITLE))
        );
        let shown = found.files.iter().take(SHOWN);
        let mut notes: Vec<String> =
            shown.map(|file| format!("`{}`: {}", file.path, printable(&file.text))).collect();
        if let Some(more) = found.files.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            notes.push(format!("{more} more files; --json lists them"));
        }
        let fixers = names(found.files.iter().flat_map(|file| &file.fixers));
        let hint = match fixers.is_empty() {
            true => "take the date from SOURCE_DATE_EPOCH, which every step has".to_owned(),
            false => format!("try: --fix {}", fixers.join(",")),
        };
        let styled = std::io::stderr().is_terminal();
        say(render_warning(&self.bench.input.file, step.span, &title, &notes, Some(&hint), styled));
    }

    fn dated_json(&self, found: &Dated) -> Value {
        let file = |file: &DatedFile| json!({ "path": file.path, "text": file.text, "fixers": file.fixers });
        let files: Vec<Value> = found.files.iter().map(file).collect();
        let step = self.bench.step(found.id);
        json!({
            "step": step.map(|step| &step.text),
            "location": step.map(|step| location(&self.bench.input.file, step.span)),
            "files": files,
        })
    }

    fn json(&self) -> Value {
        let dated: Vec<Value> = self.dated.iter().map(|found| self.dated_json(found)).collect();
        let differences: Vec<Value> = self.judged.iter().map(|found| self.step_json(found)).collect();
        json!({
            "reproducible": self.is_reproducible(),
            "digest": self.digest,
            "steps": self.steps,
            "runs": self.runs,
            "changed": self.bench.ground.changed(),
            "unchanged": self.bench.ground.unchanged(),
            "moved": self.moved,
            "encodedDifferently": self.encoded_differently,
            "differences": differences,
            "dated": dated,
        })
    }

    fn step_json(&self, found: &Judged) -> Value {
        let stage = self.bench.graph.stages.get(found.id.stage).map(|stage| stage.display_name());
        let step = self.bench.step(found.id);
        let files: Vec<Value> =
            found.differences.iter().map(|(file, cause)| file_json(file, cause)).collect();
        json!({
            "stage": stage,
            "step": step.map(|step| &step.text),
            "location": step.map(|step| location(&self.bench.input.file, step.span)),
            "verdict": found.verdict,
            "fixers": covering(found).unwrap_or_default(),
            "files": files,
        })
    }
}

/// Lines and characters, both from 1; the end is after the last character.
fn location(file: &SourceFile, span: Span) -> Value {
    let place = |offset| {
        let position = file.position(offset);
        json!({ "line": position.line, "character": position.column })
    };
    json!({ "file": file.name(), "start": place(span.start), "end": place(span.end) })
}

fn file_json(file: &Difference, cause: &Cause) -> Value {
    let mut value = json!({
        "path": file.path,
        "differs": file.what,
        "cause": cause.cause,
        "fix": cause.fix,
        "fixers": file.fixers,
    });
    if let Some(contents) = &file.contents {
        value["bytes"] = json!({ "start": contents.start, "end": contents.end });
        value["findings"] = json!(contents.findings);
        if let Some((first, second)) = &contents.lines {
            value["lines"] = json!([first, second]);
        }
    }
    value
}

fn title(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NotDeterministic => "is not deterministic: the same conditions gave something else",
        Verdict::Processors => "depends on the environment: on the number of processors",
        Verdict::Directories => "depends on the environment: on the order of directories or the file system",
        Verdict::Unsettled => "gave something else once: it depends on several conditions, or on chance",
        Verdict::Moved => "had another input: something moved while the check ran",
        Verdict::Own => "is rebit's own work, and gave something else: this is a mistake in rebit",
    }
}

/// A note for each file; what helps is said there when it is not the same for all.
fn notes(found: &Judged, with_fix: bool) -> Vec<String> {
    let shown = found.differences.iter().take(SHOWN);
    let mut notes: Vec<String> = shown.map(|(file, cause)| note(file, cause, with_fix)).collect();
    if let Some(more) = found.differences.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        notes.push(format!("{more} more files differ; --json lists them"));
    }
    notes
}

fn note(file: &Difference, cause: &Cause, with_fix: bool) -> String {
    let mut lines = vec![format!("`{}`: {}", file.path, file.what)];
    if let Some(contents) = &file.contents {
        lines[0].push_str(&format!(", bytes {} to {}", contents.start, contents.end.saturating_sub(1)));
        if let Some((first, second)) = &contents.lines {
            lines.push(format!("first: {first}"));
            lines.push(format!("then:  {second}"));
        }
        // What is inside of an archive has a place of its own.
        let inside = contents.findings.iter().filter(|finding| finding.place != file.path);
        lines.extend(inside.take(INSIDE).map(|finding| {
            let causes: Vec<String> = finding.causes.iter().map(ToString::to_string).collect();
            let because = if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) };
            format!("in it: {}: {}{because}", printable(&finding.place), printable(&finding.what))
        }));
    }
    lines.push(format!("likely cause: {}", cause.cause));
    if with_fix {
        lines.push(format!("try: {}", cause.fix));
    }
    lines.join("\n")
}

/// The fixers that take away all that differs; `None` when something would stay.
fn covering(found: &Judged) -> Option<Vec<&'static str>> {
    let all = found.differences.iter().all(|(file, _)| !file.fixers.is_empty());
    let own = matches!(found.verdict, Verdict::Moved | Verdict::Own);
    (all && !own).then(|| names(found.differences.iter().flat_map(|(file, _)| &file.fixers)))
}

/// Which fixers to try; what they leave is said of each file.
fn fixers_hint(found: &Judged) -> Option<String> {
    if let Some(fixers) = covering(found) {
        return Some(format!("try: --fix {}", fixers.join(",")));
    }
    let covered = found.differences.iter().filter(|(file, _)| !file.fixers.is_empty());
    let (count, all) = (covered.clone().count(), found.differences.len());
    let fixers = names(covered.flat_map(|(file, _)| &file.fixers));
    let own = matches!(found.verdict, Verdict::Moved | Verdict::Own);
    (count > 0 && !own)
        .then(|| format!("try: --fix {}, which is for {count} of {all} files", fixers.join(",")))
}

/// Names of fixers, each once, in the order of the table.
fn names<'a>(names: impl Iterator<Item = &'a &'static str>) -> Vec<&'static str> {
    let used: std::collections::BTreeSet<&str> = names.copied().collect();
    FIXERS.iter().map(|fixer| fixer.name).filter(|name| used.contains(name)).collect()
}

/// Each fix once, in the order of the files that are shown.
fn fixes(found: &Judged) -> Vec<String> {
    let mut fixes: Vec<String> = Vec::new();
    for (_, cause) in found.differences.iter().take(SHOWN) {
        if !fixes.contains(&cause.fix) {
            fixes.push(cause.fix.clone());
        }
    }
    fixes
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
