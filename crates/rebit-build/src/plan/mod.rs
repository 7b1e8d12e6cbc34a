//! From a Dockerfile to a [`Graph`]: stages are selected, variables replaced, configs computed.
//!
//! Planning is pure. The configs of base images come in through [`Bases`], everything else through [`PlanOptions`]. What
//! the language has and the executor has not stops the plan with [`PlanProblem::Unsupported`], which names it.

mod error;
mod files;
mod metadata;
mod mounts;
mod remote;
mod run;
mod scope;
mod stage;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rebit_dockerfile::instruction::{Arg, Dockerfile, From};
use rebit_dockerfile::{Node, Span};
use rebit_oci::config::ImageConfig;
use rebit_oci::{Digest, Reference};

pub use error::{BasesError, PlanError, PlanProblem};

use crate::fix::Fixers;
use crate::graph::{Base, BuildPlatform, CopySource, Graph, RunLimits, StagePlan};
use crate::platform::ParsePlatformError;
pub(crate) use metadata::absolute;
use scope::Scope;
pub(crate) use stage::DEFAULT_PATH;

/// The epoch when nothing sets another: 1980-01-01, the earliest time that a zip archive can hold.
pub const DEFAULT_EPOCH: i64 = 315_532_800;

/// The build argument that says whether `.git` of a context from git is kept.
pub const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// What a plan depends on besides the file.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The stage to build, by name or number; the last one when missing.
    pub target: Option<String>,
    /// Build arguments.
    pub build_args: BTreeMap<String, String>,
    /// The platform of the image.
    pub platform: BuildPlatform,
    /// The platform of this machine.
    pub build_platform: BuildPlatform,
    /// The epoch asked for by the caller's environment.
    pub epoch: Option<i64>,
    /// The epoch that `SOURCE_DATE_EPOCH=context` means: when the newest commit of the contexts from git was made.
    pub context_epoch: Option<i64>,
    /// Labels to add to the image.
    pub labels: BTreeMap<String, String>,
    /// What names mean before they mean a stage or an image (`--build-context`).
    pub contexts: BTreeMap<String, NamedContext>,
    /// Whether steps have no network unless the file gives it to them.
    pub offline: bool,
    /// Whether `RUN --security=insecure` is allowed.
    pub allow_insecure: bool,
    /// Resource limits of steps.
    pub limits: RunLimits,
    /// What is made of files that `RUN` steps leave.
    pub fixers: Fixers,
}

/// What a name that was given by `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// Files.
    Files,
    /// An image, by its name.
    Image(String),
}

/// Where base images come from.
pub trait Bases {
    /// The manifest digest and the config of an image.
    ///
    /// # Errors
    /// When there is none, or none for this platform.
    fn base(
        &self,
        reference: &Reference,
        platform: &BuildPlatform,
    ) -> Result<(Digest, ImageConfig), BasesError>;
}

/// A plan and what is worth saying about it.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub graph: Graph,
    /// Build arguments that an `ARG` of a needed stage takes, but for those of the proxy family.
    pub used_build_args: BTreeMap<String, String>,
    /// Build arguments that no `ARG` of a needed stage takes.
    pub unused_build_args: Vec<String>,
}

/// Plans the build of a file.
///
/// # Errors
/// The first problem in the order of the needed stages.
pub fn plan(file: &Dockerfile, options: &PlanOptions, bases: &dyn Bases) -> Result<Planned, PlanError> {
    let mut planner = Planner::new(file, options, bases)?;
    let target = planner.target()?;
    let mut stages = BTreeMap::new();
    let mut order = Vec::new();
    planner.visit(target, &mut stages, &mut order)?;
    let mut stages: Vec<StagePlan> = order.into_iter().filter_map(|index| stages.remove(&index)).collect();
    if let Some(target) = stages.last_mut() {
        target.config.labels.extend(options.labels.clone());
    }
    let unused = |name: &&String| {
        !planner.used_args.contains(*name)
            && !scope::PROXY_ARGS.contains(&name.as_str())
            && !matches!(name.as_str(), "SOURCE_DATE_EPOCH" | KEEP_GIT_DIR)
    };
    let unused_build_args = options.build_args.keys().filter(unused).cloned().collect();
    let used = |(name, _): &(&String, &String)| {
        planner.used_args.contains(*name) && !scope::PROXY_ARGS.contains(&name.as_str())
    };
    let used_build_args = options.build_args.iter().filter(used);
    let used_build_args = used_build_args.map(|(name, value)| (name.clone(), value.clone())).collect();
    let graph = Graph {
        stages,
        platform: options.platform.clone(),
        epoch: planner.epoch,
        fixers: options.fixers.clone(),
    };
    Ok(Planned { graph, used_build_args, unused_build_args })
}

pub(super) struct Planner<'a> {
    file: &'a Dockerfile,
    options: &'a PlanOptions,
    bases: &'a dyn Bases,
    escape: char,
    /// Values of the global `ARG`s and the platform variables.
    globals: Scope,
    platform_args: BTreeMap<String, String>,
    epoch: i64,
    used_args: BTreeSet<String>,
}

impl<'a> Planner<'a> {
    fn new(file: &'a Dockerfile, options: &'a PlanOptions, bases: &'a dyn Bases) -> Result<Self, PlanError> {
        let target_name = options.target.clone().unwrap_or_else(|| "default".to_owned());
        let platform_args = scope::platform_args(&options.build_platform, &options.platform, &target_name);
        let mut globals = Scope::default();
        for (name, value) in &platform_args {
            globals.set(name, value);
        }
        let escape = file.directives.escape_char();
        let mut planner = Self {
            file,
            options,
            bases,
            escape,
            globals,
            platform_args,
            epoch: 0,
            used_args: BTreeSet::new(),
        };
        for node in &file.global_args {
            planner.global_arg(node)?;
        }
        planner.epoch = planner.epoch()?;
        Ok(planner)
    }

    fn global_arg(&mut self, node: &Node<Arg>) -> Result<(), PlanError> {
        for arg in &node.value.args {
            let name = self.expand(&self.globals, &arg.name.value, arg.name.span)?;
            let value = match (self.options.build_args.get(&name), &arg.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(self.expand(&self.globals, &default.value, default.span)?),
                (None, None) => None,
            };
            self.used_args.insert(name.clone());
            if let Some(value) = value {
                self.globals.set(&name, &value);
            }
        }
        Ok(())
    }

    /// Build argument, then the caller's environment, then a global `ARG`'s default, then [`DEFAULT_EPOCH`].
    fn epoch(&self) -> Result<i64, PlanError> {
        let from_arg = self.options.build_args.get("SOURCE_DATE_EPOCH").cloned();
        let text = match (from_arg, self.options.epoch) {
            (Some(text), _) => text,
            (None, Some(epoch)) => return Ok(epoch),
            (None, None) => match self.globals.get("SOURCE_DATE_EPOCH") {
                Some(text) => text,
                None => return Ok(DEFAULT_EPOCH),
            },
        };
        if text == "context"
            && let Some(epoch) = self.options.context_epoch
        {
            return Ok(epoch.clamp(0, MAX_EPOCH));
        }
        let epoch = text.parse().ok().filter(|epoch| (0..=MAX_EPOCH).contains(epoch));
        epoch.ok_or_else(|| PlanError {
            span: self.file.global_args.first().map_or(Span::default(), |node| node.span),
            problem: PlanProblem::Invalid {
                value: text,
                expected: "a SOURCE_DATE_EPOCH (seconds since 1970, or `context` when the context is from git)",
            },
        })
    }

    fn target(&self) -> Result<usize, PlanError> {
        let Some(name) = &self.options.target else {
            return Ok(self.file.stages.len().saturating_sub(1));
        };
        self.file.stage(name).map(|stage| stage.index).ok_or_else(|| PlanError {
            span: self.file.stages.last().map_or(Span::default(), |stage| stage.from.span),
            problem: PlanProblem::UnknownTarget { name: name.clone(), stages: self.stage_names() },
        })
    }

    fn stage_names(&self) -> Vec<String> {
        let name =
            |stage: &rebit_dockerfile::Stage| stage.name.clone().unwrap_or_else(|| stage.index.to_string());
        self.file.stages.iter().map(name).collect()
    }

    /// Plans a stage after everything that it needs. Stages refer to earlier ones only, so this ends.
    fn visit(
        &mut self,
        index: usize,
        done: &mut BTreeMap<usize, StagePlan>,
        order: &mut Vec<usize>,
    ) -> Result<(), PlanError> {
        if done.contains_key(&index) {
            return Ok(());
        }
        let (base, platform) = self.base(index)?;
        if let Base::Stage(parent) = base {
            self.visit(parent, done, order)?;
        }
        let parent = match &base {
            Base::Stage(parent) => done.get(parent),
            _ => None,
        };
        let platform = parent.map_or(platform, |parent| parent.platform.clone());
        let plan = stage::plan_stage(self, index, base.clone(), platform, parent)?;
        for step in &plan.steps {
            for source in step.op.sources() {
                if let CopySource::Stage(source) = source {
                    self.visit(*source, done, order)?;
                }
            }
        }
        done.insert(index, plan);
        order.push(index);
        Ok(())
    }

    /// What a stage starts from, and the platform that its `FROM` line asks for.
    fn base(&self, index: usize) -> Result<(Base, BuildPlatform), PlanError> {
        let Some(stage) = self.file.stages.get(index) else {
            let problem = PlanProblem::UnknownTarget { name: index.to_string(), stages: self.stage_names() };
            return Err(PlanError { span: Span::default(), problem });
        };
        let from = &stage.from.value;
        let name = self.expand(&self.globals, &from.image.value, from.image.span)?;
        let fail = |problem| PlanError { span: from.image.span, problem };
        if name.is_empty() {
            return Err(fail(PlanProblem::EmptyBase { word: from.image.value.clone() }));
        }
        let platform = self.platform(from)?;
        match self.options.contexts.get(&name) {
            Some(NamedContext::Image(image)) => {
                let base = self.image_base(image, &platform).map_err(fail)?;
                return Ok((base, platform));
            }
            Some(NamedContext::Files) => return Ok((Base::Context(name), platform)),
            None => {}
        }
        if let Some(earlier) = self.earlier_stage(&name, index) {
            return Ok((Base::Stage(earlier), platform));
        }
        if name == "scratch" {
            return Ok((Base::Scratch, platform));
        }
        Ok((self.image_base(&name, &platform).map_err(fail)?, platform))
    }

    /// The platform of a `FROM` line: its own, else the build's.
    fn platform(&self, from: &From) -> Result<BuildPlatform, PlanError> {
        let Some(platform) = &from.platform else { return Ok(self.options.platform.clone()) };
        let wanted = self.expand(&self.globals, &platform.value, platform.span)?;
        wanted
            .parse()
            .map_err(|error: ParsePlatformError| PlanError { span: platform.span, problem: error.into() })
    }

    fn image_base(&self, name: &str, platform: &BuildPlatform) -> Result<Base, PlanProblem> {
        let (reference, manifest, config) = self.image(name, platform)?;
        Ok(Base::Image { reference: reference.to_string(), manifest, config: Box::new(config) })
    }

    fn image(
        &self,
        name: &str,
        platform: &BuildPlatform,
    ) -> Result<(Reference, Digest, ImageConfig), PlanProblem> {
        let reference: Reference = name.parse()?;
        match self.bases.base(&reference, platform) {
            Ok((manifest, config)) => Ok((reference, manifest, config)),
            Err(source) => Err(PlanProblem::Base { reference: Box::new(reference), source }),
        }
    }

    /// The last stage before `before` that has this name.
    fn earlier_stage(&self, name: &str, before: usize) -> Option<usize> {
        let named = |stage: &&rebit_dockerfile::Stage| {
            stage.index < before && stage.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name))
        };
        self.file.stages.iter().filter(named).map(|stage| stage.index).next_back()
    }

    fn expand(&self, scope: &Scope, word: &str, span: Span) -> Result<String, PlanError> {
        scope.expand(self.escape, word).map_err(|source| PlanError {
            span,
            problem: PlanProblem::Expand { word: word.to_owned(), source },
        })
    }
}

/// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
pub const MAX_EPOCH: i64 = 253_402_300_799;

/// An instruction that is parsed but not executed.
pub(super) fn unsupported(span: Span, what: impl Into<String>) -> PlanError {
    PlanError { span, problem: PlanProblem::Unsupported { what: what.into() } }
}
