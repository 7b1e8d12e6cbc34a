//! The JSON array form of arguments.

use serde_json::Value;

use crate::lex::Part;
use crate::span::Spanned;

/// What a part is, seen as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    /// An array of strings.
    Strings(Vec<Spanned<String>>),
    /// An array with something else in it.
    NotStrings,
    /// No JSON array.
    No,
}

/// Reads a part as a JSON array of strings and nothing after it.
pub(crate) fn read(part: Part<'_>) -> Json {
    let part = part.trim();
    let text = part.text();
    if !text.starts_with('[') {
        return Json::No;
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(text) else { return Json::No };
    let strings: Option<Vec<String>> = values
        .into_iter()
        .map(|value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
        .collect();
    let Some(strings) = strings else { return Json::NotStrings };
    let places = string_places(text);
    let place =
        |index: usize| places.get(index).map_or(part.span(), |(start, end)| part.sub(*start, *end).span());
    Json::Strings(strings.into_iter().enumerate().map(|(i, text)| Spanned::new(text, place(i))).collect())
}

/// Where the strings of a valid array of strings stand, quotes included.
fn string_places(text: &str) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    let mut open = None;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (byte, open) {
            (b'"', None) => open = Some(at),
            (b'"', Some(start)) => {
                places.push((start, at + 1));
                open = None;
            }
            (b'\\', Some(_)) => {
                bytes.next();
            }
            _ => {}
        }
    }
    places
}

/// Whether text that is no JSON array was probably meant to be one: `[` and a quote at the start, `]` at the end.
///
/// `[ "$a" = b ] && c` is a shell test; so is `[ "$a" = "b" ]`, which has no comma.
pub(crate) fn looks_like_array(text: &str) -> bool {
    let text = text.trim();
    let Some(inside) = text.strip_prefix('[') else { return false };
    let inside = inside.trim_start();
    let quoted = inside.starts_with(['"', '\'', '“', '”']);
    quoted && text.ends_with(']') && (inside.contains(',') || inside.split_whitespace().count() == 1)
}

/// The JSON array that was probably meant: other quotes made double, a comma at the end removed.
pub(crate) fn repaired(text: &str) -> Option<String> {
    let text = text.trim().replace(['\'', '“', '”', '‘', '’'], "\"");
    let inside = text.strip_prefix('[')?.strip_suffix(']')?.trim().trim_end_matches(',');
    let strings: Vec<String> = serde_json::from_str(&format!("[{inside}]")).ok()?;
    let quoted: Vec<String> = strings.into_iter().map(|text| Value::String(text).to_string()).collect();
    Some(format!("[{}]", quoted.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::Logical;

    #[test]
    fn arrays() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let logical = Logical::read(text, 0, '\u{1}');
            let seen = match read(logical.all()) {
                Json::Strings(words) => Some(words.iter().map(|w| w.value.clone()).collect::<Vec<_>>()),
                _ => None,
            };
            let expected = expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
            assert_eq!(seen, expected, "{text}");
        };
        check("[]", Some(&[]));
        check(" [ \"a\" , \"b\" ] ", Some(&["a", "b"]));
        check("[\"a\\nb\", \"\\u00e9\"]", Some(&["a\nb", "é"]));
        check("[\"a\"", None);
        check("[\"a\",]", None);
        check("['a']", None);
        check("[\"a\"] b", None);
        check("\"a\"", None);
        check("", None);
        check("[1]", None);
    }

    #[test]
    fn places_and_kinds() {
        let text = "[\"a\\\"b\", \"c\"]";
        let logical = Logical::read(text, 0, '\u{1}');
        let Json::Strings(words) = read(logical.all()) else { panic!("an array") };
        assert_eq!(words[0].value, "a\"b");
        assert_eq!(&text[words[0].span.range()], "\"a\\\"b\"");
        assert_eq!(&text[words[1].span.range()], "\"c\"");
        for text in ["[1]", "[\"a\", null]", "[[\"a\"]]", "[{}]"] {
            assert_eq!(read(Logical::read(text, 0, '\u{1}').all()), Json::NotStrings, "{text}");
        }
    }

    #[test]
    fn repairs() {
        assert_eq!(repaired("['a', 'b']").as_deref(), Some("[\"a\", \"b\"]"));
        assert_eq!(repaired("[“a”,\"b\", ]").as_deref(), Some("[\"a\", \"b\"]"));
        assert_eq!(repaired("[\"a\" \"b\"]"), None);
    }

    #[test]
    fn near_misses() {
        for text in ["['a']", "[ \"a\", 'b' ]", "[\"a\", \"b\",]", "[\"a\" , b]"] {
            assert!(looks_like_array(text), "{text}");
        }
        for text in ["[ -f x ]", "[ \"$a\" = b ] && c", "[ \"$a\" = \"b\" ]", "[[ a ]]", "echo [\"a\"]"] {
            assert!(!looks_like_array(text), "{text}");
        }
    }
}
