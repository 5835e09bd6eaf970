//! The access token under everything that has made other clients fetch without end, hang, or send without one.
//!
//! Rows of [`SCENARIOS`] are what was measured of other clients, and the faults of the token call; each is played by
//! many callers at once. What needs its own course of events has its own test below.

use std::sync::{Arc, Mutex};

use super::*;
use Ends::{NoToken, Refused, Sent as AllSent};
use Trouble::{Endpoint, ForEver, Nothing, OneAtATime, Taken};

/// What goes wrong.
#[derive(Clone)]
enum Trouble {
    Nothing,
    /// Each token that is given ends those before it.
    OneAtATime,
    /// With the so-many-th sends every token given so far is dead, and answered with this code.
    Taken(&'static [usize], i64),
    /// Every token is refused.
    ForEver,
    /// The token call does this.
    Endpoint(Act),
}

/// How the callers end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Sent,
    NoToken,
    Refused,
}

/// The platform's side of a scenario.
struct Side {
    trouble: Trouble,
    n_given: usize,
    /// Those up to here are dead, and answered with this code.
    dead: (usize, i64),
    n_sends: usize,
}

impl Side {
    fn answer(&mut self, call: &Call) -> Act {
        if call.path.contains(TOKEN) {
            if let Endpoint(act) = &self.trouble {
                return act.clone();
            }
            // A stable token that lives is given again.
            if self.dead.0 == self.n_given || matches!(self.trouble, OneAtATime) {
                self.dead.0 = self.n_given;
                self.n_given += 1;
            }
            return token(self.n_given);
        }
        let shown = call.query.strip_prefix("access_token=CANARYTOKEN-").and_then(|n| n.parse().ok());
        let shown: usize = shown.unwrap_or_else(|| panic!("a send without a token: {call:?}"));
        assert!((1..=self.n_given).contains(&shown), "a token that was never given: {call:?}");
        self.n_sends += 1;
        if let Taken(at, code) = self.trouble
            && at.contains(&self.n_sends)
        {
            self.dead = (self.n_given, code);
        }
        if matches!(self.trouble, ForEver) {
            return Act::json(REFUSED);
        }
        if shown <= self.dead.0 {
            Act::Json(format!(r#"{{"errcode":{}}}"#, self.dead.1))
        } else {
            Act::json(OK)
        }
    }
}

/// So many sends, so many at a time.
async fn lanes(client: &Client, n: usize, lanes: usize) -> Vec<Reply> {
    let mut tasks = JoinSet::new();
    for lane in 0..lanes {
        let client = client.clone();
        tasks.spawn(async move {
            let mut replies = Vec::new();
            for _ in (lane..n).step_by(lanes) {
                replies.push(client.send(&message()).await.reply);
            }
            replies
        });
    }
    let all = tokio::time::timeout(Duration::from_mins(1), tasks.join_all()).await;
    all.expect("nobody is stuck").into_iter().flatten().collect()
}

struct Scenario {
    what: &'static str,
    trouble: Trouble,
    /// Sends in all, and how many at a time.
    callers: (usize, usize),
    ends: Ends,
    /// Calls of the token endpoint.
    fetches: usize,
    /// At most so many sends more than callers.
    extra: usize,
}

const fn scenario(
    what: &'static str,
    trouble: Trouble,
    callers: (usize, usize),
    (ends, fetches, extra): (Ends, usize, usize),
) -> Scenario {
    Scenario { what, trouble, callers, ends, fetches, extra }
}

fn scenarios() -> Vec<Scenario> {
    let busy = || Act::json(r#"{"errcode":-1,"errmsg":"system error"}"#);
    let cut =
        || Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"access_token\":\"CANARYTOK".to_vec());
    vec![
        scenario("cold start", Nothing, (200, 200), (AllSent, 1, 0)),
        scenario("cold start, a fetch ends the token before it", OneAtATime, (200, 200), (AllSent, 1, 0)),
        scenario("taken before the first send", Taken(&[1], 40001), (200, 200), (AllSent, 2, 200)),
        scenario("taken in the middle of a run", Taken(&[250], 40001), (500, 16), (AllSent, 2, 16)),
        scenario("called invalid in the middle of a run", Taken(&[250], 40014), (500, 16), (AllSent, 2, 16)),
        scenario("expired in the middle of a run", Taken(&[250], 42001), (500, 16), (AllSent, 2, 16)),
        scenario("taken three times in a run", Taken(&[100, 200, 300], 40001), (500, 16), (AllSent, 4, 48)),
        scenario("40001 for ever, all at once", ForEver, (200, 200), (Refused, 2, 200)),
        scenario("40001 for ever, in a run", ForEver, (200, 16), (Refused, 2, 0)),
        scenario("the token call is busy", Endpoint(busy()), (200, 200), (NoToken, 1, 0)),
        scenario("the token call is cut", Endpoint(cut()), (200, 200), (NoToken, 1, 0)),
        scenario("the token call is closed", Endpoint(Act::Close), (200, 200), (NoToken, 1, 0)),
        scenario("the token call hangs", Endpoint(Act::Hang), (200, 200), (NoToken, 1, 0)),
    ]
}

#[tokio::test]
async fn one_fetch_for_all_whatever_happens() {
    for Scenario { what, trouble, callers: (n, at_once), ends, fetches, extra } in scenarios() {
        let hangs = matches!(&trouble, Endpoint(Act::Hang));
        let side = Side { trouble, n_given: 0, dead: (0, 40001), n_sends: 0 };
        let side = Arc::new(Mutex::new(side));
        let asked = Arc::clone(&side);
        let fake = Fake::start(move |call| asked.lock().unwrap().answer(call)).await;
        let clock = hand();
        let times = Times {
            connect: CONNECT_TIMEOUT,
            call: if hangs { Duration::from_secs(1) } else { CALL_TIMEOUT },
        };
        let client = Client::with_times(options(&fake.url()), clock.clone(), times).unwrap();
        let reply = match ends {
            AllSent => ACCEPTED,
            NoToken => Reply::NoToken,
            Refused => TOKEN_REFUSED,
        };
        let replies = lanes(&client, n, at_once).await;
        assert_eq!(replies.iter().filter(|found| **found == reply).count(), n, "{what}: {replies:?}");
        assert_eq!(fake.n(TOKEN), fetches, "{what}: fetches");
        let sends = if ends == NoToken { 0 } else { n + extra };
        assert!(fake.n(SEND) <= sends, "{what}: {} sends", fake.n(SEND));
        if ends == AllSent {
            continue;
        }
        // The callers may have been more impatient than the fetch.
        client.warm().await.unwrap_err();
        // It says so, and asks for nothing more while it pauses.
        assert!(matches!(client.token_state(), TokenState::Failing { .. }), "{what}");
        let before = (fake.n(TOKEN), fake.n(SEND));
        lanes(&client, 50, 50).await;
        assert_eq!((fake.n(TOKEN), fake.n(SEND)), before, "{what}: nothing in the pause");
        // And goes on by itself.
        {
            let mut side = side.lock().unwrap();
            side.trouble = Nothing;
            side.dead.0 = side.n_given;
        }
        clock.advance(Duration::from_mins(1));
        assert_eq!(client.send(&message()).await.reply, ACCEPTED, "{what}: it goes on");
        assert!(lanes(&client, 200, 200).await.iter().all(|reply| *reply == ACCEPTED), "{what}");
        assert_eq!(fake.n(TOKEN), before.0 + 1, "{what}: by one fetch");
    }
}

/// Sends under a token that is taken afterwards, so often and so far apart; the platform lives for as long as it is held.
async fn takings(code: i64, times: usize, apart: Duration) -> (Client, Clock, Fake) {
    let side = Side { trouble: Nothing, n_given: 0, dead: (0, code), n_sends: 0 };
    let side = Arc::new(Mutex::new(side));
    let asked = Arc::clone(&side);
    let fake = Fake::start(move |call| asked.lock().unwrap().answer(call)).await;
    let clock = hand();
    let client = client(&fake, &clock);
    for taken in 0..=times {
        assert_eq!(client.send(&message()).await.reply, ACCEPTED);
        assert_eq!(fake.n(TOKEN), taken + 1, "a refresh helps each time");
        if taken < times {
            let mut side = side.lock().unwrap();
            side.dead.0 = side.n_given;
            drop(side);
            clock.advance(apart);
        }
    }
    (client, clock, fake)
}

#[tokio::test]
async fn a_program_that_keeps_taking_the_token_is_named_until_it_stops() {
    let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
    let table = [
        ("an operator did it", 40001, 1, minute * 10, None),
        ("twice", 40001, 2, minute * 10, None),
        ("again and again", 40001, 3, minute * 10, Some(3)),
        ("for longer", 40014, 7, minute * 10, Some(7)),
        ("each hour", 40001, 4, hour, Some(4)),
        ("now and then", 40001, 5, hour * 2, None),
        ("tokens that end early", 42001, 5, minute * 10, None),
    ];
    for (what, code, times, apart, taken) in table {
        let (client, clock, _fake) = takings(code, times, apart).await;
        let rival = client.rival();
        assert_eq!(rival.map(|rival| rival.taken), taken, "{what}");
        let Some(rival) = rival else { continue };
        assert!(rival.to_string().contains("another program keeps taking its access token"), "{rival}");
        clock.advance(minute * 119);
        assert!(client.rival().is_some(), "{what}: nobody knows yet that it has stopped");
        clock.advance(minute);
        assert_eq!(client.rival(), None, "{what}: it has stopped");
    }
}

/// What is written to a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_names_it_once_and_says_when_it_is_gone() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (client, clock, _fake) = takings(40001, 6, Duration::from_mins(10)).await;
    let n = |words: &str| String::from_utf8_lossy(&log.0.lock().unwrap()).matches(words).count();
    assert_eq!(n("another program keeps taking"), 1);
    clock.advance(Duration::from_mins(119));
    client.warm().await.unwrap();
    assert_eq!(n("No other program takes"), 0);
    for _ in 0..3 {
        clock.advance(Duration::from_mins(1));
        client.warm().await.unwrap();
    }
    assert_eq!((n("No other program takes"), n("another program keeps taking")), (1, 1));
    assert_eq!(n("CANARY"), 0);
}

#[tokio::test]
async fn a_platform_that_gives_the_same_token_again_is_no_program() {
    // Every other send is refused, and the stable call has nothing newer.
    let fake = Fake::start(|call| {
        if call.path.contains(TOKEN) {
            token(1)
        } else {
            Act::json(if call.nth.is_multiple_of(2) { REFUSED } else { OK })
        }
    })
    .await;
    let clock = hand();
    let client = client(&fake, &clock);
    for _ in 0..10 {
        assert_eq!(client.send(&message()).await.reply, ACCEPTED);
        clock.advance(Duration::from_mins(2));
    }
    assert!(fake.n(TOKEN) >= 4, "{} fetches", fake.n(TOKEN));
    assert_eq!(client.rival(), None);
}

#[tokio::test]
async fn a_caller_that_goes_away_harms_nobody() {
    // While the first token is fetched, and while the one after a refused one is.
    for gated in [1, 2] {
        let (open, gate) = watch::channel(false);
        let fake = Fake::start(move |call| {
            if !call.path.contains(TOKEN) {
                let dead = gated == 2 && call.query.ends_with("-1");
                return Act::json(if dead { REFUSED } else { OK });
            }
            let json = format!(r#"{{"access_token":"CANARYTOKEN-{}","expires_in":7200}}"#, call.nth);
            if call.nth == gated { Act::Gate(gate.clone(), json) } else { Act::Json(json) }
        })
        .await;
        let client = client(&fake, &hand());
        for _ in 0..3 {
            let message = message();
            let mut leader = Box::pin(client.send(&message));
            // It waits for the gate by then, or has found somebody who does.
            while fake.n(TOKEN) < gated {
                let ended = tokio::time::timeout(Duration::from_millis(1), &mut leader).await;
                assert!(ended.is_err(), "the gate is shut");
            }
            drop(leader);
        }
        let (sent, ()) = tokio::join!(burst(&client, 50), async {
            tokio::task::yield_now().await;
            open.send(true).unwrap();
        });
        assert!(sent.iter().all(|sent| sent.reply == ACCEPTED), "{gated}");
        assert_eq!(fake.n(TOKEN), gated);
    }
}

#[tokio::test]
async fn a_late_refusal_ends_no_token_but_its_own() {
    let (open, gate) = watch::channel(false);
    let fake = sending(move |call| match call.nth {
        // Asked first, answered last.
        1 => Act::Gate(gate.clone(), REFUSED.to_owned()),
        2 => Act::json(REFUSED),
        _ => Act::json(OK),
    })
    .await;
    let client = client(&fake, &hand());
    client.warm().await.unwrap();
    let (first, ()) = tokio::join!(burst(&client, 1), async {
        while fake.n(SEND) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.send(&message()).await.reply, ACCEPTED);
        open.send(true).unwrap();
    });
    assert_eq!(first[0].reply, ACCEPTED);
    assert_eq!((fake.n(TOKEN), fake.n(SEND)), (2, 4), "the new token lives");
    assert_eq!(fake.calls(SEND)[3].query, "access_token=CANARYTOKEN-2");
}

#[tokio::test]
async fn a_replacement_that_fails_leaves_the_living_token_in_use() {
    let fake = Fake::start(|call| match (call.path.contains(TOKEN), call.nth) {
        (true, 1) => token(1),
        (true, _) => Act::json(r#"{"errcode":-1}"#),
        (false, _) => Act::json(OK),
    })
    .await;
    let clock = hand();
    let client = client(&fake, &clock);
    assert_eq!(client.warm().await, Ok(()));
    clock.advance(Duration::from_mins(116));
    for _ in 0..20 {
        assert!(lanes(&client, 20, 20).await.iter().all(|reply| *reply == ACCEPTED));
        clock.advance(Duration::from_secs(10));
    }
    assert!((3..=20).contains(&fake.n(TOKEN)), "{} fetches in 200 s", fake.n(TOKEN));
    clock.advance(Duration::from_mins(1));
    assert!(lanes(&client, 20, 20).await.iter().all(|reply| *reply == Reply::NoToken), "it has ended");
    assert_eq!(fake.n(SEND), 400);
}

#[tokio::test]
async fn each_of_the_three_codes_repeats_once() {
    for errcode in [40001, 40014, 42001] {
        let refused = format!(r#"{{"errcode":{errcode}}}"#);
        let fake = sending(move |call| Act::json(if call.nth == 1 { &refused } else { OK })).await;
        assert_eq!(client(&fake, &hand()).send(&message()).await.reply, ACCEPTED);
        assert_eq!((fake.n(TOKEN), fake.n(SEND)), (2, 2));
        assert_eq!(fake.calls(SEND)[1].query, "access_token=CANARYTOKEN-2");
    }
}

#[tokio::test]
async fn a_token_refused_for_ever_pauses_and_is_probed() {
    let (refuse, refusing) = watch::channel(true);
    let fake = sending(move |_| Act::json(if *refusing.borrow() { REFUSED } else { OK })).await;
    let clock = hand();
    let client = client(&fake, &clock);
    for _ in 0..20 {
        assert_eq!(client.send(&message()).await.reply, TOKEN_REFUSED);
    }
    assert_eq!((fake.n(TOKEN), fake.n(SEND)), (2, 2), "one message finds out, the others wait");
    let state = TokenState::Failing {
        error: TokenError::Refused { errcode: 40001 },
        retry_in: Duration::from_mins(1),
    };
    assert_eq!(client.token_state(), state);
    assert_eq!(client.warm().await, Err(TokenError::Refused { errcode: 40001 }));

    for probe in 1..=3 {
        clock.advance(Duration::from_mins(1));
        let sent = burst(&client, 50).await;
        assert!(sent.iter().all(|sent| sent.reply == TOKEN_REFUSED), "{sent:?}");
        assert_eq!((fake.n(TOKEN), fake.n(SEND)), (2 + probe, 2 + probe), "one probe a minute");
        assert!(matches!(client.token_state(), TokenState::Failing { .. }));
    }

    refuse.send(false).unwrap();
    clock.advance(Duration::from_mins(1));
    assert_eq!(client.send(&message()).await.reply, ACCEPTED);
    assert!(burst(&client, 50).await.iter().all(|sent| sent.reply == ACCEPTED));
    assert_eq!(fake.n(TOKEN), 6);
    assert!(matches!(client.token_state(), TokenState::Ready { .. }));
}

#[tokio::test]
async fn a_probe_that_goes_away_lets_the_next_try() {
    let fake = sending(|call| Act::json(if call.nth <= 2 { REFUSED } else { OK })).await;
    let clock = hand();
    let client = client(&fake, &clock);
    assert_eq!(client.send(&message()).await.reply, TOKEN_REFUSED);
    clock.advance(Duration::from_mins(1));
    let ready = client.ready().await.unwrap();
    assert_eq!(client.ready().await.unwrap_err(), TOKEN_REFUSED);
    drop(ready);
    assert_eq!(client.send(&message()).await.reply, ACCEPTED);
}

#[tokio::test]
async fn refusals_now_and_then_cost_few_fetches() {
    let fake = sending(|call| Act::json(if call.nth.is_multiple_of(3) { REFUSED } else { OK })).await;
    let client = client(&fake, &hand());
    for _ in 0..100 {
        let reply = client.send(&message()).await.reply;
        assert!(reply == ACCEPTED || reply == TOKEN_REFUSED);
    }
    assert!(fake.n(TOKEN) <= 4, "{} fetches", fake.n(TOKEN));
}

#[tokio::test]
async fn no_send_leaves_without_a_token() {
    let table = [
        ("busy", r#"{"errcode":-1,"errmsg":"system error"}"#),
        ("wrong secret", r#"{"errcode":40125,"errmsg":"invalid appsecret"}"#),
        ("address not listed", r#"{"errcode":"40164","errmsg":"invalid ip 1.2.3.4, not in whitelist"}"#),
        ("no token", r#"{"expires_in":7200}"#),
        ("empty token", r#"{"access_token":"","expires_in":7200}"#),
        ("token with a line break", r#"{"access_token":"A\nB","expires_in":7200}"#),
        ("no lifetime", r#"{"access_token":"T"}"#),
        ("no life left", r#"{"access_token":"T","expires_in":0}"#),
        ("no JSON", "busy"),
    ];
    for (what, answer) in table {
        let fake = Fake::start(move |call| {
            if !call.path.contains(TOKEN) || call.nth > 1 {
                return if call.path.contains(TOKEN) { token(call.nth) } else { Act::json(OK) };
            }
            Act::json(answer)
        })
        .await;
        let clock = hand();
        let client = client(&fake, &clock);
        for _ in 0..2 {
            let sent = burst(&client, 100).await;
            assert!(sent.iter().all(|sent| sent.reply == Reply::NoToken), "{what}");
        }
        assert_eq!((fake.n(TOKEN), fake.n(SEND)), (1, 0), "{what}: one fetch, and none in the pause");
        assert!(matches!(client.token_state(), TokenState::Failing { .. }), "{what}");
        clock.advance(Duration::from_mins(1));
        assert_eq!(client.send(&message()).await.reply, ACCEPTED, "{what}: it goes on by itself");
    }
}

#[tokio::test]
async fn a_token_is_replaced_before_its_end_without_waiting() {
    let fake = sending(|_| Act::json(OK)).await;
    let clock = hand();
    let client = client(&fake, &clock);
    assert_eq!(client.warm().await, Ok(()));
    clock.advance(Duration::from_secs(6_890));
    assert_eq!(client.warm().await, Ok(()));
    assert_eq!(fake.n(TOKEN), 1, "310 s before the end the platform would give the same one");
    clock.advance(Duration::from_secs(80));
    let sent = client.send(&message()).await;
    assert_eq!(sent.reply, ACCEPTED);
    assert_eq!(fake.calls(SEND)[0].query, "access_token=CANARYTOKEN-1", "nobody waits for the new one");
    assert_eq!(client.warm().await, Ok(()));
    assert_eq!(fake.n(TOKEN), 2);
    client.send(&message()).await;
    assert_eq!(fake.calls(SEND)[1].query, "access_token=CANARYTOKEN-2");
    clock.advance(Duration::from_secs(7_190));
    client.send(&message()).await;
    assert_eq!(fake.calls(SEND)[2].query, "access_token=CANARYTOKEN-3", "a dying token is not used");
}

#[tokio::test]
async fn a_token_given_again_with_little_left_makes_no_storm() {
    let clock = hand();
    let end = Duration::from_secs(345);
    let platform = clock.clone();
    let fake = Fake::start(move |call| {
        if call.path.contains(SEND) {
            return Act::json(OK);
        }
        let left = end.saturating_sub(platform.elapsed()).as_secs().max(1);
        Act::Json(format!(r#"{{"access_token":"T","expires_in":"{left}"}}"#))
    })
    .await;
    let client = client(&fake, &clock);
    for _ in 0..330 {
        assert_eq!(client.send(&message()).await.reply, ACCEPTED);
        clock.advance(Duration::from_secs(1));
    }
    assert!(fake.n(TOKEN) <= 7, "{} fetches", fake.n(TOKEN));
}
