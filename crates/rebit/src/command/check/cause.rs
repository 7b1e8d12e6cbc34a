//! From a difference to its likely cause and a fix to try: tables, the special before the general.

use rebit_build::graph::Op;
use rebit_image::diff::Cause as Pattern;

use super::difference::Difference;
use super::judge::Verdict;

/// Why a file differs, most likely, and what may help.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cause {
    pub(super) cause: String,
    pub(super) fix: String,
}

/// Files that are known for what they hold: `/a/` is everything below, `*x` what ends so, `…x…` what holds it.
const PLACES: &[(&str, &str, &str)] = &[
    ("/var/log/apt/", "a log with times", "remove it in the same step: `rm -rf /var/log/apt`"),
    ("/var/log/dpkg.log", "a log with times", "remove it in the same step: `rm -f /var/log/dpkg.log`"),
    (
        "/var/log/alternatives.log",
        "a log with times",
        "remove it in the same step: `rm -f /var/log/alternatives.log`",
    ),
    ("/var/log/", "a log with times", "remove it in the same step: `rm -rf /var/log/*`"),
    (
        "/var/lib/apt/lists/",
        "package lists of the moment",
        "remove them in the same step: `rm -rf /var/lib/apt/lists/*`; pin versions, or use a snapshot of the archive",
    ),
    ("/var/cache/apt/", "a cache of the package manager", "remove it in the same step: `apt-get clean`"),
    (
        "/var/cache/debconf/",
        "a cache that keeps the order of events",
        "remove it in the same step: `rm -rf /var/cache/debconf/*-old`",
    ),
    (
        "/var/cache/ldconfig/aux-cache",
        "inode numbers and times of libraries",
        "remove it in the same step: `rm -f /var/cache/ldconfig/aux-cache`",
    ),
    (
        "/var/cache/fontconfig/",
        "times of directories",
        "remove it in the same step: `rm -rf /var/cache/fontconfig`",
    ),
    (
        "/var/lib/dpkg/",
        "the order in which packages were set up",
        "install fewer packages in one step, or remove `*-old` files in it",
    ),
    (
        "/etc/machine-id",
        "an id that is made at random",
        "empty it in the same step: `: > /etc/machine-id`; the machine makes one when it starts",
    ),
    (
        "/var/lib/dbus/machine-id",
        "an id that is made at random",
        "remove it in the same step; the machine makes one when it starts",
    ),
    (
        "/etc/ssh/ssh_host_",
        "keys that are made at random",
        "remove them in the same step, and make them when the container starts",
    ),
    ("/etc/ssl/private/", "a key that is made at random", "make it when the container starts"),
    (
        "/etc/shadow",
        "the salt of a password, or the day of its last change",
        "set the hash, `usermod -p HASH USER`, and the day, `chage -d 0 USER` (newer versions take SOURCE_DATE_EPOCH)",
    ),
    (
        "*.pyc",
        "the time of the source, which a compiled Python module holds",
        "`ENV PYTHONDONTWRITEBYTECODE=1`, or compile with `--invalidation-mode=unchecked-hash`",
    ),
    (
        "/root/.cache/",
        "a cache",
        "remove it in the same step, or keep it out of the image: `RUN --mount=type=cache,target=/root/.cache`",
    ),
    (
        "…/_cacache/…",
        "npm's cache, which holds times",
        "`npm ci --cache /tmp/npm && rm -rf /tmp/npm`, or `RUN --mount=type=cache,target=/root/.npm`",
    ),
    ("…/.npm/…", "npm's cache and logs", "`RUN --mount=type=cache,target=/root/.npm`"),
    ("*/.package-lock.json", "what npm resolved at the moment", "install what a lock file says: `npm ci`"),
    (
        "…/.cache/…",
        "a cache",
        "remove it in the same step, or keep it out of the image with `RUN --mount=type=cache`",
    ),
    (
        "/tmp/",
        "a temporary file that was left",
        "remove it in the same step, or `RUN --mount=type=tmpfs,target=/tmp`",
    ),
    ("/var/tmp/", "a temporary file that was left", "remove it in the same step"),
    ("/run/", "the state of a process", "remove it in the same step"),
    ("*.gz", "the time and name that gzip keeps", "`gzip -n`"),
    (
        "*.tgz",
        "times, owners and order in an archive",
        "`tar --sort=name --mtime=@$SOURCE_DATE_EPOCH --owner=0 --group=0 -cf - … | gzip -n`",
    ),
    (
        "*.tar",
        "times, owners and order in an archive",
        "`tar --sort=name --mtime=@$SOURCE_DATE_EPOCH --owner=0 --group=0`",
    ),
    ("*.a", "times of members", "`ar D` (deterministic)"),
    ("*.zip", "times of members", "`zip -X`, after `touch -d @$SOURCE_DATE_EPOCH` of what goes in"),
    ("*.jar", "times of members", "a build tool's option for reproducible archives, or `jar --date`"),
];

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What the bytes look like.
    Looks(Pattern),
    /// Names that only one build has.
    Name,
    /// Numbers that count processors.
    Count,
    /// Any.
    Any,
}

/// Words of commands, what kind of difference they make, and why.
const COMMANDS: &[(&str, Kind, &str, &str)] = &[
    (
        "uuidgen",
        Kind::Looks(Pattern::Random),
        "`uuidgen` in the command",
        "a fixed name: `uuidgen --sha1 --namespace @dns --name NAME`",
    ),
    ("$RANDOM", Kind::Looks(Pattern::Random), "`$RANDOM` in the command", "a fixed value"),
    (
        "/dev/urandom",
        Kind::Looks(Pattern::Random),
        "random bytes of the kernel",
        "a fixed value, or make it when the container starts",
    ),
    (
        "/dev/random",
        Kind::Looks(Pattern::Random),
        "random bytes of the kernel",
        "a fixed value, or make it when the container starts",
    ),
    (
        "/proc/sys/kernel/random",
        Kind::Looks(Pattern::Random),
        "a random id of the kernel",
        "a fixed value, or make it when the container starts",
    ),
    (
        "openssl rand",
        Kind::Looks(Pattern::Random),
        "`openssl rand` in the command",
        "a fixed value, or make it when the container starts",
    ),
    (
        "ssh-keygen",
        Kind::Looks(Pattern::Random),
        "a key that is made at random",
        "make it when the container starts",
    ),
    ("mktemp", Kind::Name, "`mktemp` in the command", "a fixed name"),
    (
        "shuf",
        Kind::Looks(Pattern::Order),
        "`shuf` in the command",
        "`shuf --random-source=FILE`, or a fixed order",
    ),
    (
        "find",
        Kind::Looks(Pattern::Order),
        "`find` lists in the order of the directory",
        "`find … | LC_ALL=C sort`",
    ),
    (
        "ls -U",
        Kind::Looks(Pattern::Order),
        "`ls -U` lists in the order of the directory",
        "`ls` without `-U`",
    ),
    (
        "ls -f",
        Kind::Looks(Pattern::Order),
        "`ls -f` lists in the order of the directory",
        "`ls` without `-f`",
    ),
    (
        "xargs -P",
        Kind::Looks(Pattern::Order),
        "processes at the same time",
        "`xargs` without `-P`, or sort what they write",
    ),
    (
        "make -j",
        Kind::Looks(Pattern::Order),
        "processes at the same time",
        "`make` without `-j`, to see whether it is this",
    ),
    ("nproc", Kind::Count, "the number of processors", "a number instead of what `nproc` says"),
    ("/proc/cpuinfo", Kind::Count, "the processors", "a fixed value"),
    ("$$", Kind::Count, "the number of a process", "a fixed name"),
    ("date", Kind::Looks(Pattern::Time), "`date` in the command", "`date -u -d @$SOURCE_DATE_EPOCH`"),
    ("gzip", Kind::Looks(Pattern::Time), "the time that gzip keeps", "`gzip -n`"),
    (
        "tar",
        Kind::Looks(Pattern::Time),
        "times in an archive",
        "`tar --sort=name --mtime=@$SOURCE_DATE_EPOCH --owner=0 --group=0`",
    ),
    (
        "zip",
        Kind::Looks(Pattern::Time),
        "times in an archive",
        "`zip -X`, after `touch -d @$SOURCE_DATE_EPOCH` of what goes in",
    ),
    ("ar", Kind::Looks(Pattern::Time), "times of members", "`ar D` (deterministic)"),
    (
        "go build",
        Kind::Any,
        "paths and ids that Go writes into programs",
        "`go build -trimpath -ldflags=-buildid=`",
    ),
    (
        "curl",
        Kind::Any,
        "what the network gave",
        "`ADD --checksum=sha256:… URL`, or compare its digest in the command",
    ),
    (
        "wget",
        Kind::Any,
        "what the network gave",
        "`ADD --checksum=sha256:… URL`, or compare its digest in the command",
    ),
    (
        "git clone",
        Kind::Any,
        "what the repository was at the moment, and `.git` with times",
        "check out a commit by its id, and remove `.git`",
    ),
    (
        "apt-get update",
        Kind::Any,
        "the packages of the moment",
        "pin versions, or use a snapshot of the archive",
    ),
    (
        "pip install",
        Kind::Any,
        "the packages of the moment, and compiled modules with times",
        "`pip install --no-compile --require-hashes -r requirements.txt`",
    ),
    ("npm install", Kind::Any, "the packages of the moment", "`npm ci`"),
];

/// What to say when only the look of the difference is known.
fn general(kind: Kind) -> Cause {
    let (cause, fix) = match kind {
        Kind::Looks(Pattern::Time) => {
            ("a time stamp", "take the time from SOURCE_DATE_EPOCH, which every step has")
        }
        Kind::Looks(Pattern::Order) => {
            ("the same things in another order", "sort them: `LC_ALL=C sort`; let one thread write")
        }
        Kind::Looks(Pattern::Random) => (
            "a random value, or a digest of something that differs",
            "a fixed value or seed, or make it when the container starts",
        ),
        Kind::Looks(Pattern::Path) => ("a path that differs from run to run", "a fixed path"),
        Kind::Looks(Pattern::Process) => ("the number of a process", "a fixed name"),
        Kind::Looks(Pattern::Locale) => ("the language or the form of numbers", "`ENV LC_ALL=C.UTF-8`"),
        Kind::Looks(Pattern::Host) => ("the name of a user or a machine", "a fixed name"),
        Kind::Looks(Pattern::Compression) => (
            "the same content, compressed in another way",
            "one thread, and a fixed version of the program that compresses",
        ),
        Kind::Looks(Pattern::BuildId) => (
            "the id that a linker computes of a program: something else in it differs",
            "look at what else differs; `-Wl,--build-id=none` leaves it out",
        ),
        Kind::Looks(Pattern::Owner) => (
            "something else than the content: owner, mode, attributes or kind",
            "set it in the command: `install -m`, `chown`",
        ),
        Kind::Name => ("a name that is made anew each time", "a fixed name, or remove it in the same step"),
        Kind::Count => (
            "the number of processors",
            "a fixed number of threads, e.g. `make -j4` rather than `make -j$(nproc)`",
        ),
        Kind::Any => ("no known pattern", "run the step's commands one by one, and check after each"),
    };
    named(cause, fix)
}

/// The likely cause of a difference in what the step `op` left.
pub(super) fn of(difference: &Difference, op: &Op, verdict: &Verdict) -> Cause {
    match verdict {
        Verdict::Moved => {
            return named(
                "an input was changed while the check ran",
                "check again while nothing changes the context",
            );
        }
        Verdict::Own => {
            return named("rebit itself: this is a mistake in it", "report it with the Dockerfile");
        }
        _ => {}
    }
    let kinds = kinds(difference, *verdict);
    let place = PLACES.iter().find(|(pattern, _, _)| matches(pattern, &difference.path));
    let command = command_of(op);
    let of_kind = |wanted: &Kind| {
        COMMANDS
            .iter()
            .find(|(word, kind, _, _)| (kind == wanted || *wanted == Kind::Any) && holds_word(&command, word))
    };
    let word = kinds.iter().find_map(of_kind);
    // That a file lies in /tmp says less than what the command does.
    match (place, word) {
        (Some((pattern, ..)), Some((_, _, cause, fix))) if *pattern == "/tmp/" => named(cause, fix),
        (Some((_, cause, fix)), _) | (None, Some((_, _, cause, fix))) => named(cause, fix),
        (None, None) if *verdict == Verdict::Directories => named(
            "the order of a directory, or another property of the file system",
            "sort what is read from a directory: `LC_ALL=C sort`",
        ),
        (None, None) => general(kinds.first().copied().unwrap_or(Kind::Any)),
    }
}

/// What kinds of difference this may be, the likeliest first.
fn kinds(difference: &Difference, verdict: Verdict) -> Vec<Kind> {
    match (verdict, &difference.contents) {
        (Verdict::Processors, _) => vec![Kind::Count],
        (Verdict::Directories, _) => vec![Kind::Looks(Pattern::Order)],
        (_, Some(contents)) => match contents.causes() {
            causes if causes.is_empty() => vec![Kind::Any],
            causes => causes.into_iter().map(Kind::Looks).collect(),
        },
        _ if difference.one_sided => {
            vec![Kind::Name, Kind::Looks(Pattern::Random), Kind::Looks(Pattern::Time)]
        }
        // Only owner, mode, attributes or the target of a link differ.
        _ if !difference.what.starts_with("content") => vec![Kind::Looks(Pattern::Owner)],
        _ => vec![Kind::Any],
    }
}

fn named(cause: &str, fix: &str) -> Cause {
    Cause { cause: cause.to_owned(), fix: fix.to_owned() }
}

fn command_of(op: &Op) -> String {
    match op {
        Op::Run(run) => {
            let script = run.script.as_ref().map_or("", |script| script.content.as_str());
            format!("{}\n{script}", run.args.join(" "))
        }
        _ => String::new(),
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    if let Some(end) = pattern.strip_prefix('*') {
        path.ends_with(end)
    } else if let Some(inner) = pattern.strip_prefix('…').and_then(|rest| rest.strip_suffix('…')) {
        path.contains(inner)
    } else if pattern.ends_with('/') || pattern.ends_with('_') {
        path.starts_with(pattern)
    } else {
        path == pattern
    }
}

/// Whether `word` stands in `command` by itself: not as a part of another name.
fn holds_word(command: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    command.match_indices(word).any(|(at, _)| {
        let before = command.get(..at).and_then(|before| before.chars().next_back());
        let after = command.get(at + word.len()..).and_then(|after| after.chars().next());
        let free = |c: Option<char>, edge: Option<char>| {
            !edge.is_some_and(part_of_name) || !c.is_some_and(part_of_name)
        };
        // A switch may have its number right behind it: make -j8.
        let numbered = word.contains(" -") && after.is_some_and(|c| c.is_ascii_digit() || c == '$');
        free(before, word.chars().next()) && (numbered || free(after, word.chars().next_back()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_match() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        };
        check("/var/log/apt/", "/var/log/apt/history.log", true);
        check("/var/log/apt/", "/srv/var/log/apt/x", false);
        check("/etc/shadow", "/etc/shadow", true);
        check("/etc/shadow", "/etc/shadow-", false);
        check("/etc/ssh/ssh_host_", "/etc/ssh/ssh_host_rsa_key", true);
        check("*.pyc", "/usr/lib/x/__pycache__/a.pyc", true);
        check("…/_cacache/…", "/root/.npm/_cacache/index/x", true);
    }

    #[test]
    fn words_stand_by_themselves() {
        let check = |command: &str, word: &str, expected: bool| {
            assert_eq!(holds_word(command, word), expected, "{command} {word}");
        };
        check("/bin/sh -c date > /x", "date", true);
        check("/bin/sh -c echo $(date)", "date", true);
        check("/bin/sh -c apt-get update", "date", false);
        check("/bin/sh -c up-date", "date", false);
        check("head -c 8 /dev/urandom > /y", "/dev/urandom", true);
        check("make -j8", "make -j", true);
        check("make -jobs", "make -j", false);
        check("tar x", "ar", false);
    }

    #[test]
    fn patterns_are_of_a_known_form() {
        for (pattern, cause, fix) in PLACES {
            assert!(pattern.starts_with(['/', '*', '…']), "{pattern}");
            assert!(!cause.is_empty() && !fix.is_empty(), "{pattern}");
        }
    }
}
