//! `import` of consents, people and appointments: a file is checked whole, then booked piece by piece.
//!
//! Of consents and people the store remembers by the file's digest how far it came, so after a kill the same command
//! goes on where it was, and once more counts nothing; appointments are put again. The file is read twice and never
//! held in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use sha2::Digest as _;

use super::print::{Colour, Printer};
use super::reach::{Reach, Reply, Without};
use super::{broken_pipe, print};
use crate::admin::answer::{Exit, Failure, Frame};
use crate::admin::import::{self, MAX_LINE_BYTES, Row};
use crate::admin::request::{ImportKind, Request};
use crate::admin::who;
use crate::domain::config::{App, Config};
use crate::domain::count::n_of;
use crate::store::MAX_IMPORT_ROWS;

/// What the check of a file learned.
#[derive(Debug, PartialEq, Eq)]
struct Checked {
    rows: u64,
    asked: u64,
    digest: String,
}

/// Imports `file`.
///
/// # Errors
/// 65 with the line, before anything is booked; or why the booking stopped: the same command goes on.
pub(super) async fn run(
    config: Config,
    what: ImportKind,
    app: Option<String>,
    file: &Path,
    printer: &mut Printer,
    colour: Colour,
) -> Result<Exit, Failure> {
    let checked = check(what, who::app(&config, app.as_deref())?, file)?;
    let mut reach = Reach::find(config, Without::Store).await?;
    let before =
        figure(reach.ask(Request::Imported { digest: checked.digest.clone() }).await?, "imported").await?.0;
    let bar = bar(checked.rows, colour);
    bar.set_position(before);
    let mut reader = open(file)?;
    let mut line = String::new();
    for number in 0..before.min(checked.rows) {
        next_line(&mut reader, &mut line).map_err(|why| at_line(file, number + 1, &why))?;
    }
    let (mut done, mut granted, mut n_changed) = (before, 0, 0);
    while done < checked.rows {
        let mut rows = Vec::with_capacity(MAX_IMPORT_ROWS);
        while rows.len() < MAX_IMPORT_ROWS && done + n_of(rows.len()) < checked.rows {
            let number = done + n_of(rows.len()) + 1;
            let more = next_line(&mut reader, &mut line).map_err(|why| at_line(file, number, &why))?;
            if !more {
                return Err(changed(file));
            }
            rows.push(line.clone());
        }
        let to = done + n_of(rows.len());
        let (digest, app) = (checked.digest.clone(), app.clone());
        let request = Request::Import { what, app, digest, first: done, rows };
        let (imported, granted_now, changed_now) = figure(reach.ask(request).await?, "imported").await?;
        if imported != to {
            return Err(Failure::new(
                Exit::Store,
                format!("the same file is being imported elsewhere, which is at row {imported}; try again"),
            ));
        }
        done = to;
        granted += granted_now;
        n_changed += changed_now;
        bar.set_position(done);
    }
    bar.finish_and_clear();
    let mut summary = serde_json::json!({
        "rows": checked.rows, "already": before.min(checked.rows), "asked": checked.asked, "granted": granted,
    });
    if what == ImportKind::Appointments {
        summary.as_object_mut().map(|summary| summary.insert("changed".to_owned(), n_changed.into()));
    }
    broken_pipe(printer.line(&summary.to_string()).and_then(|()| printer.end()))?;
    if before == 0 && granted < checked.asked {
        print::note(&format!(
            "{} acceptances were not granted: accounts hold at most 100, and a refusal stands against older ones",
            checked.asked - granted
        ));
    }
    Ok(Exit::Done)
}

/// Reads the whole file, row by row, and learns its digest.
fn check(what: ImportKind, app: &App, file: &Path) -> Result<Checked, Failure> {
    let mut reader = open(file)?;
    let mut digest = import::digest(what, app);
    let mut line = String::new();
    let (mut rows, mut asked) = (0, 0);
    let mut refs = HashMap::new();
    loop {
        let number = rows + 1;
        if !next_line(&mut reader, &mut line).map_err(|why| at_line(file, number, &why))? {
            break;
        }
        let row = import::row(what, app, &line).map_err(|why| at_line(file, number, &why.to_string()))?;
        if let Row::Person { openid, profile } = &row
            && let Some(reference) = &profile.reference
            && let Some(holder) = refs.insert(key(reference.as_str()), key(openid.as_str()))
            && holder != key(openid.as_str())
        {
            return Err(at_line(file, number, "its `ref` is another person's in a line before"));
        }
        digest.update(line.as_bytes());
        digest.update(b"\n");
        asked += import::asked(&row);
        rows = number;
    }
    if rows == 0 {
        return Err(Failure::data(format!("{}: no rows", file.display())));
    }
    Ok(Checked { rows, asked, digest: import::hex(digest) })
}

/// Stands for a text among millions, in little memory.
fn key(text: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.iter_mut().zip(sha2::Sha256::digest(text.as_bytes())).for_each(|(of_key, of_hash)| *of_key = of_hash);
    key
}

fn open(file: &Path) -> Result<BufReader<File>, Failure> {
    let opened = File::open(file).and_then(|opened| {
        let folder = opened.metadata()?.is_dir();
        if folder { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(opened) }
    });
    let opened =
        opened.map_err(|error| Failure::data(format!("cannot read `{}`: {error}", file.display())))?;
    Ok(BufReader::new(opened))
}

/// Puts the next line, without its end, into `line`; `false` at the end of the file.
fn next_line(reader: &mut impl BufRead, line: &mut String) -> Result<bool, String> {
    let mut bytes = Vec::new();
    let limit = n_of(MAX_LINE_BYTES) + 2;
    reader.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        return Ok(false);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    if bytes.len() > MAX_LINE_BYTES {
        return Err(format!("longer than {MAX_LINE_BYTES} bytes"));
    }
    *line = String::from_utf8(bytes).map_err(|_not_text| "not UTF-8 text".to_owned())?;
    Ok(true)
}

fn at_line(file: &Path, number: u64, why: &str) -> Failure {
    Failure::data(format!("{}:{number}: {why}; nothing of the file was imported", file.display()))
}

fn changed(file: &Path) -> Failure {
    Failure::data(format!("`{}` changed while it was imported", file.display()))
}

/// Reads an answer of one object: a figure of it, `granted` and `changed`.
async fn figure(mut reply: Reply, key: &str) -> Result<(u64, u64, u64), Failure> {
    let mut found = (0, 0, 0);
    while let Some(frame) = reply.next().await {
        match frame {
            Frame::Line(line) => {
                let value: Value = serde_json::from_str(&line).unwrap_or_default();
                let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
                found = (number(key), number("granted"), number("changed"));
            }
            Frame::Note(note) => print::note(&note),
            Frame::End(end) if end.exit == Exit::Done => return Ok(found),
            Frame::End(end) => {
                let message = end.message.unwrap_or_else(|| "the piece was refused".to_owned());
                return Err(Failure::new(
                    end.exit,
                    format!("{message}; the same command goes on where it stopped"),
                ));
            }
        }
    }
    Err(Failure::new(Exit::Store, "the daemon went away; the same command goes on where it stopped"))
}

fn bar(rows: u64, colour: Colour) -> ProgressBar {
    // On a pipe or in a log the target draws nothing.
    let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::stderr());
    let template = if colour == Colour::Never {
        "{bar:32} {pos}/{len} rows, {per_sec}, {eta} left"
    } else {
        "{bar:32.green} {pos}/{len} rows, {per_sec}, {eta} left"
    };
    bar.with_style(ProgressStyle::with_template(template).expect("a constant template is a valid one"))
}
