//! `rebit.toml`: names of images, and what they are assembled from (`docs/format/rebit-toml.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rebit_layer::TreePath;
use rebit_oci::{Digest, Reference, json};
use serde::{Deserialize, Serialize};

use crate::DistroError;
use crate::relation::{self, Relation, is_name};
use crate::snapshot;

/// The name of the file.
pub const FILE_NAME: &str = "rebit.toml";
/// Largest file of recipes.
const MAX_FILE: usize = 1 << 20;
/// Largest file that a recipe puts into an image.
const MAX_SOURCE: u64 = 64 << 20;

/// The recipes of a file.
#[derive(Debug, Clone, Default)]
pub struct Recipes {
    /// The file, for messages.
    pub file: String,
    /// By full name.
    images: BTreeMap<String, (Reference, Recipe)>,
}

/// What an image is assembled from, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// The suite; its updates and security fixes come along where the machine's sources have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suite: Option<String>,
    /// The suites, exactly these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    suites: Vec<String>,
    /// The components.
    #[serde(default = "main", skip_serializing_if = "is_main")]
    pub components: Vec<String>,
    /// The architecture, in Debian's words; that of the machine when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The archive; the sources of the machine when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// Where package files are looked for that the archive has dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
    /// Whether a Release file stops to count with its `Valid-Until`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub check_valid_until: bool,
    /// Files of the keys whose signatures are accepted, relative to the recipe's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyrings: Vec<PathBuf>,
    /// The packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packages: Vec<String>,
    /// Packages that must not be chosen.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exclude: BTreeSet<String>,
    /// Whether what packages depend on comes along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dependencies: Option<bool>,
    /// What kind of image.
    pub variant: Variant,
    /// Users besides those that every image of the variant has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, User>,
    /// Groups besides those that every image of the variant has, and their numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, u32>,
    /// Files by their paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileSpec>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// The labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What kind of image a recipe makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// A usable system with a package manager: packages are set up by their maintainers' scripts.
    Minbase,
    /// Files only: no script is run, and nothing is there that the packages asked for do not have.
    Distroless,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The number of the group; that of the user when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The home directory, which is made when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// The shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
}

/// A file that a recipe puts into an image: one of `content`, `source` and `link`; a directory when there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The file that it is a copy of, relative to the recipe's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// What the symbolic link says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Its mode in octal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// `UID:GID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    image: BTreeMap<String, Entry>,
    /// How the project is built, which is the builder's to read.
    #[serde(default, rename = "build")]
    _build: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    debian: Recipe,
}

fn main() -> Vec<String> {
    vec!["main".to_owned()]
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn is_main(components: &[String]) -> bool {
    components == main()
}

impl Recipes {
    /// Reads the text of a file of recipes; `file` names it in errors.
    ///
    /// # Errors
    /// [`DistroError::Recipe`], with the place in the text and what is allowed there.
    pub fn parse(text: &str, file: &str) -> Result<Self, DistroError> {
        let wrong = |reason: String| DistroError::Recipe { file: file.to_owned(), reason };
        if text.len() > MAX_FILE {
            return Err(wrong(format!("it is larger than {MAX_FILE} bytes")));
        }
        let document: Document = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut images = BTreeMap::new();
        for (name, Entry { debian }) in document.image {
            let reference: Reference = name.parse().map_err(|error| wrong(format!("`{name}`: {error}")))?;
            debian.check().map_err(|reason| wrong(format!("`{name}`: {reason}")))?;
            let full = reference.to_string();
            if images.insert(full, (reference, debian)).is_some() {
                return Err(wrong(format!("`{name}` is there twice")));
            }
        }
        Ok(Self { file: file.to_owned(), images })
    }

    /// The recipe for a name.
    #[must_use]
    pub fn get(&self, name: &Reference) -> Option<&Recipe> {
        self.images.get(&name.to_string()).map(|(_, recipe)| recipe)
    }

    /// Every image and its recipe, by full name.
    pub fn iter(&self) -> impl Iterator<Item = (&Reference, &Recipe)> {
        self.images.values().map(|(name, recipe)| (name, recipe))
    }
}

impl Recipe {
    /// What serde cannot say.
    fn check(&self) -> Result<(), String> {
        if self.suite.is_some() != self.suites.is_empty() {
            return Err("one of `suite` and `suites` is needed, and not both".to_owned());
        }
        let plain = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._+/".contains(&b))
                && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
        };
        let architecture = self.architecture.iter();
        for word in self.suites().iter().chain(&self.components).chain(architecture) {
            if !plain(word) {
                return Err(format!("`{word}` is no name of a suite, component or architecture"));
            }
        }
        self.fallback.iter().try_for_each(|text| snapshot::check(text))?;
        self.wanted()?;
        if let Some(name) = self.exclude.iter().find(|name| !is_name(name)) {
            return Err(format!("`{name}` is not the name of a package"));
        }
        for (path, file) in &self.files {
            file.check().map_err(|reason| format!("`{path}`: {reason}"))?;
            TreePath::normalise(path).map_err(|error| error.to_string())?;
            if !path.starts_with('/') {
                return Err(format!("`{path}` does not begin with `/`"));
            }
        }
        let names = self.users.keys().chain(self.groups.keys());
        for text in names.chain(self.users.values().flat_map(|user| user.home.iter().chain(&user.shell))) {
            if text.is_empty() || text.contains([':', '\n', '\0']) {
                return Err(format!("`{text}` cannot stand in /etc/passwd"));
            }
        }
        match self.environment.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            Some(name) => Err(format!("`{name}` is not the name of a variable")),
            None => Ok(()),
        }
    }

    /// The suites.
    #[must_use]
    pub fn suites(&self) -> Vec<String> {
        self.suite.iter().chain(&self.suites).cloned().collect()
    }

    /// Whether what packages depend on comes along: if the recipe does not say, in a system it does.
    #[must_use]
    pub fn dependencies(&self) -> bool {
        self.dependencies.unwrap_or(self.variant == Variant::Minbase)
    }

    /// The packages asked for: `name`, `name=version` or `name (>= version)`.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn wanted(&self) -> Result<Vec<Relation>, String> {
        let one = |text: &String| {
            let spelled = match text.split_once('=') {
                Some((name, version)) if is_name(name) => format!("{name} (= {version})"),
                _ => text.clone(),
            };
            relation::relation(&spelled).map_err(|error| error.to_string())
        };
        self.packages.iter().map(one).collect()
    }

    /// What the choice of packages depends on: as long as it stays, so do the pins.
    #[must_use]
    pub fn inputs(&self, architecture: &str) -> Digest {
        let value = serde_json::json!({
            "suites": self.suites(),
            "single": self.suite.is_some(),
            "components": self.components,
            "architecture": architecture,
            "mirror": self.mirror,
            "packages": self.packages,
            "exclude": self.exclude,
            "dependencies": self.dependencies(),
            "variant": self.variant,
        });
        Digest::of(&json::to_canonical(&value).unwrap_or_else(|_| unreachable!("text and numbers are JSON")))
    }

    /// The whole recipe as canonical JSON, for the key of what comes of it.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        json::to_canonical(self).unwrap_or_else(|_| unreachable!("text and numbers are JSON"))
    }

    /// Reads the files that the recipe copies, which are then part of it. `directory` is that of the recipe's file.
    ///
    /// # Errors
    /// [`DistroError::Io`].
    pub fn read_sources(&self, directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, DistroError> {
        let mut contents = BTreeMap::new();
        for (path, spec) in &self.files {
            let content = match (&spec.content, &spec.source) {
                (Some(text), _) => text.clone().into_bytes(),
                (None, Some(source)) => read_source(&directory.join(source))?,
                (None, None) => continue,
            };
            contents.insert(path.clone(), content);
        }
        Ok(contents)
    }
}

fn read_source(path: &Path) -> Result<Vec<u8>, DistroError> {
    let failed = |source| DistroError::Io { path: path.display().to_string(), source };
    let mut content = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_SOURCE + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_SOURCE {
        let reason = format!("it is larger than {MAX_SOURCE} bytes");
        return Err(DistroError::Recipe { file: path.display().to_string(), reason });
    }
    Ok(content)
}

impl FileSpec {
    fn check(&self) -> Result<(), String> {
        let kinds = [self.content.is_some(), self.source.is_some(), self.link.is_some()];
        if kinds.iter().filter(|kind| **kind).count() > 1 {
            return Err("only one of `content`, `source` and `link` can be given".to_owned());
        }
        if self.link.as_ref().is_some_and(|link| link.is_empty() || link.contains('\0') || link.len() > 4095)
        {
            return Err("what the link says is not valid".to_owned());
        }
        self.mode()?;
        self.owner().map(|_| ())
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.content.is_none() && self.source.is_none() && self.link.is_none()
    }

    /// The mode.
    ///
    /// # Errors
    /// When it is no number in octal digits.
    pub fn mode(&self) -> Result<u32, String> {
        match &self.mode {
            None if self.is_directory() => Ok(0o755),
            None => Ok(0o644),
            Some(text) => u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .ok_or_else(|| format!("`{text}` is no mode in octal digits")),
        }
    }

    /// User and group.
    ///
    /// # Errors
    /// When it is not two numbers.
    pub fn owner(&self) -> Result<(u32, u32), String> {
        let Some(text) = &self.owner else { return Ok((0, 0)) };
        let numbers = text.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
        numbers.ok_or_else(|| format!("`{text}` is not UID:GID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Recipes, DistroError> {
        Recipes::parse(text, "rebit.toml")
    }

    #[test]
    fn recipes_are_read() {
        // D-1, D-2, D-3, D-5
        let text = r#"
[image."debian:bookworm"]
debian = { suite = "bookworm", variant = "minbase", packages = ["ca-certificates"] }
[image."distroless/static"]
debian = { suites = ["bookworm"], variant = "distroless", packages = ["tzdata=2024a-0+deb12u1", "netbase (>= 6)"], user = "nonroot" }
[image.other.debian]
suite = "trixie"
variant = "distroless"
files."/etc/motd" = { content = "hi", mode = "0600", owner = "1:2" }
files."/bin/sh" = { link = "busybox" }
files."/data" = {}
"#;
        let recipes = parse(text).unwrap();
        let names: Vec<String> = recipes.iter().map(|(name, _)| name.familiar()).collect();
        assert_eq!(names, ["distroless/static:latest", "debian:bookworm", "other:latest"]);
        let base = recipes.get(&"docker.io/library/debian:bookworm".parse().unwrap()).unwrap();
        assert!(base.dependencies() && base.suites() == ["bookworm"] && base.components == ["main"]);
        let small = recipes.get(&"distroless/static".parse().unwrap()).unwrap();
        let wanted: Vec<String> = small.wanted().unwrap().iter().map(Relation::to_string).collect();
        assert_eq!(wanted, ["tzdata (= 2024a-0+deb12u1)", "netbase (>= 6)"]);
        assert!(!small.dependencies());
        let other = recipes.get(&"other".parse().unwrap()).unwrap();
        let motd = &other.files["/etc/motd"];
        assert_eq!((motd.mode(), motd.owner()), (Ok(0o600), Ok((1, 2))));
        assert!(other.files["/data"].is_directory() && !other.files["/bin/sh"].is_directory());
    }

    #[test]
    fn what_is_wrong_is_named() {
        // D-4
        let recipe = |keys: &str| format!("[image.x]\ndebian = {{ {keys} }}\n");
        let valid = r#"suite = "s", variant = "minbase""#;
        assert!(parse(&recipe(valid)).is_ok());
        assert!(parse(&format!("[build]\nfix = []\n{}", recipe(valid))).is_ok());
        for (keys, expected) in [
            (r#"suite = "s""#, "missing field `variant`"),
            (r#"variant = "minbase""#, "one of `suite` and `suites`"),
            (r#"suite = "s", suites = ["s"], variant = "minbase""#, "one of `suite` and `suites`"),
            (r#"suite = "s", variant = "big""#, "unknown variant `big`"),
            (r#"suite = "../s", variant = "minbase""#, "`../s` is no name"),
            (&format!("{valid}, fallback = [\"ftp://x\"]"), "`ftp://x` is no address"),
            (&format!("{valid}, pakages = []"), "unknown field `pakages`"),
            (&format!("{valid}, packages = [\"A\"]"), "`A` does not name a package"),
            (&format!("{valid}, exclude = [\"a b\"]"), "`a b` is not the name"),
            (&format!("{valid}, files = {{ a = {{}} }}"), "does not begin with `/`"),
            (&format!("{valid}, files = {{ \"/../a\" = {{}} }}"), "`..` component"),
            (&format!("{valid}, files = {{ \"/a\" = {{ link = \"b\", content = \"c\" }} }}"), "only one of"),
            (&format!("{valid}, files = {{ \"/a\" = {{ mode = \"9\" }} }}"), "no mode in octal"),
            (&format!("{valid}, files = {{ \"/a\" = {{ owner = \"root\" }} }}"), "not UID:GID"),
            (&format!("{valid}, users = {{ \"a:b\" = {{ uid = 1 }} }}"), "cannot stand in /etc/passwd"),
            (&format!("{valid}, environment = {{ \"a=b\" = \"\" }}"), "not the name of a variable"),
        ] {
            let error = parse(&recipe(keys)).unwrap_err().to_string();
            assert!(error.contains(expected), "{keys}: {error}");
        }
        for (text, expected) in [
            ("[images.x]", "unknown field `images`"),
            ("[image.x]\nubuntu = {}", "unknown field `ubuntu`"),
            ("[image.\"A B\"]\ndebian = { suite = \"s\", variant = \"minbase\" }", "`A B`"),
            ("x", "TOML parse error"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let twice = format!("{}[image.\"x:latest\"]\ndebian = {{ {valid} }}\n", recipe(valid));
        assert!(parse(&twice).unwrap_err().to_string().contains("is there twice"));
    }

    #[test]
    fn the_choice_of_packages_depends_on_what_it_depends_on() {
        // D-13
        let inputs = |keys: &str| {
            let text = format!("[image.x]\ndebian = {{ suite = \"s\", variant = \"minbase\", {keys} }}\n");
            let recipes = parse(&text).unwrap();
            let (_, recipe) = recipes.iter().next().unwrap();
            recipe.inputs("amd64")
        };
        let plain = inputs("packages = []");
        for same in
            ["user = \"x\"", "labels = { a = \"b\" }", "fallback = [\"file:/x\"]", "dependencies = true"]
        {
            assert_eq!(inputs(same), plain, "{same}");
        }
        for other in ["packages = [\"a\"]", "exclude = [\"a\"]", "dependencies = false", "mirror = \"m\""] {
            assert_ne!(inputs(other), plain, "{other}");
        }
    }
}
