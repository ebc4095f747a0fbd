//! `10_hpa_kubelet`.

use super::{Case, Did, Timeline, instants, order, table};
use crate::support::plan_with;
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Obj};
use wavetank::event::{Record, What};
use wavetank::session::{Observer, Session};

/// Replicas of the Deployment as the autoscaler sets them.
fn steps(run: &Timeline) -> Vec<(f64, i64)> {
    let scaled = run.of("deployments").filter(|c| c.did == Did::Modified);
    scaled.filter_map(|c| Some((c.at, c.number("spec.replicas")?))).collect()
}

#[test]
fn an_autoscaler_steps_as_recorded() {
    let Some(case) = Case::load("10", "10_hpa_kubelet", "10-hpa") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    let want = steps(&case.recorded);
    for (whose, run) in case.all() {
        let got = steps(run);
        let sizes = |steps: &[(f64, i64)]| steps.iter().map(|s| s.1).collect::<Vec<_>>();
        assert_eq!(sizes(&got), sizes(&want), "{whose}");
        // The autoscaler looks every 15 s, from its creation on.
        for (w, g) in want.iter().zip(&got) {
            assert!((w.0 - g.0).abs() < 15.1, "{whose}: {got:?}, recorded {want:?}");
        }
        for pair in got[..4].windows(2) {
            assert!((14.9..15.2).contains(&(pair[1].0 - pair[0].0)), "{whose}: {got:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Replicas of the Deployment as they are written.
#[derive(Debug, Default)]
struct Sizes(Vec<(f64, i32)>);

impl Observer for Sizes {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Committed { kind: Kind::Deployment, log, .. } = record.what else { return };
        let change = versions.change(Kind::Deployment, log).expect("just committed");
        let Obj::Deployment(deployment) = &change.value else { panic!("no Deployment") };
        let written = (record.time.secs_f64(), deployment.replicas);
        if deployment.meta.name.to_string() == "web"
            && self.0.last().is_none_or(|(_, n)| *n != written.1)
        {
            self.0.push(written);
        }
    }
}

/// The recording's load as requests that cost 10 ms each: 10 and 6 per second are its 100m and 60m.
/// Of its 900m the stub said whole millicores, 56m of each of 16 pods, which is 89.6 per second; a
/// real metrics server says 56.25m, and an autoscaler rounds that up. Rates of use need two
/// scrapes, one second apart, so the load changes as much earlier.
#[test]
fn requests_move_an_autoscaler_as_the_recorded_load_did() {
    let Some(case) = Case::load("10", "10_hpa_kubelet", "10-hpa") else { return };
    let sets = [
        ("usage", "[]"),
        (
            "objects",
            r#"[{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "exp10"},
            "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]}}]"#,
        ),
        (
            "traffic",
            r#"[{"name": "load", "to": "service/exp10/web", "from": "outside", "request": {"cpu": "10ms", "latency": "10ms"},
            "rate": {"series": [{"at": "0s", "perSecond": 10}, {"at": "78.5s", "perSecond": 89.6}, {"at": "198.5s", "perSecond": 6}]}}]"#,
        ),
    ];
    let plan = plan_with("timelines/10-hpa", &sets).expect("a plan");
    let mut sizes = Sizes::default();
    Session::new(plan).run(&mut [&mut sizes], |_| {});
    let want: Vec<(f64, i64)> = steps(&case.recorded);
    let got: Vec<(f64, i64)> = sizes.0[1..].iter().map(|(t, n)| (*t, i64::from(*n))).collect();
    assert_eq!(
        got.iter().map(|s| s.1).collect::<Vec<_>>(),
        want.iter().map(|s| s.1).collect::<Vec<_>>(),
        "{got:?}, recorded {want:?}"
    );
    for (w, g) in want.iter().zip(&got) {
        assert!((w.0 - g.0).abs() < 15.1, "{got:?}, recorded {want:?}");
    }
}
