//! What a file offers to those who build it: its stages, and what a stage takes.

use std::collections::{BTreeMap, BTreeSet};

use crate::instruction::{Arg, ArgName, Copy, Dockerfile, Instruction, Node, Stage};
use crate::mount::MountSpec;
use crate::span::Span;

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// The name after `AS`, in lower case.
    pub name: Option<&'a str>,
    /// Number of the stage, from 0.
    pub index: usize,
    /// Whether it is built when no stage is asked for.
    pub is_default: bool,
    /// What it starts from, unexpanded.
    pub base: &'a str,
    /// `--platform`, unexpanded.
    pub platform: Option<&'a str>,
    /// What the comment before it says, without the name it begins with.
    pub description: Option<&'a str>,
    /// The `FROM`.
    pub span: Span,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArg<'a> {
    /// The name.
    pub name: &'a str,
    /// The default, unexpanded; `None` without one.
    pub default: Option<&'a str>,
    /// What the comment before it says, without the name it begins with.
    pub description: Option<&'a str>,
    /// Where it is declared first.
    pub span: Span,
}

/// A secret or an SSH agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// The `id`, unexpanded; `default` of an agent without one.
    pub id: String,
    /// Whether a step fails without it.
    pub required: bool,
    /// Where it is used first.
    pub span: Span,
}

/// What a stage and those it needs take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline<'a> {
    /// The stage.
    pub target: Target<'a>,
    /// Its build arguments in the order of the text, each name once.
    pub args: Vec<OutlineArg<'a>>,
    /// `RUN --mount=type=secret`, each id once.
    pub secrets: Vec<OutlineMount>,
    /// `RUN --mount=type=ssh`, each id once.
    pub ssh: Vec<OutlineMount>,
}

/// All stages in the order of the text.
pub fn targets(file: &Dockerfile) -> Vec<Target<'_>> {
    file.stages.iter().map(|stage| target(file, stage)).collect()
}

/// What a stage takes, by [`Dockerfile::stage`]'s rules for its name; the last stage without one. `None` if there is no such stage.
pub fn outline<'a>(file: &'a Dockerfile, name: Option<&str>) -> Option<Outline<'a>> {
    let stage = match name {
        Some(name) => file.stage(name)?,
        None => file.stages.last()?,
    };
    let mut outline =
        Outline { target: target(file, stage), args: Vec::new(), secrets: Vec::new(), ssh: Vec::new() };
    let mut seen = BTreeMap::new();
    file.global_args.iter().for_each(|node| outline.add_args(node.value.described(node), &mut seen));
    for index in needed(file, stage) {
        let Some(stage) = file.stages.get(index) else { continue };
        for node in &stage.instructions {
            match &node.value {
                Instruction::Arg(arg) => outline.add_args(arg.described(node), &mut seen),
                Instruction::Run(run) => run.mounts.iter().for_each(|mount| outline.add_mount(mount)),
                _ => {}
            }
        }
    }
    Some(outline)
}

impl Arg {
    /// The arguments, each with what the comment before it says.
    fn described<'a, T>(&'a self, node: &'a Node<T>) -> Vec<(&'a ArgName, Option<&'a str>)> {
        self.args.iter().map(|arg| (arg, description(&arg.name.value, &node.comments))).collect()
    }
}

impl<'a> Outline<'a> {
    fn add_args(&mut self, args: Vec<(&'a ArgName, Option<&'a str>)>, seen: &mut BTreeMap<&'a str, usize>) {
        for (arg, description) in args {
            let name = arg.name.value.as_str();
            let default = arg.default.as_ref().map(|value| value.value.as_str());
            if let Some(known) = seen.get(name).and_then(|at| self.args.get_mut(*at)) {
                known.default = known.default.or(default);
                known.description = known.description.or(description);
                continue;
            }
            seen.insert(name, self.args.len());
            self.args.push(OutlineArg { name, default, description, span: arg.name.span });
        }
    }

    fn add_mount(&mut self, mount: &MountSpec) {
        let field = |key: &str| {
            let found = mount.fields.iter().rev().find(|(name, _)| name == key);
            found.map(|(_, value)| value.clone())
        };
        let value = |key: &str| field(key).flatten();
        let required = field("required").is_some_and(|value| value.is_none_or(|value| value == "true"));
        let (list, fallback) = match value("type").as_deref() {
            Some("secret") => (&mut self.secrets, ""),
            Some("ssh") => (&mut self.ssh, "default"),
            _ => return,
        };
        // A secret without an id is known by the name of its file.
        let target = ["target", "dst", "destination"].into_iter().find_map(value);
        let file = target.and_then(|path| path.rsplit('/').next().map(str::to_owned));
        let id = value("id").or(file.filter(|_| fallback.is_empty())).unwrap_or_else(|| fallback.to_owned());
        match list.iter_mut().find(|known| known.id == id) {
            Some(known) => known.required |= required,
            None => list.push(OutlineMount { id, required, span: mount.span }),
        }
    }
}

fn target<'a>(file: &'a Dockerfile, stage: &'a Stage) -> Target<'a> {
    let from = &stage.from.value;
    Target {
        name: stage.name.as_deref(),
        index: stage.index,
        is_default: stage.index + 1 == file.stages.len(),
        base: &from.image.value,
        platform: from.platform.as_ref().map(|platform| platform.value.as_str()),
        description: from.name.as_ref().and_then(|name| description(&name.value, &stage.from.comments)),
        span: stage.from.span,
    }
}

/// What the last comment line that begins with a name says about it.
fn description<'a>(name: &str, comments: &'a [String]) -> Option<&'a str> {
    let after = |line: &'a String| {
        let (word, text) = line.split_once(char::is_whitespace)?;
        word.eq_ignore_ascii_case(name).then(|| text.trim())
    };
    comments.iter().rev().find_map(after)
}

/// The numbers of a stage and of those it starts from, copies from or mounts, in the order of the text.
fn needed(file: &Dockerfile, stage: &Stage) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    let mut open = vec![stage.index];
    while let Some(index) = open.pop() {
        let Some(stage) = file.stages.get(index).filter(|_| needed.insert(index)) else { continue };
        let names = stage.instructions.iter().flat_map(|node| match &node.value {
            Instruction::Copy(Copy { from: Some(from), .. }) => vec![from.value.as_str()],
            Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
            _ => Vec::new(),
        });
        let base = file.stage_before(&stage.from.value.image.value, index);
        open.extend(base.map(|stage| stage.index));
        open.extend(
            names.filter_map(|name| file.stage(name)).map(|stage| stage.index).filter(|at| *at < index),
        );
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# BASE is what it starts from\nARG BASE=a\n\n# tools holds compilers\nFROM $BASE AS tools\nARG JOBS=1\nRUN \
        --mount=type=secret,id=token,required=true x\n# other is unused\nFROM b AS other\nARG UNUSED\n# app is the program\nFROM c AS \
        app\n# MODE says how\nARG MODE\nARG JOBS=2\nCOPY --from=tools /x /x\nRUN --mount=type=ssh --mount=type=secret,target=/run/key x\n";

    #[test]
    fn stages() {
        let parsed = crate::parse(FILE);
        let targets = targets(&parsed.file);
        let seen: Vec<_> =
            targets.iter().map(|t| (t.name.unwrap(), t.base, t.description, t.is_default)).collect();
        let expected = [
            ("tools", "$BASE", Some("holds compilers"), false),
            ("other", "b", Some("is unused"), false),
            ("app", "c", Some("is the program"), true),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_a_stage_takes() {
        let parsed = crate::parse(FILE);
        let check = |name: Option<&str>, args: &[&str], secrets: &[(&str, bool)], ssh: &[&str]| {
            let outline = outline(&parsed.file, name).unwrap();
            assert_eq!(outline.args.iter().map(|arg| arg.name).collect::<Vec<_>>(), args);
            let seen: Vec<_> = outline.secrets.iter().map(|s| (s.id.as_str(), s.required)).collect();
            assert_eq!(seen, secrets);
            assert_eq!(outline.ssh.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ssh);
        };
        check(None, &["BASE", "JOBS", "MODE"], &[("token", true), ("key", false)], &["default"]);
        check(Some("TOOLS"), &["BASE", "JOBS"], &[("token", true)], &[]);
        check(Some("1"), &["BASE", "UNUSED"], &[], &[]);
        assert_eq!(outline(&parsed.file, Some("none")), None);
        let app = outline(&parsed.file, None).unwrap();
        assert_eq!(app.args[0].description, Some("is what it starts from"));
        assert_eq!((app.args[1].default, app.args[2].description), (Some("1"), Some("says how")));
    }
}
