//! Recorded workloads: every importer against the facts of its files, which another program has
//! counted (`data/README.md` of the shared data), and that they run.

use super::support::{plan_of, ran, scratch, shared_dir, wavetank};
use std::fs;
use std::sync::Arc;
use wavetank::cluster::spec::{Action, Made, Plan, Process, Row};
use wavetank::engine::{SimDuration, SimTime, Sym};

const HEAD: &str = "apiVersion: wavetank.dev/v1
kind: Scenario
until: 1h
cluster: {nodes: [{name: node, count: 3, cpu: 64, memory: 256Gi, resources: {nvidia.com/gpu: 8}}]}
traces:
";

/// The plan of a scenario with this trace; none without the shared data.
fn plan(name: &str, trace: &str) -> Option<Arc<Plan>> {
    shared_dir()?;
    let path = scratch(&format!("traces-{name}")).join("scenario.yaml");
    fs::write(&path, format!("{HEAD}  - {trace}\n")).unwrap();
    plan_of(&path, &[])
}

fn rows(plan: &Plan) -> &[Row] {
    let Process::Rows(rows) = &plan.arrivals[0].process else { panic!("no rows") };
    rows
}

/// A resource that all pods of a trace ask for, added up.
fn asked(plan: &Plan, resource: &str) -> i64 {
    let each = |row: &Row| {
        let pods = row.run.map_or(1, |run| i64::from(run.pods));
        let spec = &row.template.as_ref().unwrap().spec;
        pods * spec.containers[0].requests.scalar(Sym::new(resource))
    };
    rows(plan).iter().map(each).sum()
}

#[test]
fn dlrm_is_as_counted() {
    let trace = "dlrm: {pods: '${shared}/data/alibaba-dlrm-2025/disaggregated_DLRM_trace.csv.gz'}";
    let Some(plan) = plan("dlrm", trace) else { return };
    let facts = [
        "disaggregated_DLRM_trace.csv.gz: 23,871 instances of 156 apps (CN x 16,485, HN x 7,386), \
         1,252,594 CPU, 6,345,408.5 GiB of memory, 7,386 GPUs, 7,359,181 GiB of disk",
        "  7,280 are there from the start, the last comes at 2676636 s; 8,878 stay, the last \
         deletion is at 2677541 s; 11,623 have a cap per node",
    ];
    assert_eq!(plan.recorded, facts);
    let rows = rows(&plan);
    assert_eq!(rows.len(), 23_871);
    assert_eq!(rows.last().unwrap().at, SimTime::from_secs(2_676_636));
    let ends = rows.iter().filter_map(|row| row.lifetime.map(|life| row.at + life));
    assert_eq!(ends.max(), Some(SimTime::from_secs(2_677_541)));
    assert_eq!(asked(&plan, "nvidia.com/gpu"), 7386);
    let capped = |row: &&Row| {
        let spec = &row.template.as_ref().unwrap().spec;
        !spec.spread.is_empty() || spec.affinity.is_some()
    };
    assert_eq!(rows.iter().filter(capped).count(), 11_623);
}

/// What the eight parts of `job_events` hold.
const PARTS: [&str; 8] = [
    "10,704 events, the last at 5598884349 us: FAIL x 8, FINISH x 636, KILL x 268, SCHEDULE x \
     4,892, SUBMIT x 4,900",
    "3,099 events, the last at 10622369433 us: FAIL x 30, FINISH x 698, KILL x 259, SCHEDULE x \
     1,059, SUBMIT x 1,053",
    "3,360 events, the last at 15631747666 us: FAIL x 26, FINISH x 774, KILL x 345, SCHEDULE x \
     1,107, SUBMIT x 1,108",
    "4,179 events, the last at 20637760231 us: FAIL x 18, FINISH x 815, KILL x 529, SCHEDULE x \
     1,409, SUBMIT x 1,408",
    "4,095 events, the last at 25654732978 us: FAIL x 12, FINISH x 792, KILL x 614, SCHEDULE x \
     1,338, SUBMIT x 1,339",
    "3,033 events, the last at 30666440958 us: FAIL x 10, FINISH x 660, KILL x 312, SCHEDULE x \
     1,025, SUBMIT x 1,026",
    "2,451 events, the last at 35676008877 us: FAIL x 8, FINISH x 590, KILL x 238, SCHEDULE x \
     809, SUBMIT x 806",
    "2,698 events, the last at 40689064031 us: FAIL x 7, FINISH x 619, KILL x 274, SCHEDULE x \
     898, SUBMIT x 900",
];

#[test]
fn google_is_as_counted() {
    let part = |i: usize| {
        format!("'${{shared}}/data/google-2011/job_events/part-0000{i}-of-00500.csv.gz'")
    };
    let parts = (0..8).map(part).collect::<Vec<_>>().join(", ");
    let machines = "{file: '${shared}/data/google-2011/machines.csv.gz', cpu: 64, memory: 256Gi}";
    let trace = format!("google2011: {{jobEvents: [{parts}], machines: {machines}}}");
    let Some(plan) = plan("google", &trace) else { return };
    let facts = &plan.recorded;
    assert_eq!(facts[0], "machines.csv.gz: 12,580 machines, 6,657.50 cpu, 5,913.6324 memory");
    let shapes = "  machines by cpu/memory: 0.25/0.2498 x 126, 0.5/0.03085 x 4, 0.5/0.06158 x 1, \
        0.5/0.1241 x 52, 0.5/0.2493 x 3,863, 0.5/0.4995 x 6,731, 0.5/0.749 x 1,000, \
        0.5/0.9678 x 5, 1.0/0.5 x 3, 1.0/1.0 x 795";
    assert_eq!(facts[1], shapes);
    for (i, told) in PARTS.iter().enumerate() {
        assert_eq!(facts[3 + i], format!("  part-0000{i}-of-00500.csv.gz: {told}"));
    }
    let nodes = || plan.cluster.nodes.iter().filter(|n| n.name.as_str().starts_with("machine-"));
    assert_eq!(nodes().count(), 12_580);
    // 6,657.5 machines of 64 cores.
    assert_eq!(nodes().map(|n| n.allocatable.cpu_milli).sum::<i64>(), 426_080_000);
    // As many jobs as SUBMIT events.
    let rows = rows(&plan);
    let submits = 4900 + 1053 + 1108 + 1408 + 1339 + 1026 + 806 + 900;
    assert_eq!((rows.len(), plan.steps.len()), (submits, 0));
    let ended = |row: &&Row| row.lifetime.is_some() || row.run.unwrap().lasts.is_some();
    assert_eq!(rows.len() - rows.iter().filter(ended).count(), 3998);
    let told = "job_events: 12,540 submissions of 12,539 jobs, 3,998 without an end in these files";
    assert_eq!(facts[2], told);
}

#[test]
fn azure_is_as_counted() {
    let dir = "${shared}/data/azure-v1-vm";
    let trace = format!(
        "azureVm: {{arrivals: '{dir}/v1.dev.txt.gz', lifetimes: '{dir}/v1.dev.c2100000.txt.gz', \
         flavors: '{dir}/flav_map.txt', intervals: '{dir}/v1.interval_map.txt'}}"
    );
    let Some(plan) = plan("azure", &trace) else { return };
    let fact = "v1.dev.txt.gz: 1,000 bins from 1800000 to 2099700 s, 259,159 VMs, 53,109 batch \
        separators; ";
    assert!(plan.recorded[0].starts_with(fact), "{}", plan.recorded[0]);
    let rows = rows(&plan);
    assert_eq!(rows.len(), 259_159);
    // From the first batch of the first bin to the last one of the last.
    assert_eq!(rows[0].at, SimTime::ZERO);
    let last = SimDuration::from_secs(2_099_700 - 1_800_000 + 300);
    assert!(rows.last().unwrap().at < SimTime::ZERO + last);
    let stay = rows.iter().filter(|row| row.lifetime.is_none()).count();
    let outlive: String =
        plan.recorded[0][fact.len()..].chars().filter(char::is_ascii_digit).collect();
    assert_eq!(outlive, stay.to_string());
    // The flavours: 4,108 a of 1 vCPU, 156,437 b of 1, 10 c of 1, 9 d of 16, 61 e and f of 2…
    let cpu: i64 = rows.iter().map(|r| r.template.as_ref().unwrap().spec.requests.cpu_milli).sum();
    let ones = 4_108 + 156_437 + 10;
    let twos = 49 + 3 + 48_008 + 22;
    let fours = 49 + 1 + 25_700 + 15;
    let eights = 23_315 + 5 + 1_427 + 1;
    assert_eq!(cpu / 1000, ones + 2 * twos + 4 * fours + 8 * eights + 16 * 9);
}

#[test]
fn philly_is_as_counted() {
    let trace = "philly: {jobs: '${shared}/data/philly-jobs/philly.csv.gz'}";
    let Some(plan) = plan("philly", trace) else { return };
    let facts = [
        "philly.csv.gz: 72,890 jobs, 95,363 GPUs, 809,458.7 GPU-hours, submitted 2017-09-04 \
         10:30:41 to 2017-12-22 08:02:11",
        "  jobs by GPUs: 1 x 67,819, 2 x 1,782, 4 x 1,468, 8 x 1,592, 12 x 7, 16 x 141, 24 x 5, 32 \
         x 67, 64 x 6, 128 x 3",
        "  jobs by virtual cluster: 0e4a51 x 1,435, 11cb48 x 16,091, 23dbec x 8, 2869ce x 422, \
         51b7ef x 4, 6214e9 x 41,226, 6c71a0 x 9,953, 795a4c x 3, 7f04ca x 723, 925e2b x 3, \
         e13805 x 374, ed69ec x 1,137, ee9e8c x 1,511",
    ];
    assert_eq!(plan.recorded, facts);
    let rows = rows(&plan);
    assert!(matches!(plan.arrivals[0].made, Made::Job(_)));
    assert_eq!(rows.len(), 72_890);
    // Gangs are split without a remainder.
    assert_eq!(asked(&plan, "nvidia.com/gpu"), 95_363);
    let gangs = |row: &&Row| row.run.unwrap().pods > 1;
    assert_eq!(rows.iter().filter(gangs).count(), 7 + 141 + 5 + 67 + 6 + 3);
    assert_eq!(rows.last().unwrap().at, SimTime::from_secs(9_408_690));
}

#[test]
fn surf_is_as_counted() {
    let trace = "surf: {jobs: '${shared}/data/surf-lisa-2022/surf_tasks_shared.csv.gz'}";
    let Some(plan) = plan("surf", trace) else { return };
    let fact = "surf_tasks_shared.csv.gz: 98,845 jobs, 1,581,520 cores, 3,351,374.6 core-hours, \
        9,884,500,000 MB, submitted 1656604920000 to 1661987844000 ms (unix)";
    assert_eq!(plan.recorded, [fact]);
    let rows = rows(&plan);
    assert_eq!(rows.len(), 98_845);
    let last = SimTime::ZERO + SimDuration::from_millis(1_661_987_844_000 - 1_656_604_920_000);
    assert_eq!(rows.last().unwrap().at, last);
    let all_alike = |row: &Row| row.template.as_ref().unwrap().spec.requests.cpu_milli == 16_000;
    assert!(rows.iter().all(all_alike));
}

#[test]
fn swf_is_as_counted() {
    let trace = "swf: {jobs: '${shared}/data/swf/LCG.swf.gz', memory: 1Gi}";
    let Some(plan) = plan("swf", trace) else { return };
    let fact = "LCG.swf.gz: 188,041 jobs, 188,041 processors, 1,502,530,759 s of run time, \
        submitted 0 to 950392 s";
    assert_eq!(plan.recorded, [fact]);
    let rows = rows(&plan);
    assert_eq!((rows.len(), rows.last().unwrap().at), (188_041, SimTime::from_secs(950_392)));
}

/// Names of the objects that steps apply.
fn applied(plan: &Plan) -> Vec<(SimTime, String)> {
    let of = |step: &wavetank::cluster::spec::Step| {
        let Action::Apply(object) = &step.action else { return None };
        Some((step.at, format!("{}/{}", object.kind(), object.key().1)))
    };
    plan.steps.iter().filter_map(of).filter(|(_, o)| !o.starts_with("Namespace/")).collect()
}

#[test]
fn simkube_is_as_counted() {
    let trace = |file: &str| format!("simkube: {{trace: '${{shared}}/data/simkube/{file}'}}");
    let Some(large) = plan("simkube-json", &trace("large_trace.json.gz")) else { return };
    let fact = "large_trace.json.gz: version 2, 89 events from 1710892138 to 1710893403 s (unix), \
        250 objects applied, 0 deleted; distinct ones: Deployment x 27; at most 10 replicas";
    assert_eq!(large.recorded, [fact]);
    let steps = applied(&large);
    assert_eq!((steps.len(), steps.last().unwrap().0), (250, SimTime::from_secs(1265)));

    let scaling = plan("simkube", &trace("dsb-scaling.sktrace")).unwrap();
    let fact = "dsb-scaling.sktrace: version 2, 19 events from 1710892138 to 1710893272 s (unix), \
        46 objects applied, 0 deleted; ";
    assert!(scaling.recorded[0].starts_with(fact), "{}", scaling.recorded[0]);
    assert_eq!(applied(&scaling).len(), 46);

    let bare = plan("simkube-bare", &trace("bare-pods.sktrace")).unwrap();
    assert_eq!(applied(&bare).len(), 4);
    let ends: Vec<_> = bare
        .steps
        .iter()
        .filter_map(|step| if let Action::Apply(o) = &step.action { o.as_pod() } else { None })
        .map(|pod| pod.spec.behaviour.exit_after_ns.map(|ns| ns / 1_000_000_000))
        .collect();
    assert_eq!(ends, [Some(12), Some(30), Some(30), None]);
}

#[test]
fn a_recorded_cluster_comes_up() {
    let trace = "simkube: {trace: '${shared}/data/simkube/dsb-scaling.sktrace'}";
    if plan("simkube-run", trace).is_none() {
        return;
    }
    let shared = shared_dir().unwrap().display().to_string();
    let place = scratch("traces-simkube-runs");
    let path = place.join("scenario.yaml");
    let expect = "expect: [{available: {workload: deployment/dsb/jaeger, atLeast: 1}}]\n";
    fs::write(&path, format!("{HEAD}  - {trace}\n{expect}")).unwrap();
    let (file, out) = (path.display().to_string(), place.join("run").display().to_string());
    let mut run = wavetank(&["run", "--no-plots", "--shared", &shared, "--out", &out, &file]);
    let done = ran(&mut run);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(done.out.contains("Recorded: dsb-scaling.sktrace: version 2"), "{}", done.out);
}
