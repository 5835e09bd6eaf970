//! The texts of one rule and its condition: compiled, and held against the fields they fill.
//!
//! Every fault is reported where it stands in the file. Whether a value of some recipient fits is only
//! known when there is one; what no recipient can mend is told here.

use super::problem::shape::Thing;
use super::problem::{Problem, meaning, rule};
use super::source::Spot;
use super::walk::{Map, Walk};
use super::yaml::{Node, Value};
use crate::domain::id::FieldName;
use crate::domain::language::Said;
use crate::domain::rule::{Overflow, Rule};
use crate::plan::audience::{Selector, Verdict};
use crate::plan::fields::{self, Misfit};
use crate::plan::render::{self, Compiled, RenderError};

/// Checks all texts of `rule`, which stands in `map` with its condition at `condition`.
///
/// Answers the fields of the recipient that they look at, and where.
pub(super) fn check(
    rule: &Rule,
    map: Map<'_>,
    condition: Option<&Node>,
    walk: &mut Walk<'_>,
) -> Vec<(FieldName, Spot)> {
    let texts = Texts { map, condition };
    let mut asked = Vec::new();
    let report = |error: RenderError, walk: &mut Walk<'_>| {
        walk.report(texts.spot_at(&error.key, error.offset), fault(error));
    };
    match Compiled::new(rule) {
        Ok(compiled) => {
            for RenderError { key, message, help, offset } in compiled.constant_misfits() {
                walk.report(texts.spot_at(&key, offset), rule::does_not_fit(&key, &message, help));
            }
            for (key, names) in compiled.recipient_fields() {
                asked.extend(names.iter().map(|name| (name.clone(), texts.spot_of(key, name))));
            }
            fixed_parts(rule, &compiled, &texts, walk);
        }
        Err(errors) => errors.into_iter().for_each(|error| report(error, walk)),
    }
    match Selector::new(&rule.audience) {
        Ok(selector) => {
            let names = selector.recipient_fields();
            asked.extend(names.map(|name| (name.clone(), texts.spot_of("where", name))));
            match selector.constant() {
                None => {}
                Some(Verdict::Yes) => walk.report(texts.spot("where"), meaning::always_true()),
                Some(Verdict::No | Verdict::Undefined) => {
                    walk.report(texts.spot("where"), meaning::never_true());
                }
            }
        }
        Err(error) => report(error, walk),
    }
    asked
}

/// Values that are spoiled by what stands in them for everybody.
fn fixed_parts(rule: &Rule, compiled: &Compiled, texts: &Texts<'_>, walk: &mut Walk<'_>) {
    for (field, source) in &rule.data {
        let fixed = render::fixed_text(source);
        let Some(misfit) = fields::rules_out(field.kind(), &fixed) else { continue };
        let spot = texts.spot(field.as_str());
        match (misfit, rule.overflow_of(field)) {
            (Misfit::TooLong { allowed, .. }, Overflow::Cut) => {
                walk.report(spot, rule::always_cut(field.as_str(), allowed));
            }
            // A constant one has been tried as a whole, and a template without fields is not checked.
            (Misfit::TooLong { .. } | Misfit::Form { .. }, _)
                if compiled.is_constant(field) || rule.template.fields.is_none() => {}
            (misfit @ (Misfit::TooLong { .. } | Misfit::Form { .. }), _) => {
                let message = Said::new(
                    format!("`{fixed}` stands in it whoever gets it"),
                    format!("无论发给谁都会有 `{fixed}`"),
                );
                let allowed = misfit.allowed();
                let help =
                    Said::new(format!("allowed: {}", allowed.en), format!("这类字段可以填：{}", allowed.zh));
                walk.report(spot, rule::does_not_fit(field.as_str(), &message, help));
            }
        }
    }
}

fn fault(RenderError { key, message, help, offset: _ }: RenderError) -> Problem {
    match &*key {
        "page" => rule::bad_page(&message, help),
        "where" => rule::bad_expression(Thing::Key("where"), &message, help),
        field => rule::bad_expression(Thing::Text(field), &message, help),
    }
}

/// Where the texts of a rule stand.
struct Texts<'n> {
    map: Map<'n>,
    condition: Option<&'n Node>,
}

impl<'n> Texts<'n> {
    fn node(&self, key: &str) -> Option<&'n Node> {
        match (key, self.map.get("data").map(|node| &node.value)) {
            ("page", _) => self.map.get("page"),
            ("where", _) => self.condition,
            (key, Some(Value::Map(texts))) => {
                texts.iter().find(|(name, _)| *name.text == *key).map(|(_, node)| node)
            }
            (_, _) => None,
        }
    }

    /// The whole text.
    fn spot(&self, key: &str) -> Spot {
        self.node(key).map_or(self.map.spot, |node| node.spot)
    }

    fn spot_at(&self, key: &str, offset: usize) -> Spot {
        self.node(key).map_or(self.map.spot, |node| node.spot_in(offset))
    }

    /// Where the text speaks of a field; its beginning when it does so in another way.
    fn spot_of(&self, key: &str, field: &FieldName) -> Spot {
        let text = self.node(key).and_then(Node::as_text).unwrap_or_default();
        let name = format!("fields.{}", field.as_str());
        match text.find(&name) {
            Some(offset) => {
                Spot { length: u32::try_from(name.len()).unwrap_or(1), ..self.spot_at(key, offset) }
            }
            None => self.spot(key),
        }
    }
}
