//! The provenance of an image that rebit built: what each step read, ran and wrote (`docs/format/provenance.md`).
//!
//! The document is an in-toto statement with SLSA's provenance predicate, version 1, and in it only what follows from the inputs
//! of the build: the same inputs give the same bytes, on any machine, whether steps were executed or known. It is an object of the
//! store that the image record refers to, and no part of the image.

use std::collections::BTreeMap;

use rebit_oci::object::ObjectSource as _;
use rebit_oci::{DiffId, Digest, TreeId, json};
use rebit_store::Session;
use serde::{Deserialize, Serialize};

use crate::{ImageError, StoredImage};

/// What the document is, to whoever reads it first.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What is stated.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What the parameters mean: `docs/format/provenance.md`.
pub const BUILD_TYPE: &str = "https://rebit.dev/provenance/dockerfile/v1";
/// Who built it: rebit, wherever it ran.
pub const BUILDER: &str = "https://rebit.dev/builder";
/// Largest document that is written and read.
pub const MAX_PROVENANCE: u64 = 16 << 20;
/// The name of the identity of a tree in a set of digests: BLAKE3 of the tree's root object (`docs/format/tree.md`).
pub const TREE: &str = "rebitTree";
/// The name of the identity of a selection: BLAKE3 of what a step selected (`docs/format/record.md`, R-6).
pub const SELECTION: &str = "rebitSelection";

/// What the build context is called among the resources; one with a name has that after a space.
pub const CONTEXT: &str = "context";

/// Digests by algorithm, in hexadecimal.
pub type DigestSet = BTreeMap<String, String>;

/// A set of one SHA-256.
#[must_use]
pub fn sha256(digest: &Digest) -> DigestSet {
    DigestSet::from([("sha256".to_owned(), digest.hex())])
}

/// A set of one tree.
#[must_use]
pub fn tree(tree: &TreeId) -> DigestSet {
    DigestSet::from([(TREE.to_owned(), tree.to_string())])
}

/// The statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement: String,
    /// The image, by the digest of its manifest.
    pub subject: Vec<Resource>,
    /// [`PREDICATE_TYPE`].
    pub predicate_type: String,
    /// What is stated of it.
    pub predicate: Predicate,
}

/// Something that is named by digests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resource {
    /// What it is in the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is from, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// What it is.
    pub digest: DigestSet,
}

/// SLSA's predicate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate {
    /// All that the result depends on.
    pub build_definition: BuildDefinition,
    /// Who did it. Neither when nor where.
    pub run_details: RunDetails,
}

/// All that a result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// [`BUILD_TYPE`].
    pub build_type: String,
    /// What the caller asked for.
    pub external_parameters: Parameters,
    /// What became of it: steps and what each gave.
    pub internal_parameters: Work,
    /// Dockerfile, contexts, base images, and what came over the network.
    pub resolved_dependencies: Vec<Resource>,
}

/// What the caller asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    /// Annotations of the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Build arguments that an `ARG` of a needed stage takes. Never those of the proxy family.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub build_args: BTreeMap<String, String>,
    /// How layers are compressed.
    pub compression: String,
    /// What was made of files that `RUN` steps left, each by name and version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixers: Vec<String>,
    /// Lines added to `/etc/hosts` of steps, `NAME=ADDRESS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Labels that were added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How the modes of context files are taken.
    pub modes: String,
    /// What the image runs on.
    pub platform: String,
    /// The stage that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Steps and what each gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// Seconds since 1970 that every time in the image is set to.
    pub epoch: i64,
    /// The version of the layer format.
    pub layer_format: u32,
    /// The diff ids of the image's layers, lowest first.
    pub layers: Vec<DiffId>,
    /// The stages that the target needed, in an order in which they can be built; the last one is the image.
    pub stages: Vec<Stage>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What it starts from.
    pub base: Base,
    /// The name after `AS`, else `stage-N`.
    pub name: String,
    /// The platform of its files.
    pub platform: String,
    /// Its steps in order.
    pub steps: Vec<Step>,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// `scratch`, `image`, `stage` or `context`.
    pub kind: String,
    /// Which; none for `scratch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tree that the first step starts from.
    pub tree: TreeId,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Copy>,
    /// The instruction as people read it.
    pub instruction: String,
    /// `run`, `copy`, `directory` or `config`.
    pub kind: String,
    /// Whether it could reach a network, so that its result may depend on more than what is named.
    pub network: bool,
    /// What it read besides the tree that it started from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Resource>,
    /// What was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The tree after it.
    pub tree: TreeId,
    /// What it wrote.
    pub wrote: Wrote,
}

/// What a step wrote, summed up. The whole of it is the difference of the trees before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrote {
    /// Bytes of the files.
    pub bytes: u64,
    /// Files, directories and the like that are new or other ones.
    pub entries: u64,
    /// Paths that went, with all below them.
    pub removed: u64,
}

/// What a copy does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Where to.
    pub destination: String,
    /// Patterns of what is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// `link`, `parents` and `unpack` where they are set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The mode that the copies get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Whose the copies are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Paths, addresses, and names of files that the Dockerfile holds.
    pub sources: Vec<String>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Program and arguments.
    pub args: Vec<String>,
    /// The environment in order, `NAME=VALUE`. The proxy family that no `ARG` declares is not in it.
    pub env: Vec<String>,
    /// Whether it was unconfined (`--security=insecure`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Resource limits, as `--ulimit` and `--shm-size` take them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// What else it saw, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// The digest of a script that was there while it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Digest>,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Its working directory.
    pub working_dir: String,
}

/// A mount. Of secrets and agents only the names are said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The variable that held a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Where its files are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The name of a cache, secret or agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `bind`, `cache`, `tmpfs`, `secret` or `ssh`.
    pub kind: String,
    /// The path of its files where they are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Who built it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDetails {
    /// Who.
    pub builder: Builder,
}

/// A builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// [`BUILDER`].
    pub id: String,
}

impl Provenance {
    /// The statement about the image `manifest`.
    #[must_use]
    pub fn new(manifest: Digest, parameters: Parameters, work: Work, dependencies: Vec<Resource>) -> Self {
        Self {
            statement: STATEMENT_TYPE.to_owned(),
            subject: vec![Resource { name: None, uri: None, digest: sha256(&manifest) }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE.to_owned(),
                    external_parameters: parameters,
                    internal_parameters: work,
                    resolved_dependencies: dependencies,
                },
                run_details: RunDetails { builder: Builder { id: BUILDER.to_owned() } },
            },
        }
    }

    /// What the caller asked for.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.predicate.build_definition.external_parameters
    }

    /// Steps and what each gave.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.predicate.build_definition.internal_parameters
    }

    /// What the build depended on.
    #[must_use]
    pub fn dependencies(&self) -> &[Resource] {
        &self.predicate.build_definition.resolved_dependencies
    }

    /// Writes the document: canonical JSON.
    ///
    /// # Errors
    /// None for values of this type; `serde_json`'s signature has one.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        json::to_canonical(self)
    }

    /// Reads a document of ours.
    ///
    /// # Errors
    /// [`ProvenanceError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProvenanceError> {
        if bytes.len() as u64 > MAX_PROVENANCE {
            return Err(ProvenanceError::Limit { limit: MAX_PROVENANCE });
        }
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|source| ProvenanceError::Malformed { source })?;
        let build_type = value.pointer("/predicate/buildDefinition/buildType").and_then(|kind| kind.as_str());
        if build_type != Some(BUILD_TYPE) {
            let found = build_type.unwrap_or("none").chars().take(200).collect();
            return Err(ProvenanceError::Foreign { found });
        }
        serde_json::from_value(value).map_err(|source| ProvenanceError::Malformed { source })
    }
}

/// Why bytes are not a provenance document of ours.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// Not JSON, or not of the right shape.
    #[error("the provenance is malformed")]
    Malformed {
        /// Where and why.
        source: serde_json::Error,
    },
    /// Something else builds that way, or a later version does.
    #[error("the provenance is of the build type `{found}`; this program reads `{BUILD_TYPE}`")]
    Foreign {
        /// What it says.
        found: String,
    },
    /// It is too large.
    #[error("the provenance has more than {limit} bytes")]
    Limit {
        /// The limit.
        limit: u64,
    },
}

/// The provenance of an image of the store, as it is kept; `None` when nothing is known of its making.
///
/// # Errors
/// When the store fails, and [`ImageError::Limit`] for a document that is too large.
pub fn provenance(session: &Session, image: &StoredImage) -> Result<Option<Vec<u8>>, ImageError> {
    let Some(object) = &image.provenance else { return Ok(None) };
    if session.store().object_length(object)?.is_some_and(|length| length > MAX_PROVENANCE) {
        return Err(ImageError::Limit {
            what: "the size of the provenance".to_owned(),
            limit: MAX_PROVENANCE,
        });
    }
    Ok(Some(session.read(object)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Provenance {
        let step = Step {
            copy: None,
            instruction: "RUN true".to_owned(),
            kind: "run".to_owned(),
            network: true,
            reads: Vec::new(),
            run: Some(Run {
                args: vec!["/bin/true".to_owned()],
                env: vec!["A=b".to_owned()],
                insecure: false,
                limits: Vec::new(),
                mounts: vec![Mount {
                    id: Some("token".to_owned()),
                    kind: "secret".to_owned(),
                    ..Mount::default()
                }],
                script: None,
                user: String::new(),
                working_dir: "/".to_owned(),
            }),
            tree: TreeId([1; 32]),
            wrote: Wrote::default(),
        };
        let base = Base { kind: "scratch".to_owned(), name: None, tree: TreeId([0; 32]) };
        let stage =
            Stage { base, name: "stage-0".to_owned(), platform: "linux/amd64".to_owned(), steps: vec![step] };
        let work = Work { epoch: 1, layer_format: 1, layers: Vec::new(), stages: vec![stage] };
        Provenance::new(Digest::of(b"m"), Parameters::default(), work, Vec::new())
    }

    /// P-1, P-2, P-3.
    #[test]
    fn a_document_reads_back_and_has_one_text() {
        let bytes = document().encode().unwrap();
        assert_eq!(Provenance::decode(&bytes).unwrap(), document());
        let text = String::from_utf8(bytes).unwrap();
        let start =
            r#"{"_type":"https://in-toto.io/Statement/v1","predicate":{"buildDefinition":{"buildType":"#;
        assert!(text.starts_with(start), "{text}");
        let end = format!(
            r#""predicateType":"https://slsa.dev/provenance/v1","subject":[{{"digest":{{"sha256":"{}"}}}}]}}"#,
            Digest::of(b"m").hex()
        );
        assert!(text.ends_with(&end), "{text}");
        for word in ["startedOn", "finishedOn", "invocationId"] {
            assert!(!text.contains(word), "{word}");
        }
    }

    /// P-4.
    #[test]
    fn what_is_not_ours_is_refused_by_name() {
        let text = String::from_utf8(document().encode().unwrap()).unwrap();
        let decode = |text: &str| Provenance::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(decode("{"), ProvenanceError::Malformed { .. }));
        assert!(matches!(decode(&text.replace("\"steps\"", "\"stepz\"")), ProvenanceError::Malformed { .. }));
        let other = text.replace(BUILD_TYPE, "https://example.org/other");
        assert!(
            matches!(decode(&other), ProvenanceError::Foreign { found } if found == "https://example.org/other")
        );
    }
}
