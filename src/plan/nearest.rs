//! The word that was probably meant, for messages about unknown ones.

/// The choice nearest to `word` by edits of single characters, when it is near enough to be a slip.
///
/// A third of the longer word's characters may differ, a swap of neighbours counts once, case not at all.
/// Of equally near ones the first wins.
#[must_use]
pub fn nearest<'a>(word: &str, choices: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are no slips of anything here.
    const MAX_CHARS: usize = 64;
    let word: Vec<char> = word.to_lowercase().chars().take(MAX_CHARS + 1).collect();
    if word.len() > MAX_CHARS {
        return None;
    }
    let near = |choice: &'a str| {
        let chars: Vec<char> = choice.to_lowercase().chars().collect();
        let distance = distance(&word, &chars);
        (distance * 3 <= word.len().max(chars.len())).then_some((distance, choice))
    };
    choices.into_iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, choice)| choice)
}

/// Edits between two words: insert, delete, replace, swap neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    // The rows of two and of one letter of `a` ago; in each, a place before the first letter of `b`.
    let (mut before, mut above): (Option<Vec<usize>>, Vec<usize>) = (None, (0..=b.len()).collect());
    let mut last = None;
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left = i + 1;
        for (j, (y, pair)) in b.iter().zip(above.windows(2)).enumerate() {
            let [diagonal, up] = pair else { continue };
            left = (diagonal + usize::from(x != y)).min(up + 1).min(left + 1);
            let swapped = j.checked_sub(1).filter(|k| b.get(*k) == Some(x) && last == Some(y));
            if let Some(before) = swapped.and_then(|k| before.as_ref()?.get(k)) {
                left = left.min(before + 1);
            }
            row.push(left);
        }
        before = Some(std::mem::replace(&mut above, row));
        last = Some(x);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let table = [
            ("feilds", Some("fields")),
            ("field", Some("fields")),
            ("FIELDS", Some("fields")),
            ("deu", Some("due")),
            ("appointment", None),
            ("x", None),
            ("", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, ["due", "fields", "tags"]), expected, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(10_000), ["due"]), None);
    }
}
