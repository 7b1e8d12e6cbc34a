//! The sources of an `ADD` that come over the network.

use std::sync::Arc;

use rebit_dockerfile::remote::redacted;
use rebit_image::provenance::{self, DigestSet, Resource};
use rebit_layer::{Metadata, Tree, TreePath};

use crate::error::StepProblem;
use crate::graph::{CopyOp, GitFiles, SourcePath, UrlSource};
use crate::op::copy::Fetched;
use crate::progress::{Event, StepId};
use crate::remote::lone_file;
use crate::solve::{Solver, lock};

impl Solver<'_> {
    /// Gets every remote source of a copy, in their order, and notes what each was.
    pub(crate) fn fetch(&self, id: StepId, op: &CopyOp) -> Result<Vec<Fetched>, StepProblem> {
        let mut fetched = Vec::new();
        let mut noted = Vec::new();
        for source in &op.sources {
            match source {
                SourcePath::Url(url) => fetched.push(self.fetch_url(id, url, &mut noted)?),
                SourcePath::Git(git) => fetched.push(self.fetch_git(id, git, &mut noted)?),
                SourcePath::Path(_) | SourcePath::Inline { .. } => {}
            }
        }
        if !noted.is_empty() {
            lock(&self.remotes).insert(id, noted);
        }
        Ok(fetched)
    }

    fn fetch_url(
        &self,
        id: StepId,
        source: &UrlSource,
        noted: &mut Vec<String>,
    ) -> Result<Fetched, StepProblem> {
        let say = |text: &str| self.inputs.progress.event(Event::Fetching { id, text });
        let file = self.inputs.remote.url(&source.url, source.checksum.as_ref(), &say)?;
        noted.push(format!("{} ({})", redacted(&source.url), file.digest));
        self.note_fetched(redacted(&source.url), provenance::sha256(&file.digest));
        let path = TreePath::parse(&source.name).map_err(|source| StepProblem::Path { source })?;
        let mut tree = Tree::new();
        tree.insert(path.clone(), lone_file(&file, self.graph.epoch), &Metadata::default())
            .map_err(|source| StepProblem::Insert { source })?;
        let name = source.name.as_bytes().to_vec();
        Ok(Fetched { tree: Arc::new(tree), path, name, unpack: source.unpack })
    }

    fn note_fetched(&self, uri: String, digest: DigestSet) {
        lock(&self.notes).fetched.insert(Resource { name: None, uri: Some(uri), digest });
    }

    fn fetch_git(&self, id: StepId, git: &GitFiles, noted: &mut Vec<String>) -> Result<Fetched, StepProblem> {
        let say = |text: &str| self.inputs.progress.event(Event::Fetching { id, text });
        let found = self.inputs.remote.git(&git.source, git.submodules, git.keep_git_dir, &say)?;
        noted.push(format!("{} (commit {})", git.source, found.commit));
        let commit = DigestSet::from([("gitCommit".to_owned(), found.commit.clone())]);
        self.note_fetched(git.source.to_string(), commit);
        let path = found.directory(&git.source)?;
        Ok(Fetched { tree: found.tree, path, name: Vec::new(), unpack: false })
    }
}
