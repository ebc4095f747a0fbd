//! Disks: a pod waits until its own is in use, attached and mounted; a dead node keeps it until
//! somebody has an answer. Behaviour reference §3.16, §4.1.

use super::{Seen, run};
use wavetank::api::Obj;

const DISK: &str = "kubernetes.io/csi/disk.example.com^";

/// A cluster of two nodes with a StatefulSet of one member that would rather be on node-0.
fn scenario(more: &str) -> String {
    format!(
        "until: 45m
cluster:
  nodes: [{{name: node, count: 2, cpu: 4, memory: 8Gi, boot: 30s}}]
  storage: [{{driver: disk.example.com, provision: 2s, attach: 4s, detach: 3s, mount: 1s, unmount: 1s}}]
objects:
  - {{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: fast}}, provisioner: disk.example.com, volumeBindingMode: WaitForFirstConsumer}}
  - apiVersion: apps/v1
    kind: StatefulSet
    metadata: {{name: db}}
    spec:
      replicas: 1
      serviceName: db
      selector: {{matchLabels: {{app: db}}}}
      template:
        metadata: {{labels: {{app: db}}}}
        spec:
          affinity:
            nodeAffinity:
              preferredDuringSchedulingIgnoredDuringExecution:
                - weight: 100
                  preference: {{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [node-0]}}]}}
          containers:
            - {{name: main, image: 'db:1', volumeMounts: [{{name: data, mountPath: /data}}]}}
          volumes: []
      volumeClaimTemplates:
        - metadata: {{name: data}}
          spec: {{accessModes: [ReadWriteOnce], storageClassName: fast, resources: {{requests: {{storage: 10Gi}}}}}}
{more}"
    )
}

/// When a node's status first said something of its volumes that holds of the lists in use and
/// attached.
fn told(seen: &Seen, node: &str, from: f64, holds: impl Fn(usize, usize) -> bool) -> Option<f64> {
    let ours = |list: &[wavetank::engine::Sym]| {
        list.iter().filter(|v| v.as_str().starts_with(DISK)).count()
    };
    seen.changes.iter().filter(|(at, _)| *at >= from).find_map(|(at, obj)| {
        let Obj::Node(n) = obj else { return None };
        let is = n.meta.name.to_string() == node
            && holds(ours(&n.status.volumes_in_use), ours(&n.status.volumes_attached));
        is.then_some(*at)
    })
}

/// When attachments to a node were first seen attached, and first marked for deletion.
fn attached(seen: &Seen, node: &str) -> (Option<f64>, Option<f64>) {
    let all = || {
        seen.changes.iter().filter_map(|(at, obj)| {
            let Obj::VolumeAttachment(a) = obj else { return None };
            (a.node.as_str() == node).then_some((*at, a))
        })
    };
    let there = all().find(|(_, a)| a.attached).map(|(at, _)| at);
    (there, all().find(|(_, a)| a.meta.terminating()).map(|(at, _)| at))
}

/// When the pod's container was started, each time.
fn starts(seen: &Seen) -> Vec<f64> {
    seen.at("Started", "main")
}

#[test]
fn a_pod_starts_when_its_disk_is_in_use_attached_and_mounted() {
    let seen = run(&scenario(""));
    let bound = seen.at("Scheduled", "db-0")[0];
    let in_use = told(&seen, "node-0", 0.0, |u, _| u == 1).expect("in use");
    let (there, _) = attached(&seen, "node-0");
    let there = there.expect("attached");
    let said = told(&seen, "node-0", 0.0, |_, a| a == 1).expect("told");
    let runs = starts(&seen)[0];
    // The node's status is told with its loop, every ten seconds.
    assert!((0.0..10.2).contains(&(in_use - bound)), "{in_use} {bound}");
    // The driver takes 4 s; the controller polls every half a second, and looks each 100 ms.
    assert!((4.0..4.4).contains(&(there - bound)), "{there} {bound}");
    assert!((0.0..0.9).contains(&(said - there)), "{said} {there}");
    // The kubelet looks half a second after its first failure, then after 1, 2, 4, 8 s; it mounts for
    // a second, which its sync sees within 300 ms; sandbox, image and container follow.
    let ready = in_use.max(said);
    assert!((1.0..14.0).contains(&(runs - ready)), "{runs} {ready}");
    let text = &seen.events("SuccessfulAttachVolume")[0].2;
    assert!(text.starts_with("AttachVolume.Attach succeeded for volume \"pvc-"), "{text}");
}

#[test]
fn a_disk_is_detached_once_its_kubelet_has_unmounted_it() {
    let seen =
        run(&scenario("workload: [{at: 10m, scale: {target: statefulset/db, replicas: 0}}]"));
    let gone = seen.gone.iter().find(|(_, name)| name == "db-0").expect("gone").0;
    let unused = told(&seen, "node-0", 600.0, |u, _| u == 0).expect("let go");
    let (_, detaches) = attached(&seen, "node-0");
    let detaches = detaches.expect("detached");
    assert!((-3.0..12.0).contains(&(unused - gone)), "{unused} {gone}");
    assert!((0.0..0.3).contains(&(detaches - unused)), "{detaches} {unused}");
    let untold = told(&seen, "node-0", 600.0, |_, a| a == 0).expect("untold");
    assert!(untold < detaches, "the node's status is told first");
}

const CRASH: &str = "faults: [{name: dies, crash: {node: node-0}, at: 10m}]\n";

#[test]
fn a_pod_on_a_dead_node_stays_and_so_does_its_disk() {
    let seen = run(&scenario(CRASH));
    assert_eq!((starts(&seen).len(), seen.gone.len()), (1, 0));
    assert!(seen.last("db-0").meta.terminating(), "marked after five minutes");
    assert_eq!(attached(&seen, "node-0").1, None);
}

#[test]
fn six_minutes_after_a_forced_deletion_the_disk_is_detached_and_moves() {
    let delete = "workload: [{at: 20m, delete: pod/default/db-0, gracePeriodSeconds: 0}]\n";
    let seen = run(&scenario(&format!("{CRASH}{delete}")));
    // The name is free at once, its disk is not.
    let again = seen.at("Scheduled", "node-1")[0];
    assert!((1200.0..1201.0).contains(&again), "{again}");
    let multi = seen.at("FailedAttachVolume", "Multi-Attach error for volume \"pvc-");
    assert_eq!(multi.len(), 1);
    assert!((1200.0..1201.0).contains(&multi[0]), "{multi:?}");
    let detaches = attached(&seen, "node-0").1.expect("by force");
    assert!((1560.0..1560.5).contains(&detaches), "{detaches}");
    let there = attached(&seen, "node-1").0.expect("attached again");
    // 3 s to detach and 4 s to attach, with what the polls and turns add.
    assert!((7.0..9.0).contains(&(there - detaches)), "{there}");
    // The kubelet tells so when it has waited 2 min 3 s, and looks each 2 min 2 s by then.
    let late = seen.at("FailedMount", "unmounted volumes=[data]");
    assert!((122.9..124.0).contains(&(late[0] - again)), "{late:?}");
    let runs = starts(&seen)[1];
    assert!((1.0..126.0).contains(&(runs - there)), "{runs} {there}");
}

#[test]
fn a_node_out_of_service_gives_its_disk_up_at_once() {
    let taint = "workload: [{at: 20m, taint: {node: node-0, add: ['node.kubernetes.io/out-of-service=nodeshutdown:NoExecute']}}]\n";
    let seen = run(&scenario(&format!("{CRASH}{taint}")));
    let gone = seen.gone.iter().find(|(_, name)| name == "db-0").expect("by pod GC").0;
    assert!((1200.0..1220.5).contains(&gone), "{gone}");
    let detaches = attached(&seen, "node-0").1.expect("at once");
    assert!((0.0..0.5).contains(&(detaches - gone)), "{detaches} {gone}");
    let runs = starts(&seen)[1];
    assert!((8.0..60.0).contains(&(runs - gone)), "{runs} {gone}");
}

#[test]
fn a_node_that_returns_lets_go_of_its_disk() {
    let crash = "faults: [{name: dies, crash: {node: node-0}, at: 10m, for: 10m}]\n";
    let seen = run(&scenario(crash));
    // Its kubelet ends the pod with its first look, and says that nothing is in use.
    let gone = seen.gone.iter().find(|(_, name)| name == "db-0").expect("ended").0;
    assert!((1230.0..1235.0).contains(&gone), "{gone}");
    let runs = starts(&seen)[1];
    assert!((1230.0..1320.0).contains(&runs), "{runs}");
}

#[test]
fn a_stopped_kubelet_goes_on_where_it_was() {
    // It stops while the disk is being attached, and is back a minute later.
    let fault = "faults: [{name: stops, kubeletStop: {node: node-0}, at: 4s, for: 60s}]\n";
    let seen = run(&scenario(fault));
    let runs = starts(&seen)[0];
    assert!((64.0..90.0).contains(&runs), "{runs}");
    assert!(seen.last("db-0").ready());
}

#[test]
fn a_claim_that_asks_for_more_gets_a_larger_disk_and_file_system() {
    let claim = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-db-0}, spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 20Gi}}}}";
    let more = format!("workload: [{{at: 10m, apply: {claim}}}]\n");
    let text = scenario(&more)
        .replace("volumeBindingMode:", "allowVolumeExpansion: true, volumeBindingMode:");
    let seen = run(&text.replace("unmount: 1s}", "unmount: 1s, resize: 5s}"));
    let at = |reason: &str| seen.events(reason).first().unwrap_or_else(|| panic!("no {reason}")).0;
    assert!((600.0..600.1).contains(&at("Resizing")));
    let larger = at("FileSystemResizeRequired");
    assert!((605.0..605.1).contains(&larger), "{larger}");
    // The kubelet sees it with the pod's next sync.
    let grown = at("FileSystemResizeSuccessful");
    assert!((0.0..90.2).contains(&(grown - larger)), "{grown}");
    let size = |gib: i64| {
        seen.changes.iter().find_map(|(at, obj)| {
            let Obj::PersistentVolumeClaim(c) = obj else { return None };
            (c.status_capacity == gib << 30).then_some(*at)
        })
    };
    assert!(size(10).is_some_and(|at| at < 10.0));
    assert!((grown - 0.1..grown + 0.1).contains(&size(20).expect("told")));
}
