//! Images of a `rebit.toml`: found, pinned and assembled.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rebit_build::graph::BuildPlatform;
use rebit_build::plan::DEFAULT_EPOCH;
use rebit_build::{StepProblem, TreeRun, run_tree};
use rebit_distro::{
    Archives, Command, DistroError, Host, HostError, Indexes, Lock, LockedImage, Made, Order, Recipe,
    Recipes, Scripts, Sources, debian_architecture, lock, recipe,
};
use rebit_image::StoredImage;
use rebit_oci::manifest::Compression;
use rebit_oci::{Reference, TreeId};
use rebit_sandbox::{Runner, StopFlag};
use rebit_store::Session;

use crate::apt::LazyApt;
use crate::environment;
use crate::error::CommandError;
use crate::machine::{Machine, VerifyError};
use crate::output::{count, say};

/// Largest file of recipes or pins.
const LIMIT: u64 = 64 << 20;
/// How much of what scripts say is shown when they fail.
const TAIL: usize = 4 << 10;

/// A file of recipes and the pins beside it.
pub(crate) struct Assembly {
    pub(crate) recipes: Recipes,
    directory: PathBuf,
    lock: Mutex<Lock>,
    indexes: Mutex<Indexes>,
    apt: LazyApt,
    online: bool,
    quiet: bool,
    stop: StopFlag,
}

/// An error that was put into words already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Said(String);

impl Assembly {
    /// The recipes in a directory; `None` when it has none.
    pub(crate) fn beside(
        directory: &Path,
        online: bool,
        quiet: bool,
        stop: &StopFlag,
    ) -> Result<Option<Self>, CommandError> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let file = directory.join(recipe::FILE_NAME);
        if !file.is_file() {
            return Ok(None);
        }
        Self::open(&file, online, quiet, stop).map(Some)
    }

    /// Opens a file of recipes.
    pub(crate) fn open(
        file: &Path,
        online: bool,
        quiet: bool,
        stop: &StopFlag,
    ) -> Result<Self, CommandError> {
        let name = file.display().to_string();
        let text = read(file)?.ok_or_else(|| {
            CommandError::message(format!("there is no file of recipes `{name}`"))
                .hint("`rebit image recipes` prints ready ones; `-f FILE` names a file that is elsewhere")
        })?;
        let recipes = Recipes::parse(&text, &name)?;
        let directory = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let locked = directory.join(lock::FILE_NAME);
        let lock = match read(&locked)? {
            Some(text) => Lock::parse(&text, &locked.display().to_string())?,
            None => Lock::default(),
        };
        Ok(Self {
            recipes,
            directory: directory.to_owned(),
            lock: Mutex::new(lock),
            indexes: Mutex::default(),
            apt: LazyApt::default(),
            online,
            quiet,
            stop: stop.clone(),
        })
    }

    /// The recipes for names, or all.
    pub(crate) fn chosen(&self, names: &[String]) -> Result<Vec<(&Reference, &Recipe)>, CommandError> {
        if names.is_empty() {
            return Ok(self.recipes.iter().collect());
        }
        let one = |text: &String| {
            let name = crate::command::store_name(text)?;
            let found = self.recipes.iter().find(|(known, _)| **known == name);
            found.ok_or_else(|| {
                let known: Vec<String> = self.recipes.iter().map(|(name, _)| name.familiar()).collect();
                CommandError::message(format!("`{}` has no recipe for `{text}`", self.recipes.file))
                    .hint(format!("it has {}", known.join(", ")))
            })
        };
        names.iter().map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lock> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The architectures that a recipe is pinned for, and that of the machine when there is none.
    pub(crate) fn pinned_architectures(
        &self,
        name: &Reference,
        recipe: &Recipe,
    ) -> Result<Vec<String>, CommandError> {
        let mut known: Vec<String> = match &recipe.architecture {
            Some(architecture) => vec![architecture.clone()],
            None => self.lock().architectures(name).map(str::to_owned).collect(),
        };
        if known.is_empty() {
            known.push(native_architecture()?.to_owned());
        }
        Ok(known)
    }

    /// The pins of an image for an architecture. They are made when there are none, or when what they depend on changed, or when they are
    /// to move; the lines tell what is different then.
    pub(crate) fn pins(
        &self,
        session: &Session,
        name: &Reference,
        recipe: &Recipe,
        architecture: &str,
        update: bool,
    ) -> Result<(LockedImage, Option<Vec<String>>), CommandError> {
        let inputs = recipe.inputs(architecture);
        let known = self.lock().get(name, architecture).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.inputs == inputs && !update) {
            return Ok((known.clone(), None));
        }
        if !self.online {
            let reason = if known.is_some() { "its recipe has changed" } else { "it has no pins" };
            let reason = match architecture == native_architecture()? {
                true => reason.to_owned(),
                false => format!("{reason} for {architecture}"),
            };
            return Err(DistroError::NotLocked { name: name.familiar(), reason }.into());
        }
        let machine = Machine::new(&self.apt, session, &self.stop, self.quiet);
        let archives = self.archives(session, &machine);
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = self.apt.get()?.sources()?;
        let sources = Sources { architecture, sources: &sources, directory: &self.directory };
        let pins = archives.lock(recipe, &sources, known.as_ref(), &mut indexes)?;
        drop(indexes);
        let changes = pins.changes(known.as_ref());
        self.lock().insert(name, pins.clone());
        self.save()?;
        Ok((pins, Some(changes)))
    }

    /// Forgets the pins of images that have no recipe any more.
    pub(crate) fn prune(&self) -> Result<Vec<String>, CommandError> {
        let names: Vec<String> = self.recipes.iter().map(|(name, _)| name.familiar()).collect();
        let gone = self.lock().retain(|name| names.iter().any(|known| known == name));
        if !gone.is_empty() {
            self.save()?;
        }
        Ok(gone)
    }

    /// Writes the pins, in one step.
    fn save(&self) -> Result<(), CommandError> {
        let path = self.directory.join(lock::FILE_NAME);
        let failed = |source| DistroError::Io { path: path.display().to_string(), source };
        let mut file = tempfile::NamedTempFile::new_in(&self.directory).map_err(failed)?;
        let text = self.lock().to_text();
        io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(file.path(), permissions).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn archives<'a>(&self, session: &'a Session, machine: &'a Machine<'a>) -> Archives<'a> {
        let host = self.online.then_some(machine as &dyn Host);
        Archives { session, host, now: environment::now() }
    }

    /// Assembles an image. The one that is asked for gets its name.
    pub(crate) fn build(
        &self,
        session: &Session,
        wanted: &Wanted<'_>,
        compression: Compression,
    ) -> Result<(Made, usize), CommandError> {
        let Wanted { name, recipe, platform, named } = *wanted;
        let architecture = architecture(recipe, platform)?;
        let (pins, _) = self.pins(session, name, recipe, &architecture, false)?;
        let machine = Machine::new(&self.apt, session, &self.stop, self.quiet);
        let epoch = environment::source_date_epoch(None)?.unwrap_or(DEFAULT_EPOCH);
        let directory = &self.directory;
        let order = Order { name, named, recipe, pins: &pins, directory, epoch, compression };
        let scripts = Sandbox { session, name: (!self.quiet).then_some(name), epoch, stop: &self.stop };
        let made = self.archives(session, &machine).build(&order, &scripts)?;
        Ok((made, pins.packages.len()))
    }

    /// The image that a recipe has for a name, for `FROM`; `None` when there is no such recipe. For another platform than the machine's
    /// it has no name: a name stands for one platform in the store.
    pub(crate) fn base(
        &self,
        session: &Session,
        name: &Reference,
        platform: &BuildPlatform,
    ) -> Option<Result<StoredImage, Said>> {
        let (name, recipe) = self.recipes.iter().find(|(known, _)| **known == *name)?;
        // A recipe that says for what it is means that, whatever is asked for.
        let asked = Some(platform).filter(|_| recipe.architecture.is_none());
        let native = environment::native_platform();
        let named = asked.is_none_or(|asked| asked.architecture == native.architecture);
        let wanted = Wanted { name, recipe, platform: asked, named };
        let built = self.build(session, &wanted, Compression::Gzip);
        Some(built.map_err(|error| Said(error.text.trim_start_matches("error: ").to_owned())).map(
            |(made, packages)| {
                if !made.known && !self.quiet {
                    let packages = count(packages as u64, "package", "packages");
                    say(format!("{}: assembled from {packages}", name.familiar()));
                }
                made.image
            },
        ))
    }
}

/// An image that is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a Reference,
    pub(crate) recipe: &'a Recipe,
    /// The platform; what the recipe says when it is missing, and then the machine's.
    pub(crate) platform: Option<&'a BuildPlatform>,
    /// Whether it gets its name in the store.
    pub(crate) named: bool,
}

/// The architecture for which a recipe is wanted, in Debian's words.
pub(crate) fn architecture(
    recipe: &Recipe,
    platform: Option<&BuildPlatform>,
) -> Result<String, CommandError> {
    let Some(platform) = platform else {
        return match &recipe.architecture {
            Some(architecture) => Ok(architecture.clone()),
            None => Ok(native_architecture()?.to_owned()),
        };
    };
    let found = debian_architecture(&platform.architecture, platform.variant.as_deref());
    let found = found.filter(|_| platform.os == "linux");
    let found =
        found.ok_or_else(|| CommandError::message(format!("Debian has no architecture for {platform}")))?;
    match &recipe.architecture {
        Some(other) if *other != *found => {
            Err(CommandError::message(format!("the recipe is for {other}, and {platform} is {found}"))
                .hint("without `architecture`, a recipe is for every platform that is asked for"))
        }
        _ => Ok(found.to_owned()),
    }
}

fn read(path: &Path) -> Result<Option<String>, CommandError> {
    let failed = |source| DistroError::Io { path: path.display().to_string(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

fn native_architecture() -> Result<&'static str, CommandError> {
    let platform = environment::native_platform();
    let found = debian_architecture(&platform.architecture, platform.variant.as_deref());
    found.ok_or_else(|| {
        CommandError::message(format!("Debian has no architecture for {platform}"))
            .hint("`architecture` in the recipe names one")
    })
}

/// Runs maintainers' scripts.
struct Sandbox<'a> {
    session: &'a Session,
    /// Whose scripts they are, when that is to be said.
    name: Option<&'a Reference>,
    epoch: i64,
    stop: &'a StopFlag,
}

/// Scripts that failed, and what they said last.
#[derive(Debug, thiserror::Error)]
#[error("their scripts ended badly{said}")]
struct ScriptsFailed {
    said: String,
    source: StepProblem,
}

impl Scripts for Sandbox<'_> {
    fn run(&self, tree: &TreeId, command: &Command) -> Result<TreeId, HostError> {
        if let Some(name) = self.name {
            say(format!("{}: setting up its packages", name.familiar()));
        }
        let run = TreeRun {
            args: command.args.clone(),
            env: command.env.clone(),
            epoch: self.epoch,
            now: environment::now(),
        };
        let mut said: Vec<u8> = Vec::new();
        let mut output = |_, bytes: &[u8]| {
            said.extend_from_slice(bytes);
            let extra = said.len().saturating_sub(TAIL);
            said.drain(..extra);
        };
        let ran = run_tree(self.session, *tree, &run, &Runner::this_executable(), &mut output, self.stop);
        match ran {
            Ok((tree, _)) => Ok(tree),
            Err(source) => {
                let said = String::from_utf8_lossy(&said);
                let said = match said.trim_end() {
                    "" => String::new(),
                    said => format!("; the last that was said:\n{said}"),
                };
                Err(ScriptsFailed { said, source }.into())
            }
        }
    }
}

/// What to do about an image that cannot be assembled.
pub(crate) fn hint(error: &DistroError) -> Option<&'static str> {
    match error {
        DistroError::NotLocked { .. } => Some("`rebit lock` pins the packages; it needs a network"),
        DistroError::Offline { .. } => Some("a build with a network brings it into the store"),
        DistroError::NoSource { .. } => {
            Some("`mirror` in the recipe names an archive; without it, /etc/apt says where packages are")
        }
        DistroError::Signature { source, .. } => match source.downcast_ref::<VerifyError>() {
            Some(VerifyError::NoProgram) => Some("install gpgv"),
            _ => Some("`keyrings` in the recipe names files of keys that are trusted"),
        },
        DistroError::Fetch { url, .. } if url.ends_with(".deb") => Some(
            "an archive drops versions that it has replaced: `rebit lock --update` moves the pins, and `fallback` in the recipe names an archive that keeps them",
        ),
        DistroError::Older { .. } => {
            Some("if that is right, remove the image's part of rebit.lock, and pin it anew")
        }
        DistroError::Release { reason, .. } if reason.contains("not to be believed since") => {
            Some("an archive that is kept as it was needs `check-valid-until = false` in the recipe")
        }
        _ => None,
    }
}
