//! Sources of `ADD` that come over the network.

use rebit_dockerfile::instruction::{Add, Source};
use rebit_dockerfile::remote::{GitSource, RemoteSource, file_name, redacted};
use rebit_dockerfile::{Span, Spanned};
use rebit_oci::Digest;

use super::stage::StageState;
use super::{PlanError, PlanProblem, Planner};
use crate::graph::{GitFiles, SourcePath, UrlSource};

/// How the remote sources of one `ADD` are taken.
pub(super) struct RemoteFlags {
    checksum: Option<String>,
    keep_git_dir: Option<bool>,
    unpack: bool,
}

/// Reads the flags that are for remote sources only, and refuses them where there is none.
pub(super) fn flags(planner: &Planner<'_>, state: &StageState, add: &Add) -> Result<RemoteFlags, PlanError> {
    let checksum = match &add.checksum {
        Some(word) => {
            check_checksum(planner, state, add, word)?;
            Some(planner.expand(&state.scope, &word.value, word.span)?)
        }
        None => None,
    };
    if add.keep_git_dir == Some(true) {
        check_keep_git_dir(planner, state, add)?;
    }
    Ok(RemoteFlags { checksum, keep_git_dir: add.keep_git_dir, unpack: add.unpack.unwrap_or(false) })
}

/// A checksum is for one source, and that is a remote one.
fn check_checksum(
    planner: &Planner<'_>,
    state: &StageState,
    add: &Add,
    checksum: &Spanned<String>,
) -> Result<(), PlanError> {
    let span = checksum.span;
    let needs_remote = |source| Err(invalid(span, source, "a remote source, which --checksum needs"));
    match add.files.sources.as_slice() {
        [Source::Path(word)] => {
            let path = planner.expand(&state.scope, &word.value, word.span)?;
            if matches!(RemoteSource::parse(&path), Ok(None)) { needs_remote(path) } else { Ok(()) }
        }
        [Source::Heredoc(heredoc)] => needs_remote(heredoc.name.clone()),
        _ => Err(invalid(span, "--checksum".to_owned(), "possible with more than one source")),
    }
}

fn check_keep_git_dir(planner: &Planner<'_>, state: &StageState, add: &Add) -> Result<(), PlanError> {
    for source in &add.files.sources {
        let Source::Path(word) = source else { continue };
        let path = planner.expand(&state.scope, &word.value, word.span)?;
        if !matches!(RemoteSource::parse(&path), Ok(None | Some(RemoteSource::Url(_)))) {
            return Ok(());
        }
    }
    let expected = "possible without a source that is a git repository";
    Err(invalid(add.files.dest.span, "--keep-git-dir".to_owned(), expected))
}

fn invalid(span: Span, value: String, expected: &'static str) -> PlanError {
    PlanError { span, problem: PlanProblem::Invalid { value, expected } }
}

/// Reads a source after expansion; `None` when it is a path. `flags` is missing for `COPY`, which fetches nothing.
pub(super) fn plan_remote(
    text: &str,
    flags: Option<&RemoteFlags>,
    dest: &str,
) -> Result<Option<SourcePath>, PlanProblem> {
    let Some(flags) = flags else {
        // A name that only git would take for an address may be a file.
        return match RemoteSource::parse(text) {
            Ok(Some(_)) if text.contains("://") => Err(PlanProblem::Invalid {
                value: redacted(text),
                expected: "a path, which COPY needs: ADD takes what comes over the network",
            }),
            _ => Ok(None),
        };
    };
    match RemoteSource::parse(text)? {
        None => Ok(None),
        Some(RemoteSource::Url(url)) => plan_url(url, flags, dest).map(|url| Some(SourcePath::Url(url))),
        Some(RemoteSource::Git(git)) => plan_git(git, flags).map(|git| Some(SourcePath::Git(git))),
    }
}

fn plan_url(url: String, flags: &RemoteFlags, dest: &str) -> Result<UrlSource, PlanProblem> {
    let checksum = match &flags.checksum {
        Some(text) => Some(text.parse::<Digest>().map_err(|_| PlanProblem::Invalid {
            value: text.clone(),
            expected: "the checksum of a file: `sha256:` and 64 hexadecimal digits",
        })?),
        None => None,
    };
    let name = match file_name(&url) {
        Some(name) => name,
        None if dest.ends_with('/') => {
            let expected =
                "a URL that ends in the name of a file, which is needed where the destination is a directory";
            return Err(PlanProblem::Invalid { value: redacted(&url), expected });
        }
        // As in BuildKit: without a name of its own it may still be put into a directory that is there.
        None => "__unnamed__".to_owned(),
    };
    Ok(UrlSource { url, checksum, name, unpack: flags.unpack })
}

fn plan_git(mut source: GitSource, flags: &RemoteFlags) -> Result<GitFiles, PlanProblem> {
    if let Some(checksum) = &flags.checksum {
        source = source.with_checksum(checksum)?;
    }
    let keep_git_dir = match (flags.keep_git_dir, source.keep_git_dir) {
        (Some(flag), Some(option)) if flag != option => {
            let value = format!("--keep-git-dir={flag}");
            return Err(PlanProblem::Invalid { value, expected: "what the address says" });
        }
        (flag, option) => flag.or(option).unwrap_or(false),
    };
    let submodules = source.submodules.unwrap_or(true);
    Ok(GitFiles { checksum: source.checksum.clone(), source, submodules, keep_git_dir })
}
