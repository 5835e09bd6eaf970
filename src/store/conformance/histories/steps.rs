//! What may happen in a history, and how often: most of it must be possible where it is tried.

use proptest::prelude::*;

use super::appointments::{Appoint, appoint};
use super::persons::{Being, being};
use crate::store::Arrival;

/// One thing that happens; what it does where it cannot happen is nothing.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Report { who: usize, id: u8, content: u8, template: usize, reject: bool, age: i64 },
    Grant { who: usize, template: usize, n: u32 },
    Zone { who: usize, zone: usize },
    Refuse { who: usize, template: usize, age: i64 },
    Erase { which: usize },
    Open { rule: usize, template: usize },
    Round { rule: usize, template: usize },
    Piece { which: usize, members: Vec<(usize, u8)>, ends: bool },
    Release { which: usize, fate: u8 },
    Mark { which: usize },
    Settle { which: usize, how: u8 },
    Send { which: usize, how: u8 },
    Close { which: usize, cancel: bool },
    Stop { which: usize },
    Recover,
    Doubt { which: usize, sent: bool },
    Receipt { which: usize, msgid: u8, offset: i64, arrival: Arrival },
    Repeat { which: usize, how: u8 },
    Presume { age: i64 },
    Retire { days: i64 },
    Appoint { step: Appoint },
    Person { app: usize, who: usize, is: Being },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let arrival = prop_oneof![3 => Just(Arrival::Arrived), 1 => Just(Arrival::NotArrived)];
    let template = || prop_oneof![3 => Just(0_usize), 1 => Just(1)];
    prop_oneof![
        6 => (0..3_usize, 0..6_u8, 0..2_u8, template(), prop::bool::weighted(0.15), 0..120_i64)
            .prop_map(|(who, id, content, template, reject, age)| Step::Report { who, id, content, template, reject, age }),
        6 => (0..3_usize, template(), 1..4_u32).prop_map(|(who, template, n)| Step::Grant { who, template, n }),
        1 => (0..3_usize, 0..4_usize).prop_map(|(who, zone)| Step::Zone { who, zone }),
        3 => (0..3_usize, template(), 0..60_i64).prop_map(|(who, template, age)| Step::Refuse { who, template, age }),
        1 => (0..40_usize).prop_map(|which| Step::Erase { which }),
        2 => (0..2_usize, template()).prop_map(|(rule, template)| Step::Open { rule, template }),
        6 => (0..2_usize, template()).prop_map(|(rule, template)| Step::Round { rule, template }),
        4 => (0..8_usize, prop::collection::vec((0..4_usize, 0..8_u8), 1..4), any::<bool>())
            .prop_map(|(which, members, ends)| Step::Piece { which, members, ends }),
        14 => (0..40_usize).prop_map(|which| Step::Mark { which }),
        14 => (0..4_usize, 0..19_u8).prop_map(|(which, how)| Step::Settle { which, how }),
        14 => (0..40_usize, 0..19_u8).prop_map(|(which, how)| Step::Send { which, how }),
        2 => (0..40_usize, any::<bool>()).prop_map(|(which, cancel)| Step::Close { which, cancel }),
        1 => (0..8_usize).prop_map(|which| Step::Stop { which }),
        1 => Just(Step::Recover),
        2 => (0..40_usize, any::<bool>()).prop_map(|(which, sent)| Step::Doubt { which, sent }),
        8 => (0..40_usize, 0..8_u8, -90..60_i64, arrival)
            .prop_map(|(which, msgid, offset, arrival)| Step::Receipt { which, msgid, offset, arrival }),
        3 => (0..80_i64).prop_map(|age| Step::Presume { age }),
        1 => prop::sample::select(vec![1_i64, 8, 91, 181]).prop_map(|days| Step::Retire { days }),
        1 => Just(Step::Reopen),
    ]
}

/// What may happen where most is about appointments.
fn step_of_appointments() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..3_usize, 1..4_u32).prop_map(|(who, n)| Step::Grant { who, template: 0, n }),
        2 => (0..3_usize, 0..6_u8).prop_map(|(who, id)| {
            Step::Report { who, id, content: 0, template: 0, reject: false, age: 0 }
        }),
        1 => Just(Step::Round { rule: 1, template: 0 }),
        8 => appoint().prop_map(|step| Step::Appoint { step }),
        2 => (0..40_usize).prop_map(|which| Step::Mark { which }),
        2 => (0..4_usize, 0..19_u8).prop_map(|(which, how)| Step::Settle { which, how }),
        2 => (0..40_usize, 0..19_u8).prop_map(|(which, how)| Step::Send { which, how }),
        1 => step(),
    ]
}

/// What may happen where most is held for later.
fn step_of_held() -> impl Strategy<Value = Step> {
    let template = || prop_oneof![3 => Just(0_usize), 1 => Just(1)];
    prop_oneof![
        4 => (0..3_usize, template(), 1..3_u32).prop_map(|(who, template, n)| Step::Grant { who, template, n }),
        4 => (0..2_usize, template()).prop_map(|(rule, template)| Step::Open { rule, template }),
        8 => (0..8_usize, prop::collection::vec((0..4_usize, 0..3_u8), 1..4), prop::bool::weighted(0.2))
            .prop_map(|(which, members, ends)| Step::Piece { which, members, ends }),
        8 => (0..40_usize, 0..8_u8).prop_map(|(which, fate)| Step::Release { which, fate }),
        1 => (0..3_usize, template(), 0..60_i64).prop_map(|(who, template, age)| Step::Refuse { who, template, age }),
        3 => (0..8_usize).prop_map(|which| Step::Stop { which }),
        1 => (0..40_usize).prop_map(|which| Step::Erase { which }),
        3 => (0..40_usize, 0..19_u8).prop_map(|(which, how)| Step::Send { which, how }),
        2 => step(),
    ]
}

/// What may happen where most has no answer.
fn step_of_doubts() -> impl Strategy<Value = Step> {
    let how = || prop_oneof![2 => Just(6_u8), 1 => 0..19_u8];
    prop_oneof![
        2 => (0..3_usize, 1..9_u32).prop_map(|(who, n)| Step::Grant { who, template: 0, n }),
        3 => Just(Step::Round { rule: 1, template: 0 }),
        6 => (0..40_usize, how()).prop_map(|(which, how)| Step::Send { which, how }),
        8 => (0..40_usize, 0..8_u8).prop_map(|(which, how)| Step::Repeat { which, how }),
        1 => (0..40_usize, any::<bool>()).prop_map(|(which, sent)| Step::Doubt { which, sent }),
        1 => step(),
    ]
}

/// What may happen where people are in several apps.
fn step_of_persons() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize, 0..3_usize, being()).prop_map(|(app, who, is)| Step::Person { app, who, is }),
        1 => step(),
    ]
}

/// A history of people in several apps.
pub(super) fn steps_of_persons() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step_of_persons(), 1..60)
}

/// A history of doubts.
pub(super) fn steps_of_doubts() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step_of_doubts(), 1..60)
}

/// A history of held deliveries.
pub(super) fn steps_of_held() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step_of_held(), 1..60)
}

/// A history.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..80)
}

/// A history of appointments.
pub(super) fn steps_of_appointments() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step_of_appointments(), 1..60)
}

/// A history of any kind.
pub(super) fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![
        3 => steps(),
        1 => steps_of_appointments(),
        1 => steps_of_held(),
        1 => steps_of_doubts(),
        1 => steps_of_persons(),
    ]
}
