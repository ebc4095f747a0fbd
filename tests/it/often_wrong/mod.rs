//! The forty facts that simulators most often get wrong (behaviour reference §8), and the tests
//! that hold this one to each. A row that nothing models yet says with what it arrives.

mod node;
mod scheduler;

use super::support::{root, scratch};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Obj, Pod};
use wavetank::cluster::spec::Plan;
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

/// The plan of a scenario given without its first two lines.
fn scenario(text: &str) -> Arc<Plan> {
    // Tests run side by side: each scenario has a folder of its own.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = scratch(&format!("often-wrong-{number}")).join("scenario.yaml");
    fs::write(&path, format!("apiVersion: wavetank.dev/v1\nkind: Scenario\n{text}")).unwrap();
    let loaded = load_with(&path, &LoadOptions::default());
    Arc::new(loaded.unwrap_or_else(|errors| panic!("{}\n{text}", errors[0])).plan)
}

fn run(plan: &Arc<Plan>) -> Session {
    let mut session = Session::new(Arc::clone(plan));
    session.run(&mut [], |_| {});
    session
}

/// The nodes of all pods that have one, at the end.
fn bound(plan: &Arc<Plan>) -> BTreeMap<String, String> {
    let session = run(plan);
    let pods = session.cluster().shared().versions.iter(Kind::Pod);
    let pods = pods.filter_map(|(_, o)| o.as_pod()).filter(|p| !p.node.is_empty());
    pods.map(|p| (p.meta.name.to_string(), p.node.to_string())).collect()
}

/// A pod at the end.
fn pod_of(plan: &Arc<Plan>, name: &str) -> Arc<Pod> {
    let session = run(plan);
    let versions = &session.cluster().shared().versions;
    let object = versions.find(Kind::Pod, "default".into(), name.into()).unwrap();
    Arc::clone(versions.current(Kind::Pod, object).unwrap().as_pod().unwrap())
}

/// What a run wrote, and when the scheduler decided on which pod; instants in seconds.
#[derive(Default)]
struct Seen {
    changes: Vec<(f64, Obj)>,
    decisions: Vec<(f64, String)>,
}

impl Observer for Seen {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let now = record.time.secs_f64();
        if let What::Committed { kind, log, .. } = record.what {
            self.changes.push((now, versions.change(kind, log).unwrap().value.clone()));
        } else if let What::Scheduled { pod, .. } = record.what {
            let name = versions.current(Kind::Pod, pod).unwrap().key().1.to_string();
            self.decisions.push((now, name));
        }
    }
}

fn seen(plan: &Arc<Plan>) -> Seen {
    let mut seen = Seen::default();
    Session::new(Arc::clone(plan)).run(&mut [&mut seen], |_| {});
    seen
}

/// Every object that was written, in order.
fn changes(plan: &Arc<Plan>) -> Vec<(f64, Obj)> {
    seen(plan).changes
}

/// When the scheduler tried a pod.
fn attempts(plan: &Arc<Plan>, pod: &str) -> Vec<f64> {
    seen(plan).decisions.into_iter().filter(|d| d.1 == pod).map(|d| d.0).collect()
}

/// Row, the fact in short, and the tests that hold it (file, function).
type Row = (u8, &'static str, &'static [(&'static str, &'static str)]);

const SCHEDULER: &str = "tests/it/often_wrong/scheduler.rs";
const NODE: &str = "tests/it/often_wrong/node.rs";
const ROLLOUT: &str = "src/control_plane/controllers/rollout.rs";

const API: &str = "src/control_plane/apiserver/tests.rs";
const HPA: &str = "src/control_plane/controllers/hpa_tests.rs";
const RULES: &str = "src/control_plane/controllers/rules_tests.rs";
const CONTROLLERS: &str = "src/control_plane/controllers/tests.rs";
const PREEMPTION: &str = "src/control_plane/scheduler/tests_preemption.rs";
const QUEUE: &str = "src/control_plane/scheduler/queue.rs";
const QUANTITY: &str = "src/api/quantity.rs";

const ROWS: [Row; 40] = [
    (
        1,
        "ties are not uniformly random without extenders",
        &[(SCHEDULER, "row_01_ties_without_extenders_are_not_random_in_1_35")],
    ),
    (
        2,
        "one feasible node is not scored; a nominated node goes first",
        &[
            (SCHEDULER, "row_02_one_feasible_node_is_taken_without_scores"),
            (PREEMPTION, "row_02_a_nominated_node_goes_first_whatever_the_others_offer"),
        ],
    ),
    (
        3,
        "100m/200Mi defaults are per container, for Fit scoring alone",
        &[(SCHEDULER, "row_03_requests_nobody_made_count_per_container_and_in_fit_scores_alone")],
    ),
    (
        4,
        "resource scores are integer divisions at two places",
        &[(SCHEDULER, "row_04_resource_scores_lose_their_fractions_twice")],
    ),
    (
        5,
        "default spread constraints apply to pods of services and sets",
        &[(SCHEDULER, "row_05_pods_of_services_and_sets_spread_without_being_asked")],
    ),
    (
        6,
        "hardPodAffinityWeight 1; normalisation when all are equal",
        &[(
            SCHEDULER,
            "row_06_a_required_affinity_weighs_one_and_equal_scores_normalise_to_none_or_all",
        )],
    ),
    (
        7,
        "activeQ orders by entry into the queue",
        &[
            (QUEUE, "priority_then_time_then_order"),
            (QUEUE, "row_07_a_failed_attempt_puts_a_pod_behind_those_that_came_meanwhile"),
        ],
    ),
    (
        8,
        "back-off 1, 2, 4, 8, 10 s, on whole seconds, skipped when idle",
        &[
            (QUEUE, "backoff_doubles_and_ends_on_whole_seconds"),
            (QUEUE, "an_idle_scheduler_does_not_wait_for_rejected_pods"),
        ],
    ),
    (
        9,
        "heartbeats do not requeue pods",
        &[(SCHEDULER, "row_09_heartbeats_do_not_bring_a_pod_back")],
    ),
    (
        10,
        "reasons of a FitError sort as strings, one plugin per node",
        &[(SCHEDULER, "row_10_reasons_sort_as_strings_and_come_from_one_plugin_per_node")],
    ),
    (
        11,
        "preemption overrides budgets when it must, and deletes",
        &[
            (PREEMPTION, "budgets_are_spared_first_and_counted"),
            (PREEMPTION, "victims_are_told_and_deleted_and_the_preemptor_waits_for_the_last"),
        ],
    ),
    (
        12,
        "ReplicaSets do not count terminating pods, StatefulSets wait",
        &[(RULES, "a_replica_set_does_not_count_terminating_pods_a_stateful_set_waits_for_them")],
    ),
    (
        13,
        "deletion ranks by doubling on a node, then age in log2 buckets",
        &[
            (CONTROLLERS, "surplus_pods_go_by_rank"),
            (RULES, "row_13_ready_ages_are_compared_by_powers_of_two"),
        ],
    ),
    (
        14,
        "rounding: surge up, unavailable down; DaemonSet and budgets up",
        &[
            (ROLLOUT, "a_rolling_update_of_ten_steps_as_upstream_does"),
            (RULES, "max_unavailable_of_a_daemon_set_rounds_up"),
            (RULES, "percentages_of_disruption_budgets_round_up"),
        ],
    ),
    (
        15,
        "scale-down of old sets subtracts the new set's unavailable pods",
        &[(ROLLOUT, "a_rolling_update_of_ten_steps_as_upstream_does")],
    ),
    (
        16,
        "the progress deadline only sets a condition",
        &[(CONTROLLERS, "a_rollout_that_does_not_move_misses_its_deadline")],
    ),
    (
        17,
        "job back-off is capped at 10 min",
        &[(RULES, "the_failure_back_off_of_jobs_is_capped_at_ten_minutes")],
    ),
    (
        18,
        "a Job deleted by the raw API orphans its pods",
        &[(API, "row_18_a_job_deleted_without_a_word_orphans_its_pods")],
    ),
    (
        19,
        "more than 100 missed runs are a warning",
        &[(RULES, "more_than_a_hundred_missed_runs_are_a_warning_and_the_latest_still_starts")],
    ),
    (
        20,
        "HPA: whole percents; missing pods speak against a change",
        &[(HPA, "hpa_utilisation_is_a_whole_percentage_and_missing_pods_speak_against_a_change")],
    ),
    (
        21,
        "HPA: max(2x, 4) up, the highest of five minutes down",
        &[
            (
                "src/control_plane/controllers/hpascale.rs",
                "scale_up_doubles_at_most_and_four_at_least",
            ),
            (
                "src/control_plane/controllers/hpascale.rs",
                "scale_down_waits_for_the_highest_of_five_minutes",
            ),
        ],
    ),
    (
        22,
        "node-monitor-grace-period is 50 s",
        &[(CONTROLLERS, "a_silent_node_is_tainted_and_its_pods_leave")],
    ),
    (
        23,
        "all zones down: nobody is evicted; small zones stop at partial disruption",
        &[
            (CONTROLLERS, "when_all_nodes_are_silent_nobody_is_evicted"),
            ("src/control_plane/controllers/zones.rs", "zone_states_by_share_of_nodes_down"),
        ],
    ),
    (
        24,
        "evictions ignore budgets of pending and ended pods; two budgets are a 500",
        &[(
            API,
            "row_24_evictions_of_pending_and_ended_pods_ignore_budgets_and_two_budgets_are_an_error",
        )],
    ),
    (
        25,
        "a pod without a node, or one that has ended, has no grace",
        &[(API, "row_25_a_pod_without_a_node_or_with_an_end_has_no_grace")],
    ),
    (
        26,
        "the first restart is at once; back-off counts from the end",
        &[("src/node/runtime.rs", "back_off_counts_from_the_end_of_the_run")],
    ),
    (
        27,
        "a pod in CrashLoopBackOff is Running",
        &[(NODE, "row_27_a_pod_in_crash_loop_back_off_is_running")],
    ),
    (
        28,
        "containers start in turn without waiting for readiness",
        &[(NODE, "row_28_containers_start_in_turn_and_do_not_wait_for_readiness")],
    ),
    (29, "preStop counts into the grace", &[("tests/it/probes.rs", "hooks_run_within_the_grace")]),
    (30, "OutOfcpu pods are Failed", &[]),
    (
        31,
        "allocatable subtracts the hard eviction threshold",
        &[(NODE, "row_31_allocatable_is_less_than_capacity_by_the_hard_eviction_threshold")],
    ),
    (32, "hard eviction: one pod per 10 s, 1 s of grace", &[]),
    (33, "kube-proxy balances connections, rule i with 1/(n-i)", &[]),
    (
        34,
        "terminating endpoints are not ready but serve",
        &[(RULES, "a_terminating_endpoint_serves_but_is_not_ready")],
    ),
    (35, "CoreDNS TTL 30; ndots:5", &[]),
    (
        36,
        "compaction every 5 min: a watch behind it lists anew",
        &[
            ("tests/it/watches.rs", "a_watch_behind_a_compaction_lists_what_it_missed"),
            ("tests/it/watches.rs", "a_short_loss_goes_on_where_it_stopped"),
        ],
    ),
    (
        37,
        "no-op updates write nothing; annotations raise a Deployment's generation",
        &[(API, "row_37_an_update_without_a_change_writes_nothing")],
    ),
    (
        38,
        "quantities round up; K is invalid",
        &[(QUANTITY, "row_38_quantities_round_up_to_nano_then_to_milli_and_big_k_is_no_suffix")],
    ),
    (
        39,
        "new nodes are tainted; default tolerations for NoExecute alone",
        &[(API, "row_39_new_nodes_are_tainted_and_new_pods_tolerate_for_five_minutes")],
    ),
    (40, "the autoscaler's expander is least-waste", &[]),
];

/// Rows, or parts of them, about what is not modelled yet: what they arrive with.
const ARRIVES: [(u8, &str); 6] = [
    (30, "storms: admission on the node"),
    (32, "storms: node-pressure eviction"),
    (33, "traffic: kube-proxy"),
    (34, "traffic: kube-proxy, which falls back to endpoints that serve while they terminate"),
    (35, "traffic: CoreDNS"),
    (40, "traffic and the cloud: the cluster autoscaler"),
];

#[test]
fn every_row_has_its_test_or_says_what_it_arrives_with() {
    for (at, (row, fact, tests)) in (1..).zip(ROWS) {
        assert_eq!(at, row, "rows stand in order");
        let arrives = ARRIVES.iter().any(|(later, _)| *later == row);
        assert!(!tests.is_empty() || arrives, "row {row} ({fact}) has no test");
        for (file, name) in tests {
            let text = fs::read_to_string(root().join(file)).unwrap();
            let test = format!("fn {name}() {{");
            assert!(text.contains(&test), "row {row} ({fact}): {file} has no test {name}");
        }
    }
}
