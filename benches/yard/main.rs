//! Yardsticks: what the whole program costs, beside the barest thing that does the same work in the same run.
//!
//! `cargo bench` measures all of them, `cargo bench -- sends` one, `cargo bench -- --smoke` tries that they
//! work in a few seconds. The daemon is the real release binary with its store on the real disk; the
//! platform and the bare server are processes of their own, so that CPU is told apart. Results are asserted,
//! times never: the figures are for people, and only ratios within one run mean something.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    clippy::print_stdout,
    clippy::format_push_string,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a yardstick may fail, prints its figures, builds texts plainly, and reckons with times and counts"
)]

mod claims;
mod figures;
mod grants;
mod lateness;
mod line;
mod recurrence;
mod sends;
mod world;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Enough for figures.
    Real,
    /// Enough to see that it works.
    Smoke,
}

/// Measures, prints and asserts.
type Measure = fn(Size, &tokio::runtime::Runtime);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((role, rest)) = words.split_first()
        && world::play(role, rest)
    {
        return;
    }
    let size = if words.iter().any(|word| word == "--smoke") { Size::Smoke } else { Size::Real };
    // cargo adds `--bench`.
    let named: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let runtime = world::runtime();
    let cores = std::thread::available_parallelism().unwrap();
    println!("{cores} cores, {size:?} size; `x` is the ratio to the bare one of the same run");
    let all: [(&str, Measure); 5] = [
        ("sends", sends::measure),
        ("grants", grants::measure),
        ("lateness", lateness::measure),
        ("claims", claims::measure),
        ("recurrence", recurrence::measure),
    ];
    for (name, measure) in all {
        if named.is_empty() || named.contains(&name) {
            println!();
            measure(size, &runtime);
        }
    }
}
