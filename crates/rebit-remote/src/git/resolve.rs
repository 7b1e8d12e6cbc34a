//! Which commit a name stands for.

use rebit_dockerfile::remote::{GitSource, is_full_commit, is_reference, redacted};

use super::command::Run;
use super::{Git, GitError};

/// A commit, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit: 40 or 64 hexadecimal digits.
    pub commit: String,
    /// The full name of the reference that leads to it (`refs/heads/main`); `None` when the commit itself was given.
    pub name: Option<String>,
    /// The annotated tag that `name` is.
    pub tag: Option<String>,
}

impl Git {
    /// Finds the commit that a source means now. When the source gives it in full, nothing is asked.
    ///
    /// A name means, in this order, a branch, a tag, and a reference below `refs/`; a name that begins with `refs/` is complete. None
    /// means the default branch.
    ///
    /// # Errors
    /// [`GitError::NoReference`], [`GitError::WrongCommit`] when the source has another checksum, [`GitError::Failed`] when the
    /// repository cannot be reached.
    pub fn resolve(&self, source: &GitSource) -> Result<Resolved, GitError> {
        let resolved = match source.reference.as_deref() {
            Some(commit) if is_full_commit(commit) => {
                Resolved { commit: commit.to_owned(), name: None, tag: None }
            }
            reference => self.look_up(source, reference)?,
        };
        let fits =
            |id: &String| source.checksum.as_ref().is_none_or(|wanted| id.starts_with(wanted.as_str()));
        if fits(&resolved.commit) || resolved.tag.as_ref().is_some_and(fits) {
            return Ok(resolved);
        }
        Err(GitError::WrongCommit {
            remote: redacted(&source.remote),
            name: resolved.name.unwrap_or_else(|| resolved.commit.clone()),
            found: resolved.commit,
            wanted: source.checksum.clone().unwrap_or_default(),
        })
    }

    fn look_up(&self, source: &GitSource, reference: Option<&str>) -> Result<Resolved, GitError> {
        let names = candidates(reference);
        let patterns = names.iter().flat_map(|name| [name.clone(), format!("{name}^{{}}")]);
        let args = ["ls-remote", "-q", "--symref", "--", &source.remote].map(str::to_owned);
        let run = Run { action: "reach", remote: &source.remote, directory: None, input: None };
        let answer = self.run(run, args.into_iter().chain(patterns))?;
        let answer = String::from_utf8_lossy(&answer);
        let missing = || GitError::NoReference {
            remote: redacted(&source.remote),
            name: reference.unwrap_or("HEAD").to_owned(),
        };
        choose(&answer, &names).ok_or_else(missing)
    }
}

/// The full names that a name may stand for, the first that exists being meant.
fn candidates(reference: Option<&str>) -> Vec<String> {
    match reference {
        None | Some("HEAD") => vec!["HEAD".to_owned()],
        Some(full) if full.starts_with("refs/") => vec![full.to_owned()],
        Some(name) => ["refs/heads/", "refs/tags/", "refs/"].map(|prefix| format!("{prefix}{name}")).to_vec(),
    }
}

/// Reads the list of a repository's references: `ID<tab>NAME`, `ID<tab>NAME^{}` for what a tag leads to, and
/// `ref: NAME<tab>HEAD` for the default branch.
fn choose(answer: &str, names: &[String]) -> Option<Resolved> {
    let lines: Vec<(&str, &str)> = answer.lines().filter_map(|line| line.split_once('\t')).collect();
    let id_of = |name: &str| {
        let ids = lines.iter().filter(|(id, found)| *found == name && is_full_commit(id));
        ids.map(|(id, _)| (*id).to_owned()).next()
    };
    let name = names.iter().find(|name| id_of(name).is_some())?;
    let id = id_of(name)?;
    // What the server calls its default branch becomes a path: it must not lead elsewhere.
    let valid = |branch: &&str| branch.starts_with("refs/heads/") && is_reference(branch);
    let branch = lines.iter().find_map(|(id, found)| id.strip_prefix("ref: ").filter(|_| found == name));
    let branch = branch.filter(valid);
    let name = branch.unwrap_or(name).to_owned();
    Some(match id_of(&format!("{name}^{{}}")) {
        Some(commit) => Resolved { commit, name: Some(name), tag: Some(id) },
        None => Resolved { commit: id, name: Some(name).filter(|name| name != "HEAD"), tag: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_come_before_tags_and_tags_lead_to_commits() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let list = format!(
            "ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{b}\trefs/heads/v1\n{c}\trefs/tags/v1\n\
             {b}\trefs/tags/v2\n{a}\trefs/tags/v2^{{}}\n{c}\trefs/pull/4/head\n{c}\trefs/remotes/x/main\n"
        );
        let check = |reference: Option<&str>, expected: Option<(&str, &str, bool)>| {
            let found = choose(&list, &candidates(reference));
            let found = found.as_ref().map(|found| {
                (found.commit.get(..1).unwrap(), found.name.as_deref().unwrap(), found.tag.is_some())
            });
            assert_eq!(found, expected, "{reference:?}");
        };
        check(None, Some(("a", "refs/heads/main", false)));
        check(Some("HEAD"), Some(("a", "refs/heads/main", false)));
        check(Some("main"), Some(("a", "refs/heads/main", false)));
        check(Some("v1"), Some(("b", "refs/heads/v1", false)));
        check(Some("refs/tags/v1"), Some(("c", "refs/tags/v1", false)));
        check(Some("v2"), Some(("a", "refs/tags/v2", true)));
        check(Some("pull/4/head"), Some(("c", "refs/pull/4/head", false)));
        check(Some("x"), None);
        let hostile = format!("ref: refs/heads/../../../x\tHEAD\n{a}\tHEAD\n");
        let found = choose(&hostile, &candidates(None)).unwrap();
        assert_eq!((found.commit, found.name), (a, None));
        assert_eq!(choose("", &candidates(None)), None);
        assert_eq!(choose("junk\tHEAD\n-x\tHEAD\n", &candidates(None)), None);
    }
}
