//! Platforms as container tools name them: `linux/amd64`, `linux/arm/v7`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// An operating system and a processor architecture, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BuildPlatform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
}

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform such as linux/amd64")]
pub struct ParsePlatformError {
    text: String,
}

impl fmt::Display for BuildPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// Reads `OS/ARCH[/VARIANT]`; other names of an architecture become the usual one, and a variant that says nothing is left out,
/// as containerd has it.
impl FromStr for BuildPlatform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let invalid = || ParsePlatformError { text: text.to_owned() };
        if !parts.iter().all(word) {
            return Err(invalid());
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(invalid()),
        };
        let (os, architecture) = (os.to_ascii_lowercase(), architecture.to_ascii_lowercase());
        let variant = variant.map(str::to_ascii_lowercase);
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
            ("aarch64", variant) => ("arm64", variant),
            ("i386", _) => ("386", None),
            ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            (architecture, variant) => (architecture, variant),
        };
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        Ok(Self { os, architecture: architecture.to_owned(), variant: variant.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_containerd_reads_them() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<BuildPlatform>().unwrap().to_string(), expected, "{text}");
        };
        check("linux/amd64", "linux/amd64");
        check("linux/x86_64", "linux/amd64");
        check("Linux/AMD64", "linux/amd64");
        check("linux/amd64/v2", "linux/amd64/v2");
        check("linux/aarch64", "linux/arm64");
        check("linux/arm64/v8", "linux/arm64");
        check("linux/arm", "linux/arm/v7");
        check("linux/arm/v6", "linux/arm/v6");
        check("linux/riscv64", "linux/riscv64");
        for wrong in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/a b", "linux/$x"] {
            assert!(wrong.parse::<BuildPlatform>().is_err(), "{wrong}");
        }
    }
}
