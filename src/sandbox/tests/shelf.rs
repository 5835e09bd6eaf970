//! Templates as an app administers them, and as the platform takes them away.

use super::*;
use crate::sandbox::{Answer, Keep};

/// Answers of the template doors.
impl World {
    async fn shelf(&mut self, path: &str, body: Value) -> Value {
        let join = if path.contains('?') { '&' } else { '?' };
        let path = format!("/wxaapi/newtmpl/{path}{join}access_token={}", self.client.token);
        let method = if body.is_null() { Method::GET } else { Method::POST };
        self.client.json(method, &path, &body).await
    }

    async fn ids(&mut self) -> Vec<String> {
        let listed = self.shelf("gettemplate", Value::Null).await;
        let id = |template: &Value| template["priTmplId"].as_str().unwrap().to_owned();
        listed["data"].as_array().unwrap().iter().map(id).collect()
    }
}

#[tokio::test]
async fn a_template_is_taken_from_the_library_sent_by_and_deleted() {
    let mut world = World::new().await;
    let categories = world.shelf("getcategory", Value::Null).await;
    assert_eq!(categories["data"][0], json!({"id": 616, "name": "就医服务"}));
    let titles = world.shelf("getpubtemplatetitles?ids=616,287&start=1&limit=2", Value::Null).await;
    assert_eq!((&titles["count"], titles["data"].as_array().unwrap().len()), (&json!(4), 2));
    assert_eq!(
        titles["data"][0],
        json!({"tid": 1002, "title": "检查报告通知", "type": 3, "categoryId": "616"})
    );
    let words = world.shelf("getpubtemplatekeywords?tid=2001", Value::Null).await;
    assert_eq!(words["data"][0], json!({"kid": 1, "name": "打卡内容", "example": "喝水", "rule": "thing"}));

    let add = json!({"tid": "2001", "kidList": [2, 1], "sceneDesc": "每天打卡"});
    let added = world.shelf("addtemplate", add.clone()).await;
    let id = added["priTmplId"].as_str().unwrap().to_owned();
    assert_eq!((added["errcode"].as_i64(), id.len()), (Some(0), 43));
    let same = json!({"tid": 2001, "kidList": [1, 2]});
    assert_eq!(
        world.shelf("addtemplate", same).await,
        json!({"errcode": 200_022, "errmsg": "the same template exists", "priTmplId": id})
    );
    let listed = world.shelf("gettemplate", Value::Null).await["data"][2].clone();
    assert_eq!(listed["content"], "打卡时间:{{time2.DATA}}\n打卡内容:{{thing1.DATA}}\n");
    assert_eq!((&listed["title"], &listed["type"]), (&json!("打卡提醒"), &json!(2)));

    world.platform.grant_many(APP, ANNA, &id, 2).unwrap();
    let data = json!({"thing1": {"value": "喝水"}, "time2": {"value": "08:00"}});
    let message = json!({"touser": ANNA, "template_id": id, "data": data});
    assert_eq!(world.client.send(&message).await.0, 0);
    assert_eq!(world.platform.cards(ANNA)[0].title, "打卡提醒");
    assert_eq!(world.shelf("deltemplate", json!({"priTmplId": id})).await["errcode"], 0);
    assert_eq!(world.client.send(&message).await.0, 40037);
    assert_eq!(world.shelf("deltemplate", json!({"priTmplId": id})).await["errcode"], 20001);
    assert_eq!(world.ids().await, [WATER, NEWS]);
    let again = world.shelf("addtemplate", add).await["priTmplId"].as_str().unwrap().to_owned();
    assert_ne!(again, id, "a template that comes back is another one");
}

#[tokio::test]
async fn what_is_wrong_is_named_by_its_code() {
    let mut world = World::new().await;
    let add = |tid: &str, kids: &[u32], scene: &str| json!({"tid": tid, "kidList": kids, "sceneDesc": scene});
    let too_long = "一二三四五六七八九十一二三四五六";
    let table = [
        ("addtemplate", json!([]), 200_002),
        ("addtemplate", add("9", &[1, 2], ""), 200_014),
        ("addtemplate", add("1001", &[1], ""), 200_020),
        ("addtemplate", add("1001", &[1, 1], ""), 200_020),
        ("addtemplate", add("1001", &[1, 7], ""), 200_020),
        ("addtemplate", add("1001", &[1, 2, 3, 4, 5, 6], ""), 200_020),
        ("addtemplate", add("1001", &[1, 2], too_long), 200_021),
        ("addtemplate", Value::Null, 404),
        ("deltemplate", json!({}), 20002),
        ("getcategory", json!({}), 404),
        ("getpubtemplatetitles?start=0&limit=30", Value::Null, 200_018),
        ("getpubtemplatetitles?ids=616,x&start=0&limit=30", Value::Null, 200_019),
        ("getpubtemplatetitles?ids=1&start=0&limit=30", Value::Null, 200_019),
        ("getpubtemplatetitles?ids=616&start=x&limit=30", Value::Null, 200_016),
        ("getpubtemplatetitles?ids=616&start=0&limit=31", Value::Null, 200_017),
        ("getpubtemplatekeywords?tid=9", Value::Null, 200_014),
    ];
    for (path, body, code) in table {
        assert_eq!(world.shelf(path, body.clone()).await["errcode"], code, "{path} {body}");
    }
    // As many as there may be.
    let word = |n: u32| crate::sandbox::Field::new(&format!("thing{n}"), "事项");
    let template = |n: u32| Template {
        id: format!("TMPL_{n}"),
        title: "事项".into(),
        kind: TemplateKind::OneTime,
        fields: vec![word(n)],
    };
    world.platform.set_templates((0..25).map(template).collect());
    assert_eq!(world.shelf("addtemplate", add("1001", &[1, 2], "")).await["errcode"], 200_012);
}

#[tokio::test]
async fn the_platform_changes_bans_and_takes_templates() {
    let mut world = World::new().await;
    world.grant(ANNA, 9);
    let order = |name: &str| (format!("/sandbox/{name}_template"), json!({"appid": APP, "template": WATER}));
    let of = |id: &str, key: &str| json!({"id": id, "title": "喝水", "kind": "one_time", "fields": [{"key": key, "label": "事项"}]});
    let changed = json!([of(WATER, "thing9"), of(NEWS, "thing1")]);
    assert_eq!(world.client.post("/sandbox/templates", changed).await, json!({}));
    assert_eq!(world.client.send(&message(ANNA)).await.0, 47003);
    assert_eq!(world.shelf("gettemplate", Value::Null).await["data"][0]["content"], "事项:{{thing9.DATA}}\n");
    let (path, body) = order("ban");
    assert_eq!(world.client.post(&path, body.clone()).await, json!({"known": true}));
    assert_eq!(world.client.post(&path, body).await, json!({"known": true}));
    assert_eq!(world.client.send(&message(ANNA)).await.0, 43107);
    assert_eq!(world.platform.tap(APP, ANNA, WATER, Answer::Accept, Keep::Once).unwrap(), "ban");
    assert_eq!((world.left(ANNA), world.ids().await.len()), (9, 2));
    let (path, body) = order("delete");
    assert_eq!(world.client.post(&path, body.clone()).await, json!({"known": true}));
    assert_eq!(world.client.post(&path, body).await, json!({"known": false}));
    assert_eq!(world.client.send(&message(ANNA)).await.0, 40037);
    assert_eq!(world.ids().await, [NEWS]);
    assert!(!world.platform.ban_template("wxOTHER", NEWS));
}
