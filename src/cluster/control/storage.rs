//! Faults of a control plane on nodes, by process and by store: whom they strike, what happens
//! then, and how it ends. A blackout comes back from the members' logs, where all that was
//! acknowledged is, or from a snapshot, with kubelets that run pods nobody knows of.

use super::super::Cluster;
use super::super::spec::{Fault, FaultKind, Restore, StaticPod, Which, Whom};
use crate::control_plane::apiserver::Snapshot;
use crate::engine::{SimTime, Sym, num};
use crate::event::{ControlEvent, Event, What};

/// What a process suffers from a fault.
#[derive(Debug, Clone, Copy)]
enum Suffers {
    /// It is told to end.
    Told,
    /// It stands still.
    Stands,
    /// Its disk takes so many times as long.
    Slow(u32),
    /// Its disk is lost.
    Wiped,
    /// Its watches are cut.
    Unheard,
    /// It ends.
    Ended,
}

impl From<FaultKind> for Suffers {
    fn from(what: FaultKind) -> Self {
        match what {
            FaultKind::Terminate => Self::Told,
            FaultKind::Pause => Self::Stands,
            FaultKind::SlowDisk(factor) => Self::Slow(factor),
            FaultKind::LoseLog => Self::Wiped,
            FaultKind::WatchLoss => Self::Unheard,
            FaultKind::SpaceAlarm
            | FaultKind::Overload(_)
            | FaultKind::Restart
            | FaultKind::NodeCrash
            | FaultKind::Shutdown
            | FaultKind::RegistryDown
            | FaultKind::LogStoreDown
            | FaultKind::DeviceFailure(..)
            | FaultKind::KubeletStop
            | FaultKind::Blackout(_)
            | FaultKind::Partition { .. }
            | FaultKind::Freeze
            | FaultKind::Network(_)
            | FaultKind::SlowNode(_)
            | FaultKind::DiskFull(_)
            | FaultKind::Interrupt(_)
            | FaultKind::Upgrade(_) => Self::Ended,
        }
    }
}

impl Suffers {
    const fn begins(self) -> &'static str {
        match self {
            Self::Told => "process is told to stop",
            Self::Stands => "process stops running (paused)",
            Self::Slow(_) => "disk loses its speed",
            Self::Wiped => "disk lost",
            Self::Unheard => "connection lost",
            Self::Ended => "process crashes",
        }
    }

    const fn ends(self) -> &'static str {
        match self {
            Self::Stands => "process goes on",
            Self::Slow(_) => "disk is as fast as before",
            Self::Unheard => "network back",
            Self::Told | Self::Wiped | Self::Ended => "process may start",
        }
    }
}

impl Cluster {
    /// The hosts that a fault of a process strikes.
    pub(in super::super) fn struck_hosts(&self, process: StaticPod, which: &Which) -> Vec<u32> {
        let Some(control) = &self.control else { return Vec::new() };
        let all = 0..control.hosts.len();
        match which {
            Which::On(names) => {
                all.filter(|&h| names.contains(&control.hosts[h].name)).map(num::u32_of).collect()
            }
            Which::Leader => {
                let leader = match process.component() {
                    Some(component) => control.race(component).leader,
                    None => self.api.etcd_leader(self.shared.now()),
                };
                leader.into_iter().map(num::u32_of).collect()
            }
        }
    }

    /// A fault of a process begins, on one host.
    pub(in super::super) fn strike_process(
        &mut self,
        row: u32,
        (what, process): (FaultKind, StaticPod),
        host: u32,
        until: SimTime,
    ) {
        let at = host as usize;
        let Some(node) = self.control.as_ref().map(|c| c.hosts[at].name) else { return };
        let suffers = Suffers::from(what);
        let who = Sym::new(&format!("{}-{node}", process.name()));
        let step = suffers.begins();
        let hop = self.shared.context(0).hop(0, What::Fault { fault: row, node: who, step });
        match suffers {
            Suffers::Told => self.shut_down(at, process, hop),
            Suffers::Stands if process.component().is_some() => self.pause(at, process, until, hop),
            Suffers::Slow(factor) => self.slow_disk(at, factor, hop),
            Suffers::Unheard => self.connect_process(process, false, hop),
            Suffers::Wiped => {
                self.hold(at, process, hop);
                self.api.member_wipe(at, &mut self.shared.context(hop));
            }
            Suffers::Stands | Suffers::Ended => self.hold(at, process, hop),
        }
    }

    /// It ends.
    pub(in super::super) fn heal_process(
        &mut self,
        row: u32,
        (what, process): (FaultKind, StaticPod),
        host: u32,
        seq: u64,
    ) {
        let at = host as usize;
        let Some(node) = self.control.as_ref().map(|c| c.hosts[at].name) else { return };
        let suffers = Suffers::from(what);
        let who = Sym::new(&format!("{}-{node}", process.name()));
        let step = suffers.ends();
        let hop = self.shared.context(seq).hop(0, What::Fault { fault: row, node: who, step });
        match suffers {
            Suffers::Stands if process.component().is_some() => self.resume(at, process, hop),
            Suffers::Slow(_) => self.slow_disk(at, 1, hop),
            Suffers::Unheard => self.connect_process(process, true, hop),
            Suffers::Stands | Suffers::Told | Suffers::Wiped | Suffers::Ended => {
                self.release(at, process, hop);
            }
        }
    }

    fn slow_disk(&mut self, host: usize, factor: u32, hop: u64) {
        self.api.member_slow(host, factor, &mut self.shared.context(hop));
        self.recheck(hop);
    }

    fn connect_process(&mut self, process: StaticPod, up: bool, hop: u64) {
        if let Some(component) = process.component() {
            self.connect_component(component, up, hop);
        }
    }

    /// etcd's alarm is raised, or disarmed by somebody who has made room.
    pub(in super::super) fn space_alarm(&mut self, row: u32, on: bool) {
        let node = Sym::new("etcd");
        let step = if on { "space alarm: writes stop" } else { "space alarm disarmed" };
        let hop = self.shared.context(0).hop(0, What::Fault { fault: row, node, step });
        let Some(control) = &mut self.control else { return };
        control.alarms = if on { control.alarms + 1 } else { control.alarms.saturating_sub(1) };
        let raised = control.alarms > 0;
        self.api.space_alarm(raised);
        self.recheck(hop);
    }

    /// A snapshot that a blackout will be restored from is taken when it is time.
    pub(super) fn arm_snapshot(&mut self, row: u32, fault: &Fault) {
        let FaultKind::Blackout(Restore::Snapshot(age)) = fault.what else { return };
        let take = ControlEvent::Snapshot { fault: row };
        self.shared.context(0).schedule(fault.at - age, Event::Control(take));
    }

    pub(super) fn take_snapshot(&mut self, fault: u32) {
        let snapshot = Snapshot::take(&self.shared.versions);
        if let Some(control) = &mut self.control {
            control.snapshots.insert(fault, snapshot);
        }
    }

    /// Before power comes back after a blackout: the store is restored, if it is to be.
    pub(in super::super) fn restore_store(&mut self, row: u32, seq: u64) {
        let Some(control) = &mut self.control else { return };
        let Some(snapshot) = control.snapshots.remove(&row) else { return };
        let hosts = control.hosts.len();
        for host in 0..hosts {
            for process in StaticPod::ALL {
                self.process_ends(host, process, true, seq);
            }
        }
        let who = Sym::new("etcd");
        let step = "restored from a snapshot";
        let cx = &mut self.shared.context(seq);
        let hop = cx.record(What::Noticed { who, node: Sym::EMPTY, step });
        self.api.restore(&snapshot, &mut self.shared.context(hop));
        if let Some(control) = &mut self.control {
            control.relist = (0..num::u32_of(self.nodes.len())).collect();
        }
    }

    /// Nodes that a blackout strikes.
    pub(in super::super) fn blacked_out(&self, whom: &Whom) -> Vec<u32> {
        match whom {
            Whom::All => (0..num::u32_of(self.nodes.len())).collect(),
            Whom::ControlPlane => {
                self.control.iter().flat_map(|c| c.hosts.iter().map(|h| h.node)).collect()
            }
            Whom::Names(_)
            | Whom::Zone(_)
            | Whom::Selector(..)
            | Whom::Count(_)
            | Whom::Component(_)
            | Whom::Registry(_)
            | Whom::LogStore
            | Whom::Process(..)
            | Whom::Share(..)
            | Whom::Between(_) => Vec::new(),
        }
    }
}
