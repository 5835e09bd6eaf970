//! What was spent: CPU of a process, as the kernel counts it, and how figures are put.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

/// Length of the ticks in which Linux counts a process's CPU.
const TICK_US: u64 = 10_000;

/// What a process has used since its start, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) user: u64,
    pub(crate) system: u64,
    /// Of both: the store's writer thread.
    pub(crate) writer: u64,
}

impl Spent {
    /// What the process with this number has used.
    pub(crate) fn by(pid: u32) -> Self {
        let (user, system) = ticks(&format!("/proc/{pid}/stat"));
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().map(|task| task.path());
        let writers = tasks.filter(|task| {
            // A thread that has ended meanwhile is no writer.
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "store-writer")
        });
        let writer = writers.map(|task| ticks(task.join("stat").to_str().unwrap())).map(|(u, s)| u + s).sum();
        Self { user, system, writer }
    }

    /// What this process has used.
    pub(crate) fn here() -> Self {
        Self::by(std::process::id())
    }

    pub(crate) fn cpu(&self) -> u64 {
        self.user + self.system
    }
}

impl Sub for Spent {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
            writer: self.writer - before.writer,
        }
    }
}

/// User and system time of a `stat` file; the name before them may hold anything but a last bracket.
fn ticks(path: &str) -> (u64, u64) {
    let stat = fs::read_to_string(path).unwrap();
    let mut fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap() * TICK_US;
    (next(), next())
}

/// The value below which this share of the sorted values lies.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index between 0 and the length"
    )]
    let index = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[index]
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
