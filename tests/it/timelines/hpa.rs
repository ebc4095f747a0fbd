//! `10_hpa_kubelet`.

use super::{Case, Did, Timeline, instants, order, table};

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
