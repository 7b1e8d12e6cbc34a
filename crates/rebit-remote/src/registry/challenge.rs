//! `WWW-Authenticate`: how a registry says what it wants (RFC 9110, section 11; distribution's token specification).

use std::collections::BTreeMap;

/// What a registry wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password.
    Basic,
    /// A token from `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// Reads the field; a scheme that is not known is passed over, and a token is preferred.
pub(super) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut best = None;
    for value in values {
        for (scheme, parameters) in challenges(value) {
            match scheme.as_str() {
                "bearer" => {
                    let get = |name: &str| parameters.get(name).filter(|value| !value.is_empty()).cloned();
                    let Some(realm) = get("realm") else { continue };
                    return Some(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
                }
                "basic" => best = Some(Challenge::Basic),
                _ => {}
            }
        }
    }
    best
}

/// The challenges of one field: scheme in lower case, and parameters by name in lower case.
fn challenges(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() && after.is_empty() {
            return found;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (value, found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, next) = value_of(value.trim_start_matches([' ', '\t']));
                parameters.insert(word.to_ascii_lowercase(), value);
                rest = next;
            }
            (Some(value), None) => rest = value,
            (None, _) => {
                found.push((word.to_ascii_lowercase(), BTreeMap::new()));
                rest = after;
            }
        }
    }
}

/// A token or a quoted text, and what follows.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (values, expected) in [
            (&["Basic realm=\"x\""][..], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &["Bearer realm=\"https://a/token\",service=\"b\",scope=\"repository:a/b:pull,push\""],
                bearer("https://a/token", Some("b"), Some("repository:a/b:pull,push")),
            ),
            (&["BEARER Realm = https://a/t , Service=b"], bearer("https://a/t", Some("b"), None)),
            (&["Bearer realm=\"a\\\"b\\\\c\""], bearer("a\"b\\c", None, None)),
            (&["Basic realm=\"x\", Bearer realm=\"https://a\""], bearer("https://a", None, None)),
            (&["Basic realm=\"x\"", "Bearer realm=\"https://a\""], bearer("https://a", None, None)),
            (&["Bearer realm=\"\"", "Basic"], Some(Challenge::Basic)),
            (&["Negotiate", "Digest realm=\"x\", nonce=1"], None),
            (&["Bearer realm=\"open"], bearer("open", None, None)),
            (&["=", ",,,", "\"", "=\"x", "Bearer =x"], None),
            (&[], None),
        ] {
            assert_eq!(parse(values.iter().copied()), expected, "{values:?}");
        }
    }
}
