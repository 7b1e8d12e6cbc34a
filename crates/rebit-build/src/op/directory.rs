//! `WORKDIR`: a directory with its parents.

use rebit_layer::{Metadata, Node, Tree};

use crate::error::StepProblem;

/// Makes the directory `path` with its parents, where they do not exist; a symbolic link to a directory is one. What is made
/// belongs to `owner`.
pub(crate) fn make_directory(
    lower: &Tree,
    path: &str,
    owner: (u32, u32),
    epoch: i64,
) -> Result<Tree, StepProblem> {
    let mut tree = lower.clone();
    let target = tree.resolve(path, true).map_err(|source| StepProblem::Resolve { source })?;
    match tree.get(&target) {
        Some(node) if node.is_directory() => {}
        Some(_) => return Err(StepProblem::NotDirectory { path: path.to_owned() }),
        None => {
            let mut metadata = Metadata::directory(epoch);
            (metadata.uid, metadata.gid) = owner;
            tree.insert(target, Node::directory(metadata.clone()), &metadata)
                .map_err(|source| StepProblem::Insert { source })?;
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rebit_layer::TreePath;

    #[test]
    fn what_is_made_belongs_to_the_user_and_what_is_there_stays() {
        let mut lower = Tree::new();
        let there = Node::directory(Metadata::new(0o700, 1));
        lower.insert(TreePath::parse("a").unwrap(), there, &Metadata::default()).unwrap();
        let file = Node::symlink(Metadata::default(), "a/x");
        lower.insert(TreePath::parse("link").unwrap(), file, &Metadata::default()).unwrap();
        let tree = make_directory(&lower, "/a/b/c", (3, 4), 7).unwrap();
        let of = |path: &str| {
            let metadata = &tree.get(&TreePath::parse(path).unwrap()).unwrap().metadata;
            (metadata.mode, metadata.uid, metadata.gid, metadata.mtime)
        };
        assert_eq!([of("a"), of("a/b"), of("a/b/c")], [(0o700, 0, 0, 1), (0o755, 3, 4, 7), (0o755, 3, 4, 7)]);
        assert_eq!(make_directory(&lower, "/a", (3, 4), 7).unwrap(), lower);
        assert!(
            make_directory(&lower, "/link", (0, 0), 7)
                .unwrap()
                .is_directory(&TreePath::parse("a/x").unwrap())
        );
    }
}
