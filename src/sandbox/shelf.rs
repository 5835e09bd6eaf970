//! The templates that each app has, and the public library that they are taken from (`/wxaapi/newtmpl/…`).
//!
//! What an app adds or deletes here lasts until the sandbox stops. The library is small and invented. Cards of the newer kind
//! (service cards) are not known. Pages of 订阅消息, read 2026-11-22; where they leave a choice, it is said beside it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Asked, Refusal, Reply, bearer};
use super::platform::{Inner, State};
use super::{App, Field, Template, TemplateKind};

/// Most templates that an app may add to: 25 in an older page, 50 in an SDK, nothing in the page of today.
const MAX_TEMPLATES: usize = 25;
/// Most titles at a time.
const MAX_TITLES: usize = 30;
/// Longest `sceneDesc`, in characters.
const MAX_SCENE: usize = 15;

/// A title of the public library.
struct Title {
    tid: u32,
    name: &'static str,
    kind: TemplateKind,
    category: u32,
    keywords: &'static [Keyword],
}

/// A keyword that a template can be made of; its field is `rule` and `kid` together.
struct Keyword {
    kid: u32,
    name: &'static str,
    example: &'static str,
    rule: &'static str,
}

const fn keyword(kid: u32, name: &'static str, example: &'static str, rule: &'static str) -> Keyword {
    Keyword { kid, name, example, rule }
}

/// The categories of every app here.
const CATEGORIES: [(u32, &str); 2] = [(616, "就医服务"), (287, "效率")];

static LIBRARY: [Title; 4] = [
    Title {
        tid: 1001,
        name: "就诊提醒",
        kind: TemplateKind::OneTime,
        category: 616,
        keywords: &[
            keyword(1, "就诊科室", "内科", "thing"),
            keyword(2, "就诊时间", "2019年10月1日 15:01", "time"),
            keyword(3, "医生姓名", "李医生", "name"),
            keyword(4, "就诊序号", "12", "number"),
            keyword(5, "预约状态", "已预约", "phrase"),
            keyword(6, "温馨提示", "请携带就诊卡", "thing"),
        ],
    },
    Title {
        tid: 1002,
        name: "检查报告通知",
        kind: TemplateKind::LongTerm,
        category: 616,
        keywords: &[
            keyword(1, "报告名称", "血常规", "thing"),
            keyword(2, "出具时间", "2019年10月1日", "date"),
        ],
    },
    Title {
        tid: 2001,
        name: "打卡提醒",
        kind: TemplateKind::OneTime,
        category: 287,
        keywords: &[
            keyword(1, "打卡内容", "喝水", "thing"),
            keyword(2, "打卡时间", "15:01", "time"),
            keyword(3, "温馨提示", "别忘了", "thing"),
        ],
    },
    Title {
        tid: 2002,
        name: "日程提醒",
        kind: TemplateKind::OneTime,
        category: 287,
        keywords: &[keyword(1, "日程主题", "开会", "thing"), keyword(2, "开始时间", "15:01", "time")],
    },
];

/// All templates of all apps.
#[derive(Clone, Debug)]
pub(super) struct Shelves(HashMap<String, Shelf>);

#[derive(Clone, Debug, Default)]
struct Shelf {
    listed: Vec<Arc<Template>>,
    banned: HashSet<String>,
}

/// What may be sent by a template.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Messages.
    Good(Arc<Template>),
    /// Nothing: the platform banned it.
    Banned(Arc<Template>),
}

impl Shelves {
    /// Each app has these.
    pub(super) fn new(apps: &[App], templates: Vec<Template>) -> Self {
        let listed: Vec<_> = templates.into_iter().map(Arc::new).collect();
        let shelf = |app: &App| (app.appid.clone(), Shelf { listed: listed.clone(), banned: HashSet::new() });
        Self(apps.iter().map(shelf).collect())
    }

    /// A template of an app.
    pub(super) fn find(&self, appid: &str, id: &str) -> Option<Found> {
        let shelf = self.0.get(appid)?;
        let found = Arc::clone(shelf.listed.iter().find(|template| template.id == id)?);
        Some(if shelf.banned.contains(id) { Found::Banned(found) } else { Found::Good(found) })
    }

    fn of(&self, appid: &str) -> &[Arc<Template>] {
        self.0.get(appid).map_or(&[], |shelf| &shelf.listed)
    }

    fn add(&mut self, appid: &str, template: Template) {
        self.0.entry(appid.to_owned()).or_default().listed.push(Arc::new(template));
    }

    /// Takes a template from an app; `false` when it has none of this id.
    pub(super) fn remove(&mut self, appid: &str, id: &str) -> bool {
        let Some(shelf) = self.0.get_mut(appid) else { return false };
        let before = shelf.listed.len();
        shelf.listed.retain(|template| template.id != id);
        shelf.banned.remove(id);
        shelf.listed.len() < before
    }

    /// Bans a template of an app; `false` when it has none of this id.
    pub(super) fn ban(&mut self, appid: &str, id: &str) -> bool {
        let Some(shelf) = self.0.get_mut(appid) else { return false };
        let is_there = shelf.listed.iter().any(|template| template.id == id);
        if is_there {
            shelf.banned.insert(id.to_owned());
        }
        is_there
    }
}

impl Found {
    pub(super) fn template(&self) -> &Arc<Template> {
        match self {
            Self::Good(template) | Self::Banned(template) => template,
        }
    }
}

fn ok(more: &Value) -> Reply {
    let mut body = json!({"errcode": 0, "errmsg": "ok"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more.clone()) {
        body.extend(more);
    }
    Reply::json(&body)
}

fn read<'a, T: Deserialize<'a>>(asked: &'a Asked) -> Result<T, Refusal> {
    serde_json::from_slice(&asked.body).map_err(|_not_json| Refusal::new(200_002, "bad input"))
}

/// `gettemplate`: what the app has. A banned one is listed as ever; whether the platform does so is not documented.
pub(super) fn list(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let appid = bearer(state, asked, inner.clock.now())?;
    let data: Vec<Value> = inner.shelves.load().of(&appid).iter().map(|template| listed(template)).collect();
    Ok(ok(&json!({"data": data})))
}

fn listed(template: &Template) -> Value {
    let line = |field: &Field| format!("{}:{{{{{}.DATA}}}}\n", field.label, field.key);
    let example = |field: &Field| format!("{}:…\n", field.label);
    let mut listed = json!({
        "priTmplId": template.id,
        "title": template.title,
        "content": template.fields.iter().map(line).collect::<String>(),
        "example": template.fields.iter().map(example).collect::<String>(),
        "type": number_of(template.kind),
    });
    let enums: Vec<Value> = template
        .fields
        .iter()
        .filter(|field| !field.enum_values.is_empty())
        .map(
            |field| json!({"keywordCode": format!("{}.DATA", field.key), "enumValueList": field.enum_values}),
        )
        .collect();
    if let (Value::Object(listed), false) = (&mut listed, enums.is_empty()) {
        listed.insert("keywordEnumValueList".to_owned(), enums.into());
    }
    listed
}

fn number_of(kind: TemplateKind) -> u8 {
    match kind {
        TemplateKind::OneTime => 2,
        TemplateKind::LongTerm => 3,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddBody {
    /// A text in the table, a number in what `getpubtemplatetitles` gives.
    tid: Value,
    #[serde(default)]
    kid_list: Vec<u32>,
    #[serde(default)]
    scene_desc: String,
}

/// `addtemplate`, in JSON; the older page's form encoding is not taken.
pub(super) fn add(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let appid = bearer(state, asked, inner.clock.now())?;
    let AddBody { tid, kid_list, scene_desc } = read(asked)?;
    let tid = tid.as_str().map_or_else(|| tid.to_string(), str::to_owned);
    let title = titled(&tid)?;
    let keyword = |kid: &u32| title.keywords.iter().find(|keyword| keyword.kid == *kid);
    let words: Option<Vec<&Keyword>> = kid_list.iter().map(keyword).collect();
    let distinct = kid_list.iter().collect::<HashSet<_>>().len();
    let words = words.filter(|words| (2..=5).contains(&words.len()) && distinct == words.len());
    let words = words.ok_or_else(|| Refusal::new(200_020, "invalid kidList"))?;
    if scene_desc.chars().count() > MAX_SCENE {
        return Err(Refusal::new(200_021, "invalid sceneDesc"));
    }
    let field = |word: &&Keyword| Field::new(&format!("{}{}", word.rule, word.kid), word.name);
    let fields: Vec<Field> = words.iter().map(field).collect();
    let mut shelves = inner.shelves.load().as_ref().clone();
    let same = shelves.of(&appid).iter().find(|template| {
        let keys: HashSet<_> = template.fields.iter().map(|field| &field.key).collect();
        template.title == title.name && keys == fields.iter().map(|field| &field.key).collect()
    });
    if let Some(same) = same {
        // Not in the page, but seen: it says which one.
        return Ok(Reply::json(&json!({
            "errcode": 200_022,
            "errmsg": "the same template exists",
            "priTmplId": same.id,
        })));
    }
    if shelves.of(&appid).len() >= MAX_TEMPLATES {
        return Err(Refusal::new(200_012, "the limit of templates is reached"));
    }
    let (a, b, c) = (state.mint.number(), state.mint.number(), state.mint.number());
    // As long as a real one.
    let id: String = format!("{a:016x}{b:016x}{c:016x}").chars().take(43).collect();
    shelves.add(&appid, Template { id: id.clone(), title: title.name.to_owned(), kind: title.kind, fields });
    inner.shelves.store(Arc::new(shelves));
    Ok(ok(&json!({"priTmplId": id})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteBody {
    #[serde(default)]
    pri_tmpl_id: String,
}

/// `deltemplate`. Which of its two codes an unknown id gets is not documented.
pub(super) fn delete(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let appid = bearer(state, asked, inner.clock.now())?;
    let DeleteBody { pri_tmpl_id } = read(asked)?;
    if pri_tmpl_id.is_empty() {
        return Err(Refusal::new(20002, "bad parameter"));
    }
    let mut shelves = inner.shelves.load().as_ref().clone();
    if !shelves.remove(&appid, &pri_tmpl_id) {
        return Err(Refusal::new(20001, "system error: no such template"));
    }
    inner.shelves.store(Arc::new(shelves));
    Ok(ok(&json!({})))
}

/// `getcategory`.
pub(super) fn categories(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    bearer(state, asked, inner.clock.now())?;
    let data: Vec<Value> = CATEGORIES.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
    Ok(ok(&json!({"data": data})))
}

/// `getpubtemplatetitles`.
pub(super) fn titles(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    bearer(state, asked, inner.clock.now())?;
    let ids = asked.param("ids").filter(|ids| !ids.is_empty());
    let ids = ids.ok_or_else(|| Refusal::new(200_018, "ids missing"))?;
    let category = |id: &str| id.parse().ok().filter(|id| CATEGORIES.iter().any(|(known, _)| known == id));
    let ids: Option<Vec<u32>> = ids.split(',').map(category).collect();
    let ids = ids.ok_or_else(|| Refusal::new(200_019, "illegal ids"))?;
    let number = |name: &str| asked.param(name).and_then(|text| text.parse::<usize>().ok());
    let start = number("start").ok_or_else(|| Refusal::new(200_016, "invalid start"))?;
    let limit = number("limit").filter(|limit| (1..=MAX_TITLES).contains(limit));
    let limit = limit.ok_or_else(|| Refusal::new(200_017, "invalid limit"))?;
    let found: Vec<&Title> = LIBRARY.iter().filter(|title| ids.contains(&title.category)).collect();
    let page = found.iter().skip(start).take(limit).map(|title| {
        json!({
            "tid": title.tid,
            "title": title.name,
            "type": number_of(title.kind),
            // A number in the page's table, a text in its sample.
            "categoryId": title.category.to_string(),
        })
    });
    Ok(ok(&json!({"count": found.len(), "data": page.collect::<Vec<_>>()})))
}

/// `getpubtemplatekeywords`.
pub(super) fn keywords(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    bearer(state, asked, inner.clock.now())?;
    let title = titled(&asked.param("tid").unwrap_or_default())?;
    let keyword = |word: &Keyword| json!({"kid": word.kid, "name": word.name, "example": word.example, "rule": word.rule});
    let data: Vec<Value> = title.keywords.iter().map(keyword).collect();
    Ok(ok(&json!({"count": data.len(), "data": data})))
}

fn titled(tid: &str) -> Result<&'static Title, Refusal> {
    let title = LIBRARY.iter().find(|title| title.tid.to_string() == tid);
    title.ok_or_else(|| Refusal::new(200_014, "invalid tid"))
}
