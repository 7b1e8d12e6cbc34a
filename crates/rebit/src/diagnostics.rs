//! Problems in a Dockerfile, shown in the text they are about.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use rebit_dockerfile::{Code, Diagnostic, Severity, SourceFile, Span};

/// Widest line of a diagnostic.
const WIDTH: usize = 120;

/// Shows what the parser said.
pub(crate) fn render_diagnostic(file: &SourceFile, diagnostic: &Diagnostic, styled: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut snippet = snippet(file).annotation(AnnotationKind::Primary.span(range(file, diagnostic.span)));
    for label in &diagnostic.labels {
        snippet = snippet
            .annotation(AnnotationKind::Context.span(range(file, label.span)).label(label.text.as_str()));
    }
    let mut group =
        level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.name()).element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    if let Code::Rule(rule) = diagnostic.code {
        group = group.element(Level::HELP.message(format!("see {}", rule.page())));
    }
    render(group, styled)
}

/// Shows an error that is about a place in the file: what, where, the causes, and a hint.
pub(crate) fn render_error(
    file: &SourceFile,
    span: Span,
    title: &str,
    causes: &[String],
    hint: Option<&str>,
    styled: bool,
) -> String {
    render_finding(Level::ERROR, file, span, title, causes, hint, styled)
}

/// As [`render_error`], of something that is no error.
pub(crate) fn render_warning(
    file: &SourceFile,
    span: Span,
    title: &str,
    causes: &[String],
    hint: Option<&str>,
    styled: bool,
) -> String {
    render_finding(Level::WARNING, file, span, title, causes, hint, styled)
}

fn render_finding(
    level: Level<'_>,
    file: &SourceFile,
    span: Span,
    title: &str,
    causes: &[String],
    hint: Option<&str>,
    styled: bool,
) -> String {
    // An error about a whole instruction is shown at its first line: the rest is there to be read in the file.
    let span = first_line(file, span);
    let snippet = snippet(file).annotation(AnnotationKind::Primary.span(range(file, span)));
    let mut group = level.primary_title(title).element(snippet);
    for cause in causes {
        group = group.element(Level::NOTE.message(cause.as_str()));
    }
    if let Some(hint) = hint {
        group = group.element(Level::HELP.with_name("hint").message(hint));
    }
    render(group, styled)
}

fn snippet(file: &SourceFile) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    Snippet::source(file.text()).path(file.name())
}

fn render(group: Group<'_>, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH).render(&[group])
}

fn first_line(file: &SourceFile, span: Span) -> Span {
    let text = file.slice(span).unwrap_or_default();
    let length = text.find('\n').unwrap_or(text.len());
    Span::new(span.start, span.start + text[..length].trim_end().len())
}

fn range(file: &SourceFile, span: Span) -> std::ops::Range<usize> {
    let end = file.text().len();
    span.start.min(end)..span.end.min(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_line() {
        let file = SourceFile::new("Dockerfile", "FROM a\nCOPY x \\\n  /y\n");
        let text =
            render_error(&file, Span::new(7, 20), "`x` is missing", &["why".into()], Some("do it"), false);
        for part in ["error: `x` is missing", "Dockerfile:2:1", "COPY x", "note: why", "hint: do it"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn parser_findings_show_their_code_and_help() {
        let text = "FROM a\nRUNN x\n";
        let parsed = rebit_dockerfile::parse(text);
        let file = SourceFile::new("f", text);
        let shown = render_diagnostic(&file, &parsed.diagnostics[0], false);
        for part in ["error[unknown-instruction]", "f:2:1", "RUN"] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
    }
}
