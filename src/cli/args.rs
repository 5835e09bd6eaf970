//! The command line's words, as clap reads them. What they do is elsewhere.
//!
//! One file a little over its length: what `--help` says is read as one text, from the first command to the last.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// Sends WeChat mini-program subscription messages at their due times.
#[derive(Debug, Parser)]
#[command(
    name = "tixing",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 a checked thing is not in order, 64 usage, 65 bad data, 69 no daemon,\n\
                  70 a fault of tixing itself, 75 store held by another process or failing, 77 not permitted, 78 bad configuration."
)]
pub(super) struct Cli {
    /// The configuration [default: ./tixing.yaml, else /etc/tixing/tixing.yaml]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
    /// The language of texts for people [default: the locale's]
    #[arg(long, global = true, value_enum, value_name = "LANG")]
    pub(super) lang: Option<Lang>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Lang {
    /// 中文
    Zh,
    /// English
    En,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon
    Run,
    /// Run the daemon against a fake platform, with a page to try it; needs no account
    Demo(Demo),
    /// Check the configuration and all schedule files
    Check(Check),
    /// Print the JSON Schema of a schedule file, or of tixing.yaml, for editors
    Schema(Schema),
    /// List the days of a calendar in a year
    Calendar(Calendar),
    /// Show what is due next, and who would get it; or try a cron expression
    Next(Next),
    /// Say why one person gets, or did not get, one rule's reminder, and what to do about it
    Explain(Explain),
    /// Send one message now, with a consent of the person's; or only say what would be sent
    Send(Send),
    /// Make the running daemon take over the files as they are now
    Reload(Output),
    /// Show how the daemon is; exit 1 when something needs a person
    Status(Output),
    /// Send nothing any more: of an app, of a rule, or at all; what is due expires at its deadline and keeps its consent
    Pause(Pause),
    /// Send again what was paused
    Resume(Resume),
    /// Let reminders go on that were held
    Release(Release),
    /// Accounts of consents
    #[command(subcommand)]
    Consents(Consents),
    /// Recipients
    #[command(subcommand)]
    People(People),
    /// Appointments: things with a time that belong to recipients
    #[command(subcommand)]
    Appointments(Appointments),
    /// Rules at their due times
    #[command(subcommand)]
    Occurrences(Occurrences),
    /// Messages to recipients
    #[command(subcommand)]
    Deliveries(Deliveries),
    /// Deliveries whose outcome nobody knows
    #[command(subcommand)]
    Doubt(Doubt),
    /// Prove that the books balance; exit 1 when they do not
    Fsck(Output),
    /// Write all books into a file, while the daemon runs or without one
    Backup(Backup),
    /// Make the books of a backup; everything is on hold then, until `release --lost-since`
    Restore(Backup),
    /// Send by the clock as it is, although it went back or jumped
    AcceptClock(Output),
    /// The platform's templates
    #[command(subcommand)]
    Templates(Templates),
}

#[derive(Debug, Subcommand)]
pub(super) enum Templates {
    /// Ask the platform for them, and keep kinds and fields beside the configuration
    Pull(Pull),
}

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// One app's; else all apps'
    #[arg(long, value_name = "NAME")]
    pub(super) app: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Output {
    /// Print JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}

/// How people are shown.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Reveal {
    /// Show openids in clear
    #[arg(long)]
    pub(super) reveal: bool,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where daemon and sandbox keep their books [default: under the user's state folder]
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// Where the page listens
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Tell only of these files; one from elsewhere is checked as if it were among the schedules
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The form of what is found
    #[arg(long, value_enum, value_name = "FORM", conflicts_with = "json")]
    pub(super) format: Option<Format>,
    /// Print JSON, one object: the same as `--format json`
    #[arg(long)]
    pub(super) json: bool,
    /// Exit 1 for warnings too
    #[arg(long)]
    pub(super) strict: bool,
    /// Say for people when each rule is due, in words
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Compare the templates with the platform's; needs the network, and the daemon or the secrets
    #[arg(long)]
    pub(super) online: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people, with the line and a caret
    Text,
    /// One object
    Json,
    /// Annotations of GitHub Actions
    Github,
    /// A SARIF 2.1.0 log
    Sarif,
}

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Which file's
    #[arg(value_enum, default_value_t = SchemaOf::Schedule, value_name = "WHICH")]
    pub(super) which: SchemaOf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SchemaOf {
    /// A file of the schedules folder
    Schedule,
    /// A file of its folder `calendars`
    Calendar,
    /// tixing.yaml
    Config,
}

#[derive(Debug, Args)]
pub(super) struct Calendar {
    /// Its name: the file in schedules/calendars without `.yaml`
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The year [default: this one]
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i32).range(1..=9999))]
    pub(super) year: Option<i32>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("limit").args(["until", "count"])))]
pub(super) struct Next {
    /// One rule only
    #[arg(long, value_name = "ID")]
    pub(super) rule: Option<String>,
    /// How far to look: 30m, 12h, 7d, 2w
    #[arg(long = "for", value_name = "TIME", default_value = "7d")]
    pub(super) span: String,
    /// As if it were this instant, such as 2026-03-01T09:00:00+08:00
    #[arg(long, value_name = "INSTANT")]
    pub(super) at: Option<String>,
    /// Try this expression: five fields, or six with seconds first
    #[arg(long, value_name = "EXPR", requires_all = ["zone", "from", "limit"], conflicts_with_all = ["rule", "at", "span"])]
    pub(super) cron: Option<String>,
    /// The expression's time zone, such as Asia/Shanghai
    #[arg(long, value_name = "ZONE", requires = "cron")]
    pub(super) zone: Option<String>,
    /// What becomes of times that a clock change skips or repeats
    #[arg(long, value_enum, requires = "cron")]
    pub(super) dst: Option<DstWord>,
    /// Due times after this instant
    #[arg(long, value_name = "INSTANT", requires = "cron")]
    pub(super) from: Option<String>,
    /// Due times up to this instant, itself included
    #[arg(long, value_name = "INSTANT", requires = "cron")]
    pub(super) until: Option<String>,
    /// So many due times
    #[arg(long, value_name = "N", requires = "cron")]
    pub(super) count: Option<u32>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The rule
    #[arg(long, value_name = "ID")]
    pub(super) rule: String,
    /// The person: an openid, a ref, or a mask as lists show it
    #[arg(long, value_name = "WHO")]
    pub(super) to: String,
    /// An instant such as 2026-03-01T09:00:00+08:00: a past one asks for the last due time up to it, a coming one for
    /// the first from it on [default: the next one, and the last one]
    #[arg(long, value_name = "INSTANT")]
    pub(super) at: Option<String>,
    #[command(flatten)]
    pub(super) reveal: Reveal,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Send {
    /// The person: an openid, a ref, or a mask as lists show it
    #[arg(long, value_name = "WHO")]
    pub(super) to: String,
    /// The rule that makes the message
    #[arg(long, value_name = "ID")]
    pub(super) rule: String,
    /// By a rule of appointments: which one of this person's it tells of
    #[arg(long, value_name = "ID")]
    pub(super) appointment: Option<String>,
    /// Say who, which template, which text, and whether there is a consent; take nothing, send nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) reveal: Reveal,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DstWord {
    /// As cron does: wild rules by the wall clock, others once
    Auto,
    /// Nothing for a skipped time, once for a repeated one
    Skip,
    /// Nothing for a skipped time, twice for a repeated one
    Wall,
    /// Later by the gap for a skipped time, once for a repeated one
    Shift,
}

/// What is paused or goes on; everything where neither is named.
#[derive(Debug, Args)]
pub(super) struct What {
    /// Only this app
    #[arg(long, value_name = "APP", conflicts_with = "rule")]
    pub(super) app: Option<String>,
    /// Only this rule
    #[arg(long, value_name = "RULE")]
    pub(super) rule: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    #[command(flatten)]
    pub(super) what: What,
    /// Why, for those who find it paused
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    pub(super) what: What,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// Only of this rule
    #[arg(long, value_name = "RULE", conflicts_with = "lost_since")]
    pub(super) rule: Option<String>,
    /// End the hold on everything, after a restore: what was done since then is not in these books (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(super) lost_since: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file; it holds every openid and the keys of sessions
    #[arg(value_name = "PATH")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Consents {
    /// Show accounts
    Show {
        /// One person's: an openid, a ref, or a mask as lists show it
        #[arg(long, value_name = "WHO")]
        openid: Option<String>,
        /// One app's
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        #[command(flatten)]
        reveal: Reveal,
        #[command(flatten)]
        output: Output,
    },
    /// Grant by your word, for somebody who accepted elsewhere
    Grant {
        /// For whom: an openid, a ref, or a mask as lists show it
        #[arg(long, value_name = "WHO")]
        openid: String,
        /// Name or id of the template
        #[arg(long, value_name = "NAME|ID")]
        template: String,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
        n: u32,
        /// The app, where there are several
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        #[command(flatten)]
        reveal: Reveal,
        #[command(flatten)]
        output: Output,
    },
    /// Grant from a file of {"openid","template","n"}, one a line
    Import(Import),
}

#[derive(Debug, Subcommand)]
pub(super) enum People {
    /// Show one person: who he is in each of his apps, and his consents there
    Show(Whom),
    /// Send somebody nothing any more
    Mute(InApps),
    /// Send to somebody again
    Unmute(InApps),
    /// Take somebody out of the books; what was sent stays as a count
    Erase(InApps),
    /// Put recipients from a file of {"openid","ref","tags","fields",…}, one a line
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Whom {
    /// Who: an openid, a ref, or a mask as lists show it
    #[arg(long, value_name = "WHO")]
    pub(super) openid: String,
    /// The app that knows him by this, where several people go by it
    #[arg(long, value_name = "NAME")]
    pub(super) app: Option<String>,
    #[command(flatten)]
    pub(super) reveal: Reveal,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct InApps {
    #[command(flatten)]
    pub(super) whom: Whom,
    /// In all apps that know the person by the same unionid
    #[arg(long)]
    pub(super) all_apps: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Appointments {
    /// List them
    List {
        /// One person's: an openid, a ref, or a mask as lists show it
        #[arg(long, value_name = "WHO")]
        openid: Option<String>,
        /// One kind's
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// One app's
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        #[command(flatten)]
        reveal: Reveal,
        #[command(flatten)]
        output: Output,
    },
    /// Show one, with its reminders
    Show {
        /// Its kind
        kind: String,
        /// Its id within the kind
        id: String,
        /// The app, where there are several
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        #[command(flatten)]
        reveal: Reveal,
        #[command(flatten)]
        output: Output,
    },
    /// Delete one, which ends its reminders but for what is on its way
    Delete {
        /// Its kind
        kind: String,
        /// Its id within the kind
        id: String,
        /// The app, where there are several
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Put them from a file of {"kind","id","recipients","at","fields"}, one a line, as `list --json --reveal` writes it
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file; the same file again counts nothing
    #[arg(value_name = "FILE.jsonl")]
    pub(super) file: PathBuf,
    /// The app, where there are several
    #[arg(long, value_name = "NAME")]
    pub(super) app: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Occurrences {
    /// List them in the order they were opened
    List {
        /// One rule's
        #[arg(long, value_name = "ID")]
        rule: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Deliveries {
    /// List them, occurrence by occurrence
    List {
        /// One rule's
        #[arg(long, value_name = "ID")]
        rule: Option<String>,
        #[command(flatten)]
        reveal: Reveal,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Doubt {
    /// List them, the longest in doubt first
    List {
        #[command(flatten)]
        reveal: Reveal,
        #[command(flatten)]
        output: Output,
    },
    /// Show one, with all that is known of it and until when it can be settled
    Show {
        /// Its id, as `doubt list` shows it
        id: String,
        #[command(flatten)]
        reveal: Reveal,
        #[command(flatten)]
        output: Output,
    },
    /// Settle one, or all of a rule, by what you know of them
    Settle {
        /// Its id, as `doubt list` shows it
        #[arg(required_unless_present = "rule", conflicts_with = "rule")]
        id: Option<String>,
        /// All that are in doubt of this rule
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
        /// What became of it
        #[arg(long = "as", value_enum, value_name = "WORD")]
        verdict: Verdict,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Verdict {
    /// It arrived: its grant is used up
    Sent,
    /// Nothing left: its grant goes back
    Failed,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_words_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_taken_and_what_is_usage() {
        let good = [
            "run --config x.yaml",
            "--config x.yaml run",
            "demo --state /tmp/x",
            "check --json a.yaml b.yaml",
            "--lang zh check",
            "check --format sarif --strict a.yaml",
            "check --format github",
            "check -v",
            "check --verbose --lang zh a.yaml",
            "check --online --json",
            "templates pull --app a --json",
            "next --lang en",
            "schema",
            "schema schedule",
            "schema config",
            "next --rule a --for 7d --json",
            "next --at 2026-03-01T09:00:00Z --lang en",
            "explain --rule a --to o123456789",
            "explain --rule a --to ~0123456789 --at 2026-03-01T09:00:00Z --json --lang zh --reveal",
            "next --cron 0_9_*_*_* --zone Asia/Shanghai --from 2026-03-01T00:00:00Z --count 3",
            "next --cron 0_9_*_*_* --zone UTC --dst wall --from a --until b",
            "reload --json",
            "status",
            "consents show --openid o123456789 --app a --reveal",
            "consents grant --openid o123456789 --template t --n 100",
            "consents import x.jsonl --app a --config y",
            "people import x.jsonl",
            "people show --openid 4711 --app a --reveal --json",
            "people mute --openid ~0123456789 --all-apps",
            "people unmute --openid 4711 --app a",
            "people erase --openid o123456789 --all-apps --json",
            "appointments list --openid o123456789 --kind visit --app a --reveal --json",
            "appointments show visit A17 --json",
            "appointments delete visit A17 --app a",
            "appointments import x.jsonl --app a",
            "occurrences list --rule r --json --lang zh",
            "deliveries list --reveal",
            "doubt list",
            "doubt settle d1-2-3 --as sent",
            "fsck --json",
        ];
        let parse = |line: &str| {
            let words = line.split(' ').map(|word| word.replace('_', " "));
            Cli::try_parse_from(std::iter::once("tixing".to_owned()).chain(words))
        };
        for line in good {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).expect_err("bad"));
        }
        let bad = [
            "",
            "rum",
            "run --frobnicate",
            "check --lang fr",
            "check --format xml",
            "check --format text --json",
            "next --cron x --zone UTC --from a",
            "next --cron x --from a --count 1",
            "next --cron x --zone UTC --from a --count 1 --until b",
            "next --cron x --zone UTC --from a --count 1 --rule r",
            "next --zone UTC",
            "schema rules",
            "people erase --all-apps",
            "people show 4711",
            "consents grant --template t",
            "consents grant --openid o --template t --n 0",
            "consents grant --openid o --template t --n 101",
            "doubt settle d1-2-3",
            "doubt settle d1-2-3 --as lost",
            "appointments show visit",
            "appointments delete A17",
            "consents",
            "explain --rule a",
            "explain --to o123456789",
            "explain --rule a --to o123456789 --lang fr",
        ];
        for line in bad {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
