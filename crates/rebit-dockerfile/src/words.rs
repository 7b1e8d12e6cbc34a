//! Words of `ENV`, `LABEL` and `ARG`: separated by white space that is neither quoted nor escaped. Quotes and escapes stay.

use crate::lex::Part;

/// Splits a part into words. An escape character at the very end disappears.
pub(crate) fn split_parts(part: Part<'_>, escape: char) -> Vec<Part<'_>> {
    let text = part.text();
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut end = text.len();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some(start) = start.take() {
                words.push(part.sub(start, at));
            }
            continue;
        }
        start.get_or_insert(at);
        if c == escape && quote != Some('\'') {
            // The escaped character is part of the word whatever it is.
            if chars.next().is_none() {
                end = at;
            }
            continue;
        }
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
    }
    if let Some(start) = start.filter(|start| *start < end) {
        words.push(part.sub(start, end));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::Logical;

    #[test]
    fn words() {
        let check = |text: &str, escape, expected: &[&str]| {
            let logical = Logical::read(text, 0, '\u{1}');
            let seen: Vec<_> = split_parts(logical.all(), escape).into_iter().map(Part::text).collect();
            assert_eq!(seen, expected, "{text:?}");
        };
        check("", '\\', &[]);
        check("a", '\\', &["a"]);
        check("a=b  c=d", '\\', &["a=b", "c=d"]);
        check("a=\"b c\" d", '\\', &["a=\"b c\"", "d"]);
        check("a='b c' d", '\\', &["a='b c'", "d"]);
        check("a=b\\ c d", '\\', &["a=b\\ c", "d"]);
        check("a=b` c d", '`', &["a=b` c", "d"]);
        check("a=\"b\\\" c\" d", '\\', &["a=\"b\\\" c\"", "d"]);
        check("a='b\\' c", '\\', &["a='b\\'", "c"]);
        check("a=\"\" b", '\\', &["a=\"\"", "b"]);
        check("a=\"b c", '\\', &["a=\"b c"]);
        check("a=b\\", '\\', &["a=b"]);
        check("a=\"b\\", '\\', &["a=\"b"]);
        check("a \\", '\\', &["a"]);
        check("é=ü\u{a0}x", '\\', &["é=ü", "x"]);
    }
}
