//! Packages as the indexes of archives describe them.

use std::collections::BTreeMap;
use std::io::BufRead;

use rebit_oci::Digest;

use crate::DistroError;
use crate::deb822::{Paragraph, Paragraphs};
use crate::relation::{self, Alternatives, Operator, Relation, is_name};
use crate::version::Version;

/// Most packages of all indexes together.
const MAX_PACKAGES: usize = 2_000_000;

/// A package of an archive.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// Whether no system can do without it.
    pub essential: bool,
    /// Its priority: 0 for `required`, to 4 for what has none that is known.
    pub priority: u8,
    /// `Pre-Depends`, as written.
    pub pre_depends: String,
    /// `Depends`, as written.
    pub depends: String,
    /// `Conflicts` and `Breaks`, as written.
    pub conflicts: String,
    /// `Provides`, as written.
    pub provides: String,
    /// Which archive has it: the number of the index given to [`Universe::add`].
    pub archive: usize,
    /// Where it is, relative to the archive.
    pub file: String,
    /// How long the file is in bytes.
    pub size: u64,
    /// The SHA-256 of the file.
    pub sha256: Digest,
}

impl Package {
    fn read(fields: &Paragraph, archive: usize) -> Result<Self, String> {
        let need = |name: &str| fields.get(name).ok_or_else(|| format!("it has no field {name}"));
        let name = need("Package")?.to_owned();
        if !is_name(&name) {
            return Err("its name is not valid".to_owned());
        }
        let file = need("Filename")?.to_owned();
        let plain = file.split('/').all(|part| !matches!(part, "" | "." | "..")) && file.is_ascii();
        if !plain || file.contains(|c: char| c.is_ascii_control() || c == ' ' || c == '?' || c == '#') {
            return Err("its Filename is not a plain path".to_owned());
        }
        let sha256 = format!("sha256:{}", need("SHA256")?);
        let joined = |names: [&str; 2]| {
            let parts = names.iter().filter_map(|name| fields.get(name)).collect::<Vec<_>>();
            parts.join(", ")
        };
        Ok(Self {
            version: need("Version")?.parse::<Version>().map_err(|error| error.to_string())?,
            architecture: need("Architecture")?.to_owned(),
            essential: fields.is_yes("Essential"),
            priority: priority(fields.text("Priority")),
            pre_depends: fields.text("Pre-Depends").to_owned(),
            depends: fields.text("Depends").to_owned(),
            conflicts: joined(["Conflicts", "Breaks"]),
            provides: fields.text("Provides").to_owned(),
            archive,
            size: need("Size")?.parse().map_err(|_| "its Size is not a number".to_owned())?,
            sha256: sha256.parse().map_err(|_| "its SHA256 is not a digest".to_owned())?,
            name,
            file,
        })
    }

    /// What it needs: `Pre-Depends`, then `Depends`.
    ///
    /// # Errors
    /// [`DistroError::Relation`].
    pub fn needs(&self) -> Result<Vec<Alternatives>, DistroError> {
        let mut needs = self.relations("Pre-Depends", &self.pre_depends)?;
        needs.extend(self.relations("Depends", &self.depends)?);
        Ok(needs)
    }

    /// What it cannot be together with.
    ///
    /// # Errors
    /// [`DistroError::Relation`].
    pub fn against(&self) -> Result<Vec<Relation>, DistroError> {
        Ok(self.relations("Conflicts", &self.conflicts)?.into_iter().flatten().collect())
    }

    /// Whether it is what a relation means: by its name, or by what it provides.
    ///
    /// # Errors
    /// [`DistroError::Relation`].
    pub fn answers(&self, wanted: &Relation) -> Result<bool, DistroError> {
        if self.name == wanted.name {
            return Ok(wanted.takes(&self.version));
        }
        if !self.provides.contains(wanted.name.as_str()) {
            return Ok(false);
        }
        let provided = self.relations("Provides", &self.provides)?;
        Ok(provided.iter().flatten().any(|provided| provides(provided, wanted)))
    }

    fn relations(&self, field: &'static str, text: &str) -> Result<Vec<Alternatives>, DistroError> {
        relation::parse(text).map_err(|source| DistroError::Relation {
            package: self.to_string(),
            field,
            source,
        })
    }
}

/// The place of a priority among the others (policy 2.5).
fn priority(word: &str) -> u8 {
    let place = ["required", "important", "standard", "optional"].iter().position(|known| *known == word);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(4)
}

/// Whether what is provided is what is wanted: without a version it answers only where none is asked for.
fn provides(provided: &Relation, wanted: &Relation) -> bool {
    provided.name == wanted.name
        && match &provided.version {
            Some((Operator::Equal, version)) => wanted.takes(version),
            _ => wanted.version.is_none(),
        }
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.version)
    }
}

/// Every package that can be chosen from, for one architecture.
#[derive(Debug, Default)]
pub struct Universe {
    architecture: String,
    packages: Vec<Package>,
    /// By name, the latest version first, the archive added first before others.
    by_name: BTreeMap<String, Vec<usize>>,
    /// Who provides a name: by priority as apt has it, then in the order of the packages' names.
    providers: BTreeMap<String, Vec<usize>>,
}

impl Universe {
    /// Nothing yet.
    #[must_use]
    pub fn new(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), ..Self::default() }
    }

    /// Adds the packages of an index that are for the architecture, or for all. `what` names the index in errors.
    ///
    /// # Errors
    /// [`DistroError::Index`].
    pub fn add(&mut self, text: impl BufRead, archive: usize, what: &str) -> Result<(), DistroError> {
        let wrong =
            |package: String, reason: String| DistroError::Index { index: what.to_owned(), package, reason };
        for paragraph in Paragraphs::new(text) {
            let fields = paragraph.map_err(|source| wrong(String::new(), source.to_string()))?;
            let architecture = fields.text("Architecture");
            if architecture != "all" && architecture != self.architecture {
                continue;
            }
            let package = Package::read(&fields, archive)
                .map_err(|reason| wrong(fields.text("Package").to_owned(), reason))?;
            if self.packages.len() == MAX_PACKAGES {
                return Err(wrong(package.name, format!("there are more than {MAX_PACKAGES} packages")));
            }
            self.packages.push(package);
        }
        Ok(())
    }

    /// Puts what was added in order. Called once, after the last index.
    #[must_use]
    pub fn finish(mut self) -> Self {
        // The same version in two archives is taken from the first.
        self.packages.sort_by(|a, b| {
            let version = || b.version.cmp(&a.version);
            a.name.cmp(&b.name).then_with(version).then(a.archive.cmp(&b.archive))
        });
        for (number, package) in self.packages.iter().enumerate() {
            self.by_name.entry(package.name.clone()).or_default().push(number);
            // A field that cannot be read provides nothing; it is an error where the package is chosen.
            let provided = relation::parse(&package.provides).unwrap_or_default();
            for provided in provided.iter().flatten() {
                self.providers.entry(provided.name.clone()).or_default().push(number);
            }
        }
        for providers in self.providers.values_mut() {
            providers.sort_by_key(|number| self.packages.get(*number).map(|package| package.priority));
        }
        self
    }

    /// The architecture.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// A package by its number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&Package> {
        self.packages.get(number)
    }

    /// Every package, by name, later versions first.
    pub fn iter(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter()
    }

    /// The packages with a name, the latest first.
    pub fn named(&self, name: &str) -> impl Iterator<Item = (usize, &Package)> {
        self.numbered(self.by_name.get(name))
    }

    /// The packages that provide a name and have another.
    pub fn providing(&self, name: &str) -> impl Iterator<Item = (usize, &Package)> {
        self.numbered(self.providers.get(name)).filter(move |(_, package)| package.name != name)
    }

    fn numbered(&self, numbers: Option<&Vec<usize>>) -> impl Iterator<Item = (usize, &Package)> + use<'_> {
        let numbers: Vec<usize> = numbers.cloned().unwrap_or_default();
        numbers.into_iter().filter_map(|number| Some((number, self.packages.get(number)?)))
    }

    /// Every name that a package has.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A universe of packages written as `name version; Field: value; …`, one a line.
    pub(crate) fn universe(lines: &str) -> Universe {
        let mut text = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut parts = line.split(';').map(str::trim);
            let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
            let digest = Digest::of(line.as_bytes()).hex();
            text.push_str(&format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {digest}\n"
            ));
            parts.for_each(|part| text.push_str(&format!("{part}\n")));
            text.push('\n');
        }
        let mut universe = Universe::new("amd64");
        universe.add(text.as_bytes(), 0, "test").unwrap();
        universe.finish()
    }

    #[test]
    fn the_latest_comes_first_and_other_architectures_are_left_out() {
        let found = universe("b 1\nb 2\na 1; Provides: b, c (= 3)");
        let versions: Vec<&str> = found.named("b").map(|(_, p)| p.version.as_str()).collect();
        assert_eq!(versions, ["2", "1"]);
        let providers: Vec<&str> = found.providing("b").map(|(_, p)| p.name.as_str()).collect();
        assert_eq!(providers, ["a"]);
        let mut other = Universe::new("arm64");
        other.add(&b"Package: x\nArchitecture: amd64\n"[..], 0, "test").unwrap();
        assert_eq!(other.finish().iter().count(), 0);
    }

    #[test]
    fn provided_names_answer_as_the_policy_says() {
        let found = universe("a 1; Provides: b, c (= 3)");
        let package = found.named("a").next().unwrap().1;
        for (wanted, expected) in [
            ("a", true),
            ("a (>= 2)", false),
            ("b", true),
            ("b (>= 1)", false),
            ("c (>= 3)", true),
            ("c (>> 3)", false),
            ("d", false),
        ] {
            let wanted = relation::relation(wanted).unwrap();
            assert_eq!(package.answers(&wanted).unwrap(), expected, "{wanted}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_index_is_said() {
        let good = format!(
            "Package: a\nVersion: 1\nArchitecture: all\nFilename: p/a\nSize: 1\nSHA256: {}\n",
            "0".repeat(64)
        );
        let add = |text: &str| Universe::new("amd64").add(text.as_bytes(), 0, "test");
        assert!(add(&good).is_ok());
        for (from, to, expected) in [
            ("Package: a", "Package: A", "its name is not valid"),
            ("Version: 1", "Version: -", "is not a version"),
            ("Filename: p/a", "Filename: ../a", "not a plain path"),
            ("Filename: p/a", "Filename: /a", "not a plain path"),
            ("Size: 1", "Size: x", "not a number"),
            ("SHA256: 00", "SHA256: ", "not a digest"),
            ("Filename: p/a\n", "", "no field Filename"),
            ("Size: 1", "Size 1", "line 5"),
        ] {
            let error = add(&good.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
