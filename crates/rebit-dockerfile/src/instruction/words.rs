//! Which words of an instruction are expanded.

use super::{Files, From, Instruction, KeyValue, Source};
use crate::span::Spanned;

impl Instruction {
    /// The words in which the builder expands variables, in the order of the struct's fields.
    ///
    /// Heredoc bodies and the fields of `RUN --mount` are not words and not listed; nor is the trigger of `ONBUILD`, which is expanded
    /// where it fires. See [`crate::expand`].
    pub fn expanded_words(&self) -> Vec<&Spanned<String>> {
        match self {
            Self::Add(add) => files(&add.files).into_iter().chain(&add.checksum).collect(),
            Self::Arg(arg) => arg.args.iter().filter_map(|arg| arg.default.as_ref()).collect(),
            Self::Copy(copy) => files(&copy.files),
            Self::Env(env) => pairs(&env.pairs),
            Self::Expose(expose) => expose.ports.iter().collect(),
            Self::Label(label) => pairs(&label.pairs),
            Self::StopSignal(stop) => vec![&stop.signal],
            Self::User(user) => vec![&user.user],
            Self::Volume(volume) => volume.paths.iter().collect(),
            Self::Workdir(workdir) => vec![&workdir.path],
            Self::Cmd(_)
            | Self::Entrypoint(_)
            | Self::Healthcheck(_)
            | Self::Maintainer(_)
            | Self::OnBuild(_)
            | Self::Run(_)
            | Self::Shell(_) => Vec::new(),
        }
    }
}

impl From {
    /// The words in which the builder expands variables: image and platform, with the global `ARG`s.
    pub fn expanded_words(&self) -> Vec<&Spanned<String>> {
        std::iter::once(&self.image).chain(&self.platform).collect()
    }
}

fn pairs(pairs: &[KeyValue]) -> Vec<&Spanned<String>> {
    pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).collect()
}

fn files(files: &Files) -> Vec<&Spanned<String>> {
    let sources = files.sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(path),
        Source::Heredoc(_) => None,
    });
    let flags = files.chown.iter().chain(&files.chmod);
    sources.chain(std::iter::once(&files.dest)).chain(flags).collect()
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn words_by_instruction() {
        let check = |line: &str, expected: &[&str]| {
            let parsed = parse(&format!("FROM a\n{line}"));
            let words = parsed.file.stages[0].instructions[0].value.expanded_words();
            assert_eq!(words.iter().map(|w| w.as_str()).collect::<Vec<_>>(), expected, "{line}");
        };
        check(
            "ADD --checksum=$c --chown=$o --chmod=$m --exclude=$e $s <<E $d\nE",
            &["$s", "$d", "$o", "$m", "$c"],
        );
        check("COPY --from=b --chown=$o $s $d", &["$s", "$d", "$o"]);
        check("ARG a b=$c", &["$c"]);
        check("ENV a=$b", &["a", "$b"]);
        check("LABEL a=$b", &["a", "$b"]);
        check("EXPOSE $p 80", &["$p", "80"]);
        check("STOPSIGNAL $s", &["$s"]);
        check("USER $u", &["$u"]);
        check("VOLUME $v /w", &["$v", "/w"]);
        check("WORKDIR $w", &["$w"]);
        for line in [
            "CMD [\"$a\"]",
            "ENTRYPOINT [\"$a\"]",
            "RUN $a",
            "SHELL [\"$a\"]",
            "HEALTHCHECK CMD $a",
            "MAINTAINER $a",
            "ONBUILD USER $a",
        ] {
            check(line, &[]);
        }
    }

    #[test]
    fn words_of_from() {
        let parsed = parse("FROM --platform=$p a:$v AS b");
        let words = parsed.file.stages[0].from.value.expanded_words();
        assert_eq!(words.iter().map(|w| w.as_str()).collect::<Vec<_>>(), ["a:$v", "$p"]);
    }
}
