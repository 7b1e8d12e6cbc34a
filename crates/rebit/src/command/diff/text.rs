//! A report for a terminal.

use std::fmt::Write as _;

use rebit_image::diff::{Finding, Report};

use super::group::{self, because, groups, ignored, summary};
use crate::error::printable;

/// Paths of a group that are named, and findings of a document.
const FEW: usize = 10;
/// Paths of a group whose lines or ranges are shown, and how many of these.
const SHOWN: (usize, usize) = (3, 12);

/// The report as text, bounded unless `all`.
pub(super) fn text(report: &Report, all: bool) -> String {
    let mut out = String::new();
    for text in summary(report) {
        line(&mut out, 0, &text);
    }
    let few = if all { usize::MAX } else { FEW };
    for (title, findings) in [("documents", &report.documents), ("layers", &report.layers)] {
        if !findings.is_empty() {
            line(&mut out, 0, &format!("\n{title}:"));
        }
        for finding in findings.iter().take(few) {
            line(&mut out, 2, &said(finding));
            detail(&mut out, finding, SHOWN.1);
        }
        more(&mut out, findings.len(), few);
    }
    for group in groups(report) {
        line(&mut out, 0, &format!("\n{}: {}", group.title, files(group.files.len())));
        for (number, (file, finding)) in group.files.iter().take(few).enumerate() {
            line(&mut out, 2, &group::line(file, *finding));
            if let Some(finding) = finding.filter(|_| all || number < SHOWN.0) {
                detail(&mut out, finding, if all { usize::MAX } else { SHOWN.1 });
            }
        }
        more(&mut out, group.files.len(), few);
    }
    let ignored = ignored(report);
    if !ignored.is_empty() {
        line(&mut out, 0, "\nignored:");
    }
    ignored.iter().for_each(|text| line(&mut out, 2, text));
    out
}

/// A finding of a document or layer.
fn said(finding: &Finding) -> String {
    let because = because(&finding.causes);
    let what = if finding.what == "value" { String::new() } else { format!(" {}", finding.what) };
    match (&finding.a, &finding.b) {
        (Some(a), Some(b)) => format!("{}:{what} {a} → {b}{because}", finding.place),
        _ => format!("{}:{what}{because}", finding.place),
    }
}

fn detail(out: &mut String, finding: &Finding, limit: usize) {
    finding.detail.iter().take(limit).for_each(|text| line(out, 6, text));
    more(out, finding.detail.len(), limit);
}

fn more(out: &mut String, count: usize, shown: usize) {
    if count > shown {
        line(out, 2, &format!("and {} more", count - shown));
    }
}

fn files(count: usize) -> String {
    if count == 1 { "1 place".to_owned() } else { format!("{count} places") }
}

/// A line that stays one: paths may hold anything, ends of lines too.
fn line(out: &mut String, indent: usize, text: &str) {
    let (start, rest) = match text.strip_prefix('\n') {
        Some(rest) => ("\n", rest),
        None => ("", text),
    };
    let _ = writeln!(out, "{start}{:indent$}{}", "", printable(rest).replace('\n', "\\n"));
}
