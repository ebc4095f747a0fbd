//! Dumps of real clusters as the start of a run: which of them are read, and what they amount to.

use super::support::{files_below, plan_of, scratch, shared_dir};
use std::fs;
use wavetank::cluster::spec::Plan;
use wavetank::scenario::{LoadOptions, load_or_dump, read_dump};

/// As many as kubectl would take: the rest have no apiVersion and no kind, bare objects and a line
/// of a log (`data/README.md` of the shared data).
#[test]
fn lists_and_objects_that_kubectl_takes_are_read() {
    let Some(shared) = shared_dir() else { return };
    let (mut read, mut refused) = (0, Vec::new());
    for path in files_below(&shared.join("data/dumps")) {
        match read_dump(&path) {
            Ok(dump) => {
                assert!(!dump.objects.is_empty(), "{}: holds nothing", path.display());
                read += 1;
            }
            Err(errors) => refused.push(errors[0].to_string()),
        }
    }
    assert_eq!((read, refused.len()), (34, 41), "{refused:#?}");
    let bare = refused.iter().filter(|said| said.contains("kind: Required value")).count();
    assert_eq!(bare, refused.len(), "{refused:#?}");
}

/// Cores in thousandths, memory in MiB (rounded once) and GPUs that nodes offer.
fn offered(plan: &Plan) -> (usize, i64, i64, i64) {
    let nodes = &plan.cluster.nodes;
    let memory: i64 = nodes.iter().map(|n| n.allocatable.memory).sum();
    let cpu = nodes.iter().map(|n| n.allocatable.cpu_milli).sum();
    let gpu = nodes.iter().map(|n| n.allocatable.scalar("nvidia.com/gpu".into())).sum();
    (nodes.len(), cpu, (memory + (1 << 19)) >> 20, gpu)
}

#[test]
fn a_list_of_nodes_is_a_cluster() {
    let Some(shared) = shared_dir() else { return };
    let path = shared.join("data/dumps/troubleshoot/nodes.json.gz");
    let plan = load_or_dump(&path, &LoadOptions::default()).unwrap().plan;
    assert_eq!(offered(&plan), (7, 24_000, 85_864, 1));
}

#[test]
fn a_bundle_of_dumps_is_the_start_of_a_run() {
    let Some(_) = shared_dir() else { return };
    let bundle = "${shared}/data/dumps/troubleshoot/k3d-1.24-bundle";
    let files = [
        "nodes",
        "namespaces",
        "storage-classes",
        "pvs",
        "pvcs/default",
        "deployments/default",
        "deployments/kube-system",
        "replicasets/default",
        "replicasets/kube-system",
        "jobs/kube-system",
        "pods/default",
        "pods/kube-system",
    ];
    let manifests: Vec<String> =
        files.iter().map(|file| format!("  - '{bundle}/{file}.json.gz'\n")).collect();
    let text = format!(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\nuntil: 10m\ncluster: {{}}\nmanifests:\n{}",
        manifests.concat()
    );
    let path = scratch("dump-bundle").join("scenario.yaml");
    fs::write(&path, text).unwrap();
    let plan = plan_of(&path, &[]).unwrap();
    let (nodes, cpu, _, _) = offered(&plan);
    assert_eq!((nodes, cpu), (1, 2_000));
    let pods: Vec<_> = plan.warm.iter().filter_map(|object| object.as_pod()).collect();
    let cpu: i64 = pods.iter().map(|pod| pod.spec.requests.cpu_milli).sum();
    let memory: i64 = pods.iter().map(|pod| pod.spec.requests.memory >> 20).sum();
    assert_eq!((pods.len(), cpu, memory), (8, 200, 140));
    let mut session = wavetank::session::Session::new(plan);
    session.run(&mut [], |_| {});
    assert!(session.steps() > 100, "{} events", session.steps());
}
