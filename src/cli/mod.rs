//! The command line: words in, requests to the desk, results and exit codes out.
//!
//! It decides nothing about consents or deliveries; what a request does is the same whether the daemon
//! answers it or a desk that this command opens itself.

mod args;
mod backup;
mod calendar;
mod check;
mod cron;
mod demo;
mod import;
mod looks;
mod names;
mod people;
mod print;
mod reach;
mod run;
mod templates;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use self::args::{
    Appointments, Cli, Command, Consents, Deliveries, Doubt, Explain, InApps, Lang, Next, Occurrences,
    Output, People, SchemaOf, Templates, Verdict, What, Whom,
};
use self::print::{Colour, Look, Printer, Taste};
use self::reach::{Reach, Without};
use crate::admin::answer::{Exit, Failure, Frame};
use crate::admin::request::{DoubtVerdict, ImportKind, Request};
use crate::domain::config::Config;
use crate::domain::language::Language;
use crate::rules;
use crate::settings::Environment;
use crate::telemetry::{self, Reader};
use crate::zoneinfo;

/// Runs the program with the arguments of this process; answers its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; clap prints them to stdout, mistakes to stderr.
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _closed = error.print();
            return ExitCode::from(if asked { Exit::Done.code() } else { Exit::Usage.code() });
        }
    };
    let environment = Environment::process();
    match run(cli, environment) {
        Ok(exit) => ExitCode::from(exit.code()),
        // The reader of the result has gone, and with it whoever would read an error.
        Err(Failure { exit: Exit::Done, message: _ }) => ExitCode::SUCCESS,
        Err(failure) => {
            print::error(&failure.message);
            ExitCode::from(failure.exit.code())
        }
    }
}

fn run(cli: Cli, environment: Environment) -> Result<Exit, Failure> {
    let Cli { config: named, lang, command } = cli;
    let language = match lang {
        Some(Lang::Zh) => Language::Chinese,
        Some(Lang::En) => Language::English,
        None => environment.language(),
    };
    let path = named.clone().unwrap_or_else(|| environment.default_config());
    let colour = if environment.no_color() { Colour::Never } else { Colour::Welcome };
    let taste = Taste { colour, language };
    let ask =
        |request, output, look, without| ask(&path, language, request, printer(output, look, taste), without);
    read_clocks(&command, &environment, language);
    match command {
        Command::Run => {
            log(&environment);
            run::run(&path, environment)
        }
        Command::Demo(args) => {
            log(&environment);
            run::demo(args, environment)
        }
        Command::Check(args) => {
            let found = if named.is_none() { check::config_of(&args.files) } else { None };
            let path = found.unwrap_or(path);
            let world = run::World::new(environment);
            let platform = if args.online { templates::online(&path, &world)? } else { None };
            check::run(&path, &args, platform.as_ref(), language)
        }
        Command::Schema(args) => {
            let schema = match args.which {
                SchemaOf::Schedule => rules::schema::schedule(),
                SchemaOf::Calendar => rules::schema::calendar(),
                SchemaOf::Config => rules::schema::config(),
            };
            broken_pipe(print::say(&format!("{schema:#}")))?;
            Ok(Exit::Done)
        }
        Command::Calendar(args) => {
            let config = rules::load_config(&path).map_err(|found| load_failure(&found, language))?.value;
            calendar::run(&config, &args, &mut printer(args.output, looks::CALENDAR, taste), language)
        }
        Command::Next(args) => {
            if let Some(text) = &args.cron {
                return cron::run(text, &args, &mut printer(args.output, looks::DUES, taste), language);
            }
            let span_s = span(&args.span)?;
            let request = Request::Next { rule: args.rule, span_s, at: args.at };
            ask(request, args.output, looks::NEXT, Without::StoreAndRules)
        }
        Command::Explain(Explain { rule, to: who, at, reveal, output }) => {
            let request = Request::Explain { rule, who, at, reveal: reveal.reveal, lang: language.into() };
            ask(request, output, looks::EXPLAIN, Without::StoreAndRules)
        }
        Command::Send(args::Send { to: who, rule, appointment, dry_run, reveal, output }) => {
            let (reveal, lang) = (reveal.reveal, language.into());
            let request = Request::Send { rule, who, appointment, dry_run, reveal, lang };
            ask(request, output, looks::SEND, Without::Nothing)
        }
        Command::Reload(output) => {
            match ask(Request::Reload { lang: language.into() }, output, looks::RELOAD, Without::Nothing) {
                // The daemon would refuse the same file, but the way to it is in that file.
                Err(failure) if failure.exit == Exit::Config => {
                    refused_reload(&path, output, failure, language)
                }
                asked => asked,
            }
        }
        Command::Status(output) => ask(Request::Status, output, looks::STATUS, Without::Nothing),
        Command::Templates(Templates::Pull(args)) => {
            templates::pull(&path, &args, &run::World::new(environment), language)
        }
        Command::AcceptClock(output) => ask(Request::AcceptClock, output, looks::CLOCK, Without::Nothing),
        Command::Pause(args::Pause { what: What { app, rule }, reason, output }) => {
            // Whether there is such a rule.
            let without = if rule.is_some() { Without::StoreAndPerhapsRules } else { Without::Store };
            ask(Request::Pause { app, rule, reason }, output, looks::PAUSED, without)
        }
        Command::Resume(args::Resume { what: What { app, rule }, output }) => {
            ask(Request::Resume { app, rule }, output, looks::PAUSED, Without::Store)
        }
        Command::Release(args::Release { rule, lost_since, output }) => {
            // What came due meanwhile is asked of the rules.
            let without = if lost_since.is_some() { Without::StoreAndRules } else { Without::Store };
            ask(Request::Release { rule, lost_since }, output, looks::RELEASED, without)
        }
        Command::Backup(args::Backup { file, output }) => {
            let config = load(&path, language)?;
            let mut printer = printer(output, looks::BACKUP, taste);
            runtime()?.block_on(backup::backup(config, &file, &mut printer, taste))
        }
        Command::Restore(args::Backup { file, output }) => {
            let config = load(&path, language)?;
            let mut printer = printer(output, looks::RESTORE, taste);
            runtime()?.block_on(backup::restore(&config, &file, &mut printer, taste))
        }
        Command::Fsck(output) => ask(Request::Fsck, output, looks::FSCK, Without::Store),
        Command::Consents(Consents::Show { openid: who, app, reveal, output }) => {
            let request = Request::ConsentsShow { app, who, reveal: reveal.reveal };
            ask(request, output, looks::CONSENTS, Without::Store)
        }
        Command::Consents(Consents::Grant { openid: who, template, n, app, reveal, output }) => {
            let request = Request::ConsentsGrant { app, who, template, n, reveal: reveal.reveal };
            ask(request, output, looks::GRANT, Without::Store)
        }
        Command::Consents(Consents::Import(args)) => import(&path, ImportKind::Consents, args, taste),
        Command::People(People::Show(Whom { openid: who, app, reveal, output })) => {
            let request = Request::PeopleShow { app, who, reveal: reveal.reveal };
            ask(request, output, looks::PERSON, Without::Store)
        }
        Command::People(People::Mute(args)) => {
            let output = args.whom.output;
            ask(mute(args, true), output, looks::IN_APPS, Without::Store)
        }
        Command::People(People::Unmute(args)) => {
            let output = args.whom.output;
            ask(mute(args, false), output, looks::IN_APPS, Without::Store)
        }
        Command::People(People::Erase(InApps { whom, all_apps })) => {
            let Whom { openid: who, app, reveal, output } = whom;
            let request = Request::PeopleErase { app, who, all_apps, reveal: reveal.reveal };
            ask(request, output, looks::IN_APPS, Without::Store)
        }
        Command::People(People::Import(args)) => import(&path, ImportKind::People, args, taste),
        Command::Appointments(Appointments::List { openid: who, kind, app, reveal, output }) => {
            let request = Request::AppointmentsList { app, kind, who, reveal: reveal.reveal };
            ask(request, output, looks::APPOINTMENTS, Without::Store)
        }
        Command::Appointments(Appointments::Show { kind, id, app, reveal, output }) => {
            let request = Request::AppointmentsShow { app, kind, id, reveal: reveal.reveal };
            ask(request, output, looks::APPOINTMENT, Without::Store)
        }
        Command::Appointments(Appointments::Delete { kind, id, app, output }) => {
            ask(Request::AppointmentsDelete { app, kind, id }, output, looks::DELETED, Without::Store)
        }
        Command::Appointments(Appointments::Import(args)) => {
            import(&path, ImportKind::Appointments, args, taste)
        }
        Command::Occurrences(Occurrences::List { rule, output }) => {
            ask(Request::OccurrencesList { rule }, output, looks::OCCURRENCES, Without::Store)
        }
        Command::Deliveries(Deliveries::List { rule, reveal, output }) => {
            let request = Request::DeliveriesList { rule, reveal: reveal.reveal };
            ask(request, output, looks::DELIVERIES, Without::Store)
        }
        Command::Doubt(Doubt::List { reveal, output }) => {
            ask(Request::DoubtList { reveal: reveal.reveal }, output, looks::DELIVERIES, Without::Store)
        }
        Command::Doubt(Doubt::Show { id, reveal, output }) => {
            let request = Request::DoubtShow { id, reveal: reveal.reveal, lang: language.into() };
            ask(request, output, looks::DOUBT, Without::Store)
        }
        Command::Doubt(Doubt::Settle { id, rule, verdict, output }) => {
            let verdict = match verdict {
                Verdict::Sent => DoubtVerdict::Sent,
                Verdict::Failed => DoubtVerdict::Failed,
            };
            let request = match (id, rule) {
                (Some(id), _) => Request::DoubtSettle { id, verdict },
                (None, rule) => Request::DoubtSettleRule { rule: rule.unwrap_or_default(), verdict },
            };
            ask(request, output, looks::SETTLED, Without::Store)
        }
    }
}

fn mute(InApps { whom, all_apps }: InApps, muted: bool) -> Request {
    let Whom { openid: who, app, reveal, output: _ } = whom;
    Request::PeopleMute { app, who, muted, all_apps, reveal: reveal.reveal }
}

/// Puts the system's zone data in force for the commands that may tell a local time themselves.
fn read_clocks(command: &Command, environment: &Environment, language: Language) {
    let folders = environment.zone_folders();
    let release = match command {
        Command::Release(args::Release { lost_since: Some(_), .. }) => zoneinfo::read(&folders),
        // A daemon does it itself, and these ask one or nobody.
        Command::Run
        | Command::Demo(_)
        | Command::Schema(_)
        | Command::Calendar(_)
        | Command::Reload(_)
        | Command::Status(_)
        | Command::Templates(_)
        | Command::AcceptClock(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Release(_)
        | Command::Send(_)
        | Command::Fsck(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Consents(_)
        | Command::People(_)
        | Command::Appointments(_)
        | Command::Doubt(_) => None,
        Command::Next(Next { cron: Some(_), zone, .. }) => {
            zoneinfo::read_one(&folders, zone.as_deref().unwrap_or_default())
        }
        Command::Check(_)
        | Command::Next(_)
        | Command::Explain(_)
        | Command::Occurrences(_)
        | Command::Deliveries(_) => zoneinfo::read(&folders),
    };
    if let Some(release) = release {
        for remark in release.remarks() {
            print::note(remark.to(language));
        }
        release.put_in_force();
    }
}

fn log(environment: &Environment) {
    let reader = if environment.is_journal() { Reader::Journal } else { Reader::Terminal };
    telemetry::init(environment.log_filter().as_deref(), reader);
}

fn printer(output: Output, look: Look, taste: Taste) -> Printer {
    if output.json { Printer::json() } else { Printer::people(look, taste) }
}

/// A runtime for one command: it waits for one thing at a time.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::new(Exit::Internal, format!("no runtime: {error}")))
}

/// The configuration that a command works with.
fn load(path: &Path, language: Language) -> Result<Config, Failure> {
    match rules::load_config(path) {
        Ok(loaded) => Ok(loaded.value),
        Err(found) => Err(load_failure(&found, language)),
    }
}

fn load_failure(found: &rules::Diagnostics, language: Language) -> Failure {
    let lead = match language {
        Language::English => "the configuration cannot be used",
        Language::Chinese => "配置文件无法使用",
    };
    Failure::new(Exit::Config, format!("{lead}\n{}", found.text(language)))
}

/// Sends one request and prints its answer.
fn ask(
    path: &Path,
    language: Language,
    request: Request,
    mut printer: Printer,
    without: Without,
) -> Result<Exit, Failure> {
    let config = load(path, language);
    runtime()?.block_on(async {
        let mut reach = match config {
            Ok(config) => Reach::find(config, without).await?,
            // A daemon goes on with the last good files, and says so.
            Err(failure) => match rules::admin_socket(path) {
                Some(socket) => Reach::daemon(&socket).await.ok().flatten().ok_or(failure)?,
                None => return Err(failure),
            },
        };
        let mut reply = reach.ask(request).await?;
        while let Some(frame) = reply.next().await {
            match frame {
                Frame::Line(line) => broken_pipe(printer.line(&line))?,
                Frame::Note(note) => print::note(&note),
                Frame::End(end) => {
                    broken_pipe(printer.end())?;
                    return match end.message {
                        Some(message) => Err(Failure::new(end.exit, message)),
                        None => Ok(end.exit),
                    };
                }
            }
        }
        Err(Failure::new(Exit::Store, "the daemon stopped in the middle of the answer; try again"))
    })
}

fn import(path: &Path, what: ImportKind, args: args::Import, taste: Taste) -> Result<Exit, Failure> {
    let config = load(path, taste.language)?;
    let mut printer = printer(args.output, looks::IMPORT, taste);
    runtime()?.block_on(import::run(config, what, args.app, &args.file, &mut printer, taste.colour))
}

fn refused_reload(
    path: &Path,
    output: Output,
    failure: Failure,
    language: Language,
) -> Result<Exit, Failure> {
    if !output.json {
        return Err(Failure::new(Exit::NotInOrder, failure.message));
    }
    let report = rules::check(path).to_json(language);
    let refused = serde_json::json!({ "at": null, "ok": false, "diagnostics": report.get("diagnostics") });
    broken_pipe(print::say(&refused.to_string()))?;
    Ok(Exit::NotInOrder)
}

/// A reader that went away ends the command well; any other failure to print is one.
fn broken_pipe(printed: io::Result<()>) -> Result<(), Failure> {
    printed.map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::new(Exit::Done, String::new());
        }
        Failure::new(Exit::Internal, format!("cannot print the result: {error}"))
    })
}

/// Seconds of a time such as `30m`, `12h`, `7d`, `2w`.
fn span(text: &str) -> Result<u64, Failure> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let n: u64 = text.trim().strip_suffix(unit)?.trim_end().parse().ok()?;
        n.checked_mul(seconds).filter(|seconds| *seconds > 0)
    });
    parsed.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("--for `{text}`: write a time such as 30m, 12h, 7d or 2w"))
    })
}

#[cfg(test)]
mod tests;
