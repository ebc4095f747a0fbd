//! `08_gc_kubelet`.

use super::{Case, Change, Did, Timeline, instants, order, table};

/// When the first object of a kind whose name begins so did something.
fn when(run: &Timeline, kind: &str, name: &str, what: impl Fn(&Change) -> bool) -> f64 {
    let found = run.of(kind).find(|c| c.name.starts_with(name) && what(c));
    found.unwrap_or_else(|| panic!("{kind} {name}")).at
}

fn last(run: &Timeline, kind: &str, name: &str, what: impl Fn(&Change) -> bool) -> f64 {
    let all = run.of(kind).filter(|c| c.name.starts_with(name) && what(c));
    all.last().unwrap_or_else(|| panic!("{kind} {name}")).at
}

fn gone(change: &Change) -> bool {
    change.did == Did::Deleted
}

fn marked(change: &Change) -> bool {
    change.set.contains_key("metadata.deletionTimestamp")
}

#[test]
fn garbage_goes_as_recorded() {
    let Some(case) = Case::load("08", "08_gc_kubelet", "08-gc") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    for (whose, run) in case.all() {
        modes(run, &whose);
        namespace(run, &whose);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Who goes first in each of the three modes, and how long it takes.
fn modes(run: &Timeline, whose: &str) {
    let name = "d-foreground";
    let owner = when(run, "deployments", name, gone);
    let set = when(run, "replicasets", name, gone);
    let pods = last(run, "pods", name, gone);
    assert!(pods <= set && set <= owner, "{whose}: pods, their set, its owner");
    assert!((2.0..3.5).contains(&(owner - 5.923)), "{whose}: {owner}");
    let name = "d-background";
    let owner = when(run, "deployments", name, gone);
    let set = when(run, "replicasets", name, gone);
    let pods = when(run, "pods", name, marked);
    assert!(owner <= set && set <= pods, "{whose}: the owner, its set, its pods");
    let all = last(run, "pods", name, gone);
    assert!((2.0..3.5).contains(&(all - 17.865)), "{whose}: {all}");
    let name = "d-orphan";
    let owner = when(run, "deployments", name, gone);
    assert!((0.0..0.3).contains(&(owner - 27.97)), "{whose}: {owner}");
    let set = when(run, "replicasets", name, gone);
    assert!((0.0..0.3).contains(&(set - 31.187)), "{whose}: {set}");
    // The orphans of orphans live on until their namespace goes.
    let pods = when(run, "pods", name, marked);
    assert!(pods > 44.0, "{whose}: {pods}");
}

/// Terminating at once, swept after 5 s, looked at again 5 s after its status says what is left.
fn namespace(run: &Timeline, whose: &str) {
    let phase = |c: &Change| c.get("status.phase") == Some("Terminating");
    let terminating = when(run, "namespaces", "exp8", phase);
    let path = "status.conditions[NamespaceContentRemaining].status";
    let remains = when(run, "namespaces", "exp8", |c| c.get(path) == Some("True"));
    let removed = when(run, "namespaces", "exp8", |c| c.get(path) == Some("False"));
    let gone = when(run, "namespaces", "exp8", gone);
    assert!((39.05..39.1).contains(&terminating), "{whose}: {terminating}");
    let sweep = run.writes.iter().find(|w| w.verb == "deletecollection").unwrap().at;
    assert!((4.95..5.1).contains(&(sweep - terminating)), "{whose}: {sweep}");
    assert!((0.1..0.6).contains(&(remains - sweep)), "{whose}: {remains}");
    assert!((4.95..5.6).contains(&(removed - remains)), "{whose}: {removed}");
    assert!((0.0..0.1).contains(&(gone - removed)), "{whose}: {gone}");
}
