//! How a build is shown while it goes on: plain lines, a live view on a terminal, or JSON.

mod live;
mod transfer;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rebit_build::Progress;
use rebit_build::graph::{Base, Graph, Op};
use rebit_build::progress::{Event, StepId};
use serde_json::json;

use crate::error::printable;
use crate::flags::ProgressFlag;
use crate::output::{count, cut, size};
use live::Live;
pub(crate) use transfer::{Moving, Transfer};

/// How many lines of a failed step's output are shown again where they were not shown in full.
const TAIL: usize = 40;
/// The longest line of output that is kept for the tail.
const MAX_LINE: usize = 4 << 10;

/// Shows a build.
pub(crate) struct Reporter {
    mode: Mode,
    labels: BTreeMap<StepId, (usize, String)>,
    state: Mutex<State>,
}

enum Mode {
    Plain,
    Live,
    Json,
    Quiet,
}

#[derive(Default)]
struct State {
    started: BTreeMap<StepId, Instant>,
    /// Output that does not end in a line feed yet.
    partial: BTreeMap<StepId, Vec<u8>>,
    tail: BTreeMap<StepId, Vec<String>>,
    live: Live,
}

impl Reporter {
    /// A reporter for the steps of `graph`.
    pub(crate) fn new(flag: ProgressFlag, graph: &Graph) -> Self {
        let mode = match flag {
            ProgressFlag::Quiet => Mode::Quiet,
            ProgressFlag::Rawjson => Mode::Json,
            ProgressFlag::Tty => Mode::Live,
            ProgressFlag::Auto if io::stderr().is_terminal() => Mode::Live,
            ProgressFlag::Auto | ProgressFlag::Plain => Mode::Plain,
        };
        let reporter = Self { mode, labels: labels(graph), state: Mutex::default() };
        reporter.bases(graph);
        reporter
    }

    /// Says what each stage starts from.
    fn bases(&self, graph: &Graph) {
        for stage in &graph.stages {
            let Base::Image { reference, manifest, .. } = &stage.base else { continue };
            let text = format!("[{}] FROM {reference}@{manifest}", stage.display_name());
            match self.mode {
                Mode::Plain | Mode::Live => self.print(&text),
                Mode::Json => print_json(
                    &json!({"event": "base", "stage": stage.display_name(), "image": reference, "digest": manifest}),
                ),
                Mode::Quiet => {}
            }
        }
    }

    /// Ends the live view, and shows again what the failed step said where that was not shown in full.
    pub(crate) fn finish(&self, failed: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.live.clear();
        if !failed || matches!(self.mode, Mode::Plain | Mode::Json) {
            return;
        }
        for (id, lines) in &state.tail {
            if state.started.contains_key(id) && !lines.is_empty() {
                let label = self.labels.get(id).map_or("", |(_, label)| label);
                let _ = writeln!(io::stderr(), "--- {label}\n{}\n---", lines.join("\n"));
            }
        }
    }

    fn print(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.live.print_above(text);
    }

    fn label(&self, id: StepId) -> (usize, &str) {
        self.labels.get(&id).map_or((0, "layer"), |(number, label)| (*number, label))
    }

    fn output(&self, id: StepId, bytes: &[u8]) {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let partial = state.partial.entry(id).or_default();
        partial.extend_from_slice(bytes);
        while let Some(end) =
            partial.iter().position(|byte| *byte == b'\n').or((partial.len() > MAX_LINE).then_some(MAX_LINE))
        {
            let line: Vec<u8> = partial.drain(..=end.min(partial.len() - 1)).collect();
            let text = String::from_utf8_lossy(&line);
            // What follows a carriage return overwrites the line on a terminal: the last state is what counts.
            let text = text.trim_end_matches(['\n', '\r']).rsplit('\r').next().unwrap_or_default().to_owned();
            let seconds = state.started.get(&id).map_or(0.0, |start| start.elapsed().as_secs_f64());
            match self.mode {
                Mode::Plain => {
                    let _ = writeln!(io::stderr(), "#{} {seconds:.3} {text}", self.label(id).0);
                }
                Mode::Live => state.live.output(&text),
                Mode::Json | Mode::Quiet => {}
            }
            let tail = state.tail.entry(id).or_default();
            if tail.len() == TAIL {
                tail.remove(0);
            }
            tail.push(text);
        }
    }

    /// Writes the unfinished last line of a step.
    fn flush(&self, id: StepId) {
        let unfinished = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.partial.get(&id).is_some_and(|partial| !partial.is_empty())
        };
        if unfinished {
            self.output(id, b"\n");
        }
    }

    fn started(&self, id: StepId, reasons: &[String]) {
        let (number, label) = self.label(id);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.started.insert(id, Instant::now());
        match self.mode {
            Mode::Plain => {
                let _ = writeln!(io::stderr(), "#{number} {label}");
                for reason in reasons {
                    let _ = writeln!(io::stderr(), "#{number} because {}", printable(reason));
                }
            }
            Mode::Live => state.live.begin(label),
            Mode::Json | Mode::Quiet => {}
        }
    }

    fn ended(&self, id: StepId, word: &str) {
        self.flush(id);
        let (number, label) = self.label(id);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = state.started.remove(&id);
        let word = match start {
            Some(start) => format!("{word} {:.1}s", start.elapsed().as_secs_f64()),
            None => word.to_owned(),
        };
        state.tail.remove(&id);
        match self.mode {
            Mode::Plain if start.is_some() => {
                let _ = writeln!(io::stderr(), "#{number} {word}");
            }
            Mode::Plain => {
                let _ = writeln!(io::stderr(), "#{number} {label}\n#{number} {word}");
            }
            Mode::Live => {
                state.live.end(label);
                state.live.print_above(&format!("{label}  {word}"));
            }
            Mode::Json | Mode::Quiet => {}
        }
    }

    fn note(&self, text: &str) {
        if matches!(self.mode, Mode::Plain | Mode::Live) {
            self.print(text);
        }
    }
}

impl Progress for Reporter {
    fn event(&self, event: Event<'_>) {
        if matches!(self.mode, Mode::Json) {
            print_json(&self.json(&event));
        }
        match event {
            Event::ContextRead { entries, bytes, files_read } => {
                self.note(&format!(
                    "context: {}, {}, {} read",
                    count(entries, "entry", "entries"),
                    size(bytes),
                    count(files_read, "file", "files")
                ));
            }
            Event::ContextNotice { text } => self.note(&format!("note: context: {text}")),
            Event::Fetching { id, text } => self.note(&format!("{}: {}", self.label(id).1, printable(text))),
            Event::Unpacking { .. } => {}
            Event::Started { id, reasons } => self.started(id, reasons),
            Event::Output { id, bytes, .. } => self.output(id, bytes),
            Event::Cached { id } => self.ended(id, "CACHED"),
            Event::Finished { id } => self.ended(id, "DONE"),
            Event::Encoding { layer, of } => self.note(&format!("encoding layer {layer}/{of}")),
            Event::Notice { id, text } => self.note(&format!("note: {}: {text}", self.label(id).1)),
            Event::Fixed { id, fixer, did, files } => {
                let plural = if files == 1 { "" } else { "s" };
                let (_, label) = self.label(id);
                let place = label.split_inclusive(']').next().unwrap_or_default();
                self.note(&format!("fixed: {place} {fixer} {did} {files} file{plural}"));
            }
        }
    }
}

impl Reporter {
    fn json(&self, event: &Event<'_>) -> serde_json::Value {
        let step = |name: &str, id: &StepId| {
            let (number, label) = self.label(*id);
            json!({"event": name, "step": number, "name": label})
        };
        match event {
            Event::ContextRead { entries, bytes, files_read } => {
                json!({"event": "context", "entries": entries, "bytes": bytes, "files_read": files_read})
            }
            Event::ContextNotice { text } => json!({"event": "context notice", "text": text}),
            Event::Fetching { id, text } => {
                let mut value = step("fetching", id);
                value["text"] = json!(text);
                value
            }
            Event::Unpacking { id } => step("unpacking", id),
            Event::Started { id, reasons } => {
                let mut value = step("started", id);
                value["reasons"] = json!(reasons);
                value
            }
            Event::Cached { id } => step("cached", id),
            Event::Finished { id } => step("finished", id),
            Event::Output { id, stream, bytes } => {
                let mut value = step("output", id);
                value["stream"] = json!(stream);
                value["text"] = json!(String::from_utf8_lossy(bytes));
                value
            }
            Event::Encoding { layer, of } => json!({"event": "encoding", "layer": layer, "of": of}),
            Event::Fixed { id, fixer, did, files } => {
                let mut value = step("fixed", id);
                (value["fixer"], value["did"], value["files"]) = (json!(fixer), json!(did), json!(files));
                value
            }
            Event::Notice { id, text } => {
                let mut value = step("notice", id);
                value["text"] = json!(text);
                value
            }
        }
    }
}

fn print_json(value: &serde_json::Value) {
    let _ = writeln!(io::stderr(), "{value}");
}

/// Numbers the steps that do something, and names them as `[stage 2/5] instruction`.
fn labels(graph: &Graph) -> BTreeMap<StepId, (usize, String)> {
    let mut labels = BTreeMap::new();
    let mut number = 0;
    for (place, stage) in graph.stages.iter().enumerate() {
        let shown = |op: &Op| !matches!(op, Op::Config);
        let total = stage.steps.iter().filter(|step| shown(&step.op)).count();
        let steps = stage.steps.iter().enumerate().filter(|(_, step)| shown(&step.op));
        for (position, (step_number, step)) in steps.enumerate() {
            number += 1;
            let label =
                format!("[{} {}/{total}] {}", stage.display_name(), position + 1, cut(&step.text, 200));
            labels.insert(StepId { stage: place, step: step_number }, (number, label));
        }
    }
    labels
}
