//! `config.toml` in the store: what is collected at the end of a build, without anyone asking.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::error::CommandError;
use crate::flags::{parse_size, parse_time};

pub(crate) const FILE: &str = "config.toml";
/// No sane settings are longer.
const LIMIT: u64 = 64 << 10;

/// When the store is collected at the end of a build, and what stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GcSettings {
    /// Collect when the store takes more than this, until it does not.
    pub(crate) max_size: Option<u64>,
    /// Collect when there are results older than this.
    pub(crate) keep_newer: Option<Duration>,
    /// Keep what the last builds used, as long as the size allows.
    pub(crate) keep_last: u32,
}

/// Reads the settings of the store at `root`; `None` when there are none.
pub(crate) fn read(root: &Path) -> Result<Option<GcSettings>, CommandError> {
    let path = root.join(FILE);
    let wrong = |what: String| CommandError::message(format!("cannot read `{}`: {what}", path.display()));
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > LIMIT => {
            return Err(wrong(format!("it is larger than {LIMIT} bytes")));
        }
        _ => {}
    }
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    parse(&text).map(Some).map_err(wrong)
}

/// Reads `[gc]` and the lines `key = value` below it, a subset of TOML. What is not known is an error.
fn parse(text: &str) -> Result<GcSettings, String> {
    let mut settings = GcSettings::default();
    let mut section = String::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            section = name.trim().to_owned();
            if section != "gc" {
                return Err(format!(
                    "line {number}: there is no section `{section}`; `[gc]` is the only one"
                ));
            }
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(format!("line {number} is not `key = value`"))?;
        let (key, value) = (key.trim(), value.split('#').next().unwrap_or_default().trim());
        if section.is_empty() {
            return Err(format!("line {number}: `{key}` belongs below `[gc]`"));
        }
        let quoted = || {
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            inner.ok_or(format!("line {number}: the value of `{key}` is not in double quotes"))
        };
        let in_line = |error: String| format!("line {number}: {error}");
        match key {
            "max-size" => settings.max_size = Some(parse_size(quoted()?).map_err(in_line)?),
            "keep-newer" => settings.keep_newer = Some(parse_time(quoted()?).map_err(in_line)?),
            "keep-last" => {
                settings.keep_last =
                    value.parse().map_err(|_| format!("line {number}: `{value}` is not a number"))?;
            }
            _ => {
                return Err(format!(
                    "line {number}: there is no setting `{key}`; max-size, keep-newer and keep-last are"
                ));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_what_is_wrong_is_named() {
        let text = "# mine\n[gc]\nmax-size = \"20G\"  # all of it\nkeep-newer = \"30d\"\nkeep-last = 3\n";
        let expected = GcSettings {
            max_size: Some(20 << 30),
            keep_newer: Some(Duration::from_secs(30 * 86_400)),
            keep_last: 3,
        };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(GcSettings::default()));
        let check = |text: &str, expected: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("max-size = \"1G\"", "line 1: `max-size` belongs below `[gc]`");
        check("[gc]\nmax-sice = \"1G\"", "line 2: there is no setting `max-sice`");
        check("[gc]\nmax-size = 1G", "not in double quotes");
        check("[gc]\nmax-size = \"1X\"", "`X` is not a unit");
        check("[gc]\nkeep-last = many", "`many` is not a number");
        check("[other]", "there is no section `other`");
        check("[gc]\nwhat", "line 2 is not `key = value`");
    }
}
