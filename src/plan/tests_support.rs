//! A rule for tests of this room: each changes what it is about.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::id::{AppName, RuleId, TemplateId, TemplateName};
use crate::domain::rule::{Audience, Canary, DEFAULT_GRACE, MissedPolicy, OnDoubt, Rule};
use crate::domain::template::{Template, TemplateKind};
use crate::domain::when::Cron;
use crate::domain::zone::Zone;

/// Everybody, each day at 10:00 in Shanghai.
pub(super) fn rule() -> Rule {
    Rule {
        id: RuleId::parse("drink-water").expect("an id"),
        app: AppName::parse("clinic").expect("a name"),
        template: Template {
            name: TemplateName::parse("habit").expect("a name"),
            id: TemplateId::parse("TEMPLATE").expect("an id"),
            kind: TemplateKind::OneTime,
            fields: None,
        },
        zone: Zone::SHANGHAI,
        own_time: false,
        when: Cron::parse("0 10 * * *").expect("a cron expression").into(),
        audience: Audience::default(),
        data: BTreeMap::new(),
        page: None,
        grace: DEFAULT_GRACE,
        spread: Duration::ZERO,
        quiet: None,
        missed: MissedPolicy::Latest,
        overflow: BTreeMap::new(),
        canary: Canary::Automatic,
        priority: 0,
        on_doubt: OnDoubt::Hold,
    }
}
