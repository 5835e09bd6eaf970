//! What is told of a message that something keeps from leaving now, in place of when it would leave.

use chrono::{DateTime, Utc};

use super::outcome::Told;
use super::telling::moment;
use crate::admin::answer::Failure;
use crate::admin::desk::Desk;
use crate::admin::standstill::{From, Of, Stop};
use crate::domain::delivery::{Past, State};
use crate::domain::id::{AppId, RuleId};
use crate::domain::language::Said;
use crate::store::{Delivery, Occurrence};

impl Desk {
    /// What keeps messages of a rule from being sent now, with the daemon that does not run.
    pub(super) fn stops(&self, app: &AppId, rule: &RuleId, of: Of<'_>) -> Result<Vec<Stop>, Failure> {
        let down = self.control().is_none().then(down);
        Ok(down.into_iter().chain(self.standstill(app, rule, of)?).collect())
    }

    /// The same of a due time that was opened.
    pub(super) fn stops_of(&self, occurrence: &Occurrence) -> Result<Vec<Stop>, Failure> {
        self.stops(&occurrence.app, &occurrence.rule, Of::Opened(occurrence))
    }
}

fn down() -> Stop {
    Stop {
        why: Said::new(
            "No daemon runs now, and nothing is sent until it is started.",
            "现在没有守护进程在运行，启动之前什么都不会发送。",
        ),
        cure: Said::new(
            "Start the daemon: systemctl start tixing.",
            "启动守护进程：systemctl start tixing。",
        ),
        from: From::Start,
    }
}

/// What is told of a delivery at `now`, where `stops` keep it from leaving.
pub(super) fn stopped(
    told: Told,
    occurrence: &Occurrence,
    delivery: &Delivery,
    stops: &[Stop],
    now: DateTime<Utc>,
) -> Told {
    let Some(cure) = Stop::cures(stops) else { return told };
    let before = match delivery.state {
        State::Held => {
            let turn = delivery.next_at.unwrap_or(occurrence.due_at);
            let at = moment(turn, occurrence.zone);
            if turn > now {
                Said::new(
                    format!("It is held until {at}, and leaves then only if this has ended, too."),
                    format!("暂存到 {at}，而且要等下面的情况结束才会取用授权并发送。"),
                )
            } else {
                Said::new(
                    format!("Its time came at {at}, but it takes no consent and does not leave now."),
                    format!("{at} 已轮到，但现在不取用授权，也不发送。"),
                )
            }
        }
        State::Reserved => {
            Said::new("It has its consent, but does not leave now.", "已取用授权，但现在不发送。")
        }
        State::Waiting if delivery.past == Past::Busy => Said::new(
            "WeChat was busy (-1), and it is not tried again now.",
            "微信繁忙（-1），现在也不再试。",
        ),
        State::Waiting => {
            Said::new("It could not be sent yet, and does not leave now.", "还没能发出，现在也不发送。")
        }
        State::Attempting if stops.iter().any(|stop| stop.from == From::Start) => Said::new(
            "It was being sent when the daemon ended; whether it left nobody knows, and from its next start on it is in doubt.",
            "守护进程结束时正在发送，不知道有没有发出；下次启动后记为存疑。",
        ),
        State::Attempting
        | State::Sent
        | State::Undelivered
        | State::PresumedSent
        | State::Refused
        | State::Failed
        | State::Expired
        | State::Cancelled
        | State::Skipped
        | State::InDoubt => return told,
    };
    let why = Stop::whys(stops);
    let why = Said::new(format!("{before} {why}"), format!("{}{}", before.zh, why.zh));
    Told { why, cure: Some(cure), ..told }
}
