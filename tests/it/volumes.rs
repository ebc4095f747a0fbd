//! Claims and volumes in a whole cluster: `scenarios/volumes`.

use super::support::plan;
use std::collections::BTreeMap;
use wavetank::api::node::keys::ZONE;
use wavetank::api::storage::{ClaimPhase, VolumePhase};
use wavetank::api::{Kind, Obj, Pod};
use wavetank::engine::{SimTime, Sym};
use wavetank::session::Session;

fn run_to(session: &mut Session, secs: u64) {
    while session.next_time().is_some_and(|t| t <= SimTime::from_secs(secs)) {
        session.step();
    }
}

fn find(session: &Session, kind: Kind, name: &str) -> Option<Obj> {
    let versions = &session.cluster().shared().versions;
    let ns = if kind.namespaced() { Sym::new("default") } else { Sym::EMPTY };
    let object = versions.find(kind, ns, name.into())?;
    versions.current(kind, object).cloned()
}

fn pod(session: &Session, name: &str) -> Pod {
    find(session, Kind::Pod, name).unwrap().as_pod().unwrap().as_ref().clone()
}

fn zone(session: &Session, node: Sym) -> String {
    let node = find(session, Kind::Node, node.as_str()).unwrap();
    node.meta().unwrap().labels.get(ZONE.into()).unwrap().to_string()
}

fn claims(session: &Session) -> BTreeMap<&'static str, ClaimPhase> {
    ["cache", "database", "report"]
        .into_iter()
        .map(|name| match find(session, Kind::PersistentVolumeClaim, name) {
            Some(Obj::PersistentVolumeClaim(claim)) => (name, claim.phase),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn pods_come_up_with_their_volumes() {
    let mut session = Session::new(plan("volumes"));
    run_to(&mut session, 240);
    let (bound, pending) = (ClaimPhase::Bound, ClaimPhase::Pending);
    let phases = [("cache", bound), ("database", bound), ("report", pending)];
    assert_eq!(claims(&session), phases.into_iter().collect());
    assert!(pod(&session, "database").ready() && pod(&session, "cache").ready());
    // The volume is in zone b: so is the pod.
    assert_eq!(zone(&session, pod(&session, "database").node), "zone-b");
    // The claim named no class and got the default one; its volume was made where the pod is.
    let Some(Obj::PersistentVolumeClaim(claim)) =
        find(&session, Kind::PersistentVolumeClaim, "cache")
    else {
        panic!("no claim")
    };
    assert_eq!(claim.class, Some("standard".into()));
    assert!(claim.meta.has_finalizer("kubernetes.io/pvc-protection"));
    let made = find(&session, Kind::PersistentVolume, &claim.volume.to_string());
    let Some(Obj::PersistentVolume(made)) = made else { panic!("no volume") };
    assert_eq!(made.phase, VolumePhase::Bound);
    let node = find(&session, Kind::Node, pod(&session, "cache").node.as_str()).unwrap();
    assert!(made.reaches(node.meta().unwrap().labels));
    // Nothing fits the third claim, so its pod waits.
    let waiting = pod(&session, "report");
    assert!(waiting.node.is_empty());
    let why = waiting.status.conditions.iter().next().unwrap().message.to_string();
    assert!(why.contains("pod has unbound immediate PersistentVolumeClaims. not found"), "{why}");
    // A volume that fits appears after five minutes. It is bound at the next resync, and that
    // brings the pod back, before the scheduler tries it again in any case.
    run_to(&mut session, 322);
    assert_eq!(claims(&session)["report"], bound);
    assert!(pod(&session, "report").ready());
}
