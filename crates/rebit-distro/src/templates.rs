//! Ready recipes, to be printed and put into a `rebit.toml`.

/// Each recipe by its name: what it is for, and its packages besides those it has in common with the others.
const RECIPES: [(&str, &str, &[&str], &[&str]); 6] = [
    ("static", "for programs that need no library", &[], &[]),
    ("base", "for programs that need the C library and TLS", BASE, &[]),
    ("cc", "for programs that need the C++ library too", BASE, &["libgcc-s1", "libgomp1", "libstdc++6"]),
    ("python3", "for Python 3.11", BASE, PYTHON),
    ("java17", "for Java 17", BASE, JAVA),
    ("nodejs18", "for Node.js 18", BASE, NODE),
];

/// What every image has.
const COMMON: &[&str] = &["base-files", "ca-certificates", "netbase", "tzdata"];
const BASE: &[&str] = &["libc6", "libssl3"];
const PYTHON: &[&str] = &[
    "libbz2-1.0",
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
    "libstdc++6",
    "libtinfo6",
    "libtirpc3",
    "libuuid1",
    "python3-minimal",
    "python3.11-minimal",
    "zlib1g",
];
const JAVA: &[&str] = &[
    "fontconfig-config",
    "fonts-dejavu-core",
    "libbrotli1",
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
    "libstdc++6",
    "libuuid1",
    "openjdk-17-jre-headless",
    "zlib1g",
];
const NODE: &[&str] = &[
    "libbrotli1",
    "libc-ares2",
    "libgcc-s1",
    "libicu72",
    "libnghttp2-14",
    "libnode108",
    "libstdc++6",
    "libuv1",
    "node-acorn",
    "node-busboy",
    "node-cjs-module-lexer",
    "node-undici",
    "node-xtend",
    "nodejs",
    "zlib1g",
];

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

/// Every ready recipe.
#[must_use]
pub fn all() -> Vec<Template> {
    let mut all = Vec::new();
    for (name, purpose, base, packages) in RECIPES {
        for (tag, user, debug) in [
            ("latest", "root", false),
            ("nonroot", "nonroot", false),
            ("debug", "root", true),
            ("debug-nonroot", "nonroot", true),
        ] {
            let image = format!("distroless/{name}:{tag}");
            let mut list: Vec<&str> = [COMMON, base, packages].concat();
            if debug {
                list.push("busybox-static");
            }
            list.sort_unstable();
            all.push(Template { text: text(&image, name, &list, user, debug), name: image, purpose });
        }
    }
    all
}

fn text(image: &str, kind: &str, packages: &[&str], user: &str, debug: bool) -> String {
    let mut text = format!("[image.{image:?}.debian]\nsuite = \"bookworm\"\nvariant = \"distroless\"\n");
    text.push_str("packages = [\n");
    packages.iter().for_each(|name| text.push_str(&format!("    \"{name}\",\n")));
    text.push_str(&format!("]\nuser = \"{user}\"\n"));
    text.push_str(&format!(
        "working-directory = \"{}\"\n",
        if user == "root" { "/" } else { "/home/nonroot" }
    ));
    let (entrypoint, links): (&[&str], &[(&str, &str)]) = match kind {
        "python3" => (&["/usr/bin/python3"], &[]),
        "java17" => (
            &["/usr/bin/java", "-jar"],
            &[
                ("/usr/bin/java", "/usr/lib/jvm/default-java-17/bin/java"),
                ("/usr/lib/jvm/default-java-17", JVM),
            ],
        ),
        "nodejs18" => (&["/usr/bin/node"], &[]),
        _ => (&[], &[]),
    };
    let mut links: Vec<(String, String)> = links.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    if debug {
        let applets = [
            "cat", "cp", "env", "find", "grep", "head", "id", "ls", "ps", "sed", "sh", "stat", "tail", "vi",
            "wget",
        ];
        links.extend(applets.iter().map(|name| (format!("/busybox/{name}"), "/bin/busybox".to_owned())));
        text.push_str(
            "environment.PATH = \"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/busybox\"\n",
        );
    }
    match entrypoint {
        [] if debug => text.push_str("entrypoint = [\"/busybox/sh\"]\n"),
        [] => {}
        words => text.push_str(&format!("entrypoint = {words:?}\n")),
    }
    for (path, target) in links {
        text.push_str(&format!("files.{path:?} = {{ link = {target:?} }}\n"));
    }
    text
}

/// Where the package has the machine, whatever the architecture is called.
const JVM: &str = "java-17-openjdk-amd64";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipes;

    #[test]
    fn every_recipe_is_valid() {
        let all = all();
        assert_eq!(all.len(), 24);
        for template in &all {
            let recipes = Recipes::parse(&template.text, &template.name).unwrap();
            let (name, recipe) = recipes.iter().next().unwrap();
            assert_eq!(name.familiar(), template.name);
            assert!(!recipe.dependencies());
        }
        // All of them together are a file too.
        let text: String = all.iter().map(|template| format!("{}\n", template.text)).collect();
        assert_eq!(Recipes::parse(&text, "f").unwrap().iter().count(), 24);
    }
}
