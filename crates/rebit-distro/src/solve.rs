//! Which packages are needed so that everything that is asked for has what it depends on.
//!
//! Wishes are met in the order in which they come up: first what the recipe asks for, then what each chosen package needs, in the
//! order of its fields. Of several alternatives the first that can be had is chosen, of several versions the latest, and a package
//! of the wanted name before one that provides it. So the answer is the one that people know from apt, and depends on nothing but
//! the indexes and the recipe. Where a choice turns out to lead nowhere, the last one before it that had another way is taken back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::DistroError;
use crate::package::{Package, Universe};
use crate::relation::{Alternatives, Relation};

/// How many choices are taken back before the search is given up.
const MAX_BACKTRACKS: usize = 2_000;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{wanted}` cannot be had: {reason} ({chain})", chain = chain.join(", "))]
pub struct Unsolvable {
    /// What is wanted, alternatives separated by `|`.
    pub wanted: String,
    /// Why none of it can be had.
    pub reason: String,
    /// Who wants it, the nearest first.
    pub chain: Vec<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The packages.
    pub packages: Vec<Relation>,
    /// Packages that must not be chosen; what depends on them is taken to have them.
    pub exclude: BTreeSet<String>,
    /// Whether what packages depend on comes along.
    pub dependencies: bool,
}

#[derive(Clone)]
struct Wish {
    alternatives: Alternatives,
    /// The package that has this need; the recipe when there is none.
    by: Option<usize>,
}

#[derive(Clone, Default)]
struct State {
    chosen: BTreeMap<String, usize>,
    /// The first need that each chosen package met.
    reason: BTreeMap<usize, Option<usize>>,
    wishes: VecDeque<Wish>,
}

/// A choice that had another way: the state before it, and the ways that are left.
struct Choice {
    state: State,
    wish: Wish,
    left: VecDeque<usize>,
}

/// Finds the packages that `request` needs, sorted by name.
///
/// # Errors
/// [`DistroError::Unsolvable`] for the first wish that could not be met, [`DistroError::Relation`].
pub fn solve<'a>(universe: &'a Universe, request: &Request) -> Result<Vec<&'a Package>, DistroError> {
    let solver = Solver { universe, request };
    let mut state = State::default();
    for relation in &request.packages {
        state.wishes.push_back(Wish { alternatives: vec![relation.clone()], by: None });
    }
    let mut choices: Vec<Choice> = Vec::new();
    let mut first: Option<Unsolvable> = None;
    let mut backtracks = 0;
    while let Some(wish) = state.wishes.pop_front() {
        if solver.is_met(&state, &wish)? {
            continue;
        }
        let mut ways = solver.ways(&wish)?;
        if let Err(reason) = solver.take(&mut state, &wish, &mut ways, &mut choices)? {
            let failed = solver.unsolvable(&state, &wish, reason);
            let failed = first.get_or_insert(failed).clone();
            loop {
                backtracks += 1;
                let Some(mut choice) = choices.pop().filter(|_| backtracks <= MAX_BACKTRACKS) else {
                    return Err(DistroError::Unsolvable { source: failed });
                };
                state = choice.state;
                if solver.take(&mut state, &choice.wish, &mut choice.left, &mut choices)?.is_ok() {
                    break;
                }
            }
        }
    }
    Ok(state.chosen.values().filter_map(|number| universe.get(*number)).collect())
}

struct Solver<'a> {
    universe: &'a Universe,
    request: &'a Request,
}

impl Solver<'_> {
    fn chosen<'s>(&'s self, state: &'s State) -> impl Iterator<Item = (usize, &'s Package)> {
        state.chosen.values().filter_map(|number| Some((*number, self.universe.get(*number)?)))
    }

    fn is_met(&self, state: &State, wish: &Wish) -> Result<bool, DistroError> {
        for wanted in &wish.alternatives {
            if wish.by.is_some() && self.request.exclude.contains(&wanted.name) {
                return Ok(true);
            }
            if let Some(package) = state.chosen.get(&wanted.name).and_then(|n| self.universe.get(*n))
                && wanted.takes(&package.version)
            {
                return Ok(true);
            }
            for (number, package) in self.universe.providing(&wanted.name) {
                if state.chosen.get(&package.name) == Some(&number) && package.answers(wanted)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The packages that meet a wish, the best first.
    fn ways(&self, wish: &Wish) -> Result<VecDeque<usize>, DistroError> {
        let mut ways = VecDeque::new();
        for wanted in &wish.alternatives {
            let foreign = wanted.qualifier.as_deref().is_some_and(|word| {
                !matches!(word, "any" | "native") && word != self.universe.architecture()
            });
            if foreign || !wanted.is_for(self.universe.architecture()) {
                continue;
            }
            let named =
                self.universe.named(&wanted.name).filter(|(_, package)| wanted.takes(&package.version));
            ways.extend(named.map(|(number, _)| number));
            for (number, package) in self.universe.providing(&wanted.name) {
                if package.answers(wanted)? && !ways.contains(&number) {
                    ways.push_back(number);
                }
            }
        }
        ways.retain(|number| {
            self.universe.get(*number).is_some_and(|package| !self.request.exclude.contains(&package.name))
        });
        Ok(ways)
    }

    /// Takes the first way that goes together with what is chosen. Otherwise says why none does.
    fn take(
        &self,
        state: &mut State,
        wish: &Wish,
        ways: &mut VecDeque<usize>,
        choices: &mut Vec<Choice>,
    ) -> Result<Result<(), String>, DistroError> {
        let mut reasons: Vec<String> = Vec::new();
        while let Some(number) = ways.pop_front() {
            let Some(package) = self.universe.get(number) else { continue };
            if let Some(reason) = self.clash(state, package)? {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
                continue;
            }
            if !ways.is_empty() {
                choices.push(Choice { state: state.clone(), wish: wish.clone(), left: ways.clone() });
            }
            state.chosen.insert(package.name.clone(), number);
            state.reason.insert(number, wish.by);
            if self.request.dependencies {
                let needs = package.needs()?.into_iter();
                state.wishes.extend(needs.map(|alternatives| Wish { alternatives, by: Some(number) }));
            }
            return Ok(Ok(()));
        }
        Ok(Err(if reasons.is_empty() { self.absence(wish) } else { reasons.join("; ") }))
    }

    /// Why a package does not go together with what is chosen.
    fn clash(&self, state: &State, package: &Package) -> Result<Option<String>, DistroError> {
        if let Some(other) = state.chosen.get(&package.name).and_then(|number| self.universe.get(*number)) {
            return Ok(Some(format!("{other} is chosen already, and not {package}")));
        }
        if !self.request.dependencies {
            return Ok(None);
        }
        let against = package.against()?;
        for (_, other) in self.chosen(state) {
            for relation in &against {
                if other.answers(relation)? {
                    return Ok(Some(format!("{package} conflicts with {other}, by `{relation}`")));
                }
            }
            if other.conflicts.is_empty() {
                continue;
            }
            for relation in other.against()? {
                if package.answers(&relation)? {
                    return Ok(Some(format!("{other} conflicts with {package}, by `{relation}`")));
                }
            }
        }
        Ok(None)
    }

    /// Why nothing meets a wish.
    fn absence(&self, wish: &Wish) -> String {
        let excluded = wish.alternatives.iter().find(|wanted| self.request.exclude.contains(&wanted.name));
        if let Some(wanted) = excluded {
            return format!("`{}` is excluded", wanted.name);
        }
        let one = |wanted: &Relation| {
            let versions: Vec<&str> =
                self.universe.named(&wanted.name).map(|(_, package)| package.version.as_str()).collect();
            match versions.as_slice() {
                [] => format!("there is no package `{}`", wanted.name),
                versions => format!("`{}` is there as {} only", wanted.name, versions.join(", ")),
            }
        };
        wish.alternatives.iter().map(one).collect::<Vec<_>>().join(", and ")
    }

    fn unsolvable(&self, state: &State, wish: &Wish, reason: String) -> Unsolvable {
        let wanted: Vec<String> = wish.alternatives.iter().map(Relation::to_string).collect();
        let mut chain = Vec::new();
        let mut next = wish.by;
        while let Some(number) = next {
            let name = self.universe.get(number).map(Package::to_string).unwrap_or_default();
            chain.push(format!(
                "{} {name}",
                if chain.is_empty() { "wanted by" } else { "which is wanted by" }
            ));
            next = state.reason.get(&number).copied().flatten();
        }
        chain.push(
            if chain.is_empty() { "the recipe asks for it" } else { "which the recipe asks for" }.to_owned(),
        );
        Unsolvable { wanted: wanted.join(" | "), reason, chain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::tests::universe;
    use crate::relation;

    fn request(packages: &str, exclude: &[&str]) -> Request {
        Request {
            packages: relation::parse(packages).unwrap().into_iter().flatten().collect(),
            exclude: exclude.iter().map(|name| (*name).to_owned()).collect(),
            dependencies: true,
        }
    }

    fn check(index: &str, packages: &str, exclude: &[&str], expected: &str) {
        let universe = universe(index);
        let found = solve(&universe, &request(packages, exclude)).unwrap();
        let found: Vec<String> = found.iter().map(|p| format!("{} {}", p.name, p.version)).collect();
        assert_eq!(found.join(", "), expected, "{packages} of {index}");
    }

    fn fails(index: &str, packages: &str, expected: &str) {
        let universe = universe(index);
        let error = match solve(&universe, &request(packages, &[])).unwrap_err() {
            DistroError::Unsolvable { source } => source,
            other => panic!("{other}"),
        };
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_is_needed_comes_along() {
        check("a 1; Depends: b\nb 1; Pre-Depends: c\nc 1\nd 1", "a", &[], "a 1, b 1, c 1");
        // A circle is no problem.
        check("a 1; Depends: b\nb 1; Depends: a", "a", &[], "a 1, b 1");
        check("a 1\na 2\na 3~rc", "a", &[], "a 3~rc");
        check("a 1\na 2", "a (<< 2)", &[], "a 1");
        check("a 1; Depends: b:any, c:native\nb 1\nc 1", "a", &[], "a 1, b 1, c 1");
    }

    #[test]
    fn alternatives_are_tried_in_their_order() {
        check("a 1; Depends: b | c\nb 1\nc 1", "a", &[], "a 1, b 1");
        check("a 1; Depends: b | c\nb 1\nc 1", "a, c", &[], "a 1, c 1");
        check("a 1; Depends: b (>= 2) | c\nb 1\nc 1", "a", &[], "a 1, c 1");
        check("a 1; Depends: v\nx 1; Provides: v\nw 1; Provides: v", "a", &[], "a 1, w 1");
        check(
            "a 1; Depends: v\nx 1; Provides: v; Priority: required\nw 1; Provides: v",
            "a",
            &[],
            "a 1, x 1",
        );
        check("a 1; Depends: v\nv 1\nw 1; Provides: v", "a", &[], "a 1, v 1");
        check("a 1; Depends: v (>= 2)\nw 1; Provides: v\nx 1; Provides: v (= 2)", "a", &[], "a 1, x 1");
    }

    #[test]
    fn a_choice_that_leads_nowhere_is_taken_back() {
        check("a 1; Depends: b | c\nb 1; Depends: none\nc 1", "a", &[], "a 1, c 1");
        check("a 1; Depends: b | c, d\nb 1\nc 1\nd 1; Conflicts: b", "a", &[], "a 1, c 1, d 1");
        check("a 2; Depends: none\na 1", "a", &[], "a 1");
    }

    #[test]
    fn what_is_excluded_is_not_chosen_and_counts_as_there() {
        check("a 1; Depends: b, c\nb 1; Depends: d\nc 1\nd 1", "a", &["b"], "a 1, c 1");
        let universe = universe("a 1");
        let error = solve(&universe, &request("a", &["a"])).unwrap_err();
        let DistroError::Unsolvable { source } = error else { panic!("{error}") };
        assert_eq!(source.reason, "`a` is excluded");
    }

    #[test]
    fn without_dependencies_only_what_is_asked_for_is_taken() {
        let universe = universe("a 1; Depends: b; Conflicts: c\nb 1\nc 1");
        let request = Request { dependencies: false, ..request("a, c", &[]) };
        let names: Vec<&str> = solve(&universe, &request).unwrap().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn why_there_is_no_answer_is_said_with_who_asked() {
        fails("a 1", "b", "`b` cannot be had: there is no package `b` (the recipe asks for it)");
        fails("a 1", "a (>= 2)", "`a (>= 2)` cannot be had: `a` is there as 1 only (the recipe asks for it)");
        fails(
            "a 1; Depends: b\nb 1; Depends: c | d (= 2)\nd 1",
            "a",
            "`c | d (= 2)` cannot be had: there is no package `c`, and `d` is there as 1 only (wanted by b (1), which is wanted by a (1), which the recipe asks for)",
        );
        fails(
            "a 1; Depends: c\nb 1; Conflicts: c\nc 1",
            "b, a",
            "`c` cannot be had: b (1) conflicts with c (1), by `c` (wanted by a (1), which the recipe asks for)",
        );
        fails(
            "a 1; Breaks: b (<< 2)\nb 1",
            "b, a",
            "`a` cannot be had: a (1) conflicts with b (1), by `b (<< 2)` (the recipe asks for it)",
        );
        fails(
            "a 1; Depends: b (= 1)\nb 1\nb 2",
            "b (= 2), a",
            "`b (= 1)` cannot be had: b (2) is chosen already, and not b (1) (wanted by a (1), which the recipe asks for)",
        );
    }
}
