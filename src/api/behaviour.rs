//! How the containers of a pod behave, each for itself.

use super::pod::{Behaviour, Container, PodSpec, Probing};
use std::fmt;

impl fmt::Debug for Container {
    /// Template hashes are those of this text: what came later is left out where nobody sets it, so
    /// that names stay as they were.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Container");
        out.field("name", &self.name)
            .field("image", &self.image)
            .field("requests", &self.requests)
            .field("requests_named", &self.requests_named)
            .field("limits", &self.limits)
            .field("limits_named", &self.limits_named)
            .field("ports", &self.ports)
            .field("pull", &self.pull)
            .field("sidecar", &self.sidecar)
            .field("startup", &self.startup)
            .field("liveness", &self.liveness)
            .field("readiness", &self.readiness)
            .field("pre_stop", &self.pre_stop);
        if let Some(hook) = &self.post_start {
            out.field("post_start", hook);
        }
        out.finish()
    }
}

impl fmt::Debug for Behaviour {
    /// As of a container: template hashes are those of this text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Behaviour");
        out.field("exit_after_ns", &self.exit_after_ns)
            .field("exit_code", &self.exit_code)
            .field("ready_after_ns", &self.ready_after_ns)
            .field("stop_after_ns", &self.stop_after_ns)
            .field("probing", &self.probing);
        if let Some(work) = &self.work {
            out.field("work", work);
        }
        out.finish()
    }
}

impl fmt::Debug for Probing {
    /// As of a container: template hashes are those of this text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Probing");
        out.field("startup_after_ns", &self.startup_after_ns)
            .field("liveness", &self.liveness)
            .field("readiness", &self.readiness)
            .field("pre_stop_ns", &self.pre_stop_ns)
            .field("post_start_ns", &self.post_start_ns)
            .field("post_start_fails", &self.post_start_fails);
        if let Some(after) = &self.listens_after_ns {
            out.field("listens_after_ns", after);
        }
        out.field("containers", &self.containers).finish()
    }
}

impl PodSpec {
    /// The container with this number, counted over init and app containers.
    #[must_use]
    pub fn container(&self, i: usize) -> &Container {
        let n = self.init_containers.len();
        if i < n { &self.init_containers[i] } else { &self.containers[i - n] }
    }

    /// What the scenario says of this container alone.
    fn own_behaviour(&self, i: usize) -> Option<&Behaviour> {
        let probing = self.behaviour.probing.as_deref().filter(|p| !p.containers.is_empty())?;
        let name = self.container(i).name;
        probing.containers.iter().find(|(of, _)| *of == name).map(|(_, own)| own)
    }

    /// How a container behaves: as the scenario says of it, else as it says of its pod.
    #[must_use]
    pub fn behaviour_of(&self, i: usize) -> &Behaviour {
        self.own_behaviour(i).unwrap_or(&self.behaviour)
    }

    /// When a container ends by itself, nanoseconds after its start, and with which exit code.
    /// Unless the scenario says so of the container itself, a plain init container does its work
    /// in no time, and a sidecar runs for ever.
    #[must_use]
    pub fn exit_of(&self, i: usize) -> Option<(u64, i32)> {
        let own = self.own_behaviour(i);
        let told = |b: &Behaviour| b.exit_after_ns.map(|after| (after, b.exit_code));
        if i >= self.init_containers.len() {
            return told(own.unwrap_or(&self.behaviour));
        }
        if self.init_containers[i].sidecar {
            return own.and_then(told);
        }
        Some(own.map_or((0, 0), |b| (b.exit_after_ns.unwrap_or(0), b.exit_code)))
    }

    /// The code with which a container exits by itself.
    #[must_use]
    pub fn exit_code_of(&self, i: usize) -> i32 {
        let works = i >= self.init_containers.len() && self.behaviour_of(i).work.is_some();
        if works {
            return self.behaviour_of(i).exit_code;
        }
        self.exit_of(i).map_or(0, |(_, code)| code)
    }

    /// True if some container ends by itself or fails a probe sooner or later.
    #[must_use]
    pub fn restless(&self) -> bool {
        let fails = |b: &Behaviour| {
            b.probing.as_deref().is_some_and(|p| p.liveness.is_some() || p.readiness.is_some())
        };
        let n = self.init_containers.len();
        (n..n + self.containers.len()).any(|i| {
            let behaviour = self.behaviour_of(i);
            behaviour.exit_after_ns.is_some() || behaviour.work.is_some() || fails(behaviour)
        })
    }
}
