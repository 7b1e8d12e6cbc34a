//! The commands, one file each.

mod bases;
mod build;
mod build_error;
mod cache;
mod call;
mod check;
mod context;
mod copy;
mod debug;
mod diff;
mod dockerfile;
mod du;
mod export;
mod fixers;
mod fsck;
mod gc;
mod history;
mod image;
mod images;
mod import;
mod info;
mod inspect;
mod limit_flag;
mod lock;
mod login;
mod output_flag;
mod plan;
mod provenance;
mod pull;
mod push;
mod rebuild;
mod referrers;
mod run;
mod secret_flag;
mod source;
mod tag;
mod tags;
mod verify;
mod why;

use clap::CommandFactory as _;
use rebit_image::{ImageError, ImportOptions, Place, StoredImage};
use rebit_oci::Reference;
use rebit_oci::manifest::Compression;
use rebit_store::{Session, Store};

use crate::environment;
use crate::error::{CommandError, is_full};
use crate::flags::{Command, CompressionFlag, Flags};

/// What the names of images begin with that nobody named: they are there by their digest, until gc finds them old.
const UNNAMED: &str = "<none>@";

/// Does what the command line says.
pub(crate) fn dispatch(flags: &Flags) -> Result<(), CommandError> {
    match &flags.command {
        Command::Build(command) => {
            let built = build::build(flags, command);
            // After the build's session has ended: it keeps what it used.
            if built.is_ok() && !command.check {
                gc::automatic(flags, command.quiet);
            }
            built
        }
        Command::Plan(command) => plan::plan(flags, command),
        Command::Why(command) => why::why(flags, command),
        Command::Check(command) => check::check(flags, command),
        Command::Image(command) => image::image(flags, command),
        Command::Lock(command) => lock::lock(flags, command),
        Command::Fixers(command) => fixers::fixers(command),
        Command::Import(command) => import::import(flags, command),
        Command::Export(command) => export::export(flags, command),
        Command::Pull(command) => pull::pull(flags, command),
        Command::Push(command) => push::push(flags, command),
        Command::Copy(command) => copy::copy(flags, command),
        Command::Login(command) => login::login(command),
        Command::Logout(command) => login::logout(command),
        Command::Tags(command) => tags::tags(command),
        Command::Referrers(command) => referrers::referrers(command),
        Command::Images(command) => images::images(flags, command),
        Command::Inspect(command) => inspect::inspect(flags, command),
        Command::History(command) => history::history(flags, command),
        Command::Tag(command) => tag::tag(flags, command),
        Command::Rm(command) => tag::rm(flags, command),
        Command::Debug(command) => debug::debug(flags, command),
        Command::Run(command) => run::run(flags, command),
        Command::Verify(command) => verify::verify(flags, command),
        Command::Diff(command) => diff::diff(flags, command),
        Command::Cache(command) => cache::cache(flags, command),
        Command::Gc(command) => gc::gc(flags, command),
        Command::Fsck(command) => fsck::fsck(flags, command),
        Command::Du(command) => du::du(flags, command),
        Command::Info(command) => info::info(flags, command),
        Command::Completion { shell } => {
            clap_complete::generate(*shell, &mut Flags::command(), "rebit", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Reads a name of an image in the store, with or without `store:`.
pub(crate) fn store_name(text: &str) -> Result<Reference, CommandError> {
    let name = text.strip_prefix("store:").unwrap_or(text);
    name.parse().map_err(|error: rebit_oci::reference::ParseReferenceError| CommandError {
        exit: crate::error::ExitKind::Usage,
        ..CommandError::new(&error)
    })
}

/// Reads a place where an image is or goes to.
fn place(text: &str) -> Result<Place, CommandError> {
    Place::parse_or_name(text)
        .map_err(|error| CommandError::new(&error).with_exit(crate::error::ExitKind::Usage))
}

/// Finds an image by name or digest.
fn find(session: &Session, text: &str) -> Result<StoredImage, CommandError> {
    let Place::Store { name } = place(text)? else {
        return Err(CommandError::usage(format!("`{text}` is not an image of the store"))
            .hint("bring it in with `rebit import` first"));
    };
    let found = rebit_image::find_text(session, &name)?;
    let missing = || {
        CommandError::message(format!("there is no image `{name}` in the store"))
            .hint("`rebit images` lists what there is; `rebit pull` takes an image from its registry")
    };
    found.ok_or_else(missing)
}

/// As [`find`], with its layers unpacked.
fn find_unpacked(session: &Session, text: &str) -> Result<StoredImage, CommandError> {
    Ok(unpacked(session, find(session, text)?, Some(text))?)
}

/// Unpacks the layers of an image whose files are needed for the first time, and says so of the name that is given.
fn unpacked(session: &Session, image: StoredImage, name: Option<&str>) -> Result<StoredImage, ImageError> {
    if image.is_unpacked() {
        return Ok(image);
    }
    if let Some(name) = name {
        crate::output::say(format!("unpacking {name}"));
    }
    let options = ImportOptions::new(image.platform(), environment::now());
    rebit_image::unpack(session, image, &options)
}

fn compression(flag: CompressionFlag) -> Compression {
    match flag {
        CompressionFlag::Gzip => Compression::Gzip,
        CompressionFlag::Zstd => Compression::Zstd,
        CompressionFlag::None => Compression::None,
    }
}

impl From<rebit_image::ImageError> for CommandError {
    fn from(error: rebit_image::ImageError) -> Self {
        let hint = crate::error::hint_of(&error);
        let text = Self::new(&error);
        match hint {
            Some(hint) => text.hint(hint),
            None => text,
        }
    }
}

/// Gets the layer blobs of an image ready before it is sent out. That they stay at hand is no condition for it: a full
/// disk is none of its business.
fn keep_at_hand(store: &Store, image: &StoredImage) -> Result<(), CommandError> {
    // A session of its own, since one that failed to write cannot go on.
    let kept = store.session().map_err(ImageError::from).and_then(|session| {
        rebit_image::keep_at_hand(&session, image, environment::now())?;
        Ok(session.commit()?)
    });
    match kept {
        Err(error) if !is_full(&error) => Err(error.into()),
        _ => Ok(()),
    }
}
