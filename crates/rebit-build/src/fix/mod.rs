//! Fixers: what `RUN` is known to leave behind is taken back or rewritten before the tree of the step is stored.
//!
//! A fixer has a name, a version and a rule: which files it is for, and a pure function of their bytes. Only files that the step
//! wrote are looked at. Fixers that are on are part of the step's cache key, by name and version.

mod ar;
mod gzip;
mod pattern;
mod pyc;
mod shadow;
mod step;
mod table;
mod zip;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

pub use pattern::Pattern;
pub use table::FIXERS;

pub(crate) use step::apply_to_step;

/// The largest file that is rewritten, in bytes; a larger one stays as it is, and that is said.
pub const MAX_FILE: u64 = 64 << 20;

/// One of the fixers that there are.
#[derive(Debug)]
pub struct Fixer {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Raised when the same file would be fixed in another way.
    pub version: u32,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Why what it is for differs from run to run.
    pub reason: &'static str,
    /// Which files it is for.
    pub files: &'static [Pattern],
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    /// The file becomes what it was below the step: usually nothing.
    TakeBack,
    /// The file becomes what the function makes of it.
    Rewrite(fn(&File<'_>) -> Result<Fixed, Unfit>),
}

/// A regular file that a step wrote.
pub struct File<'a> {
    /// Its path, without a slash at the beginning.
    pub path: &'a [u8],
    /// Its content.
    pub bytes: &'a [u8],
    /// What was at the path before the step, when that was a file.
    pub before: &'a dyn Fn() -> Option<Vec<u8>>,
    /// When files of the tree were changed, as the image says it.
    pub mtime_of: &'a dyn Fn(&[u8]) -> Option<i64>,
    /// Seconds since 1970 that stand for every time.
    pub epoch: i64,
}

impl std::fmt::Debug for File<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("path", &String::from_utf8_lossy(self.path)).finish_non_exhaustive()
    }
}

/// What becomes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fixed {
    /// It stays.
    Keep,
    /// It becomes what it was below the step.
    TakeBack,
    /// It has this content.
    Replace(Vec<u8>),
}

/// Why a file of a format that a fixer is for stays as it is, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

impl Fixer {
    /// Whether it is for files at `path`, which begins without a slash.
    #[must_use]
    pub fn is_for(&self, path: &[u8]) -> bool {
        self.files.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether it looks at the content of files.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(self.rule, Rule::Rewrite(_))
    }

    /// What becomes of a file that it is for.
    ///
    /// # Errors
    /// [`Unfit`] when the file has a form that is not rewritten.
    pub fn fix(&self, file: &File<'_>) -> Result<Fixed, Unfit> {
        match self.rule {
            Rule::TakeBack => Ok(Fixed::TakeBack),
            Rule::Rewrite(rewrite) => {
                let fixed = rewrite(file)?;
                let same = matches!(&fixed, Fixed::Replace(bytes) if bytes == file.bytes);
                Ok(if same { Fixed::Keep } else { fixed })
            }
        }
    }
}

/// The fixers that are on, each once, in the order of [`FIXERS`].
#[derive(Debug, Clone, Default)]
pub struct Fixers(Vec<&'static Fixer>);

/// There is no fixer of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no fixer `{name}`")]
pub struct UnknownFixer {
    /// The name.
    pub name: String,
}

impl Fixers {
    /// The word that stands for all of them.
    pub const ALL: &'static str = "all";

    /// The fixers of these names; `all` is every one.
    ///
    /// # Errors
    /// [`UnknownFixer`] for the first name that none has.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownFixer> {
        let mut on = BTreeMap::new();
        for name in names {
            let mut found = FIXERS.iter().enumerate();
            if name == Self::ALL {
                on.extend(found);
            } else {
                let (place, fixer) = found
                    .find(|(_, fixer)| fixer.name == name)
                    .ok_or_else(|| UnknownFixer { name: name.to_owned() })?;
                on.insert(place, fixer);
            }
        }
        Ok(Self(on.into_values().collect()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &'static Fixer> {
        self.0.iter().copied()
    }

    /// Whether none is on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `NAME VERSION` of each: what steps are keyed by.
    pub fn key(&self) -> impl Iterator<Item = String> {
        self.iter().map(|fixer| format!("{} {}", fixer.name, fixer.version))
    }
}

impl Serialize for Fixers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|fixer| fixer.name))
    }
}

/// What a fixer did to a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FixedFile {
    /// The name of the fixer.
    pub fixer: String,
    /// What it did.
    pub did: Deed,
    /// The path of the file, with a slash at the beginning.
    pub path: String,
}

/// What can be done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It is not there, as it was not below the step.
    Removed,
    /// It is what it was below the step.
    Restored,
    /// It has other bytes.
    Rewritten,
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Removed => "removed",
            Self::Restored => "restored",
            Self::Rewritten => "rewrote",
        })
    }
}

/// How many files each fixer did what to, in the order of the table.
#[must_use]
pub fn summary(files: &[FixedFile]) -> Vec<(String, Deed, usize)> {
    let place = |name: &str| FIXERS.iter().position(|fixer| fixer.name == name);
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for file in files {
        *counts.entry((place(&file.fixer), file.fixer.as_str(), file.did)).or_default() += 1;
    }
    counts.into_iter().map(|((_, name, did), count)| (name.to_owned(), did, count)).collect()
}

#[cfg(test)]
mod tests;
