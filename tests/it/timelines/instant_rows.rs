//! The list of instants that timers decide; see `instants`.

use super::instants::{Row, at, from, gaps, sorted};
use super::recorded::clock;
use super::{Change, Did, Timeline};

const LIST: &str = "the kubelet's list of containers";
const PROBE: &str = "period of the probe";
const BATCH: &str = "batches of the job controller, whole seconds";
const PROMPT: &str = "none: the controller follows at once";
const MONITOR: &str = "the node monitor's look";

fn born(c: &Change) -> bool {
    c.did == Did::Added
}

fn gone(c: &Change) -> bool {
    c.did == Did::Deleted
}

fn marked(c: &Change) -> bool {
    c.set.contains_key("metadata.deletionTimestamp")
        && c.get("metadata.deletionGracePeriodSeconds") != Some("0")
}

fn bound(c: &Change) -> bool {
    c.did == Did::Modified && c.set.contains_key("spec.nodeName")
}

fn ready(c: &Change) -> bool {
    c.did == Did::Modified && c.get("status.conditions[Ready].status") == Some("True")
}

fn phase(c: &Change, phase: &str) -> bool {
    c.get("status.phase") == Some(phase)
}

fn ended(c: &Change) -> bool {
    phase(c, "Succeeded") || phase(c, "Failed")
}

/// From the first instant of one thing to the first of another from there on.
fn span(cause: &[f64], effect: &[f64]) -> f64 {
    cause.first().map_or(f64::NAN, |c| from(effect, *c) - c)
}

/// Whether a change is the one that is looked for.
type Is = fn(&Change) -> bool;

/// Of each pod whose name begins so and that was made within a span: from one change to another.
fn per_pod(
    run: &Timeline,
    name: &str,
    (since, until): (f64, f64),
    (cause, effect): (Is, Is),
) -> Vec<f64> {
    let made = run
        .of("pods")
        .filter(|c| born(c) && c.name.starts_with(name) && (since..until).contains(&c.at));
    let spans = made.filter_map(|pod| {
        let own = |what: fn(&Change) -> bool| {
            run.of("pods").find(|c| c.name == pod.name && c.at >= pod.at && what(c))
        };
        Some(own(effect)?.at - own(cause)?.at)
    });
    sorted(spans.collect())
}

/// Instants of a text such as `2026-11-20T22:06:07Z` in a field.
fn told(run: &Timeline, change: &Change, path: &str) -> Option<f64> {
    Some(clock(change.get(path)?) - run.start)
}

const FINISHED: &str = "status.containerStatuses[c].state.terminated.finishedAt";

/// From the end of the last pod before (its container's `finishedAt`) to each next one of a job
/// that retries.
fn retries(run: &Timeline, job: &str) -> Vec<f64> {
    let owner = format!("Job/{job}");
    let made: Vec<&Change> =
        run.of("pods").filter(|c| born(c) && c.get("owner") == Some(&owner)).collect();
    let ends: Vec<(f64, f64)> = run
        .of("pods")
        .filter(|c| made.iter().any(|m| m.name == c.name))
        .filter_map(|c| Some((c.at, told(run, c, FINISHED)?)))
        .collect();
    let before = |t: f64| ends.iter().filter(|e| e.0 < t).map(|e| e.1).reduce(f64::max);
    made.iter().filter_map(|m| Some(m.at - before(m.at)?)).collect()
}

/// The first field of an object that was written, and when the object was made.
fn since_field(
    run: &Timeline,
    kind: &str,
    name: &str,
    field: &str,
    what: fn(&Change) -> bool,
) -> f64 {
    let told = run.of(kind).filter(|c| c.name == name).find_map(|c| told(run, c, field));
    let then = run.of(kind).find(|c| c.name == name && what(c)).map(|c| c.at);
    then.zip(told).map_or(f64::NAN, |(then, told)| then - told)
}

fn tainted(effect: &'static str) -> impl Fn(&Change) -> bool {
    move |c: &Change| c.get("spec.taints").is_some_and(|t| t.contains(effect))
}

/// When nodes were given the `NoExecute` taint within a span.
fn evicting(run: &Timeline, (since, until): (f64, f64)) -> Vec<f64> {
    let mut seen: Vec<&str> = Vec::new();
    let mut all = Vec::new();
    let within = run.of("nodes").filter(|c| (since..until).contains(&c.at));
    for c in within.filter(|c| tainted("NoExecute")(c)) {
        if !seen.contains(&c.name.as_str()) {
            seen.push(&c.name);
            all.push(c.at);
        }
    }
    all
}

/// Replicas that a Deployment is told to have.
fn scaled(run: &Timeline) -> Vec<(f64, i64)> {
    let all = run.of("deployments").filter(|c| c.did == Did::Modified);
    all.filter_map(|c| Some((c.at, c.number("spec.replicas")?))).collect()
}

/// Requests for pods that a `ReplicaSet` was refused, and those granted.
fn asked(run: &Timeline, code: u16) -> Vec<f64> {
    let is = |w: &&super::Write| {
        w.actor == "kcm:replicaset-controller"
            && (w.verb.as_str(), w.resource.as_str(), w.code) == ("create", "pods", code)
    };
    run.writes.iter().filter(is).map(|w| w.at).collect()
}

const fn row(
    (recording, write): (&'static str, &'static str),
    cause: &'static str,
    (timer, tick): (&'static str, f64),
    recorded: &'static [f64],
    spans: fn(&Timeline) -> Vec<f64>,
) -> Row {
    Row { recording, write, cause, timer, tick, recorded, spans }
}

pub(super) const ROWS: &[Row] = &[
    row(
        ("01", "pods of the second ten ready"),
        "bound",
        (PROBE, 1.0),
        &[2.32, 3.31, 3.32, 3.32, 3.33, 3.33, 3.34, 3.35, 3.36, 3.38],
        |run| per_pod(run, "web-", (10.2, 16.8), (bound, ready)),
    ),
    row(
        ("01", "old ReplicaSet's next step"),
        "first new pod ready",
        (PROMPT, 0.2),
        &[0.01],
        |run| {
            let ready = from(&at(run, "pods", "web-", ready), 17.5);
            let steps = at(run, "replicasets", "web-", |c| c.set.contains_key("spec.replicas"));
            vec![from(&steps, ready) - ready]
        },
    ),
    row(("01b", "probe2s ready"), "bound", (PROBE, 1.0), &[3.31], |run| {
        per_pod(run, "probe2s", (0.0, 99.0), (bound, ready))
    }),
    row(("01b", "slowstop gone"), "marked", (LIST, 1.0), &[5.87], |run| {
        per_pod(run, "slowstop", (0.0, 99.0), (marked, gone))
    }),
    row(("01b", "overgrace gone"), "marked", (LIST, 1.0), &[8.95], |run| {
        per_pod(run, "overgrace", (0.0, 99.0), (marked, gone))
    }),
    row(
        ("01b", "stuck: ProgressDeadlineExceeded"),
        "its ReplicaSet's last progress",
        ("whole seconds of conditions", 1.0),
        &[30.85],
        |run| {
            let failed = "status.conditions[Progressing].reason";
            let is = |c: &Change, why: &str| c.get(failed) == Some(why);
            let last = at(run, "deployments", "stuck", |c| is(c, "ReplicaSetUpdated"));
            let late = at(run, "deployments", "stuck", |c| is(c, "ProgressDeadlineExceeded"));
            vec![span(&last, &late)]
        },
    ),
    row(
        ("02c", "A: each next node NoExecute"),
        "the one before",
        ("0.1 nodes a second, looked at each 0.1 s", 0.2),
        &[10.08, 10.07, 10.09],
        |run| gaps(&evicting(run, (15.0, 111.0))),
    ),
    row(("02c", "A: first NoExecute"), "first NoSchedule", (MONITOR, 5.0), &[5.07], |run| {
        let first = at(run, "nodes", "n", |c| c.at > 15.0 && tainted("NoSchedule")(c));
        vec![span(&first, &evicting(run, (15.0, 111.0)))]
    }),
    row(
        ("02c", "A: pods of the first node deleted"),
        "its NoExecute taint",
        ("toleration of 5 s", 0.2),
        &[5.04],
        |run| {
            let first = evicting(run, (15.0, 111.0));
            vec![span(&first, &at(run, "pods", "", marked))]
        },
    ),
    row(
        ("02c", "C: each next node NoExecute"),
        "the one before",
        ("0.1 nodes a second, looked at each 0.1 s", 0.2),
        &[10.07, 10.08, 10.08],
        |run| {
            let mut all = gaps(&evicting(run, (207.3, 313.2)));
            // One may have been tainted in B.
            all.truncate(3);
            all
        },
    ),
    row(
        ("03", "s-orderedready-1, -2 made"),
        "the one before ready",
        (PROMPT, 0.2),
        &[0.01, 0.01],
        |run| {
            let next = |before: &str, next: &str| {
                span(&at(run, "pods", before, ready), &at(run, "pods", next, born))
            };
            vec![
                next("s-orderedready-0", "s-orderedready-1"),
                next("s-orderedready-1", "s-orderedready-2"),
            ]
        },
    ),
    row(
        ("03", "s-orderedready-2 made again"),
        "its predecessor gone",
        (PROMPT, 0.2),
        &[0.01],
        |run| {
            let name = "s-orderedready-2";
            let made = at(run, "pods", name, born);
            let gone = from(&at(run, "pods", name, gone), 14.0);
            vec![from(&made, gone) - gone]
        },
    ),
    row(("03", "s-orderedready pods ready"), "bound", (PROBE, 1.0), &[3.31, 3.32, 3.32], |run| {
        per_pod(run, "s-orderedready-", (2.0, 14.0), (bound, ready))
    }),
    row(
        ("04", "fail1: next pod"),
        "finishedAt of the last",
        (BATCH, 1.0),
        &[10.01, 20.01, 40.01, 80.01],
        |run| retries(run, "fail1"),
    ),
    row(
        ("04", "failpar: next pods"),
        "latest finishedAt",
        (BATCH, 1.0),
        &[20.01, 20.02, 80.01, 80.02, 320.01, 320.02],
        |run| retries(run, "failpar"),
    ),
    row(("04", "deadline: Failed"), "startTime", (BATCH, 1.0), &[15.05], |run| {
        let failed = |c: &Change| c.get("status.conditions[Failed].status") == Some("True");
        vec![since_field(run, "jobs", "deadline", "status.startTime", failed)]
    }),
    row(("04", "ttl: deletion"), "completionTime", ("whole seconds", 1.0), &[10.02], |run| {
        let told = |c: &Change| c.set.contains_key("metadata.deletionTimestamp");
        vec![since_field(run, "jobs", "ttl", "status.completionTime", told)]
    }),
    row(("04", "susp: pods"), "resumed", (PROMPT, 0.2), &[0.02], |run| {
        let pods = at(run, "pods", "susp-", born);
        vec![from(&pods, 47.0) - 47.181]
    }),
    row(
        ("04", "cron: jobs"),
        "the whole minute",
        ("0.1 s past the minute", 0.05),
        &[0.12, 0.11, 0.11, 0.11, 0.11, 0.11, 0.11],
        |run| {
            let made = run.of("jobs").filter(|c| born(c) && c.name.starts_with("cron-"));
            made.map(|c| (run.start + c.at) % 60.0).take(7).collect()
        },
    ),
    row(
        ("05", "replacements of the roll"),
        "old pod ended",
        (PROMPT, 0.2),
        &[0.00, 0.00, 0.01, 0.00, 0.00, 0.01],
        |run| {
            let made = at(run, "pods", "ds-", born);
            let ends = at(run, "pods", "ds-", |c| ended(c) && (51.0..72.0).contains(&c.at));
            ends.iter().map(|end| from(&made, *end) - end).collect()
        },
    ),
    row(
        ("05", "next pod of the roll deleted"),
        "replacement ready",
        (PROMPT, 0.2),
        &[0.01, 0.01, 0.01, 0.01, 0.01],
        |run| {
            let mut told = at(run, "pods", "ds-", |c| marked(c) && (51.5..72.0).contains(&c.at));
            let readies = at(run, "pods", "ds-", |c| ready(c) && c.at > 51.0);
            told.retain(|t| readies.iter().any(|r| r < t));
            let last = |t: f64| readies.iter().copied().filter(|r| *r < t).fold(0.0, f64::max);
            told.iter().map(|t| t - last(*t)).collect()
        },
    ),
    row(("06", "budget allows again"), "replacement ready", (PROMPT, 0.2), &[0.01], |run| {
        let path = "status.disruptionsAllowed";
        let made = from(&at(run, "pods", "pdbapp-", born), 7.0);
        let ready = from(&at(run, "pods", "pdbapp-", ready), made);
        let allowed =
            at(run, "poddisruptionbudgets", "pdb", |c| c.number(path) == Some(1) && c.at > made);
        vec![from(&allowed, ready) - ready]
    }),
    row(
        ("06", "vip's second attempt told"),
        "its first",
        ("back-off, flushed each second", 1.0),
        &[1.41],
        |run| {
            let told = at(run, "pods", "vip", |c| {
                c.set.contains_key("status.conditions[PodScheduled].message")
            });
            gaps(&told)
        },
    ),
    row(
        ("06", "vip bound"),
        "last victim stopped",
        ("back-off, flushed each second", 1.0),
        &[0.39],
        |run| {
            let stopped = at(run, "pods", "filler-", |c| ended(c) && c.at < 74.0);
            let vip = at(run, "pods", "vip", bound);
            vec![vip[0] - stopped.last().copied().unwrap_or(f64::NAN)]
        },
    ),
    row(("06", "victims stopped"), "marked", (LIST, 1.0), &[3.02, 3.04], |run| {
        let told = at(run, "pods", "filler-", |c| marked(c) && c.at < 74.0);
        let ends = at(run, "pods", "filler-", |c| ended(c) && c.at < 74.0);
        ends.iter().zip(&told).map(|(e, t)| e - t).collect()
    }),
    row(
        ("06b", "each next try"),
        "the one before",
        ("doubling back-off", 0.03),
        &[0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.25, 20.48],
        |run| {
            let mut tries = asked(run, 403);
            tries.drain(..6);
            tries.push(asked(run, 201)[3]);
            gaps(&tries)
        },
    ),
    row(("07", "a slice is written"), "first pod ready", (PROMPT, 0.2), &[0.01], |run| {
        let ready = at(run, "pods", "web-", ready);
        vec![span(&ready, &at(run, "endpointslices", "svc", |_| true))]
    }),
    row(
        ("07", "last of 110 pods marked"),
        "the first",
        ("40 requests a second, two for each pod", 0.5),
        &[4.87],
        |run| {
            let all = at(run, "pods", "web-", |c| marked(c) && c.at > 67.8);
            vec![all.last().copied().unwrap_or(f64::NAN) - all[0]]
        },
    ),
    row(("08", "d-foreground gone"), "its deletion", (LIST, 1.0), &[3.00], |run| {
        vec![from(&at(run, "deployments", "d-foreground", gone), 5.9) - 5.923]
    }),
    row(("08", "last pod of d-background gone"), "its deletion", (LIST, 1.0), &[2.98], |run| {
        let all = at(run, "pods", "d-background", gone);
        vec![all.last().copied().unwrap_or(f64::NAN) - 17.865]
    }),
    row(("08", "first sweep of the namespace"), "Terminating", ("5 s", 0.2), &[5.01], |run| {
        let phase = at(run, "namespaces", "exp8", |c| phase(c, "Terminating"));
        let swept = run.writes.iter().filter(|w| w.verb == "deletecollection");
        vec![span(&phase, &swept.map(|w| w.at).collect::<Vec<_>>())]
    }),
    row(
        ("08", "second pass over the namespace"),
        "content remains",
        ("5 s", 0.2),
        &[5.10],
        |run| {
            let path = "status.conditions[NamespaceContentRemaining].status";
            let is = |said: &'static str| move |c: &Change| c.get(path) == Some(said);
            let remains = at(run, "namespaces", "exp8", is("True"));
            vec![span(&remains, &at(run, "namespaces", "exp8", is("False")))]
        },
    ),
    row(
        ("10", "first step up"),
        "the load's rise",
        ("the autoscaler's look", 15.0),
        &[0.12],
        |run| {
            let all: Vec<f64> = scaled(run).into_iter().map(|s| s.0).collect();
            vec![from(&all, 80.5) - 80.563]
        },
    ),
    row(
        ("10", "next steps up"),
        "the one before",
        ("each 15 s", 0.2),
        &[15.03, 15.04, 15.03],
        |run| {
            let up = scaled(run).into_iter().filter(|s| s.0 < 200.0);
            gaps(&up.map(|s| s.0).collect::<Vec<_>>())
        },
    ),
    row(
        ("10", "step down"),
        "the load's fall",
        ("the autoscaler's look", 15.0),
        &[285.69],
        |run| {
            let all: Vec<f64> = scaled(run).into_iter().map(|s| s.0).collect();
            vec![from(&all, 200.5) - 200.565]
        },
    ),
];
