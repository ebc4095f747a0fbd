//! Whom the rules of a node send a connection to. Sources: behaviour reference §4.15;
//! `proxy/topology.go`.

use crate::api::service::{Endpoint, Service};
use crate::engine::Sym;

/// The node whose rules decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Its name.
    pub node: Sym,
    /// Its zone; empty for none.
    pub zone: Sym,
    /// The client is outside of the cluster.
    pub outside: bool,
}

/// True if the policy lets a connection go to endpoints of the node alone.
#[must_use]
pub const fn is_local(service: &Service, outside: bool) -> bool {
    if outside { service.external_local } else { service.internal_local }
}

/// The endpoints among which the rules choose, by their position. Each has the same probability:
/// rule `i` of `n` takes `1 / (n - i)` of what came past the rules before it.
#[must_use]
pub fn choose(service: &Service, endpoints: &[Endpoint], at: At) -> Vec<usize> {
    let local = is_local(service, at.outside);
    let near = |e: &Endpoint| !local || e.node == at.node;
    let with = |wanted: fn(&Endpoint) -> bool| -> Vec<usize> {
        let all = endpoints.iter().enumerate();
        all.filter(|(_, e)| wanted(e) && near(e)).map(|(i, _)| i).collect()
    };
    let ready = with(|e| e.ready);
    if ready.is_empty() {
        // Nobody is ready: those that end but still serve are better than none.
        return with(|e| e.serving && e.terminating);
    }
    if local { ready } else { hinted(endpoints, ready, at) }
}

/// Of ready endpoints, those that hints name for this node, else for its zone; all of them unless
/// each has such a hint and one names it.
fn hinted(endpoints: &[Endpoint], ready: Vec<usize>, at: At) -> Vec<usize> {
    let hints: [fn(&Endpoint) -> Sym; 2] = [|e| e.hint_node, |e| e.hint_zone];
    for (hint, own) in hints.into_iter().zip([at.node, at.zone]) {
        let all = ready.iter().all(|&i| !hint(&endpoints[i]).is_empty());
        if all && !own.is_empty() && ready.iter().any(|&i| hint(&endpoints[i]) == own) {
            return ready.into_iter().filter(|&i| hint(&endpoints[i]) == own).collect();
        }
    }
    ready
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Name;

    fn endpoint(i: usize, node: &str, zone: &str) -> Endpoint {
        Endpoint {
            ready: true,
            serving: true,
            node: Sym::new(node),
            zone: Sym::new(zone),
            pod: Name::new(&format!("pod-{i}")),
            ..Endpoint::default()
        }
    }

    fn three() -> Vec<Endpoint> {
        vec![endpoint(0, "n1", "a"), endpoint(1, "n2", "b"), endpoint(2, "n3", "b")]
    }

    fn at(node: &str, zone: &str) -> At {
        At { node: Sym::new(node), zone: Sym::new(zone), outside: false }
    }

    #[test]
    fn cluster_policy_takes_all_that_are_ready() {
        let service = Service::default();
        let mut all = three();
        assert_eq!(choose(&service, &all, at("n1", "a")), [0, 1, 2]);
        all[1].ready = false;
        assert_eq!(choose(&service, &all, at("n1", "a")), [0, 2]);
    }

    #[test]
    fn with_none_ready_those_that_end_but_serve_are_used() {
        let mut all = three();
        for e in &mut all {
            (e.ready, e.terminating) = (false, true);
        }
        all[2].serving = false;
        assert_eq!(choose(&Service::default(), &all, at("n1", "a")), [0, 1]);
        all[0].ready = true;
        assert_eq!(choose(&Service::default(), &all, at("n1", "a")), [0]);
    }

    #[test]
    fn local_policies_stay_on_the_node() {
        let service = Service { internal_local: true, ..Service::default() };
        assert_eq!(choose(&service, &three(), at("n2", "b")), [1]);
        assert!(choose(&service, &three(), at("n9", "b")).is_empty());
        let outside = At { outside: true, ..at("n2", "b") };
        assert_eq!(choose(&service, &three(), outside), [0, 1, 2], "external policy is its own");
    }

    #[test]
    fn zone_hints_count_if_all_have_one_and_one_matches() {
        let mut all = three();
        for e in &mut all {
            e.hint_zone = e.zone;
        }
        assert_eq!(choose(&Service::default(), &all, at("n9", "b")), [1, 2]);
        assert_eq!(choose(&Service::default(), &all, at("n9", "c")), [0, 1, 2]);
        all[0].hint_zone = Sym::EMPTY;
        assert_eq!(choose(&Service::default(), &all, at("n9", "b")), [0, 1, 2]);
    }

    #[test]
    fn node_hints_come_before_zone_hints() {
        let mut all = three();
        for e in &mut all {
            (e.hint_zone, e.hint_node) = (e.zone, e.node);
        }
        assert_eq!(choose(&Service::default(), &all, at("n3", "b")), [2]);
        assert_eq!(choose(&Service::default(), &all, at("n9", "b")), [1, 2]);
    }
}
