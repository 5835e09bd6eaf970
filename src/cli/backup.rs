//! `backup` and `restore`: all books as a file of lines, and a store made of them.
//!
//! A backup gets its name only when it has been written, synced and read back; no file is written over. What the lines
//! mean is the store's; here they are moved and looked at.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::print::{Colour, Printer, Taste};
use super::reach::{self, Reach, Without};
use super::{broken_pipe, print};
use crate::admin::answer::{Exit, Failure, Frame};
use crate::admin::instant::utc;
use crate::admin::request::Request;
use crate::clock::Clock;
use crate::domain::config::Config;
use crate::domain::count::n_of;
use crate::domain::hold::{Cause, Hold};
use crate::domain::language::{Language, Phrase, Said};
use crate::store::ledger::{Check, MAX_BACKUP_LINE, NotRestored, Summary};
use crate::store::sled::{self, Options, RestoreError};

/// Writes a backup of all books to `file`.
///
/// # Errors
/// 64 when there is such a file, 75 when it cannot be written or the store cannot promise; no file has the name then.
pub(super) async fn backup(
    config: Config,
    file: &Path,
    printer: &mut Printer,
    taste: Taste,
) -> Result<Exit, Failure> {
    let language = taste.language;
    let taken = || {
        let file = file.display();
        let said = Said::new(
            format!("`{file}` is there already; name another file"),
            format!("`{file}` 已经存在，请换一个文件名"),
        );
        Failure::new(Exit::Usage, said.to(language))
    };
    if fs::symlink_metadata(file).is_ok() {
        return Err(taken());
    }
    let mut reach = Reach::find(config, Without::Store).await?;
    let unfinished = unfinished(file, language)?;
    let failed = |error: io::Error| {
        let file = unfinished.display();
        let said =
            Said::new(format!("cannot write `{file}`: {error}"), format!("无法写入 `{file}`：{error}"));
        Failure::new(Exit::Store, said.to(language))
    };
    // What a killed one left is nobody's.
    match fs::remove_file(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
    let made = write(&mut reach, opened.map_err(failed)?, &failed, taste).await;
    let made = made.and_then(|n_lines| read_back(&unfinished, n_lines, taste));
    let put = made.and_then(|(summary, bytes)| {
        // A link takes no other file's place, as a rename would.
        match fs::hard_link(&unfinished, file) {
            Ok(()) => Ok((summary, bytes)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken()),
            // Some file systems have no links.
            Err(_) => fs::rename(&unfinished, file).map(|()| (summary, bytes)).map_err(failed),
        }
    });
    let _gone = fs::remove_file(&unfinished);
    let (Summary { made_at, n_records, sha256, .. }, bytes) = put?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    let row = serde_json::json!({
        "path": file.display().to_string(), "made_at": utc(made_at), "records": n_records, "bytes": bytes,
        "sha256": sha256,
    });
    broken_pipe(printer.line(&row.to_string()).and_then(|()| printer.end()))?;
    Ok(Exit::Done)
}

/// The name of a backup that is not whole yet.
fn unfinished(file: &Path, language: Language) -> Result<PathBuf, Failure> {
    let name = file.file_name().ok_or_else(|| {
        let file = file.display();
        let said = Said::new(format!("`{file}` is no name of a file"), format!("`{file}` 不是文件名"));
        Failure::new(Exit::Usage, said.to(language))
    })?;
    let mut name = name.to_owned();
    name.push(".unfinished");
    Ok(file.with_file_name(name))
}

/// Writes the lines of an answer and syncs them; says how many.
async fn write(
    reach: &mut Reach,
    to: File,
    failed: &impl Fn(io::Error) -> Failure,
    Taste { colour, language }: Taste,
) -> Result<u64, Failure> {
    let bar = bar(None, Phrase::new("records written", "条已写入").to(language), colour);
    let mut to = BufWriter::new(to);
    let mut reply = reach.ask(Request::Backup).await?;
    while let Some(frame) = reply.next().await {
        match frame {
            Frame::Line(line) => {
                let line = line.trim_end_matches('\n');
                to.write_all(line.as_bytes()).and_then(|()| to.write_all(b"\n")).map_err(failed)?;
                bar.inc(1);
            }
            Frame::Note(note) => print::note(&note),
            Frame::End(end) if end.exit == Exit::Done => {
                let file = to.into_inner().map_err(|error| failed(error.into_error()))?;
                file.sync_all().map_err(failed)?;
                bar.finish_and_clear();
                return Ok(bar.position());
            }
            Frame::End(end) => {
                let refused = Phrase::new("the backup was refused", "备份被拒绝");
                let message = end.message.unwrap_or_else(|| refused.to(language).to_owned());
                return Err(Failure::new(end.exit, message));
            }
        }
    }
    let stopped = Phrase::new(
        "the daemon stopped in the middle of the backup; try again",
        "备份到一半守护进程停了，请再试一次",
    );
    Err(Failure::new(Exit::Store, stopped.to(language)))
}

/// Reads a file that was written, as a restore would; says what is in it and its size.
fn read_back(file: &Path, n_lines: u64, taste: Taste) -> Result<(Summary, u64), Failure> {
    let bad = |why: String| {
        let said = Said::new(
            format!("what was written cannot be read back: {why}; nothing was kept of it"),
            format!("写下的内容读不回来：{why}；没有保留"),
        );
        Failure::new(Exit::Store, said.to(taste.language))
    };
    let summary = check(file, Some(n_lines), taste).map_err(|failure| bad(failure.message))?;
    let bytes = fs::metadata(file).map_err(|error| bad(error.to_string()))?.len();
    Ok((summary, bytes))
}

/// Makes a store of the backup in `file`.
///
/// # Errors
/// 65 with the line, before anything is written; 1 when there are books already; 75 when a daemon runs or the store cannot
/// be written.
pub(super) async fn restore(
    config: &Config,
    file: &Path,
    printer: &mut Printer,
    taste: Taste,
) -> Result<Exit, Failure> {
    let Taste { colour, language } = taste;
    let summary = check(file, None, taste)?;
    if Reach::daemon(&config.admin.socket).await?.is_some() {
        let said = Phrase::new(
            "a daemon runs on this store; stop it first: `systemctl stop tixing`, or its own terminal",
            "守护进程正在用这个存储，请先停下：`systemctl stop tixing`，或在它自己的终端里停",
        );
        return Err(Failure::new(Exit::Store, said.to(language)));
    }
    reach::own(&config.store)?;
    let bar = bar(Some(summary.n_records), Phrase::new("records restored", "条已恢复").to(language), colour);
    let lines = lines(file, language)?.inspect(|_| bar.inc(1));
    let options = Options::new(config.store.clone());
    let restored = sled::restore(&options, &Clock::system(), lines)
        .map_err(|error| not_restored(error, config, language))?;
    bar.finish_and_clear();
    let made_at = restored.summary.made_at;
    let hold = Hold { cause: Cause::Restored { made_at }, since: made_at };
    let n_violations = n_of(restored.fsck.violations.len());
    let row = serde_json::json!({
        "store": config.store.display().to_string(), "made_at": utc(made_at),
        "records": restored.summary.n_records, "hold": hold.to_string(), "violations": n_violations,
    });
    broken_pipe(printer.line(&row.to_string()).and_then(|()| printer.end()))?;
    let since = utc(made_at);
    let next = Said::new(
        format!(
            "start the daemon, let the backend send again what it has reported since {since}, and end the hold: tixing release --lost-since {since}"
        ),
        format!(
            "接下来：启动守护进程，让后端把 {since} 以来上报过的重新上报，再解除停发：tixing release --lost-since {since}"
        ),
    );
    print::note(next.to(language));
    Ok(if n_violations == 0 { Exit::Done } else { Exit::NotInOrder })
}

fn not_restored(error: RestoreError, config: &Config, language: Language) -> Failure {
    let store = config.store.display();
    match error {
        RestoreError::Books(NotRestored::NotEmpty) => {
            let said = Said::new(
                format!(
                    "the store `{store}` has books already, and a restore makes new ones only; move them away first: mv {store} {store}.old"
                ),
                format!("存储 `{store}` 里已经有账本，恢复只能新建；请先移走：mv {store} {store}.old"),
            );
            Failure::new(Exit::NotInOrder, said.to(language))
        }
        RestoreError::Books(error @ (NotRestored::Line { .. } | NotRestored::File(_))) => {
            Failure::data(format!("{:#}", anyhow::Error::new(error)))
        }
        RestoreError::Books(error @ NotRestored::Store(_)) => {
            Failure::new(Exit::Store, format!("{:#}", anyhow::Error::new(error)))
        }
        RestoreError::Folder(error) => reach::not_opened(error),
    }
}

/// Reads a whole backup, line by line.
fn check(file: &Path, n_lines: Option<u64>, taste: Taste) -> Result<Summary, Failure> {
    let Taste { colour, language } = taste;
    let bar = bar(n_lines, Phrase::new("records checked", "条已检查").to(language), colour);
    let mut check = Check::default();
    let at = |number: u64, why: &str| Failure::data(format!("{}:{number}: {why}", file.display()));
    for line in lines(file, language)? {
        let number = check.n_lines() + 1;
        let line = line.map_err(|error| at(number, &error.to_string()))?;
        check.line(&line).map_err(|why| at(number, &why))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let number = check.n_lines();
    check.end().map_err(|why| at(number, &why))
}

/// The lines of a file, without their ends, none longer than a backup has.
fn lines(
    file: &Path,
    language: Language,
) -> Result<impl Iterator<Item = io::Result<String>> + use<>, Failure> {
    let unreadable = |error: io::Error| {
        let file = file.display();
        let said = Said::new(format!("cannot read `{file}`: {error}"), format!("无法读取 `{file}`：{error}"));
        Failure::data(said.to(language))
    };
    let opened = File::open(file).map_err(unreadable)?;
    if opened.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    let mut reader = BufReader::new(opened);
    Ok(std::iter::from_fn(move || next_line(&mut reader).transpose()))
}

fn next_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(n_of(MAX_BACKUP_LINE) + 1).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line without end, or one that is too long",
        ));
    }
    let line = String::from_utf8(bytes);
    line.map(Some).map_err(|_bad| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

fn bar(records: Option<u64>, what: &str, colour: Colour) -> ProgressBar {
    // On a pipe or in a log the target draws nothing.
    let bar = ProgressBar::with_draw_target(records, ProgressDrawTarget::stderr());
    let template = match (records, colour) {
        (None, _) => format!("{{pos}} {what}, {{per_sec}}"),
        (Some(_), Colour::Never) => {
            format!("{{bar:32}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left")
        }
        (Some(_), Colour::Welcome) => {
            format!("{{bar:32.green}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left")
        }
    };
    bar.with_style(ProgressStyle::with_template(&template).expect("a constant template is a valid one"))
}
