//! Lists as people say them: `a, b and c`, `a、b 和 c`; long ones of numbers shortened without a loss.
//!
//! A shortened list still determines its members: a run has both ends, a progression its first three
//! and its last.

use crate::domain::language::Said;

/// Members from which numbers in equal steps are told by the first three and the last.
const MIN_PROGRESSION: usize = 6;
/// Members from which neighbours are told as a run.
const MIN_RUN: usize = 3;

/// `a, b and c`, `a、b 和 c`.
pub(super) fn of(words: &[Said]) -> Said {
    match words {
        [] => Said::default(),
        [only] => only.clone(),
        [all @ .., last] => {
            let joined =
                |text: fn(&Said) -> &str, comma: &str| all.iter().map(text).collect::<Vec<_>>().join(comma);
            let (en, zh) = (joined(|said| &said.en, ", "), joined(|said| &said.zh, "、"));
            Said::new(format!("{en} and {last}"), glued(&[&zh, "和", &last.zh]))
        }
    }
}

/// Numbers, each said by `word`; runs and progressions in short.
pub(super) fn of_numbers(numbers: &[u32], word: impl Fn(u32) -> Said) -> Said {
    if let [first, second, third, .., last] = numbers
        && numbers.len() >= MIN_PROGRESSION
        && step(numbers).is_some_and(|step| step > 1)
    {
        let [a, b, c, z] = [*first, *second, *third, *last].map(word);
        let zh = format!("{}、{}、{}、…、{}", a.zh, b.zh, c.zh, z.zh);
        return Said::new(format!("{a}, {b}, {c}, … and {z}"), zh);
    }
    let mut words = Vec::new();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        match run {
            [first, .., last] if run.len() >= MIN_RUN => {
                let (first, last) = (word(*first), word(*last));
                let zh = glued(&[&first.zh, "至", &last.zh]);
                words.push(Said::new(format!("{first} to {last}"), zh));
            }
            few => words.extend(few.iter().map(|number| word(*number))),
        }
    }
    of(&words)
}

/// The step of an arithmetic progression of at least two members.
pub(super) fn step(numbers: &[u32]) -> Option<u32> {
    let [first, second, ..] = numbers else { return None };
    let step = second - first;
    numbers.windows(2).all(|pair| matches!(pair, [a, b] if b - a == step)).then_some(step)
}

/// Chinese parts in a row, with a space wherever a figure meets a character.
pub(super) fn glued(parts: &[&str]) -> String {
    let mut whole = String::new();
    for part in parts {
        let (before, after) = (whole.chars().next_back(), part.chars().next());
        if let (Some(before), Some(after)) = (before, after)
            && (before.is_ascii_digit() && is_han(after) || is_han(before) && after.is_ascii_digit())
        {
            whole.push(' ');
        }
        whole.push_str(part);
    }
    whole
}

fn is_han(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}
