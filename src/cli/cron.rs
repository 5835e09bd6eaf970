//! `next --cron`: what an expression means in a zone, without rules, store or daemon.

use serde::Serialize;

use super::args::{DstWord, Next};
use super::broken_pipe;
use super::print::{Printer, say};
use crate::admin::answer::{Exit, Failure};
use crate::admin::instant::{local, parse, remark, utc};
use crate::domain::language::Language;
use crate::domain::occurrence::Due;
use crate::domain::when::{Cron, Dst, When};
use crate::domain::zone::Zone;
use crate::plan::recurrence::{Window, dues, next};
use crate::plan::words;

#[derive(Serialize)]
struct DueRow {
    due_at: String,
    local: String,
    remark: Option<String>,
}

/// Prints the due times of `text`, as many as asked for.
///
/// # Errors
/// 64: expression, zone or instants cannot be read.
pub(super) fn run(
    text: &str,
    args: &Next,
    printer: &mut Printer,
    language: Language,
) -> Result<Exit, Failure> {
    let usage = |what: &str, why: String| Failure::new(Exit::Usage, format!("{what}: {why}"));
    let cron = Cron::parse(text).map_err(|bad| {
        let at = text.get(..bad.at).unwrap_or(text).chars().count() + 1;
        let (message, help) = (bad.message.to(language), bad.help.to(language));
        let why = match language {
            Language::English => format!("{message} (at character {at}); {help}"),
            Language::Chinese => format!("{message}（第 {at} 个字符）；{help}"),
        };
        usage("--cron", why)
    })?;
    let zone = args.zone.as_deref().unwrap_or_default();
    let zone = Zone::parse(zone)
        .map_err(|bad| usage("--zone", format!("`{zone}`: {bad}; such as Asia/Shanghai")))?;
    let instant = |what: &str, text: &str| parse(text).map_err(|bad| usage(what, bad));
    let mut after = instant("--from", args.from.as_deref().unwrap_or_default())?;
    let dst = match args.dst {
        None | Some(DstWord::Auto) => Dst::Auto,
        Some(DstWord::Skip) => Dst::Skip,
        Some(DstWord::Wall) => Dst::Wall,
        Some(DstWord::Shift) => Dst::Shift,
    };
    let when = When { dst, ..When::from(cron) };
    if !args.output.json {
        broken_pipe(say(words::when(&when).to(language)))?;
    }
    let mut print = |due: Due| {
        let row = DueRow {
            due_at: utc(due.at),
            local: local(due.at, zone),
            remark: remark(&due, zone).map(|remark| remark.en),
        };
        let line = serde_json::to_string(&row).expect("texts become JSON");
        broken_pipe(printer.line(&line))
    };
    if let Some(until) = &args.until {
        let until = instant("--until", until)?;
        for due in dues(&when, zone, Window { after, until }) {
            print(due)?;
            after = due.at;
        }
    }
    for _ in 0..args.count.unwrap_or(0) {
        let Some(due) = next(&when, zone, after) else { break };
        print(due)?;
        after = due.at;
    }
    broken_pipe(printer.end())?;
    Ok(Exit::Done)
}
