//! Same input, same bytes: twice in one process, from a keyframe, from a run directory, in another
//! process with another environment, on another number of threads.

use super::support::{plan_with, ran, scenario, scenarios, scratch, shared_dir, wavetank};
use std::sync::Arc;
use wavetank::cluster::spec::Plan;
use wavetank::session::{History, Session};

/// What is replaced in scenarios that are too long for a test in their own size.
fn shortened(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "scale-1k-100k" | "scale-5k-200k" => &[
            ("cluster.nodes[0].count", "100"),
            ("arrivals[0].count", "1000"),
            ("until.at", "20m"),
            ("expect", "[]"),
        ],
        "openb" => &[("until.at", "10d"), ("expect", "[]")],
        "notready-storm" => {
            &[("cluster.nodes[0].count", "1000"), ("until", "14m"), ("expect", "[]")]
        }
        "trace-google" => {
            &[("until", "1h"), ("traces[0].google2011.until", "3h"), ("expect", "[]")]
        }
        "trace-philly" => {
            &[("until.at", "2d"), ("traces[0].philly.until", "61d"), ("expect", "[]")]
        }
        "trace-azure" => &[("until", "20m"), ("expect", "[]")],
        "grid5000" => &[("until", "20m"), ("expect", "[]")],
        _other => &[],
    }
}

/// The plans of all shipped scenarios whose data is there.
fn plans() -> Vec<(String, Arc<Plan>)> {
    scenarios()
        .into_iter()
        .filter_map(|name| plan_with(&name, shortened(&name)).map(|plan| (name, plan)))
        .collect()
}

fn digest(plan: &Arc<Plan>) -> String {
    let mut session = Session::new(Arc::clone(plan));
    session.run(&mut [], |_| {});
    session.digest()
}

/// The arguments that shorten a scenario and name the shared data.
fn arguments(name: &str) -> Option<Vec<String>> {
    let path = scenario(name);
    let mut arguments = vec![path.display().to_string()];
    if std::fs::read_to_string(&path).unwrap().contains("${shared}") {
        arguments.extend(["--shared".to_owned(), shared_dir()?.display().to_string()]);
    }
    for (path, value) in shortened(name) {
        arguments.extend(["--set".to_owned(), format!("{path}={value}")]);
    }
    Some(arguments)
}

#[test]
fn two_runs_are_equal() {
    for (name, plan) in plans() {
        assert_eq!(digest(&plan), digest(&plan), "{name}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let other = plan_with("zone-outage", &[("seed", "2")]).unwrap();
    assert_ne!(digest(&plan_with("zone-outage", &[]).unwrap()), digest(&other));
}

#[test]
fn keyframes_replay_to_the_same_end() {
    for (name, plan) in plans() {
        let want = digest(&plan);
        let mut history = History::new(Session::new(plan));
        while history.step() {}
        assert_eq!(history.session().digest(), want, "{name}: with keyframes");
        let frames = history.keyframes();
        for at in [0, frames.len() / 3, frames.len() / 2, frames.len() - 1] {
            let mut again = frames[at].clone();
            let from = again.steps();
            again.run(&mut [], |_| {});
            assert_eq!(again.digest(), want, "{name}: from event {from}");
        }
    }
}

#[test]
fn going_back_and_forth_ends_where_it_began() {
    let plan = plan_with("zone-outage", &[]).unwrap();
    let mut history = History::new(Session::new(plan));
    history.seek_time(wavetank::engine::SimTime::from_secs(700));
    let (at, here) = (history.session().steps(), history.session().digest());
    for target in [at - 1, at / 2, 1, 0, at + 1000] {
        history.seek_step(target);
        assert_eq!(history.session().steps(), target);
    }
    history.seek_step(at);
    assert_eq!(history.session().digest(), here);
}

/// The digest that a run directory keeps.
fn recorded(dir: &std::path::Path) -> String {
    let bytes = std::fs::read(dir.join("run.json")).unwrap();
    let about: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    about["digest"].as_str().unwrap().to_owned()
}

/// For every scenario: the run directory replays; another process in another place, language, time
/// zone and terminal comes to the same digest.
#[test]
fn run_directories_replay_anywhere() {
    let place = scratch("determinism");
    for (name, plan) in plans() {
        let Some(arguments) = arguments(&name) else { continue };
        let want = digest(&plan);
        let dir = place.join(&name);
        let out = dir.display().to_string();
        let mut run = wavetank(&["run", "--quiet", "--no-plots", "--out", &out]);
        run.args(&arguments).current_dir(&place);
        run.env("LC_ALL", "tr_TR.UTF-8").env("TZ", "Asia/Kathmandu").env("TERM", "dumb");
        let done = ran(&mut run);
        assert_eq!(done.code, Some(0), "{name}: {}", done.err);
        assert_eq!(recorded(&dir), want, "{name}");
        let replayed = ran(wavetank(&["replay", &out]).current_dir("/"));
        assert_eq!(replayed.code, Some(0), "{name}: {}{}", replayed.out, replayed.err);
        assert!(replayed.out.contains(&format!("replayed {want}\nequal")), "{}", replayed.out);
    }
}

#[test]
fn what_is_written_is_the_same_twice() {
    let place = scratch("determinism-files");
    let file = scenario("zone-outage").display().to_string();
    for run in ["a", "b"] {
        let out = place.join(run).display().to_string();
        let done = ran(&mut wavetank(&["run", "--quiet", "--record", "--out", &out, &file]));
        assert_eq!(done.code, Some(0), "{}", done.err);
    }
    let names = super::support::files_below(&place.join("a"));
    assert!(names.len() > 15, "{names:?}");
    for path in names {
        let inside = path.strip_prefix(place.join("a")).unwrap();
        let other = std::fs::read(place.join("b").join(inside)).unwrap();
        assert!(std::fs::read(&path).unwrap() == other, "{} differs", inside.display());
    }
}

#[test]
fn threads_change_nothing() {
    let file = scenario("noisy-arrivals").display().to_string();
    let table = |jobs: &str| {
        let policies = ["--policy", "least-allocated", "--policy", "most-allocated"];
        let mut command = wavetank(&["compare", &file, "--seeds", "1..4", "--jobs", jobs]);
        let done = ran(command.args(policies).arg("--quiet"));
        assert_eq!(done.code, Some(0), "{}", done.err);
        done.out
    };
    let one = table("1");
    assert!(one.contains("least-allocated"), "{one}");
    assert_eq!(one, table("2"));
}

#[test]
fn verify_finds_every_way_equal() {
    for name in ["first-steps", "noisy-arrivals"] {
        let file = scenario(name).display().to_string();
        let done = ran(&mut wavetank(&["verify", &file, "--keyframes", "3"]));
        assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
        assert!(done.out.contains("second process"), "{}", done.out);
        assert!(!done.out.contains("DIFFERENT"), "{}", done.out);
    }
}
