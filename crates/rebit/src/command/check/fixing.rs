//! Which fixers would take a difference away: they are tried on what the two builds left.

use std::io::Read as _;

use rebit_build::fix::{FIXERS, File, Fixed, Fixer, MAX_FILE};
use rebit_layer::{Kind, Node, TreePath};

use super::builds::Bench;
use crate::error::CommandError;

/// The fixers that make the two files at `path` the same; empty when none do. With `by_path_only` those that look into files are not tried.
pub(super) fn covering(
    bench: &Bench<'_>,
    path: &TreePath,
    first: Option<&Node>,
    second: Option<&Node>,
    by_path_only: bool,
) -> Result<Vec<&'static str>, CommandError> {
    let mut fixers = candidates(bench, path.as_bytes()).peekable();
    let files = [first, second].into_iter().flatten().all(|node| matches!(node.kind, Kind::File { .. }));
    if fixers.peek().is_none() || !files {
        return Ok(Vec::new());
    }
    if let Some(fixer) = candidates(bench, path.as_bytes()).find(|fixer| !fixer.reads()) {
        return Ok(vec![fixer.name]);
    }
    let (Some(first), Some(second), false) = (first, second, by_path_only) else { return Ok(Vec::new()) };
    if !first.metadata.same_but_mtime(&second.metadata) {
        return Ok(Vec::new());
    }
    let (Some(mut a), Some(mut b)) = (content(bench, first)?, content(bench, second)?) else {
        return Ok(Vec::new());
    };
    let mut used = Vec::new();
    for fixer in fixers {
        let fixed = [fix(bench, fixer, path, &a), fix(bench, fixer, path, &b)];
        if fixed == [Some(Fixed::TakeBack), Some(Fixed::TakeBack)] {
            return Ok(vec![fixer.name]);
        }
        let [one, two] = fixed;
        for (bytes, fixed) in [(&mut a, one), (&mut b, two)] {
            if let Some(Fixed::Replace(new)) = fixed {
                *bytes = new;
                used.push(fixer.name);
            }
        }
    }
    used.dedup();
    Ok(if a == b { used } else { Vec::new() })
}

/// The fixers that are off and would change the file `bytes` at `path`.
pub(super) fn changing(bench: &Bench<'_>, path: &TreePath, bytes: &[u8]) -> Vec<&'static str> {
    let changes = |fixer: &&Fixer| fix(bench, fixer, path, bytes).is_some_and(|fixed| fixed != Fixed::Keep);
    candidates(bench, path.as_bytes()).filter(changes).map(|fixer| fixer.name).collect()
}

fn candidates<'a>(bench: &'a Bench<'_>, path: &'a [u8]) -> impl Iterator<Item = &'static Fixer> + 'a {
    let on = |fixer: &Fixer| bench.graph.fixers.iter().any(|on| on.name == fixer.name);
    FIXERS.iter().filter(move |fixer| !on(fixer) && fixer.is_for(path))
}

/// Both files are fixed as if there was nothing before the step: what counts is whether they become the same.
fn fix(bench: &Bench<'_>, fixer: &Fixer, path: &TreePath, bytes: &[u8]) -> Option<Fixed> {
    let file = File {
        path: path.as_bytes(),
        bytes,
        before: &|| None,
        mtime_of: &|_| None,
        epoch: bench.graph.epoch,
    };
    fixer.fix(&file).ok()
}

/// The content of a file that is not too large to be fixed.
fn content(bench: &Bench<'_>, node: &Node) -> Result<Option<Vec<u8>>, CommandError> {
    use rebit_oci::object::ObjectSource as _;
    let Kind::File { object, size, .. } = &node.kind else { return Ok(None) };
    if *size > MAX_FILE {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    bench
        .session
        .open(object)?
        .read_to_end(&mut bytes)
        .map_err(|error| CommandError::message(format!("cannot read a file of the build: {error}")))?;
    Ok(Some(bytes))
}
