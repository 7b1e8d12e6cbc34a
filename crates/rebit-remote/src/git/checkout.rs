//! The files of a commit in a directory.

use std::fs;
use std::path::Path;

use rebit_dockerfile::remote::redacted;

use super::command::Run;
use super::{Git, GitError, Resolved};

/// What git says when it cannot fetch just one commit, and more has to be asked for.
const ASK_FOR_MORE: [&str; 4] =
    ["not our ref", "unadvertised object", "does not support shallow", "couldn't find remote ref"];

/// A commit that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Checkout<'a> {
    /// The repository.
    pub remote: &'a str,
    /// The commit.
    pub resolved: &'a Resolved,
    /// Whether submodules are taken, and theirs.
    pub submodules: bool,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
}

/// What is known of a commit that was checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedOut {
    /// When it was committed, in seconds since 1970.
    pub time: i64,
}

impl Git {
    /// Writes the files of a commit into `directory`, which has to be empty.
    ///
    /// Modes are what the process's umask makes of them; only whether a file is executable means something. Without `keep_git_dir`
    /// no `.git` is left, neither of the repository nor of a submodule.
    ///
    /// # Errors
    /// [`GitError`]; what is in `directory` then means nothing.
    pub fn checkout(&self, wanted: &Checkout<'_>, directory: &Path) -> Result<CheckedOut, GitError> {
        let work = Work { git: self, wanted, directory };
        let commit = wanted.resolved.commit.as_str();
        let format = if commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        work.git("prepare", &["init", "-q", "--template=", format])?;
        work.git("prepare", &["config", "remote.origin.url", wanted.remote])?;
        work.fetch()?;
        work.git("check out", &["checkout", "-q", "--force", "--detach", commit])?;
        if wanted.submodules && directory.join(".gitmodules").is_file() {
            work.submodules()?;
        }
        let time = work.time()?;
        if wanted.keep_git_dir {
            self.tidy(wanted, directory)?;
        } else {
            remove_git(directory, 0)?;
        }
        Ok(CheckedOut { time })
    }
}

struct Work<'a> {
    git: &'a Git,
    wanted: &'a Checkout<'a>,
    directory: &'a Path,
}

impl Work<'_> {
    fn git(&self, action: &'static str, args: &[&str]) -> Result<Vec<u8>, GitError> {
        let run = Run { action, remote: self.wanted.remote, directory: Some(self.directory), input: None };
        self.git.run(run, args)
    }

    /// Fetches the commit alone; where the server does not give that, the branch or tag, and at last everything.
    fn fetch(&self) -> Result<(), GitError> {
        let Resolved { commit, name, tag } = self.wanted.resolved;
        let one = ["fetch", "-q", "--no-tags", "--depth=1", "origin"];
        let named = name.as_deref().map(|name| [&one[..], &[name]].concat());
        // An annotated tag is an object of its own, which leads to the commit.
        let first = tag.as_deref().filter(|_| self.wanted.keep_git_dir).unwrap_or(commit);
        let everything = vec!["fetch", "-q", "--no-tags", "origin", "+refs/*:refs/fetched/*"];
        let tries = [Some([&one[..], &[first]].concat()), named, Some(everything)];
        let mut last = None;
        for args in tries.into_iter().flatten() {
            match self.git("fetch", &args) {
                // A branch may have gone on since it was looked up.
                Ok(_) if self.has(commit)? => return Ok(()),
                Ok(_) => last = None,
                Err(GitError::Failed { said, .. }) if asks_for_more(&said) => last = Some(said),
                Err(error) => return Err(error),
            }
        }
        let remote = redacted(self.wanted.remote);
        Err(match last {
            Some(said) if !said.contains("not our ref") => GitError::Failed { action: "fetch", remote, said },
            _ => GitError::NoReference { remote, name: commit.clone() },
        })
    }

    fn has(&self, commit: &str) -> Result<bool, GitError> {
        match self.git("look into", &["cat-file", "-e", &format!("{commit}^{{commit}}")]) {
            Ok(_) => Ok(true),
            Err(GitError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn submodules(&self) -> Result<(), GitError> {
        let update = ["submodule", "--quiet", "update", "--init", "--recursive", "--force"];
        match self.git("fetch the submodules of", &[&update[..], &["--depth=1"]].concat()) {
            Err(GitError::Failed { said, .. }) if asks_for_more(&said) => {
                self.git("fetch the submodules of", &update).map(|_| ())
            }
            done => done.map(|_| ()),
        }
    }

    fn time(&self) -> Result<i64, GitError> {
        let commit = &self.wanted.resolved.commit;
        let answer = self.git("look into", &["show", "-s", "--format=%ct", commit])?;
        let text = String::from_utf8_lossy(&answer);
        let text = text.trim();
        text.parse().map_err(|_| GitError::Unreadable {
            remote: redacted(self.wanted.remote),
            what: format!("`{text}` as the time of a commit"),
        })
    }
}

fn asks_for_more(said: &str) -> bool {
    ASK_FOR_MORE.iter().any(|words| said.contains(words))
}

/// Removes `.git` here and in every directory below. git itself lets no commit have such a name.
fn remove_git(directory: &Path, depth: u32) -> Result<(), GitError> {
    const MAX_DEPTH: u32 = 1000;
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| GitError::Io { action: "remove", path, source }
    };
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed(directory))?);
        if entry.file_name() == ".git" {
            let removed = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(failed(&path))?;
        } else if kind.is_dir() && depth < MAX_DEPTH {
            remove_git(&path, depth + 1)?;
        }
    }
    Ok(())
}
