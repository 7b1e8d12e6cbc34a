//! From a recipe and its pins to an image of one layer.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;

use rebit_image::{Platform, RootfsOptions, StoredImage, put_rootfs};
use rebit_oci::encode::Preimage;
use rebit_oci::manifest::Compression;
use rebit_oci::{CacheKey, Digest, ObjectId, Reference, TreeId, json};
use serde::{Deserialize, Serialize};

use crate::acquire::Archives;
use crate::assemble::{Unpacked, assemble};
use crate::edit::Editor;
use crate::lock::LockedImage;
use crate::recipe::{Recipe, Variant};
use crate::system::Scripts;
use crate::{DistroError, deb, finish, system};

/// What an image depends on besides recipe and pins; a change of what is made of the same packages is a new number.
const FORMAT: u32 = 1;
const CREATED_BY: &str = "rebit image build";
const BUNDLE_VARIABLE: (&str, &str) = ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");

/// An image to be made.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Its name.
    pub name: &'a Reference,
    /// Whether it gets that name in the store.
    pub named: bool,
    /// Its recipe.
    pub recipe: &'a Recipe,
    /// Its pins.
    pub pins: &'a LockedImage,
    /// The directory of the recipe's file.
    pub directory: &'a Path,
    /// The time of every file, in seconds since 1970.
    pub epoch: i64,
    /// How its layer is compressed.
    pub compression: Compression,
}

/// An image that was made, or was known.
#[derive(Debug)]
pub struct Made {
    /// The image.
    pub image: StoredImage,
    /// Whether it was known.
    pub known: bool,
    /// What scripts left behind and was brought into shape.
    pub normalised: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    digest: Digest,
    root: ObjectId,
}

impl Archives<'_> {
    /// Makes an image of pinned packages, and gives it its name if it is to have it. One that was made of the same things before is taken as it is.
    ///
    /// # Errors
    /// [`DistroError`].
    pub fn build(&self, order: &Order<'_>, scripts: &dyn Scripts) -> Result<Made, DistroError> {
        let contents = order.recipe.read_sources(order.directory)?;
        let key = key(order, &contents);
        if let Some(image) = self.known(order, &key)? {
            return Ok(Made { image, known: true, normalised: Vec::new() });
        }
        self.fetch(order.pins, order.recipe)?;
        let mut packages = Vec::new();
        for package in &order.pins.packages {
            let deb = deb::unpack(self.session, &package.sha256, &package.name, self.now)?;
            packages.push(Unpacked::new(package, deb, self.session)?);
        }
        let name = order.name.familiar();
        let (mut editor, normalised) = self.tree(order, &packages, &name, scripts)?;
        finish::files(&mut editor, order.recipe, &contents)?;
        editor.tree.set_mtimes(order.epoch);
        let options = self.options(order, &editor)?;
        let names = if order.named { std::slice::from_ref(order.name) } else { &[] };
        let image = put_rootfs(self.session, editor.tree, CREATED_BY, names, &options)?;
        let record = Record { digest: image.digest(), root: image.root };
        let payload = json::to_canonical(&record).unwrap_or_else(|_| unreachable!("two digests are JSON"));
        self.session.put_record(&key, &payload, &[image.root], self.now)?;
        Ok(Made { image, known: false, normalised })
    }

    /// The image that was made under this key; it has its name afterwards.
    fn known(&self, order: &Order<'_>, key: &CacheKey) -> Result<Option<StoredImage>, DistroError> {
        let Some(payload) = self.session.get_record(key, self.now)? else { return Ok(None) };
        let Ok(record) = serde_json::from_slice::<Record>(&payload) else { return Ok(None) };
        if order.named {
            let full = order.name.to_string();
            let named = self.session.store().get_ref(&full)?;
            if named.is_none_or(|found| (found.digest, found.root) != (record.digest, record.root)) {
                self.session.set_ref(&full, &record.digest, &record.root, self.now)?;
            }
        }
        Ok(Some(rebit_image::open(self.session, &record.digest, record.root)?))
    }

    fn tree<'s>(
        &'s self,
        order: &Order<'_>,
        packages: &[Unpacked],
        of: &'s str,
        scripts: &dyn Scripts,
    ) -> Result<(Editor<'s>, Vec<String>), DistroError> {
        let Order { recipe, pins, epoch, .. } = *order;
        let editor = |tree| Editor { tree, session: self.session, epoch, of };
        match recipe.variant {
            Variant::Distroless => {
                let place = |_: &Unpacked, path: &rebit_layer::TreePath, node: &rebit_layer::Node| {
                    finish::is_kept(path, node).then(|| path.clone())
                };
                let mut editor = editor(assemble(packages, &pins.architecture, epoch, &place)?);
                finish::distroless(&mut editor, packages, recipe)?;
                Ok((editor, Vec::new()))
            }
            Variant::Minbase => {
                let mut before = editor(assemble(packages, &pins.architecture, epoch, &system::place)?);
                system::database(&mut before, packages)?;
                before.tree.set_mtimes(epoch);
                let unpacked = before.tree.store(self.session)?;
                let command = system::command(packages, epoch);
                let after: TreeId = scripts
                    .run(&unpacked, &command)
                    .map_err(|source| DistroError::Scripts { name: of.to_owned(), source })?;
                let mut editor = editor(rebit_layer::Tree::load(&after, self.session)?);
                let normalised = system::normalise(&mut editor)?;
                system::sources(&mut editor, pins, recipe)?;
                finish::users(&mut editor, recipe)?;
                Ok((editor, normalised))
            }
        }
    }

    fn options(&self, order: &Order<'_>, editor: &Editor<'_>) -> Result<RootfsOptions, DistroError> {
        let recipe = order.recipe;
        let platform = platform(&order.pins.architecture)?;
        let mut options = RootfsOptions::new(platform, order.epoch, self.now);
        options.compression = order.compression;
        let config = &mut options.config;
        let (variable, bundle) = BUNDLE_VARIABLE;
        if recipe.variant == Variant::Distroless && editor.exists(bundle.trim_start_matches('/')) {
            config.set_env(variable, bundle);
        }
        recipe.environment.iter().for_each(|(name, value)| config.set_env(name, value));
        let list = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
        config.entrypoint = list(&recipe.entrypoint);
        config.cmd = list(&recipe.command);
        if recipe.variant == Variant::Minbase && recipe.entrypoint.is_empty() && recipe.command.is_empty() {
            let shell = if editor.exists("usr/bin/bash") { "bash" } else { "sh" };
            config.cmd = Some(vec![shell.to_owned()]);
        }
        config.user = match &recipe.user {
            Some(user) => Some(finish::numeric_user(editor, user)?),
            None => None,
        };
        config.working_dir.clone_from(&recipe.working_directory);
        config.labels.clone_from(&recipe.labels);
        Ok(options)
    }
}

/// Under this key it is known which image was made.
fn key(order: &Order<'_>, contents: &BTreeMap<String, Vec<u8>>) -> CacheKey {
    let mut preimage = Preimage::new("debian image", FORMAT);
    preimage.add("recipe", order.recipe.canonical());
    preimage.add("pins", order.pins.canonical());
    preimage
        .add_list("files", contents.iter().map(|(path, content)| format!("{path} {}", Digest::of(content))));
    preimage.add("epoch", order.epoch.to_string());
    preimage.add("compression", format!("{:?}", order.compression));
    preimage.add("layer format", "1");
    preimage.key()
}

/// Debian's architectures in Go's words.
const ARCHITECTURES: [(&str, &str); 9] = [
    ("amd64", "linux/amd64"),
    ("arm64", "linux/arm64"),
    ("armhf", "linux/arm/v7"),
    ("armel", "linux/arm/v5"),
    ("i386", "linux/386"),
    ("ppc64el", "linux/ppc64le"),
    ("riscv64", "linux/riscv64"),
    ("s390x", "linux/s390x"),
    ("loong64", "linux/loong64"),
];

fn platform(architecture: &str) -> Result<Platform, DistroError> {
    let known = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
    let platform = known.and_then(|(_, platform)| Platform::from_str(platform).ok());
    platform.ok_or_else(|| DistroError::Recipe {
        file: crate::recipe::FILE_NAME.to_owned(),
        reason: format!("images of the architecture `{architecture}` cannot be made"),
    })
}

/// The architecture of a platform, in Debian's words.
#[must_use]
pub fn debian_architecture(architecture: &str, variant: Option<&str>) -> Option<&'static str> {
    let wanted = match variant {
        Some(variant) => format!("linux/{architecture}/{variant}"),
        None => format!("linux/{architecture}"),
    };
    let plain = format!("linux/{architecture}");
    let found = ARCHITECTURES.iter().find(|(_, platform)| *platform == wanted);
    found.or_else(|| ARCHITECTURES.iter().find(|(_, platform)| *platform == plain)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::HostError;
    use crate::deb::tests::{deb, lab};
    use crate::lock::tests::package;
    use crate::recipe::Recipes;
    use crate::system::Command;

    #[test]
    fn architectures_have_two_names() {
        assert_eq!(debian_architecture("amd64", None), Some("amd64"));
        assert_eq!(debian_architecture("arm64", Some("v8")), Some("arm64"));
        assert_eq!(debian_architecture("arm", Some("v7")), Some("armhf"));
        assert_eq!(debian_architecture("mips", None), None);
        for (name, _) in ARCHITECTURES {
            assert!(platform(name).is_ok(), "{name}");
        }
        assert!(platform("hurd-i386").is_err());
    }

    /// Scripts that leave everything as it is.
    struct Nothing;

    impl Scripts for Nothing {
        fn run(&self, tree: &TreeId, command: &Command) -> Result<TreeId, HostError> {
            assert!(command.args.iter().any(|text| text.contains("dpkg --configure -a")));
            Ok(*tree)
        }
    }

    /// The digest of an image of two packages, made in a store of its own.
    fn digest(keys: &str, epoch: i64) -> String {
        let (_directory, session) = lab();
        let mut pins = LockedImage {
            inputs: Digest::of(b""),
            architecture: "amd64".to_owned(),
            archives: Vec::new(),
            packages: Vec::new(),
        };
        for (name, data) in
            [("a", [("bin/a", b"a"), ("etc/conf", b"c")]), ("b", [("lib/b", b"b"), ("etc/b", b"d")])]
        {
            let control = format!("Package: {name}\nVersion: 1\nArchitecture: all\n");
            let data = data.map(|(path, content)| (path, &content[..]));
            let file = deb(&[("control", control.as_bytes()), ("conffiles", b"/etc/conf\n")], &data);
            let mut pin = package(name, "1");
            (pin.sha256, pin.size) = (session.put_blob(&file, &[]).unwrap().0, file.len() as u64);
            pins.packages.push(pin);
        }
        let text = format!("[image.img]\ndebian = {{ suite = \"s\", {keys} }}\n");
        let recipes = Recipes::parse(&text, "f").unwrap();
        let (name, recipe) = recipes.iter().next().unwrap();
        let directory = Path::new("/nonexistent");
        let compression = Compression::Gzip;
        let order = Order { name, named: false, recipe, pins: &pins, directory, epoch, compression };
        let archives = Archives { session: &session, host: None, now: SystemTime::UNIX_EPOCH };
        let made = archives.build(&order, &Nothing).unwrap();
        assert!(session.store().refs().unwrap().is_empty());
        let again = archives.build(&Order { named: true, ..order }, &Nothing).unwrap();
        assert_eq!(session.store().refs().unwrap().len(), 1);
        assert!(!made.known && again.known && again.image.digest() == made.image.digest());
        made.image.digest().to_string()
    }

    #[test]
    fn the_digest_depends_on_recipe_pins_and_epoch_alone() {
        // D-40
        let distroless = r#"variant = "distroless", user = "nonroot""#;
        let minbase = r#"variant = "minbase""#;
        // Golden: what moves them is a new FORMAT.
        assert_eq!(
            digest(distroless, 0),
            "sha256:9850a8cd2902c40a1dd5e6789f0863bb1afc8db374f69c06801fb0d9f74d67a3"
        );
        assert_eq!(
            digest(minbase, 0),
            "sha256:84bbf6ef6aafefb9ccb8996ae7f6b17df0efb41f70ee84e376d55adfe8bb26d4"
        );
        assert_ne!(digest(distroless, 86_400), digest(distroless, 0));
        let labelled = r#"variant = "distroless", user = "nonroot", labels = { a = "b" }"#;
        assert_ne!(digest(labelled, 0), digest(distroless, 0));
    }
}
