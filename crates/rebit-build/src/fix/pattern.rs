//! Which files a fixer is for.

/// Matches paths, which begin without a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// This path.
    Is(&'static str),
    /// Everything below this directory.
    Below(&'static str),
    /// Everything below a directory of this name, wherever it is.
    BelowAny(&'static str),
    /// Files right in this directory whose names end so.
    In(&'static str, &'static str),
    /// Files whose names end so.
    Ends(&'static str),
}

impl Pattern {
    /// Whether `path` is matched.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let below = |directory: &str| {
            path.strip_prefix(directory.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"))
        };
        match self {
            Self::Is(whole) => path == whole.as_bytes(),
            Self::Below(directory) => below(directory).is_some(),
            Self::BelowAny(directory) => {
                let inner = format!("/{directory}/");
                below(directory).is_some() || path.windows(inner.len()).any(|part| part == inner.as_bytes())
            }
            Self::In(directory, end) => {
                below(directory).is_some_and(|name| !name.contains(&b'/') && name.ends_with(end.as_bytes()))
            }
            Self::Ends(end) => path.ends_with(end.as_bytes()),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Is(whole) => write!(f, "/{whole}"),
            Self::Below(directory) => write!(f, "/{directory}/**"),
            Self::BelowAny(directory) => write!(f, "**/{directory}/**"),
            Self::In(directory, end) => write!(f, "/{directory}/*{end}"),
            Self::Ends(end) => write!(f, "**/*{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let check = |pattern: Pattern, path: &str, expected: bool| {
            assert_eq!(pattern.matches(path.as_bytes()), expected, "{pattern} {path}");
        };
        check(Pattern::Is("etc/shadow"), "etc/shadow", true);
        check(Pattern::Is("etc/shadow"), "etc/shadow-", false);
        check(Pattern::Below("var/log/apt"), "var/log/apt/term.log", true);
        check(Pattern::Below("var/log/apt"), "var/log/aptitude", false);
        check(Pattern::Below("var/log/apt"), "srv/var/log/apt/term.log", false);
        check(Pattern::BelowAny(".npm/_logs"), "root/.npm/_logs/x", true);
        check(Pattern::BelowAny(".npm/_logs"), ".npm/_logs/x", true);
        check(Pattern::BelowAny(".npm/_logs"), "root/x.npm/_logs/x", false);
        check(Pattern::In("var/lib/dpkg", "-old"), "var/lib/dpkg/status-old", true);
        check(Pattern::In("var/lib/dpkg", "-old"), "var/lib/dpkg/info/x-old", false);
        check(Pattern::Ends(".gz"), "a/b.gz", true);
        check(Pattern::Ends(".gz"), "a/b.gz.x", false);
    }
}
