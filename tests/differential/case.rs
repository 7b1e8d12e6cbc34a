//! The text format of the cases in `tests/corpus`.
//!
//! ```text
//! === a name
//! file PATH MODE CONTENT       a file of the context; `\n`, `\t`, `\s` (a blank), `\\` and `\xHH` are understood
//! dir PATH MODE
//! link PATH TARGET             a symbolic link
//! hard PATH TARGET             a hard link
//! fifo PATH MODE
//! xattr PATH NAME VALUE
//! tar NAME MEMBER [ARGS...]    packs a member of the context, which then is no longer there; NAME chooses the compression
//! args ARGS...                 further arguments of both builders; `{}` is the context
//! fails TEXT                   both refuse, and rebit says TEXT
//! differs KEY REASON           a difference that is known: KEY is a path, `config.X` or `error`
//! only rebit REASON            the other builder does not know this yet: `expect` says what comes out
//! --- image NAME
//! a Dockerfile of an image that the next one uses
//! ---
//! the Dockerfile
//! --- expect
//! KEY WHAT                     what is new or different relative to the base image
//! -KEY                         what the base image has and this one has not
//! ```

use std::fs;
use std::path::Path;

#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) topic: String,
    pub(super) name: String,
    pub(super) context: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) fails: Option<String>,
    pub(super) differs: Vec<(String, String)>,
    pub(super) only_rebit: bool,
    /// The name of each image and its Dockerfile; the last has no name.
    pub(super) images: Vec<(String, String)>,
    pub(super) expect: Option<Vec<String>>,
}

/// All cases of a directory, in the order of its file names.
pub(super) fn read_all(directory: &Path) -> Vec<Case> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "cases")) {
        let topic = path.file_stem().unwrap().to_string_lossy().into_owned();
        read(&topic, &fs::read_to_string(path).unwrap(), &mut cases);
    }
    cases
}

enum Part {
    Head,
    Dockerfile,
    Expect,
}

fn read(topic: &str, text: &str, cases: &mut Vec<Case>) {
    let first = cases.len();
    let mut part = Part::Head;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case { topic: topic.to_owned(), name: name.to_owned(), ..Case::default() });
            part = Part::Head;
            continue;
        }
        let Some(case) = cases.get_mut(first..).and_then(<[Case]>::last_mut) else {
            assert!(line.is_empty() || line.starts_with('#'), "{topic}: {line}");
            continue;
        };
        if line == "--- expect" {
            case.expect = Some(Vec::new());
            part = Part::Expect;
        } else if line == "---" || line.starts_with("--- image ") {
            let name = line.strip_prefix("--- image ").unwrap_or_default();
            case.images.push((name.to_owned(), String::new()));
            part = Part::Dockerfile;
        } else {
            match part {
                Part::Head => directive(case, line),
                Part::Dockerfile => {
                    let (_, dockerfile) = case.images.last_mut().unwrap();
                    dockerfile.push_str(line);
                    dockerfile.push('\n');
                }
                Part::Expect => {
                    case.expect.as_mut().unwrap().extend((!line.is_empty()).then(|| line.to_owned()))
                }
            }
        }
    }
}

fn directive(case: &mut Case, line: &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "" | "#" => {}
        "args" => case.args.extend(rest.split(' ').map(unescape)),
        "fails" => case.fails = Some(rest.to_owned()),
        "only" => case.only_rebit = true,
        "differs" => {
            let (key, reason) = rest.split_once(' ').unwrap_or_else(|| panic!("{}: no reason", case.name));
            case.differs.push((key.to_owned(), reason.to_owned()));
        }
        "file" | "dir" | "link" | "hard" | "fifo" | "xattr" | "tar" => case.context.push(line.to_owned()),
        _ => panic!("{}: `{line}` is no directive", case.name),
    }
}

/// Replaces `\n`, `\t`, `\s`, `\\` and `\xHH`.
pub(super) fn unescape(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        match rest.next() {
            Some('n') => result.push('\n'),
            Some('t') => result.push('\t'),
            Some('s') => result.push(' '),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                result.push(char::from(u8::from_str_radix(&digits, 16).unwrap()));
            }
            Some(other) => result.push(other),
            None => panic!("`{text}` ends in a backslash"),
        }
    }
    result
}

#[test]
fn a_case_is_read_part_by_part() {
    let head = "# a comment\n\n=== one\nfile a 0644 x\nargs --target b\ndiffers /x the reason\n";
    let images = "--- image other\nFROM base\n---\nFROM other\n\n--- expect\n/x dir 0755 0:0\n\n";
    let text = format!("{head}{images}=== two\nfails no more\n---\nRUN x\n");
    let mut cases = Vec::new();
    read("topic", &text, &mut cases);
    let [one, two] = cases.as_slice() else { panic!("{cases:?}") };
    assert_eq!((one.name.as_str(), one.context.as_slice()), ("one", &["file a 0644 x".to_owned()][..]));
    assert_eq!(one.args, ["--target", "b"]);
    assert_eq!(one.differs, [("/x".to_owned(), "the reason".to_owned())]);
    let images = [("other", "FROM base\n"), ("", "FROM other\n\n")];
    assert_eq!(one.images, images.map(|(name, text)| (name.to_owned(), text.to_owned())));
    assert_eq!(one.expect.as_deref(), Some(&["/x dir 0755 0:0".to_owned()][..]));
    assert_eq!((two.fails.as_deref(), two.expect.is_none()), (Some("no more"), true));
    assert_eq!(unescape(r"a\n\t\s\\\x41"), "a\n\t \\A");
}
