//! One reminder that is due: who gets it, when, and why not.

use tixing::admin::control::Control as _;

use super::{EIGHT, HABIT, World, field, tag};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reminder_leaves_at_its_time_and_costs_one_consent() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 2).await;
    world.at("07:59:59.999").await;
    assert_eq!((world.story("water").as_str(), world.sends_to("ann").len()), ("", 0));
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    assert_eq!(world.cards("ann"), 1);
    assert_eq!(world.balance("ann", HABIT), "2 granted = 1 available, 1 consumed");
    world.at("03 08:00").await;
    world.expect("water", "done: 1 = 1 sent; done: 1 = 1 sent").await;
    world.at("04 08:00").await;
    world.expect("water", "done: 1 = 1 sent; done: 1 = 1 sent; done: 1 = 1 no_consent").await;
    assert_eq!(world.balance("ann", HABIT), "2 granted = 2 consumed");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_meant_gets_it_and_who_is_not_is_told_why() {
    let city = "data: { thing1: \"{{ fields.city }}\" }";
    let long = "data: { thing1: \"{{ fields.long }}\" }";
    // What a rule says, what its books say, and who has cards.
    let table: &[(&[&str], &str, &str)] = &[
        (&[EIGHT], "done: 5 = 3 sent, 1 no_consent, 1 muted", "ann bob cid"),
        (&[EIGHT, "to: { tags: [vip] }"], "done: 2 = 1 sent, 1 muted", "ann"),
        (&[EIGHT, "to: { all_tags: [vip, old] }"], "done: 1 = 1 sent", "ann"),
        (&[EIGHT, "to: { openids: [oWorld-bob, oWorld-poor] }"], "done: 2 = 1 sent, 1 no_consent", "bob"),
        (&[EIGHT, "to: { where: \"fields.city == 'Wuhan'\" }"], "done: 1 = 1 sent", "bob"),
        (&[EIGHT, "to: { where: \"fields.nothing > 3\" }"], "done: 0", ""),
        (
            &[EIGHT, city, "to: { openids: [oWorld-bob, oWorld-cid] }"],
            "done: 2 = 1 sent, 1 missing_field",
            "bob",
        ),
        (&[EIGHT, long, "to: { openids: [oWorld-cid] }"], "done: 1 = 1 sent", "cid"),
        (
            &[EIGHT, long, "to: { openids: [oWorld-cid] }", "overflow: { thing1: fail }"],
            "done: 1 = 1 overflow",
            "",
        ),
    ];
    for (lines, story, cards) in table {
        let mut world = World::new().await;
        world.rule("water", lines).await;
        world.start().await;
        world.person("ann", |p| ["vip", "old"].iter().for_each(|t| tag(p, t))).await;
        world.person("bob", |p| field(p, "city", "Wuhan")).await;
        world.person("cid", |p| field(p, "long", &"长".repeat(21))).await;
        world
            .person("mute", |p| {
                p.muted = true;
                tag(p, "vip");
            })
            .await;
        world.person("poor", |_| {}).await;
        for name in ["ann", "bob", "cid", "mute"] {
            world.grant(name, HABIT, 1).await;
        }
        world.at("08:00").await;
        world.expect("water", story).await;
        let said = lines.concat();
        let lack = if said.contains("fields.nothing") { 5 } else { 4 * u64::from(said.contains("where")) };
        assert_eq!(world.running.as_ref().unwrap().shared.undefined().into_values().sum::<u64>(), lack);
        for name in ["ann", "bob", "cid", "mute", "poor"] {
            assert_eq!(world.cards(name), cards.matches(name).count(), "{name}: {lines:?}");
            let kept =
                if world.cards(name) == 0 && name != "poor" { "1 granted = 1 available" } else { continue };
            assert_eq!(world.balance(name, HABIT), kept, "{name}: {lines:?}");
        }
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_rules_are_due_in_one_second_each_is_due_once() {
    // T57: schedulers that queue their wake-ups lose some beyond 256.
    for n in [256_usize, 257, 300] {
        let mut world = World::new().await;
        world.rules_at_once(n);
        world.start().await;
        world.grant("ann", HABIT, 3).await;
        world.at("08:00").await;
        world
            .until("all of them are over", |world| {
                let all = world.occurrences();
                all.len() == n && all.iter().all(|occurrence| occurrence.state.as_str() == "done")
            })
            .await;
        world.at("08:01").await;
        let rules: std::collections::BTreeSet<String> =
            world.occurrences().iter().map(|occurrence| occurrence.rule.to_string()).collect();
        assert_eq!((rules.len(), world.occurrences().len(), world.cards("ann")), (n, n, 3), "{n}");
        world.ends().await;
    }
}
