//! `templates pull`, and what `check --online` compares with: the templates as the platform has them.
//!
//! A running daemon is asked first, since it has the secrets. Without one this process asks: the platform
//! gives it the same access token as everybody, so a daemon elsewhere is not disturbed. `tixing.yaml` is never
//! written: names are the admin's.

use std::io;
use std::path::Path;

use super::args::Pull;
use super::print::{self, say};
use super::reach::Reach;
use super::run::World;
use super::{broken_pipe, load_failure, runtime};
use crate::admin::answer::{Exit, Failure, Frame};
use crate::admin::request::Request;
use crate::admin::templates::{self, Row};
use crate::admin::who;
use crate::clock::Clock;
use crate::daemon::Outside as _;
use crate::domain::config::{App, Config};
use crate::domain::language::{Language, Said};
use crate::domain::template::Described;
use crate::rules::{self, Pulled};
use crate::wechat;

/// Asks the platform for the templates, keeps what it says beside the configuration, and shows those without
/// a name.
///
/// # Errors
/// 78 without a configuration or a secret, or when the platform refuses; 75 without an answer; 77 when the file
/// cannot be written.
pub(super) fn pull(
    config_at: &Path,
    args: &Pull,
    world: &World,
    language: Language,
) -> Result<Exit, Failure> {
    let config =
        rules::load_config_unpulled(config_at).map_err(|found| load_failure(&found, language))?.value;
    let apps: Vec<&App> = match &args.app {
        Some(name) => vec![who::app(&config, Some(name))?],
        None => config.apps.values().collect(),
    };
    let mut pulled = Pulled::load(config_at);
    let mut rows = Vec::new();
    for app in &apps {
        let described = ask(&config, app, world)?;
        rows.push(described.iter().map(|template| Row::of(app, template)).collect::<Vec<Row>>());
        if described.is_empty() {
            // As for the daemon: more likely a list that tells nothing than an account that has lost all its templates.
            print::note(&format!(
                "app {}: WeChat lists no template; what was pulled before is kept",
                app.name
            ));
            continue;
        }
        pulled.put(&app.appid, described);
    }
    let written = write(&Pulled::path(config_at), &pulled.text())?;
    for (app, rows) in apps.iter().zip(&rows) {
        if args.output.json {
            for row in rows {
                broken_pipe(say(&serde_json::to_string(row).expect("texts become JSON")))?;
            }
        } else {
            broken_pipe(say(&told(app, rows, language)))?;
        }
    }
    if !args.output.json {
        let file = Pulled::path(config_at).display().to_string();
        let text = match written {
            Written::New => Said::new(format!("written to `{file}`"), format!("已写入 `{file}`")),
            Written::Same => {
                Said::new(format!("`{file}` says the same already"), format!("`{file}` 内容没有变化"))
            }
        };
        broken_pipe(say(text.to(language)))?;
    }
    Ok(Exit::Done)
}

/// What the platform says of all apps now; `None` when the configuration cannot be read, which is told elsewhere.
///
/// # Errors
/// As [`pull`].
pub(super) fn online(config_at: &Path, world: &World) -> Result<Option<Pulled>, Failure> {
    let Ok(loaded) = rules::load_config_unpulled(config_at) else { return Ok(None) };
    let config = loaded.value;
    let mut pulled = Pulled::default();
    for app in config.apps.values() {
        pulled.put(&app.appid, ask(&config, app, world)?);
    }
    Ok(Some(pulled))
}

/// The templates of one app, from the daemon or from here.
fn ask(config: &Config, app: &App, world: &World) -> Result<Vec<Described>, Failure> {
    runtime()?.block_on(async {
        if let Ok(Some(mut daemon)) = Reach::daemon(&config.admin.socket).await {
            return ask_daemon(&mut daemon, app).await;
        }
        let secret = world.secret(&app.secret).map_err(|why| {
            let why =
                format!("the platform cannot be asked for app {}: {why}; or start the daemon", app.name);
            Failure::new(Exit::Config, why)
        })?;
        let options = wechat::Options::of(app, secret);
        let client = wechat::Client::new(options, Clock::system())
            .map_err(|error| Failure::new(Exit::Config, format!("{:#}", anyhow::Error::new(error))))?;
        let (templates, note) = templates::ask(app, &client).await?;
        if let Some(note) = note {
            print::note(&note);
        }
        Ok(templates)
    })
}

async fn ask_daemon(daemon: &mut Reach, app: &App) -> Result<Vec<Described>, Failure> {
    let mut reply = daemon.ask(Request::Templates { app: Some(app.name.to_string()) }).await?;
    let mut described = Vec::new();
    while let Some(frame) = reply.next().await {
        match frame {
            Frame::Line(line) => {
                let row = serde_json::from_str::<Row>(&line).ok().and_then(Row::described);
                described.push(row.ok_or_else(|| {
                    Failure::new(
                        Exit::Internal,
                        "the daemon answers in another form; is it the same version?",
                    )
                })?);
            }
            Frame::Note(note) => print::note(&note),
            Frame::End(end) => {
                return match end.message {
                    Some(message) => Err(Failure::new(end.exit, message)),
                    None => Ok(described),
                };
            }
        }
    }
    Err(Failure::new(Exit::Store, "the daemon stopped in the middle of the answer; try again"))
}

/// Whether a file changed.
#[derive(Clone, Copy)]
enum Written {
    New,
    Same,
}

/// Puts a text in place at once, so that a reader meets the old or the new one.
fn write(path: &Path, text: &str) -> Result<Written, Failure> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(Written::Same);
    }
    let next = path.with_extension("yaml.next");
    let put = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, path));
    put.map(|()| Written::New).map_err(|error| {
        let not_ours =
            matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
        let exit = if not_ours { Exit::NotPermitted } else { Exit::Internal };
        Failure::new(exit, format!("cannot write `{}`: {error}", path.display()))
    })
}

/// How many templates an app has, and lines to paste for those that have no name.
fn told(app: &App, rows: &[Row], language: Language) -> String {
    let (n, name) = (rows.len(), &app.name);
    let mut lines = vec![match language {
        Language::English => format!("{name}: {n} templates"),
        Language::Chinese => format!("{name}：{n} 个模板"),
    }];
    let (cards, usable): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.service_card);
    for card in cards {
        let (id, title) = (&card.id, &card.title);
        lines.push(match language {
            Language::English => {
                format!(
                    "  {id} ({title}) is a service card (新版一次性订阅消息): it cannot be sent by this call"
                )
            }
            Language::Chinese => {
                format!("  {id}（{title}）是新版一次性订阅消息（服务卡片），不能用这个接口发送")
            }
        });
    }
    let nameless: Vec<&Row> = usable.into_iter().filter(|row| row.name.is_none()).collect();
    if !nameless.is_empty() {
        lines.push(match language {
            Language::English => {
                format!("  without a name yet; to use one, add it under apps: {name}: templates:")
            }
            Language::Chinese => format!("  还没有取名；要用就加到 apps: {name}: templates: 下面："),
        });
    }
    for row in nameless {
        let fields: Vec<String> =
            row.fields.iter().map(|field| format!("{} {}", field.key, field.label)).collect();
        lines.push(format!("      NAME: {{ id: {} }}   # {}: {}", row.id, row.title, fields.join(", ")));
    }
    lines.join("\n")
}
