//! `FROM`: its arguments and its platform.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use regex::Regex;

use super::scope::PLATFORM_ARGS;
use super::{Linter, Rule, suggestion};
use crate::instruction::Stage;
use crate::span::Spanned;

impl Linter<'_> {
    pub(super) fn from(&mut self, stage: &Stage) {
        let from = &stage.from.value;
        for word in from.expanded_words() {
            self.undefined_args(word);
        }
        self.default_image(stage);
        if let Some(platform) = &from.platform {
            self.platform(stage, platform);
        }
    }

    /// Arguments that no `ARG` before the first `FROM` declares.
    fn undefined_args(&mut self, word: &Spanned<String>) {
        let escape = self.file.directives.escape_char();
        let Ok(expanded) = self.global.expand(escape, &word.value) else { return };
        if expanded.expansion.undefined.is_empty() || self.found.is_full() {
            return;
        }
        let declared: BTreeSet<&str> = self
            .file
            .global_args
            .iter()
            .flat_map(|node| &node.value.args)
            .map(|arg| arg.name.value.as_str())
            .chain(PLATFORM_ARGS.iter().map(|(name, _)| *name))
            .collect();
        for name in expanded.expansion.undefined.iter().filter(|name| !declared.contains(name.as_str())) {
            let span = self.variable_span(word.span, name);
            let message = format!("`{name}` is not declared before the first FROM");
            let help = match suggestion(name, &declared) {
                Some(close) => format!("did you mean `${close}`?"),
                None => format!("put `ARG {name}=…` before the first FROM"),
            };
            self.report(Rule::UndefinedArgInFrom, span, message, help);
        }
    }

    /// The name of the base image when no build argument is given.
    fn default_image(&mut self, stage: &Stage) {
        let escape = self.file.directives.escape_char();
        let image = &stage.from.value.image;
        if !image.value.contains('$') {
            return;
        }
        let Ok(expanded) = self.defaults.expand(escape, &image.value) else { return };
        let name = expanded.expansion.text;
        if expanded.is_exact && !is_image_name(&name) {
            let message = match name.as_str() {
                "" => "without build arguments the base image has no name".to_owned(),
                name => format!("without build arguments the base image is `{name}`, which is no valid name"),
            };
            let help = "give the ARG before the first FROM a default that makes a whole name";
            self.report(Rule::InvalidDefaultArgInFrom, image.span, message, help);
        }
    }

    fn platform(&mut self, stage: &Stage, platform: &Spanned<String>) {
        let escape = self.file.directives.escape_char();
        let Ok(expanded) = self.global.expand(escape, &platform.value) else { return };
        let expansion = expanded.expansion;
        if expansion.undefined.is_empty()
            && expansion.used.iter().eq(["TARGETPLATFORM"])
            && self.global.value("TARGETPLATFORM") == Some(expansion.text.as_str())
        {
            let message = "the target platform is the default";
            self.report(Rule::RedundantTargetPlatform, platform.span, message, "remove the flag");
        }
        if !expansion.used.is_empty() || !expansion.undefined.is_empty() {
            return;
        }
        let mut parts = expansion.text.split('/');
        let (Some(os), arch) = (parts.next(), parts.next()) else { return };
        let name = stage.name.as_deref().unwrap_or_default();
        // A stage that is named after its platform is meant for it.
        let meant = [Some(os), arch].into_iter().flatten().any(|part| name.contains(part));
        if is_platform(&expansion.text) && !meant {
            let message = format!("`{}` is a constant: the image is not for the target", platform.value);
            let help =
                "use `$BUILDPLATFORM`, `$TARGETPLATFORM` or an ARG, or name the stage after the platform";
            self.report(Rule::FromPlatformFlagConstDisallowed, platform.span, message, help);
        }
    }
}

fn is_platform(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    text.split('/').count() <= 4 && text.split('/').all(part)
}

/// Whether a text can be the name of an image or a stage: `[domain[:port]/]path[:tag][@digest]`.
fn is_image_name(text: &str) -> bool {
    static NAME: OnceLock<Option<Regex>> = OnceLock::new();
    let name = NAME.get_or_init(|| {
        let part = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
        let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
        let domain = format!("(?:{label}(?:\\.{label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?/");
        let tag = "(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?";
        let digest = "(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,})?";
        Regex::new(&format!("^(?:{domain})?{part}(?:/{part})*{tag}{digest}$")).ok()
    });
    text.len() <= 4096 && name.as_ref().is_none_or(|name| name.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::is_image_name;

    #[test]
    fn image_names() {
        let long = format!("a@sha256:{}", "0".repeat(64));
        for name in
            ["a", "a/b:c", "h:5000/a", "H.example/a", "a__b", "a-1.2", "a:V_1", long.as_str(), "scratch"]
        {
            assert!(is_image_name(name), "{name}");
        }
        for name in ["", ":", "a:", "A", "a//b", "a:b:c", "a@sha256:", ":tag", "-a", "a b"] {
            assert!(!is_image_name(name), "{name}");
        }
    }
}
