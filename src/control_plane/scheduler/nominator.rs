//! Pods that wait for a node they were promised (source: `sched/backend/queue/nominator.go`): kept
//! from deliveries and from the scheduler's own preemptions, which it knows before they are
//! written.

use crate::api::Pod;
use crate::api::versions::ObjRef;
use crate::engine::Sym;
use std::sync::Arc;

/// A waiting pod and the node it was promised.
#[derive(Debug, Clone)]
pub struct Nominated {
    /// The pod.
    pub object: ObjRef,
    /// As last delivered.
    pub pod: Arc<Pod>,
    /// The node.
    pub node: Sym,
}

/// All nominated pods, in order of nomination. There are few of them at any time.
#[derive(Debug, Clone, Default)]
pub struct Nominator {
    pods: Vec<Nominated>,
}

/// True if both are the same pod.
fn same(a: &Pod, b: &Pod) -> bool {
    (a.meta.ns, a.meta.name) == (b.meta.ns, b.meta.name)
}

impl Nominator {
    /// True if no pod is nominated: the usual case, in which nothing else here is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Nominated] {
        &self.pods
    }

    /// Nominates a pod for a node; an empty name takes a nomination back.
    pub fn set(&mut self, object: ObjRef, pod: &Arc<Pod>, node: Sym) {
        self.remove(object);
        if !node.is_empty() {
            self.pods.push(Nominated { object, pod: Arc::clone(pod), node });
        }
    }

    /// A waiting pod was delivered. A promise that has not been written yet outlives updates that
    /// say nothing about it.
    pub fn update(&mut self, object: ObjRef, old: Option<&Pod>, pod: &Arc<Pod>) {
        let told = pod.status.nominated;
        let silent = told.is_empty() && old.is_none_or(|old| old.status.nominated.is_empty());
        let node = if silent { self.node_of(object).unwrap_or_default() } else { told };
        if !(node.is_empty() && self.is_empty()) {
            self.set(object, pod, node);
        }
    }

    /// The pod is bound, assumed or gone.
    pub fn remove(&mut self, object: ObjRef) {
        self.pods.retain(|n| n.object != object);
    }

    /// The node a pod was promised.
    #[must_use]
    pub fn node_of(&self, object: ObjRef) -> Option<Sym> {
        self.pods.iter().find(|n| n.object == object).map(|n| n.node)
    }

    /// Pods promised `node` that `pod` must reckon with: those of its priority or more.
    pub fn ahead_of<'a>(
        &'a self,
        pod: &'a Pod,
        node: Sym,
    ) -> impl Iterator<Item = &'a Nominated> + 'a {
        let priority = pod.spec.priority;
        self.pods.iter().filter(move |n| {
            n.node == node && n.pod.spec.priority >= priority && !same(&n.pod, pod)
        })
    }

    /// Pods of lower priority than `priority` promised `node`.
    pub fn below(&self, priority: i32, node: Sym) -> impl Iterator<Item = &Nominated> {
        self.pods.iter().filter(move |n| n.node == node && n.pod.spec.priority < priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(nominated: &str) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.status.nominated = nominated.into();
        Arc::new(pod)
    }

    #[test]
    fn a_promise_outlives_updates_that_say_nothing_about_it() {
        let object = ObjRef { slot: 1, generation: 0 };
        let mut nominator = Nominator::default();
        nominator.set(object, &pod(""), "n1".into());
        nominator.update(object, Some(&pod("")), &pod(""));
        assert_eq!(nominator.node_of(object), Some("n1".into()));
        nominator.update(object, Some(&pod("")), &pod("n2"));
        assert_eq!(nominator.node_of(object), Some("n2".into()));
        nominator.update(object, Some(&pod("n2")), &pod(""));
        assert!(nominator.is_empty(), "the nomination was cleared");
    }
}
