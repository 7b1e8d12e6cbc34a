//! `--chmod` values: octal and symbolic modes.

use thiserror::Error;

/// A `--chmod` value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid mode `{value}`: {reason}")]
pub struct ModeError {
    /// The value.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A parsed `--chmod` value.
///
/// Octal replaces all twelve bits. Symbolic is `[ugoa…][+-=][perms…]`, clauses separated by `,`, as in `chmod(1)` with a umask of 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChmodMode {
    /// `755`, `0644`, `4755`: at most `0o7777`.
    Octal(u32),
    /// `u=rwX,go=rX`.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode: who, and one or more actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Any of [`USER`], [`GROUP`], [`OTHER`]; all three for `a` and for nothing.
    who: u32,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Action {
    operator: char,
    perms: Perms,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Perms {
    /// Letters of `rwxXst`.
    Letters { rwx: u32, conditional_x: bool, set_id: bool, sticky: bool },
    /// `u`, `g` or `o`: what that one has now, as a shift.
    CopyOf(u32),
}

const USER: u32 = 0o700;
const GROUP: u32 = 0o070;
const OTHER: u32 = 0o007;

impl ChmodMode {
    /// Reads a value after expansion.
    ///
    /// # Errors
    /// [`ModeError`] for anything that is neither octal up to `7777` nor symbolic.
    pub fn parse(value: &str) -> Result<Self, ModeError> {
        let bad = |reason| ModeError { value: value.to_owned(), reason };
        if value.is_empty() {
            return Err(bad("empty"));
        }
        if value.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = value.chars().try_fold(0u32, |mode, c| {
                c.to_digit(8).map(|digit| mode.saturating_mul(8).saturating_add(digit))
            });
            let mode = mode.ok_or_else(|| bad("not octal"))?;
            return if mode <= 0o7777 { Ok(Self::Octal(mode)) } else { Err(bad("above 7777")) };
        }
        value.split(',').map(clause).collect::<Result<_, _>>().map(Self::Symbolic).map_err(bad)
    }

    /// The permission bits (`0o7777`) that a file with permission bits `old_mode` gets.
    ///
    /// `X` is `x` for directories and for files that have an `x` at that moment. Other bits of `old_mode` are dropped.
    pub fn apply(&self, old_mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(old_mode & 0o7777, |mode, c| c.apply(mode, is_dir))
            }
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        self.actions.iter().fold(mode, |mode, action| {
            let mut bits = match action.perms {
                Perms::CopyOf(shift) => (((mode >> shift) & 7) * 0o111) & self.who,
                Perms::Letters { rwx, conditional_x, set_id, sticky } => {
                    let x = u32::from(conditional_x && (is_dir || mode & 0o111 != 0));
                    let mut bits = ((rwx | x) * 0o111) & self.who;
                    if set_id {
                        bits |= if self.who & USER != 0 { 0o4000 } else { 0 };
                        bits |= if self.who & GROUP != 0 { 0o2000 } else { 0 };
                    }
                    bits | if sticky && self.who & OTHER != 0 { 0o1000 } else { 0 }
                }
            };
            bits &= 0o7777;
            match action.operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => (mode & !self.cleared(is_dir)) | bits,
            }
        })
    }

    /// What `=` clears. Set-id bits of directories stay, as with `chmod(1)`.
    fn cleared(&self, is_dir: bool) -> u32 {
        let mut bits = self.who;
        if !is_dir {
            bits |= if self.who & USER != 0 { 0o4000 } else { 0 };
            bits |= if self.who & GROUP != 0 { 0o2000 } else { 0 };
        }
        bits | if self.who & OTHER != 0 { 0o1000 } else { 0 }
    }
}

fn clause(text: &str) -> Result<Clause, &'static str> {
    let mut chars = text.chars().peekable();
    let mut who = 0;
    while let Some(c) = chars.next_if(|c| matches!(c, 'u' | 'g' | 'o' | 'a')) {
        who |= match c {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            _ => USER | GROUP | OTHER,
        };
    }
    let who = if who == 0 { USER | GROUP | OTHER } else { who };
    let mut actions = Vec::new();
    while let Some(operator) = chars.next() {
        if !matches!(operator, '+' | '-' | '=') {
            return Err("expected `+`, `-` or `=`");
        }
        let perms = match chars.next_if(|c| matches!(c, 'u' | 'g' | 'o')) {
            Some('u') => Perms::CopyOf(6),
            Some('g') => Perms::CopyOf(3),
            Some(_) => Perms::CopyOf(0),
            None => letters(&mut chars),
        };
        actions.push(Action { operator, perms });
    }
    if actions.is_empty() { Err("expected `+`, `-` or `=`") } else { Ok(Clause { who, actions }) }
}

fn letters(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Perms {
    let (mut rwx, mut conditional_x, mut set_id, mut sticky) = (0, false, false, false);
    while let Some(c) = chars.next_if(|c| "rwxXst".contains(*c)) {
        match c {
            'r' => rwx |= 4,
            'w' => rwx |= 2,
            'x' => rwx |= 1,
            'X' => conditional_x = true,
            's' => set_id = true,
            _ => sticky = true,
        }
    }
    Perms::Letters { rwx, conditional_x, set_id, sticky }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal() {
        for (text, mode) in [("755", 0o755), ("0644", 0o644), ("4755", 0o4755), ("0", 0), ("07777", 0o7777)] {
            assert_eq!(ChmodMode::parse(text).map(|m| m.apply(0o1234, false)), Ok(mode), "{text}");
        }
    }

    #[test]
    fn symbolic() {
        let cases = [
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a+x", 0o644, false, 0o755),
            ("u+x", 0o644, false, 0o744),
            ("go-w", 0o666, false, 0o644),
            ("go=", 0o777, false, 0o700),
            ("=", 0o7777, false, 0o0000),
            ("=r", 0o777, true, 0o444),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("g=rx", 0o2777, true, 0o2757),
            ("g=rx", 0o2777, false, 0o757),
            ("+t", 0o777, true, 0o1777),
            ("g=u", 0o740, false, 0o770),
            ("o=g-w", 0o770, false, 0o775),
            ("u=rw,u+x", 0o000, false, 0o700),
            ("u-x,a+X", 0o744, false, 0o644),
            ("ug+rw", 0o004, false, 0o664),
        ];
        for (text, old, is_dir, new) in cases {
            assert_eq!(ChmodMode::parse(text).map(|m| m.apply(old, is_dir)), Ok(new), "{text} on {old:o}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "8",
            "0o755",
            "17777",
            "99999999999999",
            "rwx",
            "u",
            "u=q",
            "u+x,",
            ",",
            "755,u+x",
            "$MODE",
            "-",
        ] {
            if text == "-" {
                // An operator alone changes nothing, as with chmod(1).
                assert_eq!(ChmodMode::parse(text).map(|m| m.apply(0o644, false)), Ok(0o644));
            } else {
                assert!(ChmodMode::parse(text).is_err(), "{text}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[0-9ugoarwxXst+=,-]{0,20}", old: u32, is_dir: bool) {
            if let Ok(mode) = ChmodMode::parse(&text) {
                assert!(mode.apply(old, is_dir) <= 0o7777);
            }
        }
    }
}
