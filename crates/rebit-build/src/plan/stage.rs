//! One stage: its base, then its instructions in order.

use rebit_dockerfile::instruction::{Arg, Env, Label, OnBuild};
use rebit_dockerfile::{Instruction, Node, Span, parse_trigger};
use rebit_oci::config::RunConfig;

use super::scope::Scope;
use super::{PlanError, PlanProblem, Planner, files, metadata, run};
use crate::graph::{Base, BuildPlatform, Op, StagePlan, Step};

/// The path of programs when the image sets none, as Docker has it for Linux.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage while its instructions are read.
pub(super) struct StageState {
    pub(super) index: usize,
    pub(super) config: RunConfig,
    pub(super) scope: Scope,
    /// Arguments that were declared, for the history of `RUN`.
    pub(super) declared: Vec<(String, String)>,
    pub(super) author: Option<String>,
    pub(super) cmd_set: bool,
    pub(super) steps: Vec<Step>,
}

pub(super) fn plan_stage(
    planner: &mut Planner<'_>,
    index: usize,
    base: Base,
    platform: BuildPlatform,
    parent: Option<&StagePlan>,
) -> Result<StagePlan, PlanError> {
    let file = planner.file;
    let Some(stage) = file.stages.get(index) else { unreachable!("the base of this stage was just read") };
    let mut config = match (&base, parent) {
        (Base::Image { config, .. }, _) => config.config.clone(),
        (_, Some(parent)) => parent.config.clone(),
        _ => RunConfig::default(),
    };
    let triggers = std::mem::take(&mut config.on_build);
    if config.env("PATH").is_none() {
        config.set_env("PATH", DEFAULT_PATH);
    }
    let mut state = StageState {
        index,
        scope: parent.map_or_else(|| Scope::from_env(&config.env), |parent| Scope::of(&parent.variables)),
        config,
        declared: parent.map(|parent| parent.declared.clone()).unwrap_or_default(),
        author: parent.and_then(|parent| parent.author.clone()),
        cmd_set: false,
        steps: Vec::new(),
    };
    for trigger in triggers {
        let node = read_trigger(&trigger, stage.from.span)?;
        instruction(planner, &mut state, &node)
            .map_err(|error| PlanError { span: stage.from.span, ..error })?;
        state.steps.iter_mut().for_each(|step| step.span = stage.from.span);
    }
    for node in &stage.instructions {
        instruction(planner, &mut state, node)?;
    }
    let StageState { config, author, steps, scope, declared, .. } = state;
    let variables = scope.variables().to_vec();
    let name = stage.name.clone();
    Ok(StagePlan {
        index,
        name,
        base,
        platform,
        span: stage.from.span,
        steps,
        config,
        author,
        variables,
        declared,
    })
}

fn read_trigger(trigger: &str, span: Span) -> Result<Node<Instruction>, PlanError> {
    parse_trigger(trigger).map_err(|diagnostics| {
        let message =
            diagnostics.iter().find(|d| d.is_error()).map_or_else(String::new, |d| d.message.clone());
        PlanError { span, problem: PlanProblem::Trigger { trigger: trigger.to_owned(), message } }
    })
}

fn instruction(
    planner: &mut Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
) -> Result<(), PlanError> {
    match &node.value {
        Instruction::Arg(arg) => declare(planner, state, node, arg),
        Instruction::Env(env) => set_env(planner, state, node, env),
        Instruction::Label(label) => set_labels(planner, state, node, label),
        Instruction::Run(run) => run::plan_run(planner, state, node, run),
        Instruction::Copy(copy) => files::plan_copy(planner, state, node, copy),
        Instruction::Add(add) => files::plan_add(planner, state, node, add),
        Instruction::OnBuild(trigger) => {
            on_build(state, node, trigger);
            Ok(())
        }
        _ => metadata::plan_metadata(planner, state, node),
    }
}

impl StageState {
    /// Adds a step that changes the config only.
    pub(super) fn metadata_step(&mut self, node: &Node<Instruction>, created_by: String) {
        self.step(node, created_by, Op::Config);
    }

    pub(super) fn step(&mut self, node: &Node<Instruction>, created_by: String, op: Op) {
        self.steps.push(Step { text: node.text.clone(), created_by, span: node.span, op });
    }
}

fn declare(
    planner: &mut Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    arg: &Arg,
) -> Result<(), PlanError> {
    let mut words = Vec::new();
    for arg in &arg.args {
        let name = planner.expand(&state.scope, &arg.name.value, arg.name.span)?;
        let default = match &arg.default {
            Some(default) => Some(planner.expand(&state.scope, &default.value, default.span)?),
            None => None,
        };
        let inherited = || planner.globals.get(&name).filter(|_| planner.is_global(&name));
        let value = planner.options.build_args.get(&name).cloned().or(default).or_else(inherited);
        planner.used_args.insert(name.clone());
        match value {
            Some(value) => {
                words.push(format!("{name}={value}"));
                state.scope.set(&name, &value);
                state.declared.retain(|(n, _)| *n != name);
                state.declared.push((name, value));
            }
            None => words.push(name),
        }
    }
    state.metadata_step(node, format!("ARG {}", words.join(" ")));
    Ok(())
}

impl Planner<'_> {
    /// Whether a name is a global `ARG` of the file or one of the platform variables.
    fn is_global(&self, name: &str) -> bool {
        let declared = || self.file.global_args.iter().flat_map(|node| &node.value.args);
        self.platform_args.contains_key(name) || declared().any(|arg| arg.name.value == name)
    }
}

fn set_env(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    env: &Env,
) -> Result<(), PlanError> {
    let before = state.scope.clone();
    let mut words = Vec::new();
    for pair in &env.pairs {
        let name = planner.expand(&before, &pair.key.value, pair.key.span)?;
        let value = planner.expand(&before, &pair.value.value, pair.value.span)?;
        state.scope.set(&name, &value);
        state.config.set_env(&name, &value);
        words.push(format!("{name}={value}"));
    }
    state.metadata_step(node, format!("ENV {}", words.join(" ")));
    Ok(())
}

fn set_labels(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    label: &Label,
) -> Result<(), PlanError> {
    let mut words = Vec::new();
    for pair in &label.pairs {
        let name = planner.expand(&state.scope, &pair.key.value, pair.key.span)?;
        let value = planner.expand(&state.scope, &pair.value.value, pair.value.span)?;
        words.push(format!("{name}={value}"));
        state.config.labels.insert(name, value);
    }
    state.metadata_step(node, format!("LABEL {}", words.join(" ")));
    Ok(())
}

fn on_build(state: &mut StageState, node: &Node<Instruction>, trigger: &OnBuild) {
    let expression = trigger.expression();
    state.metadata_step(node, format!("ONBUILD {expression}"));
    state.config.on_build.push(expression);
}
