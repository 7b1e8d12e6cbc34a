//! `RUN --mount`: what a process sees besides its root file system, and what never reaches a layer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rebit_layer::{
    Changeset, CheckoutOptions, Conflict, Metadata, Node, Tree, TreePath, Whiteouts, checkout,
};
use rebit_sandbox::{Mount, RunSpec};
use rebit_store::{CacheDir, CacheSharing, ScratchDir};

use super::agent::AgentSocket;
use super::run::RunEnvironment;
use crate::error::StepProblem;
use crate::graph::{CopySource, MountOwner, RunMount, RunMountKind, Sharing};
use crate::snapshot::View;

/// The name of a file that is mounted alone, in the tree that is made for it.
const FILE: &str = "file";

/// What the caller lets steps use. Contents are never printed.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Secrets by name.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Sockets of SSH agents by name.
    pub agents: BTreeMap<String, PathBuf>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.secrets.keys().collect();
        f.debug_struct("Secrets").field("secrets", &names).field("agents", &self.agents).finish()
    }
}

/// Mounts that are ready, and what has to stay until the process has ended.
#[derive(Default)]
pub(crate) struct Prepared {
    mounts: Vec<Mount>,
    env: Vec<(String, OsString)>,
    views: Vec<View>,
    copies: Vec<ScratchDir>,
    caches: Vec<CacheDir>,
    agents: Vec<AgentSocket>,
}

/// What a mount shows: a tree, and whether that is a directory; a file is the tree's [`FILE`].
pub(crate) type Part = (Tree, bool);

/// Gives what the mount of this number shows: a path in a tree.
pub(crate) type Parts<'a> = &'a dyn Fn(usize, &CopySource, &str) -> Result<Part, StepProblem>;

/// The part of `tree` at `source`: a directory's content at the root, a file or other node as [`FILE`].
pub(crate) fn part(tree: &Tree, source: &str, place: &str, epoch: i64) -> Result<Part, StepProblem> {
    let path = tree.resolve(source, true).map_err(|source| StepProblem::Resolve { source })?;
    let missing = || StepProblem::SourceMissing { path: source.to_owned(), place: place.to_owned() };
    let node = tree.get(&path).ok_or_else(missing)?;
    let directory = node.is_directory();
    let mut part = Tree::with_root(Metadata::directory(epoch));
    let target = if directory {
        TreePath::root()
    } else {
        TreePath::parse(FILE).map_err(|source| StepProblem::Path { source })?
    };
    part.graft(tree, &path, &target, &Metadata::directory(epoch), Conflict::Replace, |_, _: &mut Node| true)
        .map_err(|source| StepProblem::Graft { source })?;
    Ok((part, directory))
}

/// Prepares the mounts of a step.
pub(crate) fn prepare(
    mounts: &[RunMount],
    parts: Parts<'_>,
    environment: &RunEnvironment<'_>,
) -> Result<Prepared, StepProblem> {
    let mut prepared = Prepared::default();
    for (number, mount) in mounts.iter().enumerate() {
        let part = |from: &CopySource, source: &str| parts(number, from, source);
        prepared.add(mount, &part, environment)?;
    }
    Ok(prepared)
}

impl Prepared {
    /// Puts mounts and variables into a spec.
    pub(crate) fn apply(&self, spec: &mut RunSpec) {
        spec.mounts.extend(self.mounts.iter().cloned());
        for (name, value) in &self.env {
            spec.env.retain(|(known, _)| known != name.as_str());
            spec.env.push((name.into(), value.into()));
        }
    }

    fn add(
        &mut self,
        mount: &RunMount,
        part: &dyn Fn(&CopySource, &str) -> Result<Part, StepProblem>,
        environment: &RunEnvironment<'_>,
    ) -> Result<(), StepProblem> {
        let target = mount.target.as_ref().map(PathBuf::from);
        match (&mount.kind, target) {
            (RunMountKind::Bind { from, source, writable }, Some(target)) => {
                let (part, directory) = part(from, source)?;
                if *writable {
                    let files = self.copy(&part, environment)?;
                    let source = if directory { files } else { files.join(FILE) };
                    self.mounts.push(Mount::Bind { source, target, readonly: false });
                } else {
                    let (id, _) = environment.trees.store(part)?;
                    let view = environment.snapshotter.view(&[id])?;
                    let (lowers, file) = (view.lowers.clone(), (!directory).then(|| FILE.into()));
                    self.mounts.push(Mount::Layers { lowers, file, target });
                    self.views.push(view);
                }
            }
            (RunMountKind::Cache { id, from, sharing, read_only, owner }, Some(target)) => {
                let fill = |path: &Path| {
                    let start = match from {
                        Some((from, source)) => Some((part(from, source)?, source.as_str())),
                        None => None,
                    };
                    fill_cache(path, start, owner, environment)
                };
                let sharing = match sharing {
                    Sharing::Private => CacheSharing::Private,
                    Sharing::Locked => CacheSharing::Locked,
                    Sharing::Shared => CacheSharing::Shared,
                };
                let cache = environment.directories.cache_dir(id, sharing, environment.now, fill)?;
                let source = cache.path().to_owned();
                self.caches.push(cache);
                self.mounts.push(Mount::Bind { source, target, readonly: *read_only });
            }
            (RunMountKind::Tmpfs { size }, Some(target)) => {
                self.mounts.push(Mount::Tmpfs { target, size: *size, mode: 0o1777 });
            }
            (RunMountKind::Secret { id, env, required, owner }, target) => {
                let Some(content) = environment.secrets.secrets.get(id) else {
                    return missing("secret", id, *required);
                };
                self.secret(content, env.as_ref(), target, *owner);
            }
            (RunMountKind::Ssh { id, required, owner }, target) => {
                let Some(socket) = environment.secrets.agents.get(id) else {
                    return missing("SSH agent", id, *required);
                };
                let number = self.mounts.len();
                let target = target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{number}").into());
                if !self.env.iter().any(|(name, _)| name == "SSH_AUTH_SOCK") {
                    self.env.push(("SSH_AUTH_SOCK".to_owned(), target.clone().into_os_string()));
                }
                let scratch = environment.session.scratch_dir("agent")?;
                let path = scratch.path().to_owned();
                let agent = AgentSocket::new(scratch, socket.clone(), *owner);
                let agent = agent.map_err(|source| failed(&path, source))?;
                self.mounts.push(Mount::Bind { source: agent.path(), target, readonly: true });
                self.agents.push(agent);
            }
            (_, None) => unreachable!("a plan gives these mounts a target"),
        }
        Ok(())
    }

    fn secret(&mut self, content: &[u8], env: Option<&String>, target: Option<PathBuf>, owner: MountOwner) {
        if let Some(name) = env {
            // Byte for byte: a secret need not be text.
            self.env.push((name.clone(), OsString::from_vec(content.to_vec())));
        }
        if let Some(target) = target {
            let MountOwner { mode, uid, gid } = owner;
            self.mounts.push(Mount::File {
                target,
                contents: content.to_vec(),
                mode,
                uid,
                gid,
                readonly: true,
            });
        }
    }

    /// A directory of the step's own, whose changes are thrown away.
    fn copy(&mut self, tree: &Tree, environment: &RunEnvironment<'_>) -> Result<PathBuf, StepProblem> {
        let scratch = environment.directories.scratch_dir("bind")?;
        let files = scratch.path().join("fs");
        fs::create_dir(&files).map_err(|source| failed(&files, source))?;
        write_tree(tree, &files, environment)?;
        self.copies.push(scratch);
        Ok(files)
    }
}

fn write_tree(tree: &Tree, directory: &Path, environment: &RunEnvironment<'_>) -> Result<(), StepProblem> {
    let options = CheckoutOptions {
        whiteouts: Whiteouts::Plain,
        allow_missing_devices: true,
        allow_other_owner: false,
    };
    checkout(&Changeset::full(tree), directory, environment.session, &options)?;
    Ok(())
}

fn fill_cache(
    directory: &Path,
    from: Option<(Part, &str)>,
    owner: &MountOwner,
    environment: &RunEnvironment<'_>,
) -> Result<(), StepProblem> {
    if let Some(((part, is_directory), source)) = from {
        if !is_directory {
            return Err(StepProblem::NotDirectory { path: source.to_owned() });
        }
        write_tree(&part, directory, environment)?;
    }
    chown(directory, Some(owner.uid), Some(owner.gid))
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(owner.mode)))
        .map_err(|source| failed(directory, source))
}

fn failed(path: &Path, source: std::io::Error) -> StepProblem {
    StepProblem::Io { path: path.display().to_string(), source }
}

fn missing(what: &'static str, id: &str, required: bool) -> Result<(), StepProblem> {
    if required { Err(StepProblem::NotGiven { what, id: id.to_owned() }) } else { Ok(()) }
}
