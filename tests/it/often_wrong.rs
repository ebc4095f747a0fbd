//! The forty facts that simulators most often get wrong (behaviour reference §8), and the tests
//! that hold this one to each. A row without a test stands here as such.

use super::support::root;
use std::fs;

/// Row, the fact in short, and the tests that hold it (file, function).
type Row = (u8, &'static str, &'static [(&'static str, &'static str)]);

const API: &str = "src/control_plane/apiserver/tests.rs";
const RULES: &str = "src/control_plane/controllers/rules_tests.rs";
const CONTROLLERS: &str = "src/control_plane/controllers/tests.rs";
const PREEMPTION: &str = "src/control_plane/scheduler/tests_preemption.rs";
const QUEUE: &str = "src/control_plane/scheduler/queue.rs";
const QUANTITY: &str = "src/api/quantity.rs";

const ROWS: [Row; 40] = [
    (1, "ties are not uniformly random without extenders", &[]),
    (2, "one feasible node is not scored; a nominated node goes first", &[]),
    (3, "100m/200Mi defaults are per container, for Fit scoring alone", &[]),
    (4, "resource scores are integer divisions at two places", &[]),
    (5, "default spread constraints apply to pods of services and sets", &[]),
    (6, "hardPodAffinityWeight 1; normalisation when all are equal", &[]),
    (7, "activeQ orders by entry into the queue", &[(QUEUE, "priority_then_time_then_order")]),
    (
        8,
        "back-off 1, 2, 4, 8, 10 s, on whole seconds, skipped when idle",
        &[
            (QUEUE, "backoff_doubles_and_ends_on_whole_seconds"),
            (QUEUE, "an_idle_scheduler_does_not_wait_for_rejected_pods"),
        ],
    ),
    (9, "heartbeats do not requeue pods", &[]),
    (10, "reasons of a FitError sort as strings, one plugin per node", &[]),
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
        &[(CONTROLLERS, "surplus_pods_go_by_rank")],
    ),
    (
        14,
        "rounding: surge up, unavailable down; DaemonSet and budgets up",
        &[
            (RULES, "max_unavailable_of_a_daemon_set_rounds_up"),
            (RULES, "percentages_of_disruption_budgets_round_up"),
        ],
    ),
    (
        15,
        "scale-down of old sets subtracts the new set's unavailable pods",
        &[(
            "src/control_plane/controllers/rollout.rs",
            "a_rolling_update_of_ten_steps_as_upstream_does",
        )],
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
        &[(RULES, "hpa_utilisation_is_a_whole_percentage_and_missing_pods_speak_against_a_change")],
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
    (27, "a pod in CrashLoopBackOff is Running", &[]),
    (28, "containers start in turn without waiting for readiness", &[]),
    (29, "preStop counts into the grace", &[("tests/it/probes.rs", "hooks_run_within_the_grace")]),
    (30, "OutOfcpu pods are Failed", &[]),
    (31, "allocatable subtracts the hard eviction threshold", &[]),
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
        &[("tests/it/watches.rs", "a_watch_behind_a_compaction_lists_what_it_missed")],
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

/// Rows that no test holds yet. Take a row out when its test is named above.
const MISSING: [u8; 16] = [1, 2, 3, 4, 5, 6, 9, 10, 27, 28, 30, 31, 32, 33, 35, 40];

#[test]
fn every_row_has_its_test_or_is_named_as_missing() {
    let mut missing = Vec::new();
    for (at, (row, fact, tests)) in (1..).zip(ROWS) {
        assert_eq!(at, row, "rows stand in order");
        if tests.is_empty() {
            missing.push(row);
        }
        for (file, name) in tests {
            let text = fs::read_to_string(root().join(file)).unwrap();
            let test = format!("fn {name}() {{");
            assert!(text.contains(&test), "row {row} ({fact}): {file} has no test {name}");
        }
    }
    assert_eq!(missing, MISSING);
}
