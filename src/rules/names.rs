//! What was probably meant: the nearest of the possible names.

/// Longest name that is compared, in characters; a longer one is no slip of the pen.
const MAX_COMPARED: usize = 64;

/// The one of `possible` nearest to `text`, when it is near enough to be meant.
///
/// Near is one slip in three characters, swapped neighbours count as one; capitals and `-` for `_` are none.
pub(super) fn nearest<'a>(text: &str, possible: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(text)?;
    let allowed = (wanted.len() / 3).clamp(1, 3);
    let by_distance = possible.into_iter().filter_map(|name| {
        let distance = slips(&wanted, &plain(name)?, allowed)?;
        Some((distance, name))
    });
    by_distance.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

fn plain(text: &str) -> Option<Vec<char>> {
    let plain: Vec<char> = text.chars().take(MAX_COMPARED + 1).collect();
    let same = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    (1..=MAX_COMPARED).contains(&plain.len()).then(|| plain.into_iter().map(same).collect())
}

/// Edit distance with swaps of neighbours, when it is at most `allowed`.
fn slips(a: &[char], b: &[char], allowed: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > allowed {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX / 2);
            let mut least =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped =
                i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) && !before.is_empty();
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["template", "when", "data", "timezone", "grace", "in_flight"];
        let table = [
            ("tempalte", Some("template")),
            ("Template", Some("template")),
            ("time_zone", Some("timezone")),
            ("wen", Some("when")),
            ("in-flight", Some("in_flight")),
            ("x", None),
            ("subscription", None),
            ("", None),
        ];
        for (text, meant) in table {
            assert_eq!(nearest(text, keys), meant, "{text}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), keys), None);
    }
}
