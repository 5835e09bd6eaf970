//! What keeps messages from being sent now, by whomever's word, with the way out of each: one place for `next` and `explain`.
//!
//! It is about now: what stops a message today may have ended when a coming due time is there. `status` tells of all rules
//! and apps at once, and has sentences of its own.

use super::answer::Failure;
use super::control::AppState;
use super::desk::Desk;
use super::who::app_name;
use crate::domain::hold::Hold;
use crate::domain::id::{AppId, RuleId};
use crate::domain::language::Said;
use crate::domain::occurrence::OccurrenceState;
use crate::domain::pause::Scope;
use crate::domain::rejection::{Rejection, Wording};
use crate::flow::housekeeping::clock_trouble;
use crate::store::Occurrence;

/// One thing that keeps messages from being sent.
pub(super) struct Stop {
    /// What does not send, and why: a sentence.
    pub(super) why: Said,
    /// What ends it: a sentence.
    pub(super) cure: Said,
    pub(super) from: From,
}

/// From which step on nothing moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum From {
    /// Nobody looks at anything.
    Start,
    /// What comes due is not even opened.
    Opening,
    /// It is opened, and does not leave.
    Leaving,
}

/// Of which messages of a rule it is asked.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// Those of due times to come.
    Coming,
    /// Those of one that was opened.
    Opened(&'a Occurrence),
}

impl Desk {
    /// What keeps messages of a rule from being sent now, what stops most first.
    pub(super) fn standstill(&self, app: &AppId, rule: &RuleId, of: Of<'_>) -> Result<Vec<Stop>, Failure> {
        let name = app_name(&self.live().config, app);
        let mut stops: Vec<Stop> = self.store().hold()?.iter().map(on_hold).collect();
        let (brake, control) = (self.brake()?, self.control());
        if control.is_some() {
            let trouble = clock_trouble(self.clock().trust().borrow().standing);
            stops.extend(trouble.as_deref().map(by_the_clock));
        }
        let pauses = brake.pauses();
        stops.extend(pauses.iter().filter(|pause| pause.covers(app, rule)).map(|pause| match &pause.scope {
            Scope::Everything => everything(&pause.to_string()),
            Scope::App(_) => app_paused(&name, &pause.to_string()),
            Scope::Rule(_) => rule_paused(rule, &pause.to_string()),
        }));
        let by_itself =
            control.filter(|_| !pauses.iter().any(|pause| pause.scope == Scope::App(app.clone())));
        let apps = by_itself.map(|control| control.status().apps).unwrap_or_default();
        for (known, state) in apps {
            if known.as_str() == name
                && let AppState::Paused(why) = state
            {
                stops.push(app_pauses(&name, &why));
            }
        }
        let rejected = match of {
            Of::Coming => brake.rejections().into_iter().find(|rejection| rejection.rule == *rule),
            Of::Opened(occurrence) => brake.rejection(rule, Wording::of_snapshot(&occurrence.snapshot)),
        };
        stops.extend(rejected.as_ref().map(rule_rejected));
        if let Of::Opened(occurrence) = of
            && occurrence.state == OccurrenceState::Held
        {
            stops.push(held(rule, occurrence.reason.as_deref()));
        }
        Ok(stops)
    }
}

impl Stop {
    /// All of them, one sentence after the other.
    pub(super) fn whys(stops: &[Self]) -> Said {
        joined(stops, |stop| &stop.why)
    }

    /// What ends all of them; `None` where there are none.
    pub(super) fn cures(stops: &[Self]) -> Option<Said> {
        (!stops.is_empty()).then(|| joined(stops, |stop| &stop.cure))
    }
}

fn joined(stops: &[Stop], part: fn(&Stop) -> &Said) -> Said {
    let en: Vec<&str> = stops.iter().map(|stop| part(stop).en.as_str()).collect();
    let zh: String = stops.iter().map(|stop| part(stop).zh.as_str()).collect();
    Said::new(en.join(" "), zh)
}

fn on_hold(hold: &Hold) -> Stop {
    Stop {
        why: Said::new(format!("Everything is on hold: {hold}."), format!("全部暂停中：{hold}。")),
        cure: Said::new(
            "Once it is known since when things are lost: tixing release --lost-since TIME. What came due until then and may \
             have been sent is in doubt then, and is not sent again.",
            "查清从什么时候起的记录丢失之后：tixing release --lost-since 时间。在那之前到时间、可能已经发出的会记为存疑，不会重发。",
        ),
        from: From::Opening,
    }
}

fn by_the_clock(trouble: &str) -> Stop {
    Stop {
        why: Said::new(
            format!("Nothing is sent: {trouble}."),
            format!("什么都不发，时钟不可信：{trouble}。"),
        ),
        cure: Said::new(
            "Set the clock, or tixing accept-clock if it is right.",
            "校正时钟；如果时钟没有错：tixing accept-clock。",
        ),
        from: From::Opening,
    }
}

fn everything(why: &str) -> Stop {
    Stop {
        why: Said::new(format!("Everything is on hold: {why}."), format!("全部暂停中：{why}。")),
        cure: Said::new("To go on: tixing resume.", "恢复发送：tixing resume。"),
        from: From::Leaving,
    }
}

fn app_paused(app: &str, why: &str) -> Stop {
    Stop {
        why: Said::new(
            format!("App `{app}` does not send: {why}."),
            format!("小程序 `{app}` 暂停发送：{why}。"),
        ),
        cure: Said::new(
            format!("To go on: tixing resume --app {app}."),
            format!("恢复发送：tixing resume --app {app}。"),
        ),
        from: From::Leaving,
    }
}

/// It has paused by itself, and the reason says what to do about its cause.
fn app_pauses(app: &str, why: &str) -> Stop {
    Stop {
        cure: Said::new(
            format!(
                "It goes on by itself when what it says has passed; to try at once: tixing resume --app {app}."
            ),
            format!("原因消除后会自动恢复；立即再试：tixing resume --app {app}。"),
        ),
        ..app_paused(app, why)
    }
}

fn rule_paused(rule: &RuleId, why: &str) -> Stop {
    Stop {
        why: Said::new(
            format!("Rule `{rule}` does not send: {why}."),
            format!("规则 `{rule}` 暂停发送：{why}。"),
        ),
        cure: Said::new(
            format!("To go on: tixing resume --rule {rule}."),
            format!("恢复发送：tixing resume --rule {rule}。"),
        ),
        from: From::Leaving,
    }
}

fn rule_rejected(rejection: &Rejection) -> Stop {
    let rule = &rejection.rule;
    let cure = if rejection.passed {
        Said::new(
            format!(
                "The rule was edited since, which counts from the next due time on; to send this one all the same: tixing release \
                 --rule {rule}."
            ),
            format!("规则之后已修改，从下一次开始生效；这一次要照样发送：tixing release --rule {rule}。"),
        )
    } else {
        let cure = rejection.cure();
        Said::new(
            format!("What ends it: {cure}."),
            format!("按上面的原因改正规则或模板后恢复；要照样发送：tixing release --rule {rule}。"),
        )
    };
    Stop { cure, ..rule_paused(rule, &rejection.to_string()) }
}

fn held(rule: &RuleId, why: Option<&str>) -> Stop {
    let why = why.unwrap_or("`tixing status` says why");
    Stop {
        why: Said::new(format!("This reminder is held: {why}."), format!("这一次提醒被暂停：{why}。")),
        cure: Said::new(
            format!("To let it go on before its deadline: tixing release --rule {rule}."),
            format!("在期限之前放行：tixing release --rule {rule}。"),
        ),
        from: From::Leaving,
    }
}
