//! `rebit.lock`: which version of each package an image is assembled from (`docs/format/rebit-toml.md`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rebit_oci::{Digest, Reference, json};
use serde::{Deserialize, Serialize};

use crate::DistroError;
use crate::relation::is_name;
use crate::version::Version;

/// The name of the file.
pub const FILE_NAME: &str = "rebit.lock";
/// The format that is written and read.
const VERSION: u32 = 1;
/// Largest lock that is read.
const MAX_FILE: usize = 64 << 20;
const HEAD: &str = "# Made by `rebit lock`. It pins what the images of rebit.toml are assembled from.\n";

/// The pins of every image of a file of recipes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// By name, then by architecture.
    images: BTreeMap<String, BTreeMap<String, LockedImage>>,
}

/// The pins of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// What the choice depended on ([`Recipe::inputs`](crate::Recipe::inputs)).
    pub inputs: Digest,
    /// The architecture, in Debian's words.
    pub architecture: String,
    /// The archives.
    pub archives: Vec<LockedArchive>,
    /// The packages, by name.
    pub packages: Vec<LockedPackage>,
}

/// A suite of an archive, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedArchive {
    /// Its address, without a `/` at its end.
    pub uri: String,
    /// The suite.
    pub suite: String,
    /// The components.
    pub components: Vec<String>,
    /// `Date` of its Release file.
    pub date: String,
    /// Digest of the text of its Release file.
    pub release: Digest,
    /// The fingerprints of the keys that signed it.
    pub signers: Vec<String>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// Length of the package file in bytes.
    pub size: u64,
    /// SHA-256 of the package file.
    pub sha256: Digest,
    /// Which of the archives has it.
    pub archive: usize,
    /// Where it is in the archive.
    pub file: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default)]
    image: BTreeMap<String, LockedImage>,
}

impl Lock {
    /// Reads a lock; `file` names it in errors.
    ///
    /// # Errors
    /// [`DistroError::Recipe`].
    pub fn parse(text: &str, file: &str) -> Result<Self, DistroError> {
        let wrong = |reason: String| DistroError::Recipe { file: file.to_owned(), reason };
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        if text.len() > MAX_FILE {
            return Err(wrong(format!("it is larger than {MAX_FILE} bytes")));
        }
        // The version first: a later one may have other fields.
        let Head { version } = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if version != VERSION {
            return Err(wrong(format!("it has version {version}; this program reads {VERSION}")));
        }
        let Document { image, .. } = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut images: BTreeMap<String, BTreeMap<String, LockedImage>> = BTreeMap::new();
        for (key, image) in image {
            image.check().map_err(|reason| wrong(format!("`{key}`: {reason}")))?;
            let (name, architecture) = key.split_once(' ').unwrap_or((&key, &image.architecture));
            if architecture != image.architecture {
                return Err(wrong(format!("`{key}` is for {}", image.architecture)));
            }
            let known = images.entry(name.to_owned()).or_default();
            if known.insert(image.architecture.clone(), image).is_some() {
                return Err(wrong(format!("`{key}` is there twice")));
            }
        }
        Ok(Self { images })
    }

    /// The text of the lock: images and packages by name, a line for each package. Where an image has pins for several architectures, these are
    /// part of its key.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}version = {VERSION}\n");
        for (name, images) in &self.images {
            for (architecture, image) in images {
                let several = format!("{name} {architecture}");
                image.write(if images.len() > 1 { &several } else { name }, &mut text);
            }
        }
        text
    }

    /// The pins of an image for an architecture.
    #[must_use]
    pub fn get(&self, name: &Reference, architecture: &str) -> Option<&LockedImage> {
        self.images.get(&name.familiar())?.get(architecture)
    }

    /// The architectures that an image has pins for.
    pub fn architectures(&self, name: &Reference) -> impl Iterator<Item = &str> {
        self.images.get(&name.familiar()).into_iter().flat_map(|images| images.keys().map(String::as_str))
    }

    /// Puts the pins of an image for their architecture in; returns those that were there.
    pub fn insert(&mut self, name: &Reference, image: LockedImage) -> Option<LockedImage> {
        self.images.entry(name.familiar()).or_default().insert(image.architecture.clone(), image)
    }

    /// Forgets images that no recipe has any more; returns their names.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> Vec<String> {
        let gone: Vec<String> = self.images.keys().filter(|name| !keep(name)).cloned().collect();
        gone.iter().for_each(|name| {
            self.images.remove(name);
        });
        gone
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| unreachable!("text is JSON"))
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

impl LockedImage {
    fn check(&self) -> Result<(), String> {
        for package in &self.packages {
            let plain = package.file.split('/').all(|part| !matches!(part, "" | "." | ".."));
            if !is_name(&package.name) || package.version.parse::<Version>().is_err() || !plain {
                return Err(format!("the pin of `{}` is not valid", package.name));
            }
            if self.archives.get(package.archive).is_none() {
                return Err(format!(
                    "`{}` is in archive {}, which is not there",
                    package.name, package.archive
                ));
            }
        }
        match self
            .packages
            .windows(2)
            .find(|pair| pair.first().map(|p| &p.name) >= pair.last().map(|p| &p.name))
        {
            Some(pair) => Err(format!("`{}` is not in its place", pair.last().map_or("", |p| &p.name))),
            None => Ok(()),
        }
    }

    fn write(&self, name: &str, text: &mut String) {
        let _ = writeln!(text, "\n[image.{}]", quoted(name));
        let _ = writeln!(text, "inputs = {}", quoted(&self.inputs.to_string()));
        let _ = writeln!(text, "architecture = {}", quoted(&self.architecture));
        text.push_str("archives = [\n");
        for archive in &self.archives {
            let LockedArchive { uri, suite, components, date, release, signers } = archive;
            let _ = writeln!(
                text,
                "    {{ uri = {}, suite = {}, components = {}, date = {}, release = {}, signers = {} }},",
                quoted(uri),
                quoted(suite),
                list(components),
                quoted(date),
                quoted(&release.to_string()),
                list(signers)
            );
        }
        text.push_str("]\npackages = [\n");
        for package in &self.packages {
            let LockedPackage { name, version, architecture, size, sha256, archive, file } = package;
            let _ = writeln!(
                text,
                "    {{ name = {}, version = {}, architecture = {}, size = {size}, sha256 = {}, archive = {archive}, file = {} }},",
                quoted(name),
                quoted(version),
                quoted(architecture),
                quoted(&sha256.to_string()),
                quoted(file)
            );
        }
        text.push_str("]\n");
    }

    /// The pins as canonical JSON, for the key of what comes of them. Where the packages were found is no part of it,
    /// but what the image itself says of its archives is.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let packages: Vec<_> = self
            .packages
            .iter()
            .map(|package| (&package.name, &package.version, &package.architecture, package.sha256))
            .collect();
        let archives: Vec<_> =
            self.archives.iter().map(|archive| (&archive.uri, &archive.suite, &archive.components)).collect();
        let value = serde_json::json!({
            "architecture": self.architecture,
            "archives": archives,
            "packages": packages,
        });
        json::to_canonical(&value).unwrap_or_else(|_| unreachable!("text and numbers are JSON"))
    }

    /// What is different in the pins of `self` from those of `old`, a line for each package: `+` new, `-` gone, `~` moved.
    #[must_use]
    pub fn changes(&self, old: Option<&Self>) -> Vec<String> {
        let by_name = |image: Option<&Self>| -> BTreeMap<String, LockedPackage> {
            let packages = image.into_iter().flat_map(|image| &image.packages);
            packages.map(|package| (package.name.clone(), package.clone())).collect()
        };
        let (before, after) = (by_name(old), by_name(Some(self)));
        let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let line = |name: &String| match (before.get(name), after.get(name)) {
            (None, Some(new)) => Some(format!("+ {name} {}", new.version)),
            (Some(old), None) => Some(format!("- {name} {}", old.version)),
            (Some(old), Some(new)) if old.version != new.version => {
                Some(format!("~ {name} {} → {}", old.version, new.version))
            }
            (Some(old), Some(new)) if old.sha256 != new.sha256 => {
                Some(format!("~ {name} {}: another file", new.version))
            }
            _ => None,
        };
        names.into_iter().filter_map(line).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn package(name: &str, version: &str) -> LockedPackage {
        LockedPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "all".to_owned(),
            size: 7,
            sha256: Digest::of(format!("{name} {version}").as_bytes()),
            archive: 0,
            file: format!("pool/{name}.deb"),
        }
    }

    fn image(packages: &[(&str, &str)]) -> LockedImage {
        LockedImage {
            inputs: Digest::of(b"inputs"),
            architecture: "amd64".to_owned(),
            archives: vec![LockedArchive {
                uri: "http://a.test/debian".to_owned(),
                suite: "s".to_owned(),
                components: vec!["main".to_owned()],
                date: "\"then\"".to_owned(),
                release: Digest::of(b"release"),
                signers: vec!["ABCD".to_owned()],
            }],
            packages: packages.iter().map(|(name, version)| package(name, version)).collect(),
        }
    }

    #[test]
    fn a_lock_reads_back_as_it_was_written() {
        // D-10, D-11
        let mut lock = Lock::default();
        let name: Reference = "debian:bookworm".parse().unwrap();
        lock.insert(&name, image(&[("a", "1"), ("b", "2")]));
        lock.insert(&"other".parse().unwrap(), image(&[]));
        let text = lock.to_text();
        assert_eq!(Lock::parse(&text, "f").unwrap(), lock);
        assert_eq!(Lock::parse(&text, "f").unwrap().to_text(), text);
        assert!(text.contains(
            "\n    { name = \"a\", version = \"1\", architecture = \"all\", size = 7, sha256 = \"sha256:"
        ));
        assert_eq!(lock.retain(|name| name == "debian:bookworm"), ["other:latest"]);
        assert!(lock.get(&name, "amd64").is_some() && lock.get(&name, "arm64").is_none());
        // Pins for several architectures stand beside each other.
        let other = LockedImage { architecture: "arm64".to_owned(), ..image(&[("a", "3")]) };
        lock.insert(&name, other);
        let text = lock.to_text();
        assert!(
            text.contains("[image.\"debian:bookworm amd64\"]") && text.contains("bookworm arm64\"]"),
            "{text}"
        );
        assert_eq!(Lock::parse(&text, "f").unwrap(), lock);
        assert_eq!(lock.architectures(&name).collect::<Vec<_>>(), ["amd64", "arm64"]);
    }

    #[test]
    fn what_is_no_lock_is_refused() {
        // D-12
        let mut lock = Lock::default();
        lock.insert(&"x".parse().unwrap(), image(&[("a", "1"), ("b", "2")]));
        let text = lock.to_text();
        for (from, to, expected) in [
            ("version = 1\n", "version = 2\n", "it has version 2"),
            ("version = 1\n", "", "missing field `version`"),
            ("size = 7", "size = -7", "invalid value"),
            ("size = 7", "sise = 7", "unknown field `sise`"),
            ("archive = 0", "archive = 1", "archive 1, which is not there"),
            ("pool/a.deb", "../a.deb", "the pin of `a`"),
            ("[image.\"x:latest\"]", "[image.\"x:latest arm64\"]", "`x:latest arm64` is for amd64"),
            ("name = \"b\"", "name = \"a\"", "`a` is not in its place"),
        ] {
            let error = Lock::parse(&text.replace(from, to), "f").unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn what_changed_is_told() {
        let old = image(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let new = image(&[("b", "2.1"), ("c", "3"), ("d", "4")]);
        assert_eq!(new.changes(Some(&old)), ["- a 1", "~ b 2 → 2.1", "+ d 4"]);
        assert!(new.changes(Some(&new)).is_empty());
        assert_eq!(old.changes(None).len(), 3);
        let mut other = new.clone();
        other.packages[1].sha256 = Digest::of(b"x");
        assert_eq!(other.changes(Some(&new)), ["~ c 3: another file"]);
        // Where a file was found does not change what comes of it.
        other = new.clone();
        other.packages[0].file = "pool/elsewhere.deb".to_owned();
        assert_eq!(other.canonical(), new.canonical());
    }
}
