//! A report as one page that needs nothing else: no script, no picture, no style from elsewhere.

use std::fmt::Write as _;

use rebit_image::diff::{Finding, Report};

use super::group::{self, groups, ignored, summary, title};
use crate::error::printable;

/// Paths of a group that are listed.
const MOST: usize = 1000;

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<title>rebit diff</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; }
code, pre { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { margin: .2em 0 .8em 2em; white-space: pre-wrap; }
summary { font-weight: 600; margin-top: .8em; cursor: pointer; }
.minus { color: #a40000; } .plus { color: #006400; } .range { color: #555; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #ddd; } .minus { color: #ff8080; } .plus { color: #80e080; } .range { color: #aaa; } }
</style>
</head>
<body>
<h1>rebit diff</h1>
";

pub(super) fn page(report: &Report) -> String {
    let mut out = HEAD.to_owned();
    for text in summary(report) {
        let _ = writeln!(out, "<div><code>{}</code></div>", escape(&text));
    }
    for (name, findings) in [("Documents", &report.documents), ("Layers", &report.layers)] {
        if findings.is_empty() {
            continue;
        }
        open(&mut out, name, findings.len());
        for finding in findings.iter().take(MOST) {
            let text = format!("{}: {}{}", finding.place, title(finding), values(finding));
            item(&mut out, &text, Some(finding));
        }
        close(&mut out, findings.len());
    }
    for group in groups(report) {
        open(&mut out, &group.title, group.files.len());
        for (file, finding) in group.files.iter().take(MOST) {
            item(&mut out, &group::line(file, *finding), *finding);
        }
        close(&mut out, group.files.len());
    }
    let ignored = ignored(report);
    if !ignored.is_empty() {
        open(&mut out, "Ignored", ignored.len());
        ignored.iter().for_each(|text| item(&mut out, text, None));
        close(&mut out, ignored.len());
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn values(finding: &Finding) -> String {
    match (&finding.a, &finding.b) {
        (Some(a), Some(b)) => format!(": {a} → {b}"),
        _ => String::new(),
    }
}

fn open(out: &mut String, title: &str, count: usize) {
    let _ = writeln!(out, "<details open><summary>{} ({count})</summary>", escape(title));
}

fn close(out: &mut String, count: usize) {
    if count > MOST {
        let _ = writeln!(out, "<div>and {} more</div>", count - MOST);
    }
    out.push_str("</details>\n");
}

fn item(out: &mut String, text: &str, finding: Option<&Finding>) {
    let _ = writeln!(out, "<div><code>{}</code></div>", escape(text));
    let detail = finding.map_or(&[][..], |finding| &finding.detail);
    if detail.is_empty() {
        return;
    }
    out.push_str("<pre>");
    for line in detail {
        let class = match line.as_bytes().first() {
            Some(b'-') => "minus",
            Some(b'+') => "plus",
            Some(b'@') => "range",
            _ => "",
        };
        let _ = writeln!(out, "<span class=\"{class}\">{}</span>", escape(line));
    }
    out.push_str("</pre>\n");
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_a_text() {
        assert_eq!(escape("<a href='x'>&\"\u{1b}"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\\u{1b}");
        assert!(!HEAD.contains("<script") && !HEAD.contains("http://") && !HEAD.contains("https://"));
    }
}
