use super::*;

const VARS: &[(&str, &str)] = &[
    ("v", "value"),
    ("empty", ""),
    ("two", "a  b"),
    ("quoted", "\"q\" 'r'"),
    ("path", "/usr/local/bin"),
    ("file", "archive.tar.gz"),
    ("dollar", "$v"),
    ("lines", "a\nb"),
    ("é", "accent"),
    ("stars", "a*b?c"),
    ("PATTERN", "*.gz"),
    ("1", "one"),
    ("@", "all"),
    ("slashes", "a/b/c"),
];

fn lookup(name: &str) -> Option<String> {
    VARS.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
}

fn word(text: &str) -> Result<String, ExpandError> {
    Expander::new('\\', &lookup).expand_word(text)
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(word(text).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn quotes_and_escapes() {
    check(&[
        ("", ""),
        ("plain text", "plain text"),
        ("'single'", "single"),
        ("\"double\"", "double"),
        ("a'b'\"c\"d", "abcd"),
        ("'$v'", "$v"),
        ("\"$v\"", "value"),
        ("\"'$v'\"", "'value'"),
        ("'\"'", "\""),
        ("'\\'", "\\"),
        ("\\$v", "$v"),
        ("\\\\$v", "\\value"),
        ("\\a\\'\\\"", "a'\""),
        ("\"\\$v\"", "$v"),
        ("\"\\\"\"", "\""),
        ("\"\\\\\"", "\\"),
        ("\"\\a\"", "\\a"),
        ("\"\\'\"", "\\'"),
        ("end\\", "end"),
        ("a\\ b", "a b"),
        ("\"\"", ""),
        ("`$v`", "`value`"),
        ("a<b", "a<b"),
        ("a<<b", "a<<b"),
        ("a <<  b", "a <<  b"),
        ("é☺", "é☺"),
    ]);
}

#[test]
fn plain_variables() {
    check(&[
        ("$v", "value"),
        ("${v}", "value"),
        ("$v.x", "value.x"),
        ("${v}x", "valuex"),
        ("$vx", ""),
        ("$none", ""),
        ("a${none}b", "ab"),
        ("$", "$"),
        ("$ v", "$ v"),
        ("$.", "$."),
        ("a$", "a$"),
        ("$1", "one"),
        ("$12", ""),
        ("$1x", "onex"),
        ("$@x", "allx"),
        ("$é", "accent"),
        ("$v$v", "valuevalue"),
        ("$dollar", "$v"),
        ("$quoted", "\"q\" 'r'"),
        ("\"$quoted\"", "\"q\" 'r'"),
        ("%v%", "%v%"),
        ("{$v}", "{value}"),
    ]);
}

#[test]
fn defaults_and_alternatives() {
    check(&[
        ("${v:-w}", "value"),
        ("${v-w}", "value"),
        ("${empty:-w}", "w"),
        ("${empty-w}", ""),
        ("${none:-w}", "w"),
        ("${none-w}", "w"),
        ("${v:+w}", "w"),
        ("${v+w}", "w"),
        ("${empty:+w}", ""),
        ("${empty+w}", "w"),
        ("${none:+w}", ""),
        ("${none+w}", ""),
        ("${none:-}", ""),
        ("${none:-$v}", "value"),
        ("${none:-${v}}", "value"),
        ("${none:-${none:-${none:-deep}}}", "deep"),
        ("${none:-\"a}b\"}", "a}b"),
        ("${none:-a\\}b}", "a}b"),
        ("${none:-'$v'}", "$v"),
        ("${none:-a b}", "a b"),
        ("\"${none:-a b}\"", "a b"),
        ("${v:?m}", "value"),
        ("${v?m}", "value"),
        ("${empty?m}", ""),
    ]);
}

#[test]
fn prefixes_and_suffixes() {
    check(&[
        ("${path#/usr}", "/local/bin"),
        ("${path#*/}", "usr/local/bin"),
        ("${path##*/}", "bin"),
        ("${path%/*}", "/usr/local"),
        ("${path%%/*}", ""),
        ("${path%/bin}", "/usr/local"),
        ("${path#none}", "/usr/local/bin"),
        ("${path%none}", "/usr/local/bin"),
        ("${file%.*}", "archive.tar"),
        ("${file%%.*}", "archive"),
        ("${file#*.}", "tar.gz"),
        ("${file##*.}", "gz"),
        ("${file#???}", "hive.tar.gz"),
        ("${file%.??}", "archive.tar"),
        ("${file#a*}", "rchive.tar.gz"),
        ("${file##a*}", ""),
        ("${file%$PATTERN}", "archive.tar"),
        ("${none#a}", ""),
        ("${stars#a\\*}", "b?c"),
        ("${stars%b\\?c}", "a*"),
        ("${stars%\\?c}", "a*b"),
        ("${v#[v]}", "value"),
        ("${v#.}", "value"),
        ("${lines#*b}", "a\nb"),
        ("${v#}", "value"),
        ("${v%%}", "value"),
        ("${v#$empty}", "value"),
        ("${v#*}", "value"),
        ("${v##*}", ""),
        ("${v#*a*u}", "e"),
        ("${stars%%\\**}", "a"),
    ]);
}

#[test]
fn replacements() {
    check(&[
        ("${file/./-}", "archive-tar.gz"),
        ("${file//./-}", "archive-tar-gz"),
        ("${file/.*/}", "archive"),
        ("${file/a/}", "rchive.tar.gz"),
        ("${file//a/}", "rchive.tr.gz"),
        ("${file/none/x}", "archive.tar.gz"),
        ("${slashes/\\//-}", "a-b/c"),
        ("${slashes//\\//-}", "a-b-c"),
        ("${v//?/x}", "xxxxx"),
        ("${v/*/x}", "x"),
        ("${v/a/$v}", "vvaluelue"),
        ("${v/a/${path##*/}}", "vbinlue"),
        ("${none/a/b}", ""),
        ("${v//l/$dollar}", "va$vue"),
        ("${slashes//\\//\\/}", "a\\/b\\/c"),
        ("${v/$empty/x}", "xvalue"),
        ("${v///}", "value"),
        ("${none///}", ""),
        ("${slashes/${path%%usr*}/-}", "a-b/c"),
    ]);
}

#[test]
fn errors() {
    let required =
        |name: &str, message: &str| ExpandError::Required { name: name.into(), message: message.into() };
    let modifier = |m: &str| ExpandError::UnsupportedModifier { name: "v".into(), modifier: m.into() };
    let pattern = |p: &str, escaped| ExpandError::InvalidPattern { pattern: p.into(), escaped };
    let cases = [
        ("'a", ExpandError::UnclosedQuote { quote: '\'' }),
        ("\"a", ExpandError::UnclosedQuote { quote: '"' }),
        ("\"a\\\"", ExpandError::UnclosedQuote { quote: '"' }),
        ("\"a\\", ExpandError::UnclosedQuote { quote: '"' }),
        ("${", ExpandError::UnclosedBrace),
        ("${v", ExpandError::UnclosedBrace),
        ("${v:", ExpandError::UnclosedBrace),
        ("${v:-w", ExpandError::UnclosedBrace),
        ("${}", ExpandError::BadSubstitution),
        ("${{v}", ExpandError::BadSubstitution),
        ("${:-v}", ExpandError::BadSubstitution),
        ("${v^^}", modifier("^")),
        ("${v:x}", modifier(":x")),
        ("${v:1:2}", modifier(":1")),
        ("${v@Q}", modifier("@")),
        ("${none?gone}", required("none", "gone")),
        ("${none:?gone}", required("none", "gone")),
        ("${empty:?gone}", required("empty", "gone")),
        ("${none?}", required("none", "is not allowed to be unset")),
        ("${empty:?}", required("empty", "is not allowed to be empty")),
        ("${none:?$v is needed}", required("none", "value is needed")),
        ("${v=w}", modifier("=")),
        ("${v:=w}", modifier(":=")),
        ("${v/a}", ExpandError::UnclosedPattern { name: "v".into() }),
        ("${v//a}", ExpandError::UnclosedPattern { name: "v".into() }),
        ("${v//}", ExpandError::UnclosedPattern { name: "v".into() }),
        ("${v#\\}", ExpandError::UnclosedBrace),
        ("${v#\\\\\\", ExpandError::UnclosedBrace),
        ("${v/a/b", ExpandError::UnclosedBrace),
        ("${v#\\a}", pattern("\\a", 'a')),
        ("${v/\\a/b}", pattern("\\a", 'a')),
    ];
    for (text, error) in cases {
        assert_eq!(word(text), Err(error), "{text}");
    }
}

#[test]
fn words() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("  ", &[]),
        ("a b\tc", &["a", "b", "c"]),
        ("'a b' c", &["a b", "c"]),
        ("\"a b\"c d", &["a bc", "d"]),
        ("a\\ b c", &["a b", "c"]),
        ("$two", &["a", "b"]),
        ("x$two.y", &["xa", "b.y"]),
        ("\"$two\"", &["a  b"]),
        ("$empty a", &["a"]),
        ("\"\" a", &["a"]),
        ("${none:-x y} z", &["x", "y", "z"]),
        ("$v$two", &["valuea", "b"]),
        ("cat << EOF", &["cat", "<< EOF"]),
        ("a < b", &["a", "<", "b"]),
    ];
    for (text, expected) in cases {
        let seen = Expander::new('\\', &lookup).expand_words(text);
        assert_eq!(
            seen.as_deref(),
            Ok(expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
            "{text}"
        );
    }
}

#[test]
fn other_escape_character() {
    let expand = |text| Expander::new('`', &lookup).expand_word(text);
    assert_eq!(expand("`$v C:\\x\\"), Ok("$v C:\\x\\".into()));
    assert_eq!(expand("\"`\"`$\\\""), Ok("\"$\\".into()));
}

#[test]
fn heredoc_bodies_keep_quotes() {
    let expand = |text| Expander::heredoc(&lookup).expand_word(text);
    assert_eq!(expand("say \"$v\" '$v'\n"), Ok("say \"value\" 'value'\n".into()));
    assert_eq!(expand("don't $v\n"), Ok("don't value\n".into()));
    assert_eq!(expand("\\$v \\\\\n"), Ok("$v \\\n".into()));
}

#[test]
fn reports_variables() {
    let expansion = Expander::new('\\', &lookup)
        .expand("$v ${none:-$empty} ${other+$path} '$quoted' $no ${nil%x}")
        .unwrap();
    assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["empty", "path", "v"]);
    assert_eq!(expansion.undefined.into_iter().collect::<Vec<_>>(), ["nil", "no"]);
}

#[test]
fn undefined_variables_can_stay() {
    let expand = |text| Expander::new('\\', &lookup).keep_undefined().expand_word(text);
    for text in ["$none", "${none}", "${none:-w}", "${none?w}", "${none##p}", "${none/a/b}", "${none//a/b}"] {
        assert_eq!(expand(text).as_deref(), Ok(text));
    }
    assert_eq!(expand("$v"), Ok("value".into()));
}

#[test]
fn limits() {
    let deep = format!("{}x{}", "${none:-".repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
    assert_eq!(word(&deep), Err(ExpandError::TooDeep { max: MAX_DEPTH }));
    let just = format!("{}x{}", "${none:-".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
    assert_eq!(word(&just), Ok("x".into()));
    let big = |_: &str| Some("x".repeat(MAX_OUTPUT_BYTES / 2));
    let expander = Expander::new('\\', &big);
    assert_eq!(expander.expand_word("$a$a$a"), Err(ExpandError::TooLong { max: MAX_OUTPUT_BYTES }));
    assert_eq!(expander.expand_word("\"$a$a$a\""), Err(ExpandError::TooLong { max: MAX_OUTPUT_BYTES }));
    assert_eq!(expander.expand_word("${a//x/yyyy}"), Err(ExpandError::TooLong { max: MAX_OUTPUT_BYTES }));
    let long = format!("${{v#{}}}", "?".repeat(1 << 20));
    assert!(matches!(word(&long), Err(ExpandError::PatternTooLarge { .. })));
}

proptest::proptest! {
    #[test]
    fn never_panics(text: String) {
        let _ = word(&text);
    }

    #[test]
    fn never_panics_on_syntax(text in r#"[$\{\}:+?#%/*'"\\v <-]{0,40}"#) {
        let _ = word(&text);
        let _ = Expander::heredoc(&lookup).expand(&text);
        let _ = Expander::raw('\\', &lookup, true).expand(&text);
    }

    #[test]
    fn quoting_protects(text in "[^']*") {
        assert_eq!(word(&format!("'{text}'")), Ok(text));
    }

    #[test]
    fn escaping_protects(text: String) {
        let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
        assert_eq!(word(&escaped), Ok(text));
    }
}
