//! Why a repository could not be used. No message has credentials.

use std::io;

/// What went wrong with a repository.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The machine has no git.
    #[error("`{remote}` needs git, and there is no `{program}` on this machine")]
    NoGit {
        /// The repository.
        remote: String,
        /// What was looked for.
        program: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("`{remote}` has no branch, tag or commit `{name}`")]
    NoReference {
        /// The repository.
        remote: String,
        /// What was asked for.
        name: String,
    },
    /// What the name leads to is not the commit that it has to be.
    #[error("`{name}` of `{remote}` is commit {found}, and has to be {wanted}")]
    WrongCommit {
        /// The repository.
        remote: String,
        /// The branch or tag.
        name: String,
        /// The commit that it is.
        found: String,
        /// The commit that it has to be, or its first digits.
        wanted: String,
    },
    /// git ended with an error.
    #[error("git cannot {action} `{remote}`: {said}")]
    Failed {
        /// What was to be done.
        action: &'static str,
        /// The repository.
        remote: String,
        /// The last that git said.
        said: String,
    },
    /// git said something that cannot be read.
    #[error("git says something about `{remote}` that cannot be read: {what}")]
    Unreadable {
        /// The repository.
        remote: String,
        /// What it was.
        what: String,
    },
    /// More came than is taken.
    #[error("`{remote}` has {what}, more than {limit}")]
    Limit {
        /// The repository.
        remote: String,
        /// What there is too much of.
        what: &'static str,
        /// How much is taken.
        limit: u64,
    },
    /// A file of the checkout cannot be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The caller wanted to stop.
    #[error("the fetch was interrupted")]
    Interrupted,
}
