//! The table of build checks: one entry for each rule.

use std::fmt;

use crate::diagnostic::Severity;

/// Who defined a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The Dockerfile reference: name, condition and meaning are those of its build checks.
    Reference,
    /// This project: the text alone says that the build will not give the same bits again.
    Rebit,
}

macro_rules! rules {
    ($($variant:ident = $name:literal, $severity:ident, $origin:ident, $experimental:literal, $description:literal;)*) => {
        /// A build check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $description] $variant,)*
        }

        impl Rule {
            /// Every rule, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, as used in `# check=skip=`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The severity of a finding unless `error=true` makes it an error.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// Who defined it.
            pub fn origin(self) -> Origin {
                match self { $(Self::$variant => Origin::$origin,)* }
            }

            /// Whether it is off until `experimental=` names it.
            pub fn is_experimental(self) -> bool {
                match self { $(Self::$variant => $experimental,)* }
            }

            /// What the rule asks for, in one sentence without a final period.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)* }
            }
        }
    };
}

rules! {
    StageNameCasing = "StageNameCasing", Warning, Reference, false, "Stage names are lower case";
    FromAsCasing = "FromAsCasing", Warning, Reference, false, "`AS` has the case of its `FROM`";
    NoEmptyContinuation = "NoEmptyContinuation", Warning, Reference, false, "A continued line has no empty line in it";
    ConsistentInstructionCasing = "ConsistentInstructionCasing", Warning, Reference, false, "All instruction names of a file have one case";
    DuplicateStageName = "DuplicateStageName", Warning, Reference, false, "A stage name is given once";
    ReservedStageName = "ReservedStageName", Warning, Reference, false, "A stage is not named `scratch` or `context`";
    JsonArgsRecommended = "JSONArgsRecommended", Warning, Reference, false, "`CMD` and `ENTRYPOINT` are JSON arrays, so that signals reach the program";
    MaintainerDeprecated = "MaintainerDeprecated", Warning, Reference, false, "A label names the author, not `MAINTAINER`";
    UndefinedArgInFrom = "UndefinedArgInFrom", Warning, Reference, false, "`FROM` uses declared arguments only";
    WorkdirRelativePath = "WorkdirRelativePath", Warning, Reference, false, "The first `WORKDIR` is absolute";
    UndefinedVar = "UndefinedVar", Warning, Reference, false, "A variable is defined before it is used";
    MultipleInstructionsDisallowed = "MultipleInstructionsDisallowed", Warning, Reference, false, "A stage has one `CMD`, `ENTRYPOINT` and `HEALTHCHECK` each";
    LegacyKeyValueFormat = "LegacyKeyValueFormat", Warning, Reference, false, "`ENV` and `LABEL` are written with `=`";
    RedundantTargetPlatform = "RedundantTargetPlatform", Warning, Reference, false, "`FROM` does not repeat the default `--platform`";
    SecretsUsedInArgOrEnv = "SecretsUsedInArgOrEnv", Warning, Reference, false, "Secrets are not in `ARG` or `ENV`";
    InvalidDefaultArgInFrom = "InvalidDefaultArgInFrom", Warning, Reference, false, "The defaults of global arguments give a valid base image";
    FromPlatformFlagConstDisallowed = "FromPlatformFlagConstDisallowed", Warning, Reference, false, "`FROM --platform` is no constant";
    CopyIgnoredFile = "CopyIgnoredFile", Warning, Reference, true, "What is copied is not left out by the ignore file";
    InvalidDefinitionDescription = "InvalidDefinitionDescription", Warning, Reference, true, "A comment before a stage or an argument begins with its name";
    ExposeProtoCasing = "ExposeProtoCasing", Warning, Reference, false, "The protocol of a port is lower case";
    ExposeInvalidFormat = "ExposeInvalidFormat", Warning, Reference, false, "A port has no address and no host port";
    RebitAddWithoutChecksum = "RebitAddWithoutChecksum", Warning, Rebit, false, "What is downloaded has a known checksum";
    RebitAptUpdateAlone = "RebitAptUpdateAlone", Warning, Rebit, false, "Package lists are read where packages are installed";
    RebitClockInRun = "RebitClockInRun", Warning, Rebit, false, "A step does not write the time of the build";
    RebitPipedScript = "RebitPipedScript", Warning, Rebit, false, "A downloaded script is checked before it runs";
}

impl Rule {
    /// The rule of a name, compared without case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name().eq_ignore_ascii_case(name))
    }

    /// The page that explains it, below the project's root.
    pub fn page(self) -> String {
        format!("docs/checks/{}.md", self.name())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_whose_they_are() {
        for (at, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!(Rule::named(&rule.name().to_lowercase()), Some(*rule));
            assert_eq!(rule.name().starts_with("Rebit"), rule.origin() == Origin::Rebit, "{rule}");
            assert!(rule.name().chars().all(|c| c.is_ascii_alphanumeric()), "{rule}");
            assert!(!rule.description().ends_with('.'), "{rule}");
            assert!(Rule::ALL[..at].iter().all(|other| other.name() != rule.name()), "{rule}");
        }
        assert_eq!(Rule::named("Nothing"), None);
    }
}
