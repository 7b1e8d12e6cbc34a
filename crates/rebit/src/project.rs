//! `rebit.toml` beside the Dockerfile: how a project is built, without anyone saying it each time.

use serde::Deserialize;

/// The name of the file.
pub(crate) const FILE: &str = "rebit.toml";
/// No sane file is longer.
pub(crate) const LIMIT: u64 = 1 << 20;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Project {
    /// What every build of the project has.
    #[serde(default)]
    pub(crate) build: BuildSettings,
    /// `[image.NAME]`: recipes of images, which `rebit_distro` reads.
    #[serde(default, rename = "image")]
    _images: serde::de::IgnoredAny,
}

/// `[build]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuildSettings {
    /// Names of fixers, as `--fix` takes them.
    #[serde(default)]
    pub(crate) fix: Vec<String>,
}

impl Project {
    /// Reads the text of the file. What is not known is an error.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_an_error() {
        let fix = |text: &str| Project::parse(text).unwrap().build.fix;
        assert_eq!(fix(""), [""; 0]);
        assert_eq!(fix("[build]\nfix = [\"pyc\", \"apt-logs\"] # both\n"), ["pyc", "apt-logs"]);
        let check = |text: &str, expected: &str| {
            let error = Project::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        assert_eq!(fix("[build]\nfix = [\"pyc\"]\n[image.x]\ndebian = {}\n"), ["pyc"]);
        check("[build]\nfixx = []", "unknown field `fixx`");
        check("[bild]", "unknown field `bild`");
        check("[build]\nfix = \"pyc\"", "expected a sequence");
        check("[build", "line 1");
    }
}
