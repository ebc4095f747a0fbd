//! A plugin of the user's, written against the public library as a dependency would have it.

use super::support::plan_with;
use std::sync::Arc;
use wavetank::api::{Kind, Pod};
use wavetank::cluster::spec::Plan;
use wavetank::session::Session;
use wavetank::session::explain::explain;

// The plugin and its row: what ARCHITECTURE.md shows.
mod last_node {
    use std::sync::Arc;
    use wavetank::control_plane::scheduler::framework::{
        Code, CycleState, Plugin, Reason, Verdict, View,
    };
    use wavetank::control_plane::scheduler::plugins::registry::Points;
    use wavetank::control_plane::scheduler::profile::ProfileRow;

    /// Likes nodes with large numbers, and keeps off the last one.
    #[derive(Debug)]
    struct LastNode;

    fn number(view: View<'_>, at: usize) -> i64 {
        let name = view.cache.at(at).name;
        name.as_str().rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    impl Plugin for LastNode {
        fn filter_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> Verdict {
            let last = number(view, at) + 1 == i64::try_from(view.cache.len()).unwrap();
            if last { Verdict::reject(Code::Unschedulable, 1) } else { Verdict::PASS }
        }
        fn reason(&self, _view: View<'_>, _bit: u8) -> Reason {
            "node(s) were the last one".into()
        }
        fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
            number(view, at)
        }
    }

    pub(super) fn row() -> ProfileRow {
        let points = Points::FILTER.and(Points::SCORE);
        ProfileRow { name: "LastNode", plugin: Arc::new(LastNode), points, weight: 1000 }
    }
}

fn placed(plan: &Arc<Plan>, with: bool) -> Vec<(String, String)> {
    let mut session = Session::new(Arc::clone(plan));
    if with {
        session.add_plugin(0, last_node::row());
    }
    session.run(&mut [], |_| {});
    let versions = &session.cluster().shared().versions;
    let pods = versions.iter(Kind::Pod).filter_map(|(_, o)| o.as_pod());
    let one = |p: &Arc<Pod>| (p.meta.name.to_string(), p.node.to_string());
    pods.map(one).collect()
}

#[test]
fn a_plugin_of_the_users_decides() {
    let plan = plan_with("first-steps", &[]).unwrap();
    let (without, with) = (placed(&plan, false), placed(&plan, true));
    assert!(!with.is_empty() && without.len() == with.len());
    let last = plan.cluster.nodes.len() - 1;
    let second = plan.cluster.nodes[last - 1].name.to_string();
    assert!(without.iter().any(|(_, node)| *node != second));
    assert!(with.iter().all(|(_, node)| *node == second), "{with:?}");
    // It is explained like any other.
    let found = explain(&plan, ("default", &with[0].0), wavetank::engine::SimTime::MAX, |s| {
        s.add_plugin(0, last_node::row());
    });
    let page = wavetank::report::explain::render(&found.unwrap());
    assert!(page.contains("1  LastNode: node(s) were the last one (Unschedulable)"), "{page}");
    assert!(page.contains("LastNode ×1000"), "{page}");
}
