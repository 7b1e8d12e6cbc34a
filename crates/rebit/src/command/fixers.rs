//! `rebit fixers`, and which of them a build has on.

use rebit_build::fix::{FIXERS, Fixers};
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::flags::FixersFlags;
use crate::output::{json, line};

/// The word that leaves aside what `rebit.toml` says.
const NONE: &str = "none";

pub(crate) fn fixers(command: &FixersFlags) -> Result<(), CommandError> {
    if command.json {
        let fixers: Vec<Value> = FIXERS
            .iter()
            .map(|fixer| {
                let files: Vec<String> = fixer.files.iter().map(ToString::to_string).collect();
                json!({
                    "name": fixer.name,
                    "version": fixer.version,
                    "summary": fixer.summary,
                    "reason": fixer.reason,
                    "files": files,
                })
            })
            .collect();
        return json(&fixers);
    }
    for fixer in FIXERS {
        line(format!("{} (version {})", fixer.name, fixer.version))?;
        line(format!("    {}; {}", fixer.summary, fixer.reason))?;
        let files: Vec<String> = fixer.files.iter().map(ToString::to_string).collect();
        line(format!("    {}", files.join(" ")))?;
    }
    Ok(())
}

/// The fixers that `--fix` names, besides those of `rebit.toml`.
pub(crate) fn chosen(flags: &[String], project: &[String]) -> Result<Fixers, CommandError> {
    let project = project.iter().filter(|_| !flags.iter().any(|name| name == NONE));
    let names = flags.iter().filter(|name| *name != NONE).chain(project).map(String::as_str);
    Fixers::named(names).map_err(|error| CommandError::new(&error).hint("`rebit fixers` lists them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_add_to_the_file_unless_they_say_none() {
        let check = |flags: &[&str], project: &[&str], expected: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let chosen = chosen(&owned(flags), &owned(project)).unwrap();
            assert_eq!(chosen.iter().map(|fixer| fixer.name).collect::<Vec<_>>(), expected);
        };
        check(&[], &[], &[]);
        check(&[], &["pyc"], &["pyc"]);
        check(&["apt-logs"], &["pyc"], &["apt-logs", "pyc"]);
        check(&["none"], &["pyc"], &[]);
        check(&["none", "apt-logs"], &["pyc"], &["apt-logs"]);
    }
}
