//! The Dockerfile language as typed values, and the two small languages around it.
//!
//! This crate only reads text: it opens no file, looks at no environment and decides nothing about execution.
//!
//! - [`parse()`] turns the text of a Dockerfile into a [`Dockerfile`] of [`Stage`]s plus [`Diagnostic`]s. It never fails and
//!   never panics: what could be read is in the tree, and a diagnostic of [`Severity::Error`] means *do not build*.
//!   [`parse_trigger`] does the same for one line of an image config's `OnBuild` list.
//! - [`lint::lint`] runs the build checks on what was parsed.
//! - [`instruction`] has one struct per instruction. Every word carries the [`Span`] it came from; nothing is expanded yet.
//! - [`expand`] replaces variables and removes quotes, by the rules of BuildKit's shell lexer. The planner calls it with the
//!   values in force at that instruction. Its module docs say which instructions and which of their parts are expanded.
//! - [`mount`], [`mode`] and [`duration`] give types to values that are complete only after expansion.
//! - [`remote`] tells addresses (URLs and git repositories) from paths.
//! - [`ignore`] is `.dockerignore`; [`glob`] is the wildcard of `COPY` and `ADD` sources.
//!
//! ```
//! let parsed = rebit_dockerfile::parse("FROM alpine AS base\nRUN echo hi\n");
//! assert!(!parsed.has_errors());
//! assert_eq!(parsed.file.stages[0].name.as_deref(), Some("base"));
//! ```
//!
//! # Limits
//!
//! A file is at most [`MAX_FILE_BYTES`] long and holds at most [`MAX_INSTRUCTIONS`] instructions; an instruction has at most
//! [`MAX_HEREDOCS`] heredocs. Expansion nests at most [`expand::MAX_DEPTH`] deep and gives at most [`expand::MAX_OUTPUT_BYTES`].
//! Beyond a limit there is an error, never a truncated result.
//!
//! # Faithfulness
//!
//! The rules are those of the Dockerfile reference (frontend 1.2x) and, where that is silent, of BuildKit's parser. Known
//! differences: text is UTF-8 (bytes that are not are the caller's to refuse), flags of instructions that take none are an
//! error everywhere, and a flag's value may hold any character.

pub mod diagnostic;
mod directive;
pub mod duration;
pub mod expand;
mod flags;
pub mod glob;
pub mod heredoc;
pub mod ignore;
pub mod instruction;
mod json;
mod lex;
pub mod lint;
pub mod mode;
pub mod mount;
pub mod outline;
mod parse;
pub mod remote;
pub mod span;
mod suggest;
mod words;

pub use diagnostic::{Code, Diagnostic, Label, Severity};
pub use directive::{Check, Directives, RuleSet};
pub use heredoc::Heredoc;
pub use instruction::{Dockerfile, Instruction, Node, Stage};
pub use parse::{
    MAX_DIAGNOSTICS, MAX_FILE_BYTES, MAX_HEREDOCS, MAX_INSTRUCTIONS, Parsed, parse, parse_trigger,
};
pub use span::{Position, SourceFile, Span, Spanned};
pub use suggest::closest;
