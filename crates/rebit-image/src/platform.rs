//! Platforms as `os/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

use rebit_oci::config::ImageConfig;
use rebit_oci::manifest;
use serde::Serialize;

/// What an image runs on, in Go's words: `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The instruction set.
    pub architecture: String,
    /// Its variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The text is not `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform (`os/architecture[/variant]`)")]
pub struct ParsePlatformError {
    /// The text as given, cut to 100 characters.
    pub text: String,
}

impl Platform {
    /// A platform without a variant.
    #[must_use]
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// What a config says it is for.
    #[must_use]
    pub fn of_config(config: &ImageConfig) -> Self {
        Self {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone().filter(|variant| !variant.is_empty()),
        }
    }

    /// What a descriptor says its manifest is for.
    #[must_use]
    pub fn of_descriptor(platform: &manifest::Platform) -> Self {
        Self {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone().filter(|variant| !variant.is_empty()),
        }
    }

    /// How well an image for `other` serves this request; `None` when it does not.
    ///
    /// A variant that was asked for must be there, except that arm64 means v8. Without one, the image
    /// without a variant is best.
    #[must_use]
    pub fn fit(&self, other: &Self) -> Option<u32> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        match (self.effective_variant(), other.effective_variant()) {
            (wanted, found) if wanted == found => Some(0),
            (None, Some(_)) => Some(1),
            _ => None,
        }
    }

    fn effective_variant(&self) -> Option<&str> {
        self.variant.as_deref().filter(|variant| (self.architecture.as_str(), *variant) != ("arm64", "v8"))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let platform =
            match (parts.next().filter(word), parts.next().filter(word), parts.next(), parts.next()) {
                (Some(os), Some(architecture), None, None) => Some(Self::new(os, architecture)),
                (Some(os), Some(architecture), Some(variant), None) if word(&variant) => {
                    Some(Self { variant: Some(variant.to_owned()), ..Self::new(os, architecture) })
                }
                _ => None,
            };
        platform.ok_or_else(|| ParsePlatformError { text: text.chars().take(100).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_written() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "a/b/", "a/b/c/d", "a b/c"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_closest_platform_fits_best() {
        let check = |wanted: &str, found: &str, expected| {
            let fit = wanted.parse::<Platform>().unwrap().fit(&found.parse().unwrap());
            assert_eq!(fit, expected, "{wanted} {found}");
        };
        check("linux/amd64", "linux/amd64", Some(0));
        check("linux/amd64", "linux/amd64/v3", Some(1));
        check("linux/amd64", "linux/arm64", None);
        check("linux/amd64", "windows/amd64", None);
        check("linux/arm/v6", "linux/arm/v7", None);
        check("linux/arm64", "linux/arm64/v8", Some(0));
        check("linux/arm64/v8", "linux/arm64", Some(0));
    }
}
