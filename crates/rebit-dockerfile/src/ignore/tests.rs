use super::*;

fn check(text: &str, cases: &[(&str, bool)]) {
    let ignore = Ignore::parse(text).unwrap();
    for (path, excluded) in cases {
        assert_eq!(ignore.matches(path), *excluded, "{path:?} with {text:?}");
    }
}

#[test]
fn lines() {
    check("# a\n\n  b  \r\n\t\n #c\n", &[("a", false), ("# a", false), ("b", true), ("#c", true)]);
    check("\u{feff}a\n", &[("a", true)]);
    check("", &[("a", false), (".", false), ("", false)]);
    check("! a\na", &[("a", true)]);
    check("*\n!  a", &[("a", false), ("b", true)]);
}

#[test]
fn paths_are_cleaned() {
    check("/a", &[("a", true), ("a/b", true), ("b/a", false)]);
    check("./a/", &[("a", true), ("a/b", true)]);
    check("a//b/../c", &[("a/c", true), ("a/b", false)]);
    check("a/.", &[("a", true)]);
    check(".", &[("a", false), (".", false)]);
    check("/", &[("a", false)]);
    check("..", &[("a", false), ("..", true)]);
    check("!./a\n", &[("a", false)]);
    check("a\n!/a/b", &[("a", true), ("a/b", false), ("a/c", true)]);
}

#[test]
fn anchored() {
    check("a", &[("a", true), ("a/x/y", true), ("ab", false), ("x/a", false)]);
    check("a/b", &[("a/b", true), ("a/b/c", true), ("a", false), ("a/bc", false)]);
    check("*.o", &[("x.o", true), (".o", true), ("d/x.o", false), ("x.o/y", true)]);
    check("*/*.o", &[("x.o", false), ("d/x.o", true), ("d/e/x.o", false)]);
    check("*", &[("a", true), ("a/b", true)]);
}

#[test]
fn wildcards() {
    check("a?c", &[("abc", true), ("a/c", false), ("ac", false), ("a☺c", true)]);
    check("[a-c]x", &[("ax", true), ("bx", true), ("dx", false)]);
    check("[^a]x", &[("bx", true), ("ax", false)]);
    check("[0\\-9]", &[("0", true), ("-", true), ("5", false)]);
    check("a\\*", &[("a*", true), ("ab", false)]);
    check("a\\\\", &[("a\\", true)]);
    check("a.|)$(}+{b", &[("a.|)$(}+{b", true)]);
    check("a.b", &[("a.b", true), ("axb", false)]);
    check("a+(b)|{c}$^", &[("a+(b)|{c}$^", true)]);
    check("a*b*c", &[("axxbyyc", true), ("ab/c", false)]);
    check("é*", &[("éa", true)]);
}

#[test]
fn double_star() {
    check("**/foo", &[("foo", true), ("a/foo", true), ("a/b/foo", true), ("a/foo/b", true), ("xfoo", false)]);
    check("**/*.o", &[("x.o", true), ("a/b/x.o", true), ("x.c", false)]);
    check("a/**/b", &[("a/b", true), ("a/x/b", true), ("a/x/y/b", true), ("ab", false)]);
    check("a/**", &[("a/b", true), ("a/b/c", true), ("a", false)]);
    check("**", &[("a", true), ("a/b", true)]);
    check("**/", &[("a", true)]);
    check("a/**/*", &[("a/b", true), ("a/b/c", true), ("a", false)]);
    check("**/a/**/b", &[("a/b", true), ("x/a/y/b", true), ("b", false)]);
    check("**/a/**", &[("a", false), ("a/b", true), ("x/a/b", true)]);
    check("***", &[("a", true)]);
    check("**/**", &[("a", true), ("a/b", true)]);
    check("a**/*.txt", &[("a/x.txt", true), ("a/b/c/x.txt", true), ("b/x.txt", false)]);
    check("**/x*.txt*", &[("a/xy.txt", true), ("x.txt2", true), ("a/y.txt", false)]);
    check("a/*.txt**", &[("a/x.txt", true), ("a/b/x.txt", false)]);
    check("**\n!a/b\na/b/c", &[("a/b/c", true), ("a/b/d", false), ("a", true)]);
}

#[test]
fn oddities_are_kept() {
    check("**foo", &[("foo", true), ("xfoo", true), ("a/xfoo", true), ("foox", false)]);
    check("foo**", &[("foo", true), ("foobar/x", true), ("xfoo", false)]);
    check("**foo*", &[("foox", true), ("a/foox", true), ("xfoo", false)]);
}

#[test]
fn exceptions() {
    check("*\n!a", &[("a", false), ("b", true), ("a/b", false)]);
    check("a\n!a/b\na/b/c", &[("a", true), ("a/b", false), ("a/b/x", false), ("a/b/c", true), ("a/d", true)]);
    check("!a\n*", &[("a", true)]);
    check("**/*.md\n!**/README.md", &[("x.md", true), ("a/README.md", false), ("README.md", false)]);
    check(
        "*.md\n!README*.md\nREADME-secret.md",
        &[("a.md", true), ("README.md", false), ("README-secret.md", true)],
    );
    check("docs\n!docs/*.md", &[("docs/a.md", false), ("docs/x/a.md", true), ("docs/x", true)]);
}

#[test]
fn faults() {
    assert_eq!(Ignore::parse("a\n!\n").err(), Some(IgnoreError::EmptyException { line: 2 }));
    assert_eq!(Ignore::parse("! \n").err(), Some(IgnoreError::EmptyException { line: 1 }));
    let bad = |pattern: &str| Some(IgnoreError::BadPattern { line: 1, pattern: pattern.to_owned() });
    for pattern in ["a[", "a[]", "[a-]", "a\\", "[z-a]"] {
        assert_eq!(Ignore::parse(pattern).err(), bad(pattern), "{pattern}");
    }
    let many = "a\n".repeat(MAX_PATTERNS + 1);
    assert_eq!(Ignore::parse(&many).err(), Some(IgnoreError::Limit { what: "patterns", max: MAX_PATTERNS }));
    let long = "#".repeat(MAX_BYTES + 1);
    assert_eq!(Ignore::parse(&long).err(), Some(IgnoreError::Limit { what: "bytes", max: MAX_BYTES }));
}

#[test]
fn patterns_that_are_no_file() {
    let ignore = Ignore::from_patterns(["#a", "", "b"]).unwrap();
    assert!(ignore.matches("#a") && ignore.matches("b") && !ignore.matches("a"));
    assert!(Ignore::default().is_empty() && !ignore.is_empty());
}

#[test]
fn skipping_directories() {
    let below = |text: &str, dir: &str| Ignore::parse(text).unwrap().may_include_below(dir);
    assert!(!below("a", "a"));
    assert!(!below("a", "a/b"));
    assert!(below("a", "b"));
    assert!(below("a\n!a/b", "a"));
    assert!(!below("a\n!a/b", "a/c"));
    assert!(below("a\n!a/b/c", "a/b"));
    assert!(below("*\n!**/x", "a/b"));
    assert!(below("*\n!a*/x", "ab"));
    assert!(!below("*\n!a*/x", "b"));
    assert!(!below("!a/b\na", "a"));
    assert!(below("*\n!src/*.rs", "src"));
    assert!(!below("*\n!src/*.rs", "target"));
}

proptest::proptest! {
    #[test]
    fn never_panics(text: String, path: String) {
        if let Ok(ignore) = Ignore::parse(&text) {
            ignore.matches(&path);
            ignore.may_include_below(&path);
        }
    }

    /// A skipped directory really has nothing included in it.
    #[test]
    fn skipping_is_sound(
        lines in proptest::collection::vec(r"!?(\*\*/)?[abc*?](/[abc*?]|/\*\*){0,2}", 1..5),
        path in "[abc](/[abc]){1,3}",
    ) {
        let ignore = Ignore::parse(&lines.join("\n")).unwrap();
        for dir in prefixes(&path).filter(|dir| *dir != path) {
            if ignore.matches(dir) && !ignore.may_include_below(dir) {
                proptest::prop_assert!(ignore.matches(&path), "{dir} skipped, {path} included by {lines:?}");
            }
        }
    }
}
