//! The same Dockerfile and context, built by BuildKit and by rebit, have to become the same image.
//!
//! The cases are in `tests/corpus`; the format is described in `differential/case.rs`. `REBIT_CORPUS=TEXT` runs the cases whose topic
//! or name contains TEXT. Without docker the cases that say what comes out are still run.

mod case;
mod context;
pub(crate) mod daemon;
pub(crate) mod image;
mod tar;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Ended, World, can_build, ended, skip};
use case::Case;
use daemon::Daemon;
use image::Listing;

/// Cases that are built at the same time.
const WORKERS: usize = 3;

/// What one builder made of a case: an image, or what it said when it refused.
type Outcome = Result<Listing, String>;

/// How a case went: a word for the report, and the lines that explain it.
struct Verdict {
    word: &'static str,
    detail: String,
}

#[test]
fn dockerfiles_become_what_buildkit_makes_of_them() {
    if !can_build() {
        return;
    }
    let filter = std::env::var("REBIT_CORPUS").unwrap_or_default();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let mut cases = case::read_all(&corpus);
    cases.retain(|case| case.topic.contains(&filter) || case.name.contains(&filter));
    assert!(!cases.is_empty(), "no case is chosen");

    let bench = Bench::new();
    let next = AtomicUsize::new(0);
    let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(cases.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((number, case)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, cases.get(n)?)))
                {
                    let verdict = bench.judge(number, case);
                    verdicts.lock().unwrap()[number] = Some(verdict);
                }
            });
        }
    });
    bench.world.fsck();
    report(&cases, verdicts.into_inner().unwrap());
}

/// Says how each case went, and fails when one of them went wrong.
fn report(cases: &[Case], verdicts: Vec<Option<Verdict>>) {
    let mut text = String::new();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    let mut wrong = String::new();
    for (case, verdict) in cases.iter().zip(verdicts) {
        let verdict = verdict.expect("a worker has ended early");
        *counts.entry(verdict.word).or_default() += 1;
        let line = format!("{:<8} {}: {}\n{}", verdict.word, case.topic, case.name, verdict.detail);
        text.push_str(&line);
        if verdict.word == "WRONG" {
            wrong.push_str(&line);
        }
    }
    if let Some(skipped) = counts.get("skipped") {
        skip(&format!("{skipped} cases of tests/corpus need docker"));
    }
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    println_captured(&format!("{text}{} cases: {}", cases.len(), counts.join(", ")));
    assert!(wrong.is_empty(), "unexplained differences:\n{wrong}");
}

#[expect(
    clippy::print_stdout,
    reason = "the runner of tests shows it when the test fails or when it is asked to"
)]
fn println_captured(text: &str) {
    println!("{text}");
}

/// Who builds.
#[derive(Clone, Copy)]
enum Builder<'a> {
    Docker(&'a Daemon),
    Rebit,
}

/// Both builders with the same base image.
struct Bench {
    // Ends before the world, which holds its data.
    daemon: Option<Daemon>,
    world: World,
    base: Listing,
}

impl Bench {
    fn new() -> Self {
        let world = World::new().with_busybox();
        let root = world.path("busybox");
        // Where RUN mounts its own: an older BuildKit leaves what it makes there in the image.
        for directory in ["dev", "proc", "sys"] {
            fs::create_dir(root.join(directory)).unwrap();
            fs::set_permissions(root.join(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for file in ["etc/hosts", "etc/resolv.conf"] {
            fs::write(root.join(file), "").unwrap();
            fs::set_permissions(root.join(file), fs::Permissions::from_mode(0o644)).unwrap();
        }
        let tar = world.path("base.tar");
        let mut command = std::process::Command::new("tar");
        command.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-cf"]);
        let made = ended(command.arg(&tar).arg("-C").arg(&root).arg("."));
        assert_eq!(made.code, 0, "{}", made.stderr);
        let import = ["import", "--rootfs", "--compression", "none", &tar.to_string_lossy(), "store:base"];
        world.ok(import);
        let daemon = Daemon::start(&world.path("docker"));
        if let Some(daemon) = &daemon {
            let imported = daemon.run(["import", &tar.to_string_lossy(), "base"]);
            assert_eq!(imported.code, 0, "{}", imported.stderr);
        }
        let archive = world.path("base-image.tar");
        world.ok(["export", "store:base", &format!("docker-archive:{}", archive.display())]);
        let base = image::list(&archive);
        Self { daemon, world, base }
    }

    fn judge(&self, number: usize, case: &Case) -> Verdict {
        let context = self.world.path(&format!("context-{number}"));
        context::write(&context, &case.context);
        let ours = self.outcome(Builder::Rebit, case, number, &context);
        let (mut found, mut refusals) = (Listing::new(), String::new());
        if let (Some(text), Err(said)) = (&case.fails, &ours)
            && !said.contains(text)
        {
            found.insert("message".to_owned(), format!("`{text}` is not in {said:?}"));
        }
        match &self.daemon {
            _ if case.only_rebit => {}
            None if case.expect.is_none() => {
                return Verdict { word: "skipped", detail: String::new() };
            }
            None => {}
            Some(daemon) => {
                let theirs = self.outcome(Builder::Docker(daemon), case, number, &context);
                if let (Err(their), Err(our)) = (&theirs, &ours) {
                    let docker = their.trim().lines().last().unwrap_or_default();
                    let rebit = our.lines().next().unwrap_or_default();
                    refusals = format!("         docker: {docker}\n         rebit: {rebit}\n");
                }
                compare(case, &theirs, &ours, &mut found);
            }
        }
        if case.fails.is_some() && ours.is_ok() && !found.contains_key("error") {
            found.insert("success".to_owned(), "rebit builds it".to_owned());
        }
        let unmet = case.expect.as_ref().map(|expect| unmet(expect, &self.base, &ours));
        let _ = fs::remove_dir_all(&context);
        let mut verdict = decide(case, &found, unmet.as_deref().unwrap_or_default());
        verdict.detail.push_str(&refusals);
        verdict
    }

    /// Builds all images of a case with one of the builders and lists the last.
    fn outcome(&self, builder: Builder<'_>, case: &Case, number: usize, context: &Path) -> Outcome {
        let (tag, context_text) = (format!("case-{number}"), context.display().to_string());
        for (name, dockerfile) in &case.images {
            let path = context.join("Dockerfile");
            fs::write(&path, dockerfile).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let tag = if name.is_empty() { tag.as_str() } else { name };
            let more: Vec<String> = case.args.iter().map(|arg| arg.replace("{}", &context_text)).collect();
            let mut args = vec!["build", "-q", "--network", "host", "-t", tag];
            if let Builder::Rebit = builder {
                // The archive is read by code of the test, which knows tar only.
                args.extend(["--compression", "none"]);
            }
            if name.is_empty() {
                args.extend(more.iter().map(String::as_str));
            }
            args.push(&context_text);
            let ended = self.run(builder, &args);
            if ended.code != 0 {
                return Err(ended.stderr);
            }
        }
        let archive = self.world.path(&format!("{tag}.tar"));
        let file = archive.display().to_string();
        let saved = match builder {
            Builder::Docker(_) => self.run(builder, &["save", &tag, "-o", &file]),
            Builder::Rebit => {
                self.run(builder, &["export", &format!("store:{tag}"), &format!("docker-archive:{file}")])
            }
        };
        assert_eq!(saved.code, 0, "{}: {}: {}", case.topic, case.name, saved.stderr);
        let listing = image::list(&archive);
        let _ = fs::remove_file(&archive);
        Ok(listing)
    }

    fn run(&self, builder: Builder<'_>, args: &[&str]) -> Ended {
        match builder {
            Builder::Docker(daemon) => daemon.run(args.iter().copied()),
            Builder::Rebit => self.world.run(args),
        }
    }
}

/// Adds what differs between two outcomes, by its path or its name.
fn compare(case: &Case, theirs: &Outcome, ours: &Outcome, found: &mut Listing) {
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => {
            let nothing = "nothing".to_owned();
            for key in theirs.keys().chain(ours.keys()) {
                let (their, our) = (theirs.get(key).unwrap_or(&nothing), ours.get(key).unwrap_or(&nothing));
                if their != our {
                    found.insert(key.clone(), format!("docker {their} | rebit {our}"));
                }
            }
        }
        (Ok(_), Err(said)) => drop(found.insert("error".to_owned(), format!("rebit refuses: {said}"))),
        (Err(said), Ok(_)) => drop(found.insert("error".to_owned(), format!("docker refuses: {said}"))),
        (Err(their), Err(our)) if case.fails.is_none() => {
            found.insert("both refuse".to_owned(), format!("docker: {their}rebit: {our}"));
        }
        (Err(_), Err(_)) => {}
    }
}

/// The lines that are in only one of what is expected and what there is.
fn unmet(expect: &[String], base: &Listing, ours: &Outcome) -> Vec<String> {
    let ours = match ours {
        Ok(ours) => ours,
        Err(said) => return vec![format!("refused: {said}")],
    };
    let changed = ours.iter().filter(|(key, value)| base.get(*key) != Some(value));
    let mut actual: Vec<String> = changed.map(|(key, value)| format!("{key} {value}")).collect();
    actual.extend(base.keys().filter(|key| !ours.contains_key(*key)).map(|key| format!("-{key}")));
    let missing = expect.iter().filter(|line| !actual.contains(line)).map(|line| format!("expected {line}"));
    let extra = actual.iter().filter(|line| !expect.contains(line)).map(|line| format!("found    {line}"));
    missing.chain(extra).collect()
}

/// Weighs what was found against what the case says of it.
fn decide(case: &Case, found: &Listing, unmet: &[String]) -> Verdict {
    let reason = |key: &str| case.differs.iter().find(|(known, _)| known == key).map(|(_, reason)| reason);
    let mut detail = String::new();
    let mut word = if found.is_empty() { "agree" } else { "differ" };
    if case.only_rebit {
        word = "expected";
    }
    for (key, what) in found {
        let why = reason(key).map(String::as_str);
        if why.is_none() {
            word = "WRONG";
        }
        let _ = writeln!(detail, "         {key} ({}): {what}", why.unwrap_or("unexplained"));
    }
    for (key, _) in case.differs.iter().filter(|(key, _)| !found.contains_key(key)) {
        word = "WRONG";
        let _ = writeln!(detail, "         {key} no longer differs");
    }
    for line in unmet {
        word = "WRONG";
        let _ = writeln!(detail, "         {line}");
    }
    Verdict { word, detail }
}

#[test]
fn every_difference_has_to_be_explained() {
    let listing = |lines: &[(&str, &str)]| -> Listing {
        lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let check = |theirs: &Outcome, ours: &Outcome, known: &[&str], expected: &str| {
        let differs = known.iter().map(|key| ((*key).to_owned(), "known".to_owned())).collect();
        let case = Case { differs, ..Case::default() };
        let mut found = Listing::new();
        compare(&case, theirs, ours, &mut found);
        assert_eq!(decide(&case, &found, &[]).word, expected, "{known:?}: {found:?}");
    };
    let (one, two) = (Ok(listing(&[("/a", "x"), ("/b", "y")])), Ok(listing(&[("/a", "z")])));
    let refused = Err("no".to_owned());
    check(&one, &one, &[], "agree");
    check(&one, &two, &[], "WRONG");
    check(&one, &two, &["/a"], "WRONG");
    check(&one, &two, &["/a", "/b"], "differ");
    check(&one, &one, &["/a"], "WRONG");
    check(&one, &refused, &[], "WRONG");
    check(&refused, &one, &["error"], "differ");
    check(&refused, &refused, &[], "WRONG");

    let expect = ["/a z".to_owned(), "-/b".to_owned()];
    let base = one.clone().unwrap();
    assert!(unmet(&expect, &base, &two).is_empty());
    assert_eq!(unmet(&expect[..1], &base, &two), ["found    -/b"]);
    assert_eq!(unmet(&expect, &base, &one), ["expected /a z", "expected -/b"]);
    assert_eq!(unmet(&expect, &base, &refused).len(), 1);
}
