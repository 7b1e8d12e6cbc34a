//! `store.toml`: what makes a directory a store, and which features it uses.
//!
//! A feature the program does not know stops it by name: an incompatible one altogether, a read-only-compatible
//! one from writing; a compatible one does not.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::StoreError;

pub(crate) const FILE: &str = "store.toml";
const VERSION: u64 = 1;
/// Some blobs are kept as recipes.
pub(crate) const RECIPES: &str = "recipes";
const KNOWN: [&str; 1] = [RECIPES];
/// No sane format file is longer.
const LIMIT: u64 = 64 << 10;

/// What a format file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Format {
    /// The version of the layout.
    pub version: u64,
    /// Features that may be ignored.
    pub compatible: Vec<String>,
    /// Features without which the store may be read, not written.
    pub read_only_compatible: Vec<String>,
    /// Features without which the store cannot be used.
    pub incompatible: Vec<String>,
}

impl Format {
    /// Reads a format file: `key = value` lines, where a value is a number, a string or a list of strings.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut format = Self::default();
        let mut magic = false;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) =
                line.split_once('=').ok_or_else(|| format!("`{line}` is not `key = value`"))?;
            let (key, value) = (key.trim(), value.trim());
            match key {
                "format" => magic = value == "\"rebit-store\"",
                "version" => {
                    format.version = value.parse().map_err(|_| format!("`{value}` is no version"))?
                }
                "compatible" => format.compatible = list(value)?,
                "read-only-compatible" => format.read_only_compatible = list(value)?,
                "incompatible" => format.incompatible = list(value)?,
                _ => {}
            }
        }
        if !magic {
            return Err("`store.toml` does not say `format = \"rebit-store\"`".to_owned());
        }
        Ok(format)
    }

    fn render(&self) -> String {
        let list = |names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            format!("[{}]", quoted.join(", "))
        };
        format!(
            "# A rebit store. Nothing in here is to be edited by hand.\nformat = \"rebit-store\"\nversion = {}\n\
             compatible = {}\nread-only-compatible = {}\nincompatible = {}\n",
            self.version,
            list(&self.compatible),
            list(&self.read_only_compatible),
            list(&self.incompatible),
        )
    }
}

fn list(value: &str) -> Result<Vec<String>, String> {
    let inner = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("`{value}` is not a list"))?;
    let mut names = Vec::new();
    for item in inner.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let name = item.strip_prefix('"').and_then(|item| item.strip_suffix('"'));
        names.push(name.ok_or_else(|| format!("`{item}` is not a string"))?.to_owned());
    }
    Ok(names)
}

/// What a store may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything.
    Full,
    /// Reading; this feature forbids writing.
    ReadOnly(String),
}

/// Reads the format file of the store at `root`; `None` when there is none.
pub(crate) fn load(root: &Path) -> Result<Option<Access>, StoreError> {
    let Some(format) = read(root)? else { return Ok(None) };
    let unknown = |names: &[String]| names.iter().find(|name| !KNOWN.contains(&name.as_str())).cloned();
    let version = (format.version != VERSION).then(|| format!("format version {}", format.version));
    if let Some(feature) = version.or_else(|| unknown(&format.incompatible)) {
        return Err(StoreError::UnsupportedFeature { path: root.to_owned(), feature });
    }
    Ok(Some(unknown(&format.read_only_compatible).map_or(Access::Full, Access::ReadOnly)))
}

/// Notes, durably, that the store uses an incompatible feature: from now on programs that do not know it refuse it.
pub(crate) fn require(root: &Path, feature: &str) -> Result<(), StoreError> {
    let Some(mut format) = read(root)? else { return Err(StoreError::NoStore { path: root.to_owned() }) };
    if format.incompatible.iter().any(|name| name == feature) {
        return Ok(());
    }
    format.incompatible.push(feature.to_owned());
    format.incompatible.sort();
    let path = root.join(FILE);
    let write = || {
        let temporary = write_temporary(root, &format)?;
        fs::rename(&temporary, &path)?;
        fs::File::open(root)?.sync_all()
    };
    write().map_err(|source| StoreError::io("write", &path, source))
}

fn read(root: &Path) -> Result<Option<Format>, StoreError> {
    let path = root.join(FILE);
    let text = match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > LIMIT => {
            return Err(StoreError::Limit { what: "`store.toml`".to_owned(), limit: LIMIT });
        }
        Ok(_) => fs::read_to_string(&path).map_err(|source| StoreError::io("read", &path, source))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::io("read", &path, source)),
    };
    let format =
        Format::parse(&text).map_err(|reason| StoreError::NotAStore { path: root.to_owned(), reason })?;
    Ok(Some(format))
}

/// The format file under a name of its own, synced.
fn write_temporary(root: &Path, format: &Format) -> io::Result<PathBuf> {
    let temporary = root.join(format!("store.toml.{}", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(format.render().as_bytes())?;
    file.sync_all()?;
    Ok(temporary)
}

/// Writes the format file of a new store; when another process was first, theirs stays.
pub(crate) fn create(root: &Path) -> Result<(), StoreError> {
    let format = Format { version: VERSION, ..Format::default() };
    let path = root.join(FILE);
    let write = || -> io::Result<()> {
        let temporary = write_temporary(root, &format)?;
        // A link does not replace what is there; a rename would.
        match fs::hard_link(&temporary, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&temporary, &path)?,
            _ => fs::remove_file(&temporary)?,
        }
        fs::File::open(root)?.sync_all()
    };
    write().map_err(|source| StoreError::io("write", &path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_files_round_trip() {
        let format = Format {
            version: 1,
            compatible: vec!["a".into(), "b".into()],
            read_only_compatible: vec![],
            incompatible: vec!["c".into()],
        };
        assert_eq!(Format::parse(&format.render()), Ok(format));
        for text in
            ["", "format = \"other\"", "format", "format = \"rebit-store\"\nversion = x", "incompatible = x"]
        {
            assert!(Format::parse(text).is_err(), "`{text}` was taken");
        }
    }

    // S-9
    #[test]
    fn a_feature_is_noted_once_and_stays() {
        let root = tempfile::tempdir().unwrap();
        create(root.path()).unwrap();
        for _ in 0..2 {
            require(root.path(), RECIPES).unwrap();
            let format = read(root.path()).unwrap().unwrap();
            assert_eq!(format.incompatible, [RECIPES]);
        }
        assert_eq!(load(root.path()).unwrap(), Some(Access::Full));
        require(root.path(), "holes").unwrap();
        assert!(
            matches!(load(root.path()), Err(StoreError::UnsupportedFeature { feature, .. }) if feature == "holes")
        );
    }

    // S-3, S-4
    #[test]
    fn unknown_features_stop_by_name() {
        let root = tempfile::tempdir().unwrap();
        let check = |text: &str| {
            fs::write(root.path().join(FILE), format!("format = \"rebit-store\"\n{text}")).unwrap();
            load(root.path())
        };
        assert_eq!(check("version = 1\ncompatible = [\"x\"]").unwrap(), Some(Access::Full));
        assert_eq!(
            check("version = 1\nread-only-compatible = [\"x\"]").unwrap(),
            Some(Access::ReadOnly("x".into()))
        );
        for (text, expected) in
            [("version = 2", "format version 2"), ("version = 1\nincompatible = [\"holes\"]", "holes")]
        {
            match check(text) {
                Err(StoreError::UnsupportedFeature { feature, .. }) => assert_eq!(feature, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}
