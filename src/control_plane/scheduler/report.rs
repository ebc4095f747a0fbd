//! Why a pod could not be placed, in kube-scheduler's words (source: `sched/framework/types.go`).

use super::framework::{Code, Nomination, Reason, Verdict, View};
use super::preemption::PostFiltered;
use super::profile::Profile;
use std::borrow::Cow;

/// A plugin's refusal, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The plugin.
    pub plugin: &'static str,
    /// How.
    pub code: Code,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// Why no node was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Rows of the plugins that rejected, as a bit set: whose events may help.
    pub rejectors: u32,
    /// The whole text.
    pub message: String,
    /// Nothing rejected the pod: the scheduler itself could not go on.
    pub error: bool,
    /// What becomes of the pod's nomination: none leaves it, an empty node clears it.
    pub nomination: Option<Nomination>,
}

/// The most the note of an Event may have (source: `truncateMessage`).
const MAX_NOTE: usize = 1024;

/// The text as an Event's note; the condition has all of it.
#[must_use]
pub fn note(message: &str) -> Cow<'_, str> {
    const MORE: &str = " ...";
    if message.len() <= MAX_NOTE {
        return message.into();
    }
    let cut = (0..=MAX_NOTE - MORE.len()).rev().find(|i| message.is_char_boundary(*i));
    format!("{}{MORE}", &message[..cut.unwrap_or(0)]).into()
}

/// `0/N nodes are available: REASONS.`
#[must_use]
pub fn fit_error(n: usize, reasons: Vec<(Reason, usize)>) -> String {
    let mut parts: Vec<String> =
        reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort_unstable();
    if parts.is_empty() {
        return format!("0/{n} nodes are available");
    }
    format!("0/{n} nodes are available: {}.", parts.join(", "))
}

/// Counts a reason.
pub fn count(reasons: &mut Vec<(Reason, usize)>, reason: Reason, n: usize) {
    match reasons.iter_mut().find(|(r, _)| *r == reason) {
        Some((_, count)) => *count += n,
        None => reasons.push((reason, n)),
    }
}

/// The text for nodes a narrowing `PreFilter` left out.
#[must_use]
pub fn absent_reason(plugin: &str) -> Reason {
    format!("node(s) didn't satisfy plugin(s) [{plugin}]").into()
}

impl Failure {
    /// There is no node at all.
    #[must_use]
    pub fn no_nodes() -> Self {
        let message = "no nodes available to schedule pods".to_owned();
        Self { error: false, ..Self::error(message) }
    }

    /// Reserve or Permit gave the node up.
    #[must_use]
    pub fn refused() -> Self {
        Self::error("a plugin gave the node up in Reserve or Permit".to_owned())
    }

    /// No plugin is to blame. A node promised before is given up.
    #[must_use]
    pub fn error(message: String) -> Self {
        let nomination = Some(Nomination::default());
        Self { rejectors: 0, message, error: true, nomination }
    }

    /// What `PostFilter` said is added.
    pub fn add(&mut self, said: PostFiltered) {
        if !said.message.is_empty() {
            self.message.push(' ');
            self.message.push_str(&said.message);
        }
        self.nomination = said.nomination;
    }

    /// `PreFilter` refused the pod.
    #[must_use]
    pub fn of_pod(row: u8, n: usize, rejection: &Rejection) -> Self {
        let why = rejection.reasons.join(", ");
        let message = format!("0/{n} nodes are available: {why}.");
        Self { rejectors: 1 << row, message, error: false, nomination: None }
    }

    /// Every node was rejected; `absent` nodes were left out if `PreFilter` narrowed the choice.
    #[must_use]
    pub fn of_nodes(
        profile: &Profile,
        view: View<'_>,
        rejected: &[(u32, Verdict)],
        absent: Option<usize>,
    ) -> Self {
        let mut kinds: Vec<(Verdict, usize)> = Vec::new();
        for (_, verdict) in rejected {
            match kinds.iter_mut().find(|(v, _)| v == verdict) {
                Some((_, n)) => *n += 1,
                None => kinds.push((*verdict, 1)),
            }
        }
        let mut rejectors = 0;
        let mut reasons = Vec::new();
        for &(verdict, n) in &kinds {
            let row = &profile.rows[usize::from(verdict.row())];
            rejectors |= 1 << verdict.row();
            for bit in verdict.reasons() {
                count(&mut reasons, row.plugin.reason(view, bit), n);
            }
        }
        if let Some(absent) = absent {
            let affinity = (0_u8..).zip(&profile.rows).find(|(_, r)| r.name == "NodeAffinity");
            rejectors |= affinity.map_or(0, |(i, _)| 1 << i);
            if absent > 0 {
                count(&mut reasons, absent_reason("NodeAffinity"), absent);
            }
        }
        let message = fit_error(view.cache.len(), reasons);
        Self { rejectors, message, error: false, nomination: None }
    }
}
