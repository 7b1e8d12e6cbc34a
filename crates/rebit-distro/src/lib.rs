//! Images from Debian packages, bit for bit the same, without dpkg, apt or a chroot of the host.
//!
//! ```text
//! rebit.toml ─ Recipes ─┐                                              rebit.lock
//! sources of apt ───────┼─ Archives::lock: Release, indexes, solve ──►  Lock ─┐
//!                       │                                                     ▼
//!                       └──────────────── Archives::build: package files ─ unpack ─ assemble ─┬─ files only ───────────► image
//!                                                                                             └─ scripts in the sandbox ─► image
//! ```
//!
//! - [`version`], [`deb822`], [`relation`], [`date`], [`armor`], [`ar`]: the formats, pure.
//! - [`apt_conf`], [`auth`]: what the machine's apt is told.
//! - [`sources`], [`release`], [`package`], [`mod@solve`]: what archives say, and which packages are needed.
//! - [`recipe`], [`lock`]: the two files of the user (`docs/format/rebit-toml.md`).
//! - [`Archives`]: what comes from outside. It is verified before it is read: Release files by their signature, everything else by
//!   its digest.
//! - [`deb`], [`assemble`], [`system`], [`build`]: from package files to an image.
//! - [`templates`]: ready recipes.
//!
//! The machine does what this crate asks of it through two traits: [`Host`] fetches and verifies, [`Scripts`] runs programs in a
//! tree. Nothing here opens a socket, looks at the environment or reads the clock.

pub mod acquire;
pub mod apt_conf;
pub mod ar;
pub mod armor;
pub mod assemble;
pub mod auth;
pub mod build;
pub mod date;
pub mod deb;
pub mod deb822;
mod edit;
mod error;
mod finish;
mod indexes;
pub mod lock;
pub mod package;
pub mod recipe;
pub mod relation;
pub mod release;
mod snapshot;
pub mod solve;
pub mod sources;
pub mod system;
pub mod templates;
pub mod version;

pub use acquire::{Archives, Host};
pub use build::{Made, Order, debian_architecture};
pub use error::{DebError, DistroError, HostError};
pub use indexes::{Indexes, Sources};
pub use lock::{Lock, LockedImage};
pub use recipe::{Recipe, Recipes};
pub use sources::{SignedBy, Source};
pub use system::{Command, Scripts};
