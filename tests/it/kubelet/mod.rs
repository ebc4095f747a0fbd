//! What a kubelet does with its pods, seen from what it writes.

mod admission;
mod configs;
mod images;
mod lives;
mod machine;
mod network;
mod pressure;
mod volumes;

use super::support::scratch;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wavetank::api::versions::Versions;
use wavetank::api::{Obj, Pod};
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

/// Everything that a run wrote; instants in seconds.
#[derive(Default)]
struct Seen {
    changes: Vec<(f64, Obj)>,
    /// Names of pods that are gone.
    gone: Vec<(f64, String)>,
    /// Steps on nodes, if they are recorded: when, what.
    told: Vec<(f64, &'static str)>,
    steps: u64,
}

impl Observer for Seen {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let now = record.time.secs_f64();
        if let What::Node { step, .. } = record.what {
            self.told.push((now, step));
        }
        let What::Committed { kind, log, .. } = record.what else { return };
        let change = versions.change(kind, log).unwrap();
        if !change.deleted {
            self.changes.push((now, change.value.clone()));
        } else if let Some(pod) = change.value.as_pod() {
            self.gone.push((now, pod.meta.name.to_string()));
        }
    }
}

impl Seen {
    /// Kubernetes Events with this reason: when, about whom, message.
    fn events(&self, reason: &str) -> Vec<(f64, String, String)> {
        let events = self.changes.iter().filter_map(|(at, obj)| {
            let Obj::Event(event) = obj else { return None };
            let about = || (*at, event.name.to_string(), event.message());
            (event.reason.as_str() == reason).then(about)
        });
        events.collect()
    }

    /// Instants of Events with this reason and part of the message.
    fn at(&self, reason: &str, part: &str) -> Vec<f64> {
        self.events(reason).into_iter().filter(|e| e.2.contains(part)).map(|e| e.0).collect()
    }

    /// The revisions of a pod.
    fn pod(&self, name: &str) -> Vec<(f64, Arc<Pod>)> {
        let pods = self.changes.iter().filter_map(|(at, o)| Some((*at, Arc::clone(o.as_pod()?))));
        pods.filter(|(_, p)| p.meta.name.to_string() == name).collect()
    }

    /// A pod as it was last written.
    fn last(&self, name: &str) -> Arc<Pod> {
        self.pod(name).pop().unwrap_or_else(|| panic!("{name} was never written")).1
    }
}

/// Runs a scenario given without its first two lines.
fn run(text: &str) -> Seen {
    run_with(&[], text)
}

/// The same with every step recorded.
fn traced(text: &str) -> Seen {
    play(&[], text, true)
}

/// The same with files beside it.
fn run_with(files: &[(&str, &str)], text: &str) -> Seen {
    play(files, text, false)
}

fn play(files: &[(&str, &str)], text: &str, trace: bool) -> Seen {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = scratch(&format!("kubelet-{number}"));
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
    let path = folder.join("scenario.yaml");
    fs::write(&path, format!("apiVersion: wavetank.dev/v1\nkind: Scenario\n{text}")).unwrap();
    let loaded = load_with(&path, &LoadOptions::default());
    let plan = Arc::new(loaded.unwrap_or_else(|errors| panic!("{}\n{text}", errors[0])).plan);
    let mut seen = Seen::default();
    let mut session = Session::new(plan);
    session.trace(trace);
    session.run(&mut [&mut seen], |_| {});
    seen.steps = session.steps();
    seen
}
