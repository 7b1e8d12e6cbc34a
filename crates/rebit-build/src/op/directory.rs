//! `WORKDIR`: a directory with its parents.

use rebit_layer::{Metadata, Node, Tree};

use crate::error::StepProblem;

/// Makes the directory `path`, where it does not exist; a symbolic link to a directory is one.
pub(crate) fn make_directory(lower: &Tree, path: &str, epoch: i64) -> Result<Tree, StepProblem> {
    let mut tree = lower.clone();
    let target = tree.resolve(path, true).map_err(|source| StepProblem::Resolve { source })?;
    match tree.get(&target) {
        Some(node) if node.is_directory() => {}
        Some(_) => return Err(StepProblem::NotDirectory { path: path.to_owned() }),
        None => {
            let metadata = Metadata::directory(epoch);
            tree.insert(target, Node::directory(metadata.clone()), &metadata)
                .map_err(|source| StepProblem::Insert { source })?;
        }
    }
    Ok(tree)
}
