//! Ready recipes, to be printed and put into a `rebit.toml`.

use rebit_oci::Reference;

/// The suites that there are ready recipes for.
pub const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// A kind of image: what it is called and for, its packages besides those that all have, and what it runs.
struct Kind {
    name: &'static str,
    purpose: &'static str,
    packages: &'static [&'static [&'static str]],
    entrypoint: &'static [&'static str],
    links: &'static [(&'static str, &'static str)],
}

/// What every image has.
const COMMON: &[&str] = &["base-files", "ca-certificates", "netbase", "tzdata"];
const CXX: &[&str] = &["libgcc-s1", "libgomp1", "libstdc++6"];
/// The packages of Java lead to the machine under a name that has no architecture.
const JAVA_LINK: (&str, &str) = ("/usr/bin/java", "/usr/lib/jvm/default-java/bin/java");

const fn plain(
    name: &'static str,
    purpose: &'static str,
    packages: &'static [&'static [&'static str]],
) -> Kind {
    Kind { name, purpose, packages, entrypoint: &[], links: &[] }
}

/// The kinds of images of a suite.
fn kinds(suite: &str) -> Option<[Kind; 6]> {
    let is_trixie = suite == "trixie";
    let (base, cc, python, java, node) = match suite {
        "bookworm" => (bookworm::BASE, bookworm::CC, bookworm::PYTHON, bookworm::JAVA, bookworm::NODE),
        "trixie" => (trixie::BASE, trixie::CC, trixie::PYTHON, trixie::JAVA, trixie::NODE),
        _ => return None,
    };
    let either = |trixie: &'static str, other| if is_trixie { trixie } else { other };
    Some([
        plain("static", "for programs that need no library", &[]),
        plain("base", "for programs that need the C library and TLS", base),
        plain("cc", "for programs that need the C++ library too", cc),
        Kind {
            entrypoint: &["/usr/bin/python3"],
            ..plain("python3", either("for Python 3.13", "for Python 3.11"), python)
        },
        Kind {
            entrypoint: &["/usr/bin/java", "-jar"],
            links: &[JAVA_LINK],
            ..plain(either("java21", "java17"), either("for Java 21", "for Java 17"), java)
        },
        Kind {
            entrypoint: &["/usr/bin/node"],
            ..plain(either("nodejs20", "nodejs18"), either("for Node.js 20", "for Node.js 18"), node)
        },
    ])
}

/// A ready recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The image's name: `distroless/NAME` with `nonroot`, `debug` or both as tag, `debian:SUITE`, or `busybox:latest`.
    pub name: String,
    /// What it is for.
    pub purpose: &'static str,
    /// The text of a `rebit.toml` with it.
    pub text: String,
}

/// Every ready recipe of a suite; `None` where there is none.
#[must_use]
pub fn all(suite: &str) -> Option<Vec<Template>> {
    let mut all = Vec::new();
    for kind in kinds(suite)? {
        for (tag, user, debug) in [
            ("latest", "root", false),
            ("nonroot", "nonroot", false),
            ("debug", "root", true),
            ("debug-nonroot", "nonroot", true),
        ] {
            let name = format!("distroless/{}:{tag}", kind.name);
            let mut list: Vec<&str> = [COMMON, &kind.packages.concat()].concat();
            list.extend(debug.then_some("busybox-static"));
            list.sort_unstable();
            list.dedup();
            let text = text(&name, suite, &kind, &list, user, debug);
            all.push(Template { text, name, purpose: kind.purpose });
        }
    }
    all.push(busybox(suite));
    all.push(minbase(suite));
    Some(all)
}

fn busybox(suite: &str) -> Template {
    let text = format!(
        "[image.\"busybox:latest\".debian]\nsuite = \"{suite}\"\nvariant = \"distroless\"\npackages = [\"busybox-static\"]\n\
         command = [\"sh\"]\nfiles.\"/bin/sh\" = {{ link = \"busybox\" }}\n"
    );
    Template { name: "busybox:latest".to_owned(), purpose: "a shell and small tools, one program", text }
}

fn minbase(suite: &str) -> Template {
    let name = format!("debian:{suite}");
    let text = format!(
        "[image.\"{name}\".debian]\nsuite = \"{suite}\"\nvariant = \"minbase\"\npackages = [\"ca-certificates\"]\n"
    );
    Template { name, purpose: "a system with apt, to build in", text }
}

/// The ready recipe for an image that a registry has under this name, and of which suite it is; `suite` where the name does not say.
///
/// `gcr.io/distroless/static-debian13:nonroot` is `distroless/static:nonroot` of trixie, `debian:12-slim` is `debian:bookworm`; the recipe is
/// for the name as it is given.
#[must_use]
pub fn find(name: &Reference, suite: &str) -> Option<(Template, &'static str)> {
    let mut parts = name.repository().rsplit('/');
    let (last, above) = (parts.next()?, parts.next());
    let tag = name.tag()?;
    let (known, said) = match (above, last) {
        (Some("distroless"), last) => match last.rsplit_once("-debian") {
            Some((kind, release)) => (format!("distroless/{kind}:{tag}"), Some(release_suite(release)?)),
            None => (format!("{}:{tag}", name.repository()), None),
        },
        (_, "busybox") => ("busybox:latest".to_owned(), None),
        (_, "debian") => match tag.strip_suffix("-slim").unwrap_or(tag) {
            "latest" | "stable" => (format!("debian:{suite}"), None),
            release => (format!("debian:{}", release_suite(release)?), Some(release_suite(release)?)),
        },
        _ => return None,
    };
    let suite = SUITES.into_iter().find(|known| *known == said.unwrap_or(suite))?;
    let found = all(suite)?.into_iter().find(|template| template.name == known)?;
    let text = found.text.replacen(&format!("{:?}", found.name), &format!("{:?}", name.familiar()), 1);
    Some((Template { name: name.familiar(), text, ..found }, suite))
}

/// The suite of a release of Debian, by its name or number.
fn release_suite(release: &str) -> Option<&'static str> {
    let numbers = ["12", "13"];
    SUITES
        .into_iter()
        .zip(numbers)
        .find(|(suite, number)| release == *suite || release == *number)
        .map(|(suite, _)| suite)
}

fn text(image: &str, suite: &str, kind: &Kind, packages: &[&str], user: &str, debug: bool) -> String {
    let mut text = format!("[image.{image:?}.debian]\nsuite = \"{suite}\"\nvariant = \"distroless\"\n");
    text.push_str("packages = [\n");
    packages.iter().for_each(|name| text.push_str(&format!("    \"{name}\",\n")));
    text.push_str(&format!("]\nuser = \"{user}\"\n"));
    text.push_str(&format!(
        "working-directory = \"{}\"\n",
        if user == "root" { "/" } else { "/home/nonroot" }
    ));
    let mut links: Vec<(String, &str)> = kind.links.iter().map(|(a, b)| ((*a).into(), *b)).collect();
    if debug {
        let applets = [
            "cat", "cp", "env", "find", "grep", "head", "id", "ls", "ps", "sed", "sh", "stat", "tail", "vi",
            "wget",
        ];
        links.extend(applets.iter().map(|name| (format!("/busybox/{name}"), "/bin/busybox")));
        text.push_str(
            "environment.PATH = \"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/busybox\"\n",
        );
    }
    match kind.entrypoint {
        [] if debug => text.push_str("entrypoint = [\"/busybox/sh\"]\n"),
        [] => {}
        words => text.push_str(&format!("entrypoint = {words:?}\n")),
    }
    for (path, target) in links {
        text.push_str(&format!("files.{path:?} = {{ link = {target:?} }}\n"));
    }
    text
}

/// What is in Debian 12.
mod bookworm {
    use super::CXX;

    pub(super) const BASE: &[&[&str]] = &[&["libc6", "libssl3"]];
    pub(super) const CC: &[&[&str]] = &[&["libc6", "libssl3"], CXX];
    pub(super) const PYTHON: &[&[&str]] = &[&[
        "libbz2-1.0",
        "libc6",
        "libcom-err2",
        "libcrypt1",
        "libdb5.3",
        "libexpat1",
        "libffi8",
        "libgcc-s1",
        "libgssapi-krb5-2",
        "libk5crypto3",
        "libkeyutils1",
        "libkrb5-3",
        "libkrb5support0",
        "liblzma5",
        "libncursesw6",
        "libnsl2",
        "libpython3-stdlib",
        "libpython3.11-minimal",
        "libpython3.11-stdlib",
        "libreadline8",
        "libsqlite3-0",
        "libssl3",
        "libstdc++6",
        "libtinfo6",
        "libtirpc3",
        "libuuid1",
        "python3-minimal",
        "python3.11-minimal",
        "zlib1g",
    ]];
    pub(super) const JAVA: &[&[&str]] = &[&[
        "default-jre-headless",
        "fontconfig-config",
        "fonts-dejavu-core",
        "libbrotli1",
        "libc6",
        "libexpat1",
        "libfontconfig1",
        "libfreetype6",
        "libgcc-s1",
        "libglib2.0-0",
        "libgraphite2-3",
        "libharfbuzz0b",
        "libjpeg62-turbo",
        "liblcms2-2",
        "libpcre2-8-0",
        "libpng16-16",
        "libssl3",
        "libstdc++6",
        "libuuid1",
        "openjdk-17-jre-headless",
        "zlib1g",
    ]];
    pub(super) const NODE: &[&[&str]] = &[&[
        "libbrotli1",
        "libc-ares2",
        "libc6",
        "libgcc-s1",
        "libicu72",
        "libnghttp2-14",
        "libnode108",
        "libssl3",
        "libstdc++6",
        "libuv1",
        "node-acorn",
        "node-busboy",
        "node-cjs-module-lexer",
        "node-undici",
        "node-xtend",
        "nodejs",
        "zlib1g",
    ]];
}

/// What is in Debian 13.
mod trixie {
    use super::CXX;

    pub(super) const BASE: &[&[&str]] = &[&["libc6", "libssl3t64", "libzstd1", "zlib1g"]];
    pub(super) const CC: &[&[&str]] = &[&["libc6", "libssl3t64", "libzstd1", "zlib1g"], CXX];
    pub(super) const PYTHON: &[&[&str]] = &[&[
        "libbz2-1.0",
        "libc6",
        "libdb5.3t64",
        "libexpat1",
        "libffi8",
        "libgcc-s1",
        "liblzma5",
        "libncursesw6",
        "libpython3-stdlib",
        "libpython3.13-minimal",
        "libpython3.13-stdlib",
        "libreadline8t64",
        "libsqlite3-0",
        "libssl3t64",
        "libstdc++6",
        "libtinfo6",
        "libuuid1",
        "libzstd1",
        "media-types",
        "python3-minimal",
        "python3.13-minimal",
        "zlib1g",
    ]];
    pub(super) const JAVA: &[&[&str]] = &[&[
        "default-jre-headless",
        "fontconfig-config",
        "fonts-dejavu-core",
        "libbrotli1",
        "libbz2-1.0",
        "libc6",
        "libexpat1",
        "libfontconfig1",
        "libfreetype6",
        "libgcc-s1",
        "libglib2.0-0t64",
        "libgraphite2-3",
        "libharfbuzz0b",
        "libjpeg62-turbo",
        "liblcms2-2",
        "libpcre2-8-0",
        "libpng16-16t64",
        "libssl3t64",
        "libstdc++6",
        "libuuid1",
        "libzstd1",
        "openjdk-21-jre-headless",
        "zlib1g",
    ]];
    pub(super) const NODE: &[&[&str]] = &[&[
        "libbrotli1",
        "libc6",
        "libcares2",
        "libgcc-s1",
        "libicu76",
        "libnghttp2-14",
        "libnode115",
        "libssl3t64",
        "libstdc++6",
        "libuv1t64",
        "libzstd1",
        "node-acorn",
        "node-balanced-match",
        "node-brace-expansion",
        "node-cjs-module-lexer",
        "node-minimatch",
        "node-undici",
        "node-xtend",
        "nodejs",
        "zlib1g",
    ]];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipes;

    #[test]
    fn every_recipe_is_valid() {
        for suite in SUITES {
            let all = all(suite).unwrap();
            assert_eq!(all.len(), 26);
            for template in &all {
                let recipes = Recipes::parse(&template.text, &template.name).unwrap();
                let (name, recipe) = recipes.iter().next().unwrap();
                assert_eq!(name.familiar(), template.name);
                assert_eq!(
                    (recipe.dependencies(), recipe.suites()),
                    (name.repository() == "library/debian", vec![suite.to_owned()])
                );
            }
            // All of them together are a file too.
            let text: String = all.iter().map(|template| format!("{}\n", template.text)).collect();
            assert_eq!(Recipes::parse(&text, "f").unwrap().iter().count(), 26);
        }
        assert!(all("buster").is_none());
    }

    // D-43
    #[test]
    fn a_recipe_is_found_by_the_name_that_registries_have_for_it() {
        let check = |name: &str, expected: Option<(&str, &str)>| {
            let name: Reference = name.parse().unwrap();
            let found = find(&name, "bookworm");
            assert_eq!(found.is_some(), expected.is_some(), "{name}");
            let (Some((template, suite)), Some((of, expected))) = (found, expected) else { return };
            assert_eq!(suite, expected, "{name}");
            // It is that recipe, for this name.
            let recipes = Recipes::parse(&template.text, "f").unwrap();
            assert_eq!(
                recipes.iter().map(|(name, _)| name.familiar()).collect::<Vec<_>>(),
                [name.familiar()]
            );
            let ready = all(suite).unwrap().into_iter().find(|ready| ready.name == of).unwrap();
            assert_eq!(
                template.text.lines().skip(1).collect::<Vec<_>>(),
                ready.text.lines().skip(1).collect::<Vec<_>>()
            );
        };
        check("distroless/static", Some(("distroless/static:latest", "bookworm")));
        check("gcr.io/distroless/static", Some(("distroless/static:latest", "bookworm")));
        check("gcr.io/distroless/cc-debian13:nonroot", Some(("distroless/cc:nonroot", "trixie")));
        check(
            "mirror.example/gcr/distroless/base-debian12:debug",
            Some(("distroless/base:debug", "bookworm")),
        );
        check("debian", Some(("debian:bookworm", "bookworm")));
        check("debian:trixie-slim", Some(("debian:trixie", "trixie")));
        check("docker.io/library/debian:12", Some(("debian:bookworm", "bookworm")));
        check("busybox:1.36", Some(("busybox:latest", "bookworm")));
        for name in [
            "ubuntu",
            "distroless/none",
            "gcr.io/distroless/static-debian11",
            "debian:sid",
            "distroless/static:other",
        ] {
            check(name, None);
        }
    }
}
