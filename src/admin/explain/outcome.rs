//! The outcomes of a past due time, each with its reason, its sentence and its cure.

use chrono::{DateTime, Utc};

use super::telling::{self, moment};
use super::{Case, Certainty, Chain};
use crate::admin::standstill::{From, Stop};
use crate::domain::consent::Account;
use crate::domain::count::n_of;
use crate::domain::delivery::{Past, State};
use crate::domain::language::Said;
use crate::domain::occurrence::{Due, OccurrenceState, SkipReason};
use crate::domain::rule::{OnDoubt, Rule};
use crate::domain::template::TemplateKind;
use crate::plan::recurrence::{self, Window};
use crate::plan::render::{Compiled, Input, Shown};
use crate::plan::words;
use crate::store::{Delivery, Occurrence};

/// Why a due time was not opened: no daemon has had its rule yet.
pub(super) const NEVER_STARTED: &str = "never_started";

/// What became of a due time that has a record.
pub(super) struct Told {
    pub(super) outcome: &'static str,
    pub(super) reason: Option<String>,
    pub(super) why: Said,
    pub(super) cure: Option<Said>,
    pub(super) certainty: Certainty,
}

impl Told {
    /// What the books say.
    pub(super) fn known(outcome: &'static str, reason: Option<&str>, why: Said, cure: Option<Said>) -> Self {
        Self { outcome, reason: reason.map(str::to_owned), why, cure, certainty: Certainty::Known }
    }
}

/// What a delivery that has or had a grant came to.
pub(super) fn settled(
    occurrence: &Occurrence,
    delivery: &Delivery,
    deadline: Option<DateTime<Utc>>,
    account: Option<&Account>,
) -> Told {
    let zone = occurrence.zone;
    let state = delivery.state.as_str();
    let at = |at: Option<DateTime<Utc>>| at.map_or_else(|| "?".to_owned(), |at| moment(at, zone));
    let settled_at = at(delivery.settled_at);
    let known = |reason: Option<&str>, why: Said, cure: Option<Said>| Told::known(state, reason, why, cure);
    match delivery.state {
        State::Sent => known(
            None,
            Said::new(
                format!("It was sent: WeChat took it at {settled_at}; its consent is used up."),
                format!("已发送：微信在 {settled_at} 接收，用掉一次授权。"),
            ),
            None,
        ),
        State::Undelivered => known(
            None,
            Said::new(
                "WeChat took it and reported later that it did not arrive; its consent is used up.",
                "微信接收后又报告没有送达，授权已用掉。",
            ),
            Some(Said::new(
                "Nothing can be sent again for it; ask this person to check that notifications are not blocked in WeChat.",
                "这一次不能再发；请该用户检查微信里是否屏蔽了服务通知。",
            )),
        ),
        State::PresumedSent => known(
            None,
            Said::new(
                "Nobody knows whether it arrived; after a long time in doubt it counts as sent.",
                "没人知道是否送达；长时间未知之后按已发送计。",
            ),
            None,
        ),
        State::InDoubt => {
            let id = delivery.id;
            let again = match occurrence.on_doubt {
                OnDoubt::Hold => Said::new(", and is not sent again", "，不会重发"),
                OnDoubt::Resend => Said::default(),
            };
            known(
                None,
                Said::new(
                    format!(
                        "Nobody knows whether it arrived: its request may have left, and no definite answer came. It is in doubt since {settled_at}{}.",
                        again.en
                    ),
                    format!(
                        "没人知道是否送达：请求可能已经发出，没有得到确定的回答。从 {settled_at} 起存疑{}。",
                        again.zh
                    ),
                ),
                Some(Said::new(
                    format!(
                        "When you know more: tixing doubt settle {id} --as sent, or --as failed when nothing left."
                    ),
                    format!(
                        "弄清楚之后：tixing doubt settle {id} --as sent；如果确实没发出，用 --as failed。"
                    ),
                )),
            )
        }
        State::Refused => {
            let code = delivery.errcode.unwrap_or(43_101);
            let (why, cure) = telling::failure(code);
            let (then, cure) = match occurrence.kind {
                TemplateKind::OneTime => {
                    (Said::new("The consent taken for it is void.", "为它取用的授权作废。"), Some(cure))
                }
                TemplateKind::LongTerm => after_denial(account, cure),
            };
            let why = Said::new(
                format!("It was refused. {} {then}", why.en),
                format!("被拒绝。{}{}", why.zh, then.zh),
            );
            known(Some(&code.to_string()), why, cure)
        }
        State::Failed => {
            let code = delivery.errcode.unwrap_or(0);
            let (why, cure) = match delivery.errcode {
                Some(code) => telling::failure(code),
                None => (
                    Said::new("An operator settled it: nothing had left.", "运维人员确认没有发出。"),
                    Said::new("Its consent went back to this person.", "授权已退还给该用户。"),
                ),
            };
            let why = Said::new(
                format!("It failed. {} The consent taken for it went back.", why.en),
                format!("发送失败。{}为它取用的授权已退还。", why.zh),
            );
            let reason = (code != 0).then(|| code.to_string());
            known(reason.as_deref(), why, Some(cure))
        }
        State::Expired => expired(occurrence, delivery, deadline),
        State::Cancelled => cancelled(occurrence, delivery, account),
        State::Held => known(
            None,
            Said::new(
                format!("It is held until {}; then it takes a consent and leaves.", at(delivery.next_at)),
                format!("暂存到 {}，到时再取用授权并发送。", at(delivery.next_at)),
            ),
            None,
        ),
        State::Reserved => known(
            None,
            Said::new("It has its consent and will leave shortly.", "已取用授权，马上发送。"),
            None,
        ),
        State::Attempting => known(None, Said::new("It is being sent right now.", "正在发送。"), None),
        State::Waiting => {
            let next = at(delivery.next_at);
            let busy = delivery.past == Past::Busy;
            let why = if busy {
                Said::new(
                    format!("WeChat was busy (-1); it is tried again at {next}."),
                    format!("微信繁忙（-1），{next} 再试。"),
                )
            } else {
                Said::new(
                    format!("It could not be sent yet and is tried again at {next}."),
                    format!("还没能发出，{next} 再试。"),
                )
            };
            known(
                None,
                why,
                Some(Said::new(
                    "Wait; see `tixing status` meanwhile.",
                    "等待即可；可以用 tixing status 查看。",
                )),
            )
        }
        // Told by `skipped`, which knows the reasons.
        State::Skipped => known(None, Said::default(), None),
    }
}

/// How a standing acceptance is after a 43101, and what there is to do about that; `ask` is for one that has ended.
fn after_denial(account: Option<&Account>, ask: Said) -> (Said, Option<Said>) {
    let said = telling::standing_after_denial(account);
    let cure = match account.filter(|account| account.standing.is_some()) {
        None => Some(ask),
        Some(account) => account.suspect.then(|| {
            Said::new(
                "Nothing before the next message: if that is taken, the suspicion is over, and if it is refused, the acceptance.",
                "下一条之前无需处理：发得出就消除存疑，再被拒绝授权就结束。",
            )
        }),
    };
    (Said::new(format!("After that {said}."), format!("此后{}。", said.zh)), cure)
}

fn cancelled(occurrence: &Occurrence, delivery: &Delivery, account: Option<&Account>) -> Told {
    let state = delivery.state.as_str();
    if occurrence.state == OccurrenceState::Cancelled {
        return rule_gone(state);
    }
    let died = delivery.grant.zip(account).is_some_and(|(grant, account)| account.is_dead(grant.accepted_at));
    if died {
        return Told::known(
            state,
            Some("grant_died"),
            Said::new(
                "It was dropped right before sending: a refusal came after the acceptance, so its consent was void.",
                "发送前放弃：同意之后又拒绝了，授权已作废。",
            ),
            Some(Said::new(
                "Only the person can undo it: allow the messages in the mini program's settings, then subscribe again.",
                "只有用户本人能撤回：在小程序的设置里允许订阅消息，再重新订阅。",
            )),
        );
    }
    Told::known(
        state,
        None,
        Said::new(
            "It was dropped before it left: its rule, its consent or what it shows was gone by then.",
            "发出之前放弃：规则、授权或要显示的内容当时已经没有了。",
        ),
        Some(Said::new("See the log of that time for this delivery.", "查看当时关于这条消息的日志。")),
    )
}

fn rule_gone(outcome: &'static str) -> Told {
    Told::known(
        outcome,
        Some("rule_removed"),
        Said::new(
            "It was cancelled before it left: its rule was removed or disabled.",
            "发出之前取消：规则被删除或停用了。",
        ),
        Some(Said::new(
            "Put the rule back and run tixing reload; the next due time is sent then.",
            "把规则加回去，再运行 tixing reload，下一次就会发送。",
        )),
    )
}

/// A person of the audience who was skipped for a reason of his own.
pub(super) fn skipped(
    case: &Case,
    occurrence: &Occurrence,
    delivery: &Delivery,
    rule: Option<&Rule>,
    appointment: Option<Shown<'_>>,
) -> Told {
    let reason = delivery.skipped.unwrap_or(SkipReason::NoConsent);
    let word = Some(reason.as_str());
    let (why, cure) = match reason {
        SkipReason::Muted => (
            Said::new("Skipped: this person was muted.", "已跳过：该用户当时已静音。"),
            Said::new(
                "Unmute: tixing people unmute --openid OPENID.",
                "取消静音：tixing people unmute --openid OPENID。",
            ),
        ),
        SkipReason::MissingField | SkipReason::Overflow => {
            unfit_then(case, occurrence, rule, reason, appointment)
        }
        SkipReason::NoConsent | SkipReason::Refused => case
            .template(occurrence)
            .map_or_else(Default::default, |template| telling::without(reason, template, &case.shown)),
        SkipReason::Quiet => {
            let (why, cure) = telling::at_night();
            (Said::new(format!("Skipped: {}", why.en), format!("已跳过：{}", why.zh)), cure)
        }
        SkipReason::BadRecipient => (
            Said::new("Skipped: WeChat does not know this openid.", "已跳过：微信不认识这个 openid。"),
            Said::new("Check that the openid belongs to this appid.", "检查 openid 是否属于这个 appid。"),
        ),
    };
    Told::known("skipped", word, why, Some(cure))
}

/// What could not be filled in then; which text it was shows where it still cannot.
fn unfit_then(
    case: &Case,
    occurrence: &Occurrence,
    rule: Option<&Rule>,
    reason: SkipReason,
    appointment: Option<Shown<'_>>,
) -> (Said, Said) {
    let now = rule.and_then(|rule| {
        let due = Due { at: occurrence.due_at, civil: occurrence.civil, fold: occurrence.fold };
        let profile = case.profile();
        let (openid, zone) = (&case.person.openid, rule.zone);
        let input = Input { openid, profile: &profile, due: &due, appointment, zone };
        Compiled::new(rule).ok()?.try_render(&input).err()
    });
    if let Some(unfit) = now.filter(|unfit| unfit.reason == reason) {
        let (why, cure) = telling::unfit(&unfit);
        return (Said::new(format!("Skipped: {}", why.en), format!("已跳过：{}", why.zh)), cure);
    }
    let why = if reason == SkipReason::MissingField {
        Said::new(
            "Skipped: a text showed something that this person lacked then; as things are now it could be filled in.",
            "已跳过：内容用到了该用户当时没有的字段；按现在的资料已经填得出。",
        )
    } else {
        Said::new(
            "Skipped: a value did not fit its field then; as things are now it does.",
            "已跳过：有一个值当时不符合字段要求；按现在的资料已经符合。",
        )
    };
    (why, Said::new("Nothing needs to be done for the next due time.", "下一次无需处理。"))
}

/// How often it was tried.
pub(super) fn attempts(delivery: &Delivery, occurrence: &Occurrence) -> Said {
    match (delivery.attempts, delivery.first_started_at) {
        (0, _) if matches!(delivery.state, State::InDoubt | State::PresumedSent) => Said::new(
            "No request to WeChat is in the books; one may have left all the same, since they were restored or are older than what \
             was done, or a crash came at that moment.",
            "账本里没有向微信发起过请求的记录，但可能已经发出：账本是恢复的或者比实际旧，或者程序正好在请求时崩溃。",
        ),
        (0, _) => Said::new("No request to WeChat was started for it.", "没有向微信发起过请求。"),
        (n, Some(first)) => {
            let first = moment(first, occurrence.zone);
            let requests = if n == 1 { "request was" } else { "requests were" };
            Said::new(
                format!("{n} {requests} started, the first at {first}."),
                format!("发起过 {n} 次请求，第一次在 {first}。"),
            )
        }
        (n, None) => Said::new(
            format!("It was marked for sending {n} times; no request is known to have started."),
            format!("标记发送过 {n} 次，没有请求确定已发起的记录。"),
        ),
    }
}

/// The walk has not come to this person.
pub(super) fn not_reached(occurrence: &Occurrence, stops: &[Stop]) -> Told {
    let why = Stop::whys(stops);
    match (occurrence.state, Stop::cures(stops)) {
        (OccurrenceState::Cancelled, _) => rule_gone("cancelled"),
        (OccurrenceState::Held, cure) => {
            let reason = occurrence.reason.clone().unwrap_or_default();
            Told::known(
                "held",
                Some(&reason),
                Said::new(
                    format!("It was stopped before this person's turn. {why}"),
                    format!("轮到该用户之前就暂停了。{}", why.zh),
                ),
                cure,
            )
        }
        (OccurrenceState::Open | OccurrenceState::Done | OccurrenceState::Missed, Some(cure)) => Told::known(
            "open",
            Some("not_reached"),
            Said::new(
                format!("It was opened, but stands still and has not come to this person. {why}"),
                format!("已开始处理，但停住了，还没轮到该用户。{}", why.zh),
            ),
            Some(cure),
        ),
        (OccurrenceState::Open | OccurrenceState::Done | OccurrenceState::Missed, None) => Told::known(
            "open",
            Some("not_reached"),
            Said::new("It is under way and has not come to this person yet.", "正在处理，还没轮到该用户。"),
            Some(Said::new("Ask again in a moment.", "稍后再看。")),
        ),
    }
}

/// ` 2026-03-01 08:10:00 CST `, or nothing where it is not known.
fn until(occurrence: &Occurrence, deadline: Option<DateTime<Utc>>) -> String {
    deadline.map(|deadline| format!(" {}", moment(deadline, occurrence.zone))).unwrap_or_default()
}

/// A delivery that did not leave in time.
fn expired(occurrence: &Occurrence, delivery: &Delivery, deadline: Option<DateTime<Utc>>) -> Told {
    let until = until(occurrence, deadline);
    let then = match (delivery.grant, occurrence.kind) {
        (None, TemplateKind::OneTime) => Said::new("no consent was taken for it", "没有取用授权"),
        (Some(_), TemplateKind::OneTime) | (_, TemplateKind::LongTerm) => {
            Said::new("its consent went back", "授权已退还")
        }
    };
    let cause = if delivery.attempts > 0 {
        Said::new("WeChat had not taken it by then", "微信到那时还没有接收")
    } else {
        Said::new("its turn had not come", "还没轮到")
    };
    let why = Said::new(
        format!(
            "It was not sent before its deadline{until}, so it was dropped: {cause}, or its rule, its app or everything was \
             paused or held then; {then}."
        ),
        format!(
            "在期限{until}之前没有发出，已放弃：{}，或者当时规则、小程序或全部发送被暂停；{}。",
            cause.zh, then.zh
        ),
    );
    let by_hand = || {
        Said::new(
            "Send it again (tixing send) when nothing is paused or held; `tixing status` says what is.",
            "没有暂停之后再发一次（tixing send）；用 tixing status 查看。",
        )
    };
    let cure = if occurrence.is_by_hand() { by_hand() } else { in_time() };
    Told::known(delivery.state.as_str(), None, why, Some(cure))
}

/// What makes the next one leave in time.
fn in_time() -> Said {
    Said::new(
        "End what is paused or held (`tixing status` says whether anything still is), give the rule a longer `grace`, or the app a \
         higher rate (`limits`).",
        "用 tixing status 查看是否还有暂停并恢复；或把规则的 grace 加长，或提高小程序的发送速度（limits）。",
    )
}

/// Passed after the deadline, or not in the audience then.
pub(super) fn late(occurrence: &Occurrence, deadline: Option<DateTime<Utc>>) -> Told {
    let until = until(occurrence, deadline);
    Told {
        outcome: "expired",
        reason: None,
        why: Said::new(
            format!(
                "It was not sent before its deadline{until}: this person's turn had not come, or its rule, its app or everything \
                 was paused or held then."
            ),
            format!("在期限{until}之前没有发出：还没轮到该用户，或者当时规则、小程序或全部发送被暂停。"),
        ),
        cure: Some(in_time()),
        certainty: Certainty::Inferred,
    }
}

/// In the audience now, and nobody of the audience then was without a record.
pub(super) fn changed(occurrence: &Occurrence) -> Told {
    let at = moment(occurrence.due_at, occurrence.zone);
    Told {
        outcome: "not_in_audience",
        reason: Some("not_in_audience_then".to_owned()),
        why: Said::new(
            format!(
                "This person was not in the audience at {at}: everybody who was has a record. Tags or fields have changed since."
            ),
            format!("{at} 时该用户不在范围内：当时在范围内的人都有记录。之后标签或字段改过。"),
        ),
        cure: Some(Said::new(
            "Nothing needs to be done: the next due time reaches this person.",
            "无需处理：下一次就会包括该用户。",
        )),
        certainty: Certainty::Known,
    }
}

/// Whether all acceptances that are known by their time came after `at`, and none is known only as a count.
pub(super) fn accepted_only_after(account: &Account, at: DateTime<Utc>) -> bool {
    account.granted == n_of(account.free.len()) && account.free.iter().all(|grant| grant.accepted_at > at)
}

/// Whether a record of missed due times stands for the one at `at`, too.
pub(super) fn covers(record: &Occurrence, rule: &Rule, at: DateTime<Utc>) -> bool {
    if record.state != OccurrenceState::Missed || record.n < 2 {
        return false;
    }
    let window = Window { after: at, until: record.due_at };
    let later = recurrence::occurrences(&rule.when, rule.zone, window).len();
    n_of(later) < record.n
}

pub(super) fn keep_running() -> Said {
    Said::new(
        "It is not sent any more. Keep the daemon running; a longer `grace` in the rule allows it to be later.",
        "这一次不会再发。请让守护进程一直运行；把规则的 grace 加长，可以允许更晚发送。",
    )
}

/// A due time that no daemon has looked at yet.
pub(super) fn not_opened(
    case: &Case,
    rule: &Rule,
    at: DateTime<Utc>,
    cursor: Option<DateTime<Utc>>,
    stops: &[Stop],
) -> Chain {
    let when = moment(at, rule.zone);
    let due = Said::new(format!("It was due at {when}."), format!("这一次的时间是 {when}。"));
    let mut steps = vec![case.schedule(rule), due];
    let seen = cursor.map(|cursor| moment(cursor, rule.zone));
    let stop = stops.iter().find(|stop| stop.from <= From::Opening);
    let is_down = stop.is_some_and(|stop| stop.from == From::Start);
    let why = match (&seen, stop) {
        (Some(seen), _) if is_down => Said::new(
            format!("No daemon has looked since {seen}, so nothing was sent yet."),
            format!("自 {seen} 之后守护进程没有处理过，所以还没有发送。"),
        ),
        (Some(_), Some(Stop { why, .. })) => Said::new(
            format!("It is not opened, and nothing was sent yet. {why}"),
            format!("没有开始处理，还没有发送。{}", why.zh),
        ),
        (Some(seen), None) => Said::new(
            format!("The daemon runs and has last looked at {seen}; it has not opened this one yet."),
            format!("守护进程在运行，上次处理到 {seen}，还没处理到这一次。"),
        ),
        (None, _) => Said::new(
            "No daemon has run with this rule yet; a rule begins when a daemon first sees it, and sends nothing for before.",
            "守护进程还没有载入过这条规则；规则从第一次载入时开始，不补发之前的。",
        ),
    };
    steps.push(why.clone());
    if is_down && cursor.is_some() {
        let lateness = words::lateness(rule);
        steps.push(Said::new(
            format!("When the daemon starts again: {lateness}."),
            format!("守护进程再次启动时：{}。", lateness.zh),
        ));
    }
    steps.extend(stops.iter().map(|stop| stop.why.clone()).filter(|said| *said != why));
    let again = || {
        Said::new(
            "Ask again in a moment; if it stays so, see tixing status.",
            "稍后再看；如果一直这样，用 tixing status 查看。",
        )
    };
    let cure = stop.map_or_else(again, |stop| stop.cure.clone());
    Chain {
        due: Some((at, rule.zone)),
        outcome: "not_opened",
        reason: Some(if cursor.is_some() { "not_looked" } else { NEVER_STARTED }.to_owned()),
        why,
        cure: Some(cure),
        certainty: Certainty::Known,
        steps,
    }
}

/// A due time of the rule as it is now, from before it was so.
pub(super) fn not_in_force(case: &Case, rule: &Rule, at: DateTime<Utc>) -> Chain {
    let when = moment(at, rule.zone);
    let why = Said::new(
        format!(
            "The rule as it is now would have been due at {when}, but there is no record: it was new, different or disabled then, or the record is older than is kept."
        ),
        format!(
            "按现在的写法，规则在 {when} 本该到时间，但没有记录：当时它还不存在、写法不同或已停用，或者记录已超过保存期。"
        ),
    );
    Chain {
        due: Some((at, rule.zone)),
        outcome: "not_opened",
        reason: Some("not_in_force".to_owned()),
        why: why.clone(),
        cure: Some(Said::new(
            "An edit takes effect at the next due time; nothing is sent for earlier ones.",
            "修改从下一次开始生效，之前的不补发。",
        )),
        certainty: Certainty::Inferred,
        steps: vec![case.schedule(rule), why],
    }
}
