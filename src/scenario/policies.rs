//! Policies that a scenario writes itself: CEL expressions under a name.

use super::file;
use super::path::nearest;
use super::place::Place;
use super::plan::top;
use super::report::Report;
use crate::cluster::spec::{Expressions, Named};
use crate::control_plane::scheduler::policies::cel::{CelPolicy, CelTexts, Normalize};
use schemars::JsonSchema;
use serde::Deserialize;

/// A policy of expressions in CEL. Amounts of cpu are milli-cores, of memory bytes, of gpu
/// thousandths of a GPU; all are doubles.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySection {
    /// A bool over `node`, `pod` and `cluster`: false rejects the node.
    pub filter: Option<String>,
    /// What a rejection says; `node(s) did not pass the policy's filter` by default.
    pub reason: Option<String>,
    /// A number over `node`, `pod` and `cluster`: the node with most of it is taken.
    pub score: Option<String>,
    /// What becomes of the scores before they are added to those of `base`.
    #[serde(default)]
    pub normalize: NormalizeName,
    /// A named policy whose scores count, too; none by default.
    pub base: Option<String>,
    /// Weight of the score beside those of `base`; 1 by default.
    #[schemars(range(min = 1, max = 100))]
    pub weight: Option<u32>,
}

/// What becomes of scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NormalizeName {
    /// Cut to 0 to 100.
    #[default]
    None,
    /// Spread, so that the least becomes 0 and the greatest 100.
    Stretch,
    /// Divided by the greatest, times 100.
    Max,
}

/// A policy by its name: one that is built in, or one of the scenario's.
pub(crate) fn find(
    name: &str,
    file: &file::ScenarioFile,
    report: &mut Report,
) -> (Named, Option<Expressions>) {
    if let Some(section) = file.policies.get(name) {
        let place = top("policies").key(name);
        return section_of(section, &place, report).unwrap_or_default();
    }
    let own = file.policies.keys().map(String::as_str);
    (named(name, own, &top("scheduler").key("policy"), report), None)
}

/// Every section is checked, whichever is used.
pub(crate) fn check(file: &file::ScenarioFile, report: &mut Report) {
    for (name, section) in &file.policies {
        let place = top("policies").key(name);
        if Named::find(name).is_some() {
            report.error(&place, "a policy of this name is built in", "choose another name");
        }
        if Some(name) != file.scheduler.policy.as_ref() {
            let _: Option<(Named, Option<Expressions>)> = section_of(section, &place, report);
        }
    }
}

/// A policy that is built in; `own` are names that are possible at this place, too.
fn named<'a>(
    name: &str,
    own: impl Iterator<Item = &'a str>,
    place: &Place,
    report: &mut Report,
) -> Named {
    Named::find(name).unwrap_or_else(|| {
        let names: Vec<&str> = Named::ALL.iter().map(|named| named.name()).chain(own).collect();
        let near = nearest(name, names.iter().copied());
        let near = near.map(|n| format!("did you mean {n}? ")).unwrap_or_default();
        let hint = format!("{near}possible here: {}", names.join(", "));
        report.error(place, format!("{name:?} is no policy"), hint);
        Named::default()
    })
}

fn section_of(
    section: &PolicySection,
    place: &Place,
    report: &mut Report,
) -> Option<(Named, Option<Expressions>)> {
    if section.filter.is_none() && section.score.is_none() {
        report.error(place, "has neither filter nor score", "write at least one of them");
        return None;
    }
    let base = section.base.as_ref();
    let base = base.map(|name| named(name, std::iter::empty(), &place.key("base"), report));
    let weight = section.weight.unwrap_or(1);
    let texts = CelTexts {
        filter: section.filter.as_deref(),
        reason: section.reason.as_deref(),
        score: section.score.as_deref(),
        normalize: match section.normalize {
            NormalizeName::None => Normalize::None,
            NormalizeName::Stretch => Normalize::Stretch,
            NormalizeName::Max => Normalize::Max,
        },
    };
    match CelPolicy::new(texts) {
        Ok(policy) => {
            let own = Expressions { policy, alone: base.is_none(), weight: i64::from(weight) };
            Some((base.unwrap_or_default(), Some(own)))
        }
        Err(wrong) => {
            for (field, error) in wrong {
                let at = format!("{}:{}", error.line, error.column);
                let problem = format!("{} (at {at} of the expression)", error.problem);
                report.error(&place.key(field), problem, error.hint);
            }
            None
        }
    }
}
