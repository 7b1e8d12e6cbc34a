//! "Did you mean": the closest of a list of names.

/// The name closest to `word`, without regard to case, if it is close at all: at most two edits, and fewer than half of the word.
pub fn closest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let limit = (word.len() / 2).min(2);
    let best =
        names.into_iter().map(|name| (distance(&word, &name.to_lowercase()), name)).min_by_key(|(d, _)| *d);
    best.filter(|(distance, _)| *distance <= limit).map(|(_, name)| name)
}

/// Edit distance: insertions, deletions, replacements, and swaps of neighbours.
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let width = b.len() + 1;
    let mut before_last = vec![usize::MAX; width];
    let mut last: Vec<usize> = (0..width).collect();
    let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX);
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let replaced = get(&last, j).saturating_add(usize::from(ca != cb));
            let mut best =
                replaced.min(get(&last, j + 1).saturating_add(1)).min(get(&row, j).saturating_add(1));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca);
            if swapped {
                best = best.min(get(&before_last, j - 1).saturating_add(1));
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    get(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_close_names() {
        let check =
            |word, expected| assert_eq!(closest(word, ["RUN", "COPY", "FROM", "EXPOSE"]), expected, "{word}");
        check("FORM", Some("FROM"));
        check("coyp", Some("COPY"));
        check("RUNN", Some("RUN"));
        check("EXPSE", Some("EXPOSE"));
        check("X", None);
        check("", None);
        check("SOMETHING", None);
    }
}
