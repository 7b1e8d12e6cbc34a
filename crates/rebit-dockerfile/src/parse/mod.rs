//! From text to tree.

mod args;
mod diagnostics;
mod files;
mod run;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use diagnostics::Diagnostics;

use crate::diagnostic::{Code, Diagnostic};
use crate::flags::Flags;
use crate::heredoc::{self, Heredoc};
use crate::instruction::{
    Cmd, Dockerfile, Entrypoint, Env, From, Instruction, Label, Maintainer, Node, Stage, StopSignal, User,
    Workdir,
};
use crate::json::{self, Json};
use crate::lex::{Logical, Part, Physical};
use crate::span::{Span, Spanned};
use crate::{directive, suggest};

/// How long a file may be, in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// How many instructions a file may hold.
pub const MAX_INSTRUCTIONS: usize = 20_000;

/// How many heredocs one instruction may have.
pub const MAX_HEREDOCS: usize = 64;

/// How many diagnostics are reported.
pub const MAX_DIAGNOSTICS: usize = 256;

/// The result of [`parse`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// What could be read.
    pub file: Dockerfile,
    /// What there is to say, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether any diagnostic forbids a build.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads a whole file. A byte order mark is skipped; lines end with LF or CRLF.
pub fn parse(text: &str) -> Parsed {
    let mut diagnostics = Diagnostics::default();
    if text.len() > MAX_FILE_BYTES {
        let message = format!("file has {} bytes, more than {MAX_FILE_BYTES}", text.len());
        diagnostics.push(Diagnostic::new(Code::FileTooLarge, Span::default(), message));
        return Parsed { file: Dockerfile::default(), diagnostics: diagnostics.finish() };
    }
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let (directives, start) = directive::read(text, start, &mut diagnostics);
    let escape = directives.escape_char();
    let mut file = Dockerfile { directives, ..Dockerfile::default() };
    let mut reader = Reader::new(text, start, escape, &mut diagnostics);
    while let Some(statement) = reader.statement() {
        reader.place(statement, &mut file);
    }
    let count = reader.count;
    file.blank_continuations = reader.blank_lines;
    if count == 0 {
        diagnostics.push(Diagnostic::new(Code::EmptyFile, Span::default(), "file has no instruction"));
    } else if file.stages.is_empty() && !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::new(Code::NoStage, Span::default(), "file has no `FROM`"));
    }
    Parsed { file, diagnostics: diagnostics.finish() }
}

/// Reads one trigger of an image config's `OnBuild` list, heredocs included. The escape character is `\`.
///
/// # Errors
/// The diagnostics, if one is an error or if the text is not exactly one instruction that may be a trigger. Spans are of `text`.
pub fn parse_trigger(text: &str) -> Result<Node<Instruction>, Vec<Diagnostic>> {
    let mut diagnostics = Diagnostics::default();
    let all = Span::new(0, text.len());
    if text.len() > MAX_FILE_BYTES {
        let message = format!("trigger has {} bytes, more than {MAX_FILE_BYTES}", text.len());
        return Err(vec![Diagnostic::new(Code::FileTooLarge, all, message)]);
    }
    let mut reader = Reader::new(text, 0, '\\', &mut diagnostics);
    let mut nodes = Vec::new();
    while let Some(statement) = reader.statement() {
        nodes.extend(statement);
    }
    if reader.count != 1 {
        let message = format!("a trigger is one instruction, not {}", reader.count);
        diagnostics.push(Diagnostic::new(Code::InvalidTrigger, all, message));
    }
    let trigger = nodes.pop().and_then(|node| as_trigger(node, &mut diagnostics));
    match trigger {
        Some(node) if !diagnostics.has_errors() => Ok(node),
        _ => Err(diagnostics.finish()),
    }
}

/// Any line of the file.
#[derive(Debug)]
enum Statement {
    From(From),
    Instruction(Instruction),
}

/// One instruction while it is read: its name is known, its flags are taken.
struct Line<'a, 'd> {
    name: &'static str,
    keyword: Span,
    flags: Flags,
    args: Part<'a>,
    escape: char,
    heredocs: Vec<Heredoc>,
    diagnostics: &'d mut Diagnostics,
}

/// All names, in upper case.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Goes through the text instruction by instruction.
struct Reader<'s, 'd> {
    source: &'s str,
    next: usize,
    escape: char,
    count: usize,
    blank_lines: Vec<Span>,
    /// Whether something that is almost a `FROM` could not be read.
    lost_from: bool,
    /// Whether nothing was found in the instruction that was read last.
    is_clean: bool,
    /// The end of the line before, if it looks as if it went on.
    open_end: Option<Span>,
    diagnostics: &'d mut Diagnostics,
}

impl<'s, 'd> Reader<'s, 'd> {
    fn new(source: &'s str, next: usize, escape: char, diagnostics: &'d mut Diagnostics) -> Self {
        Self {
            source,
            next,
            escape,
            count: 0,
            blank_lines: Vec::new(),
            lost_from: false,
            is_clean: false,
            open_end: None,
            diagnostics,
        }
    }

    /// The next instruction: `None` at the end, `Some(None)` if it could not be read.
    fn statement(&mut self) -> Option<Option<Node<Statement>>> {
        let mut comments = Vec::new();
        loop {
            let line = Physical::at(self.source, self.next)?;
            match line.comment() {
                Some(comment) if comment.trim().is_empty() => comments.clear(),
                Some(comment) => comments.push(comment.trim().to_owned()),
                None if line.text.trim().is_empty() => comments.clear(),
                None => break,
            }
            self.next = line.next();
        }
        if self.count == MAX_INSTRUCTIONS {
            let span = Span::new(self.next, self.next);
            let message = format!("file has more than {MAX_INSTRUCTIONS} instructions");
            self.diagnostics.push(Diagnostic::new(Code::TooManyInstructions, span, message));
            return None;
        }
        self.count += 1;
        let logical = Logical::read(self.source, self.next, self.escape);
        self.next = logical.next;
        self.blank_lines.extend(&logical.blank_lines);
        let part = logical.all().trim();
        let heredocs = self.heredocs(part);
        let (word, _) = part.split_word();
        let before = self.diagnostics.count();
        let open_end = std::mem::replace(&mut self.open_end, open_end(part));
        let Some(name) = known_name(word, open_end, self.escape, self.diagnostics) else {
            self.lost_from |= suggest::closest(word.text(), NAMES) == Some("FROM");
            return Some(None);
        };
        let node = read_node(part, name, self.escape, heredocs, self.diagnostics);
        self.lost_from |= node.is_none() && name == "FROM";
        self.is_clean = self.diagnostics.count() == before;
        Some(node.map(|node| Node { comments, ..node }))
    }

    /// Reads the heredocs of a line, if its instruction can have any.
    fn heredocs(&mut self, part: Part<'_>) -> Vec<Heredoc> {
        if !part.text().contains("<<") || !can_have_heredocs(part, true) {
            return Vec::new();
        }
        let mut openings = heredoc::openings(part);
        if let Some((_, span)) = openings.get(MAX_HEREDOCS) {
            let message = format!("instruction has more than {MAX_HEREDOCS} heredocs");
            self.diagnostics.push(Diagnostic::new(Code::TooManyHeredocs, *span, message));
            openings.truncate(MAX_HEREDOCS);
        }
        let (heredocs, next) = heredoc::read_bodies(self.source, self.next, openings, self.diagnostics);
        self.next = next;
        heredocs
    }

    /// Puts an instruction where it belongs.
    fn place(&mut self, statement: Option<Node<Statement>>, file: &mut Dockerfile) {
        let Some(node) = statement else { return };
        let outside = file.stages.is_empty();
        let (value, node) = node.take();
        // One mistake is reported once.
        if self.is_clean {
            words::check(&value, self.escape, self.diagnostics);
        }
        match value {
            Statement::From(from) => {
                let name = from.name.as_ref().map(|name| name.value.to_lowercase());
                let index = file.stages.len();
                file.stages.push(Stage { index, name, from: node.map(|()| from), instructions: Vec::new() });
            }
            Statement::Instruction(Instruction::Arg(arg)) if outside => {
                file.global_args.push(node.map(|()| arg))
            }
            Statement::Instruction(instruction) => {
                self.place_in_stage(node.map(|()| instruction), file);
            }
        }
    }

    fn place_in_stage(&mut self, node: Node<Instruction>, file: &mut Dockerfile) {
        match file.stages.last_mut() {
            Some(stage) => stage.instructions.push(node),
            // What could not be read was the FROM.
            None if self.lost_from => {}
            None => {
                let message = format!("{} before the first FROM", node.value.name());
                let diagnostic = Diagnostic::new(Code::InstructionBeforeFrom, node.keyword.span, message);
                self.diagnostics.push(diagnostic.with_help("only ARG may come before FROM"));
            }
        }
    }
}

/// Whether a line is `RUN`, `COPY` or `ADD`, or `ONBUILD` of one, and not in JSON form.
fn can_have_heredocs(part: Part<'_>, outer: bool) -> bool {
    let (name, rest) = part.split_word();
    let (_, args) = Flags::take(rest);
    let name = name.text();
    if outer && name.eq_ignore_ascii_case("ONBUILD") {
        return can_have_heredocs(args, false);
    }
    let can = ["RUN", "COPY", "ADD"].iter().any(|known| name.eq_ignore_ascii_case(known));
    can && json::read(args) == Json::No
}

/// Reads a logical line. `None` if there is nothing to make a node of; then there is a diagnostic.
fn read_node(
    part: Part<'_>,
    name: &'static str,
    escape: char,
    heredocs: Vec<Heredoc>,
    diagnostics: &mut Diagnostics,
) -> Option<Node<Statement>> {
    let (word, rest) = part.split_word();
    let (flags, args) = Flags::take(rest);
    let end = heredocs.last().map_or(part.span().end, |heredoc| heredoc.end_span.end);
    let heredoc_text =
        heredocs.iter().map(|h| format!("{}{}", h.body, h.name)).collect::<Vec<_>>().join("\n");
    let keyword = word.spanned();
    let line = Line { name, keyword: keyword.span, flags, args, escape, heredocs, diagnostics };
    let value = line.read()?;
    Some(Node {
        value,
        span: Span::new(keyword.span.start, end),
        keyword,
        text: part.text().to_owned(),
        heredoc_text,
        comments: Vec::new(),
    })
}

/// The last characters of a line that cannot be the end of a command.
fn open_end(part: Part<'_>) -> Option<Span> {
    let text = part.text();
    let end = ["&&", "||", "|", ";", ",", "("].into_iter().find(|end| text.ends_with(end))?;
    Some(part.from(text.len() - end.len()).span())
}

fn known_name(
    word: Part<'_>,
    open_end: Option<Span>,
    escape: char,
    diagnostics: &mut Diagnostics,
) -> Option<&'static str> {
    let found = NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(word.text()));
    if found.is_none() {
        let message = match word.text() {
            "" => "a continued line without an instruction".to_owned(),
            text => format!("unknown instruction `{text}`"),
        };
        let diagnostic = Diagnostic::new(Code::UnknownInstruction, word.span(), message);
        diagnostics.push(match (suggest::closest(word.text(), NAMES), open_end) {
            (Some(name), _) => diagnostic.with_help(format!("did you mean `{name}`?")),
            (None, Some(end)) => diagnostic
                .with_label(end, "the line before ends here")
                .with_help(format!("put `{escape}` at the end of the line before to go on with it")),
            (None, None) => diagnostic,
        });
    }
    found
}

/// The instruction of a trigger; reports those that cannot be one.
fn as_trigger(node: Node<Statement>, diagnostics: &mut Diagnostics) -> Option<Node<Instruction>> {
    let (value, node) = node.take();
    match value {
        Statement::Instruction(Instruction::OnBuild(_) | Instruction::Maintainer(_)) | Statement::From(_) => {
            let message = format!("{} cannot be an ONBUILD trigger", node.keyword.value.to_uppercase());
            diagnostics.push(Diagnostic::new(Code::InvalidTrigger, node.keyword.span, message));
            None
        }
        Statement::Instruction(instruction) => Some(node.map(|()| instruction)),
    }
}

impl Line<'_, '_> {
    fn report(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::new(code, span, message));
    }

    /// Reports that arguments are missing.
    fn missing<T>(&mut self, what: &str) -> Option<T> {
        let message = format!("{} needs {what}", self.name);
        self.report(Code::MissingArgument, self.keyword, message);
        None
    }

    /// The rest of the line, which must not be empty.
    fn rest(&mut self, what: &str) -> Option<Spanned<String>> {
        self.flags.check(self.name, &[], self.diagnostics);
        if self.args.text().is_empty() { self.missing(what) } else { Some(self.args.spanned()) }
    }
}

impl Line<'_, '_> {
    fn read(mut self) -> Option<Statement> {
        Some(Statement::Instruction(match self.name {
            "FROM" => return self.from().map(Statement::From),
            "ADD" => Instruction::Add(self.add()?),
            "ARG" => Instruction::Arg(self.arg()?),
            "CMD" => Instruction::Cmd(Cmd { command: self.only_command()? }),
            "COPY" => Instruction::Copy(self.copy()?),
            "ENTRYPOINT" => Instruction::Entrypoint(Entrypoint { command: self.only_command()? }),
            "ENV" => {
                let (pairs, legacy) = self.pairs()?;
                Instruction::Env(Env { pairs, legacy })
            }
            "EXPOSE" => Instruction::Expose(self.expose()?),
            "HEALTHCHECK" => Instruction::Healthcheck(self.healthcheck()?),
            "LABEL" => {
                let (pairs, legacy) = self.pairs()?;
                Instruction::Label(Label { pairs, legacy })
            }
            "MAINTAINER" => Instruction::Maintainer(Maintainer { name: self.rest("a name")? }),
            "ONBUILD" => Instruction::OnBuild(self.on_build()?),
            "RUN" => Instruction::Run(self.run()?),
            "SHELL" => Instruction::Shell(self.shell()?),
            "STOPSIGNAL" => Instruction::StopSignal(StopSignal { signal: self.rest("a signal")? }),
            "USER" => Instruction::User(User { user: self.rest("a user")? }),
            "VOLUME" => Instruction::Volume(self.volume()?),
            _ => Instruction::Workdir(Workdir { path: self.rest("a path")? }),
        }))
    }
}
