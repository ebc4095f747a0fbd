//! `DynamicResources`, for pods without resource claims: it skips all it can, and its `PostFilter`
//! leaves a trace in the messages. Pods with claims are not modelled.

use crate::control_plane::scheduler::framework::{CycleState, Plugin, PreFilter, View};

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct DynamicResources;

/// What its `PostFilter` says of a pod that has no claim to give up.
pub const NO_CLAIMS: &str = "no new claims to deallocate";

/// What its `PostFilter` says if an earlier plugin's `PreFilter` has ended the cycle: its own, which
/// keeps the state that it looks for, never ran. The error ends `PostFilter`.
pub const NO_STATE: &str = "not found";

impl Plugin for DynamicResources {
    fn pre_filter(&self, _view: View<'_>, _state: &mut CycleState) -> PreFilter {
        PreFilter::Skip
    }

    fn constant_score(&self, _view: View<'_>, _state: &CycleState) -> Option<i64> {
        Some(0)
    }
}
