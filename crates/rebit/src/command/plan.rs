//! `rebit plan`.

use rebit_build::graph::{Base, Graph, Op};

use rebit_sandbox::StopFlag;

use super::bases::{Bases, Depth};
use super::dockerfile;
use crate::environment;
use crate::error::{CommandError, printable};
use crate::flags::{Flags, Plan};
use crate::output::{json, line};

pub(crate) fn plan(flags: &Flags, command: &Plan) -> Result<(), CommandError> {
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let stop = StopFlag::new();
    let input = dockerfile::read(&command.source, false, &session, &stop)?;
    let bases = Bases::new(&session, &input, &command.source, Depth::Config, true, &stop);
    let planned = dockerfile::plan(&command.source, &input, &bases)?;
    if command.json { json(&planned.graph) } else { print(&planned.graph) }
}

fn print(graph: &Graph) -> Result<(), CommandError> {
    line(format!("platform {}, epoch {}", graph.platform, graph.epoch))?;
    for stage in &graph.stages {
        let base = match &stage.base {
            Base::Scratch => "scratch".to_owned(),
            Base::Image { reference, manifest, .. } => format!("{reference}@{manifest}"),
            Base::Stage(number) => format!("stage {number}"),
            Base::Context(name) => format!("the files of the context `{name}`"),
        };
        line(format!("stage {} `{}` from {base}", stage.index, stage.display_name()))?;
        for step in &stage.steps {
            line(format!("  {}", step.created_by))?;
            if let Op::Copy(copy) = &step.op {
                copy.remotes().try_for_each(|remote| line(format!("    takes {}", printable(&remote))))?;
            }
        }
    }
    Ok(())
}
