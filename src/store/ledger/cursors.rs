//! How far each rule has opened what it calls for.
//!
//! Rules are numbered as they are first seen, and the cursors of neighbours share a record: thousands of rules that
//! are due in one second then cost a few records, not one each. What was read of appointments' changes is not here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Failed;
use super::keys::{self, Name};
use super::records;
use super::state::OpenTree;
use super::tree::{Tree, Write};
use super::writer::Desk;
use crate::domain::id::RuleId;

/// Cursors in one record: a single rule that moves on writes a few hundred bytes, and a batch of neighbours one or two
/// records.
const TOGETHER: usize = 32;

/// Milliseconds of the cursors of one record.
type Neighbours = [Option<i64>; TOGETHER];

/// All rules that were ever seen and their cursors, as the writer holds them.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    numbers: HashMap<Name, HashMap<RuleId, usize>>,
    records: Vec<Neighbours>,
    n_rules: usize,
    /// Records that changed since they were last encoded.
    dirty: BTreeSet<usize>,
    /// Rules that got their number since.
    new: Vec<(Name, RuleId, usize)>,
}

impl Cursors {
    /// Those of a tree.
    pub(super) fn read(tree: &dyn Tree) -> Result<Self, Failed> {
        let mut cursors = Self::default();
        for entry in tree.prefix(keys::RULE) {
            let (key, value) = entry?;
            let (app, rule) = keys::read_rule(&key).ok_or(Failed::Record("a rule's key cannot be read"))?;
            let number = number(&value)?;
            cursors.n_rules = cursors.n_rules.max(number + 1);
            cursors.numbers.entry(app).or_default().insert(rule, number);
        }
        cursors.records.resize(cursors.n_rules.div_ceil(TOGETHER), Neighbours::default());
        for (record, neighbours) in cursors.records.iter_mut().enumerate() {
            if let Some(value) = tree.get(&key(record)?)? {
                *neighbours = records::decode(&value)?;
            }
        }
        Ok(cursors)
    }

    /// The cursor of a rule, in milliseconds; `None` where it was never started.
    pub(super) fn get(&self, app: Name, rule: &RuleId) -> Option<i64> {
        let number = self.number(app, rule)?;
        self.records.get(number / TOGETHER)?.get(number % TOGETHER).copied().flatten()
    }

    /// The number of a rule that was started.
    pub(super) fn number(&self, app: Name, rule: &RuleId) -> Option<usize> {
        self.numbers.get(&app)?.get(rule).copied()
    }

    /// All rules with their cursors, in milliseconds, in the order in which they were first seen.
    pub(super) fn in_order(&self) -> Vec<(Name, RuleId, i64)> {
        let mut all = Vec::with_capacity(self.n_rules);
        for (app, rules) in &self.numbers {
            all.extend(rules.iter().map(|(rule, number)| (*number, *app, rule.clone())));
        }
        all.sort_unstable();
        let with_cursor = |(_, app, rule): (usize, Name, RuleId)| {
            let ms = self.get(app, &rule)?;
            Some((app, rule, ms))
        };
        all.into_iter().filter_map(with_cursor).collect()
    }

    /// Moves a rule's cursor, or starts it.
    pub(super) fn put(&mut self, app: Name, rule: &RuleId, ms: i64) {
        let numbers = self.numbers.entry(app).or_default();
        let number = numbers.get(rule).copied().unwrap_or_else(|| {
            let number = self.n_rules;
            self.n_rules += 1;
            numbers.insert(rule.clone(), number);
            self.new.push((app, rule.clone(), number));
            number
        });
        let record = number / TOGETHER;
        if self.records.len() <= record {
            self.records.resize(record + 1, Neighbours::default());
        }
        if let Some(cursor) = self.records.get_mut(record).and_then(|all| all.get_mut(number % TOGETHER)) {
            *cursor = Some(ms);
            self.dirty.insert(record);
        }
    }

    /// How many keys [`changes`](Self::changes) would give.
    pub(super) fn n_changes(&self) -> usize {
        self.new.len() + self.dirty.len()
    }

    /// What changed since the last call.
    pub(super) fn changes(&mut self) -> Result<Vec<Write>, Failed> {
        let mut changes = Vec::with_capacity(self.n_changes());
        for (app, rule, number) in std::mem::take(&mut self.new) {
            changes.push((keys::rule(app, &rule), Some(records::encode(&stored(number)?)?)));
        }
        for record in std::mem::take(&mut self.dirty) {
            if let Some(neighbours) = self.records.get(record) {
                changes.push((key(record)?, Some(records::encode(neighbours)?)));
            }
        }
        Ok(changes)
    }
}

/// The cursor of a rule for a reader beside the writer.
pub(super) fn read(books: &OpenTree, app: Name, rule: &RuleId) -> Result<Option<i64>, Failed> {
    let Some(value) = books.tree.get(&keys::rule(app, rule))? else { return Ok(None) };
    let number = number(&value)?;
    let Some(value) = books.tree.get(&key(number / TOGETHER)?)? else { return Ok(None) };
    let neighbours: Neighbours = records::decode(&value)?;
    Ok(neighbours.get(number % TOGETHER).copied().flatten())
}

/// All rules with their cursors, in milliseconds, for a reader beside the writer.
pub(super) fn all(books: &OpenTree) -> Result<Vec<(Name, RuleId, i64)>, Failed> {
    let cursors = Cursors::read(&*books.tree)?;
    let mut all = Vec::with_capacity(cursors.n_rules);
    for (app, rules) in &cursors.numbers {
        all.extend(rules.keys().filter_map(|rule| Some((*app, rule.clone(), cursors.get(*app, rule)?))));
    }
    all.sort();
    Ok(all)
}

/// Numbers the rules of a layout before 5, where each had a record with its cursor. What is done is done one by one,
/// so a start that was cut off goes on.
pub(super) fn number_all(desk: &mut Desk<'_>) -> Result<(), Failed> {
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::OLD_CURSOR) {
        let (key, value) = entry?;
        let (app, rule) = keys::read_rule(&key).ok_or(Failed::Record("a cursor's key cannot be read"))?;
        desk.room(3)?;
        desk.state.cursors.put(app, &rule, records::decode(&value)?);
        desk.state.remove(key.to_vec());
    }
    Ok(())
}

fn number(value: &[u8]) -> Result<usize, Failed> {
    usize::try_from(records::decode::<u32>(value)?)
        .map_err(|_large| Failed::Record("a rule's number is too large"))
}

fn stored(number: usize) -> Result<u32, Failed> {
    u32::try_from(number).map_err(|_large| Failed::Record("there are too many rules"))
}

fn key(record: usize) -> Result<Vec<u8>, Failed> {
    Ok(keys::cursors(stored(record)?))
}
