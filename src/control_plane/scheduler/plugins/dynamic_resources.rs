//! `DynamicResources`. Claims are not modelled: for a pod without claims, which is every pod here,
//! all that shows is its part in the text of a pod that fits nowhere.

use crate::api::Pod;
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{CycleState, Plugin, PostFilter, PreFilter, View};
use crate::control_plane::scheduler::preemption::Stuck;

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct DynamicResources;

impl Plugin for DynamicResources {
    fn prepare(&self, _cache: &mut Cache, _pod: &Pod, state: &mut CycleState) {
        state.claims_read = false;
    }

    fn pre_filter(&self, _view: View<'_>, state: &mut CycleState) -> PreFilter {
        state.claims_read = true;
        PreFilter::Skip
    }

    fn constant_score(&self, _view: View<'_>, _state: &CycleState) -> Option<i64> {
        Some(0)
    }

    /// What `PreFilter` would have left is asked for first, so a cycle that an earlier plugin's
    /// `PreFilter` ended gives an error here.
    fn post_filter(&self, stuck: &mut Stuck<'_>) -> PostFilter {
        if stuck.state.claims_read {
            let reason = "no new claims to deallocate".into();
            PostFilter::Unschedulable { reason, clear: false }
        } else {
            PostFilter::Error("not found".into())
        }
    }
}
