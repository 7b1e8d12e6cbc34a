//! Ready recipes, to be printed and put into a `rebit.toml`.

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
    /// The image's name: `distroless/NAME`, with `nonroot`, `debug` or both as tag.
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
    Some(all)
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
            assert_eq!(all.len(), 24);
            for template in &all {
                let recipes = Recipes::parse(&template.text, &template.name).unwrap();
                let (name, recipe) = recipes.iter().next().unwrap();
                assert_eq!(name.familiar(), template.name);
                assert!(!recipe.dependencies() && recipe.suites() == [suite]);
            }
            // All of them together are a file too.
            let text: String = all.iter().map(|template| format!("{}\n", template.text)).collect();
            assert_eq!(Recipes::parse(&text, "f").unwrap().iter().count(), 24);
        }
        assert!(all("buster").is_none());
    }
}
