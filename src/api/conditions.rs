//! Conditions: what an object says about itself, and since when.
//!
//! Nearly every object has some, and nearly all of them say the same, so a list keeps each in eight
//! bytes: what it says as a number, and the time of its transition.

use super::meta::Stamp;
use crate::engine::Sym;
use crate::engine::intern::Pool;
use smallvec::SmallVec;

/// Type of a condition of a pod, node or workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// Pod: bound to a node.
    PodScheduled,
    /// Pod: sandbox and network are there.
    PodReadyToStartContainers,
    /// Pod: init containers are done.
    Initialized,
    /// Pod: all containers are ready.
    ContainersReady,
    /// Pod or node: ready.
    Ready,
    /// Pod: about to be ended by a disruption.
    DisruptionTarget,
    /// Node: memory pressure.
    MemoryPressure,
    /// Node: disk pressure.
    DiskPressure,
    /// Node: PID pressure.
    PidPressure,
    /// Node: network not set up.
    NetworkUnavailable,
    /// Deployment: minimum availability.
    Available,
    /// Deployment: progressing.
    Progressing,
    /// Deployment, ReplicaSet: pods could not be made or deleted.
    ReplicaFailure,
    /// Job: done.
    Complete,
    /// Job: failed.
    Failed,
    /// Job: suspended.
    Suspended,
    /// Job: will be Complete once all pods have ended.
    SuccessCriteriaMet,
    /// Job: will be Failed once all pods have ended.
    FailureTarget,
    /// Any other type, by name.
    Other(Sym),
}

impl ConditionType {
    /// The types that are known by a number of their own; all others go by name.
    pub const NUMBERED: [Self; 18] = [
        Self::PodScheduled,
        Self::PodReadyToStartContainers,
        Self::Initialized,
        Self::ContainersReady,
        Self::Ready,
        Self::DisruptionTarget,
        Self::MemoryPressure,
        Self::DiskPressure,
        Self::PidPressure,
        Self::NetworkUnavailable,
        Self::Available,
        Self::Progressing,
        Self::ReplicaFailure,
        Self::Complete,
        Self::Failed,
        Self::Suspended,
        Self::SuccessCriteriaMet,
        Self::FailureTarget,
    ];

    /// As the API prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PodScheduled => "PodScheduled",
            Self::PodReadyToStartContainers => "PodReadyToStartContainers",
            Self::Initialized => "Initialized",
            Self::ContainersReady => "ContainersReady",
            Self::Ready => "Ready",
            Self::DisruptionTarget => "DisruptionTarget",
            Self::MemoryPressure => "MemoryPressure",
            Self::DiskPressure => "DiskPressure",
            Self::PidPressure => "PIDPressure",
            Self::NetworkUnavailable => "NetworkUnavailable",
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::ReplicaFailure => "ReplicaFailure",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::Suspended => "Suspended",
            Self::SuccessCriteriaMet => "SuccessCriteriaMet",
            Self::FailureTarget => "FailureTarget",
            Self::Other(name) => name.as_str(),
        }
    }

    /// A number for the type, the same in every run: what digests fold.
    #[must_use]
    pub fn stable_code(self) -> u64 {
        match self {
            Self::PodScheduled => 1,
            Self::PodReadyToStartContainers => 2,
            Self::Initialized => 3,
            Self::ContainersReady => 4,
            Self::Ready => 5,
            Self::DisruptionTarget => 6,
            Self::MemoryPressure => 7,
            Self::DiskPressure => 8,
            Self::PidPressure => 9,
            Self::NetworkUnavailable => 10,
            Self::Available => 11,
            Self::Progressing => 12,
            Self::ReplicaFailure => 13,
            Self::Complete => 14,
            Self::Failed => 15,
            Self::Suspended => 16,
            Self::SuccessCriteriaMet => 17,
            Self::FailureTarget => 18,
            Self::Other(name) => name.stable_hash(),
        }
    }
}

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// True.
    True,
    /// False.
    False,
    /// Unknown.
    Unknown,
}

impl Truth {
    /// As the API prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Type.
    pub kind: ConditionType,
    /// Status.
    pub status: Truth,
    /// Machine-readable reason; may be empty.
    pub reason: Sym,
    /// Text for people; may be empty.
    pub message: Sym,
    /// When the status last changed.
    pub transition: Stamp,
}

/// What a condition says, the time aside.
type Saying = (ConditionType, Truth, Sym, Sym);

/// Sayings with a reason or a text, or of a type that is not in the list.
static SAYINGS: Pool<Saying> = Pool::new();

/// Set in numbers that point into [`SAYINGS`].
const POOLED: u32 = 1 << 31;

/// A condition in a list. Equal numbers are equal sayings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Packed {
    says: u32,
    transition: Stamp,
}

impl Packed {
    fn new(c: &Condition) -> Self {
        let plain = c.reason.is_empty() && c.message.is_empty();
        let known = if plain {
            ConditionType::NUMBERED.iter().zip(0_u32..).find(|(k, _)| **k == c.kind)
        } else {
            None
        };
        let says = known.map_or_else(
            || POOLED | SAYINGS.put((c.kind, c.status, c.reason, c.message)),
            |(_, number)| number << 2 | c.status as u32,
        );
        Self { says, transition: c.transition }
    }

    fn kind(self) -> ConditionType {
        if self.says & POOLED == 0 {
            ConditionType::NUMBERED[(self.says >> 2) as usize]
        } else {
            SAYINGS.at(self.says & !POOLED).0
        }
    }

    fn open(self) -> Condition {
        let (kind, status, reason, message) = if self.says & POOLED == 0 {
            let status = match self.says & 3 {
                0 => Truth::True,
                1 => Truth::False,
                _two => Truth::Unknown,
            };
            (ConditionType::NUMBERED[(self.says >> 2) as usize], status, Sym::EMPTY, Sym::EMPTY)
        } else {
            *SAYINGS.at(self.says & !POOLED)
        };
        Condition { kind, status, reason, message, transition: self.transition }
    }
}

/// A list of conditions with Kubernetes' rule for the transition time.
#[derive(PartialEq, Eq, Default)]
pub struct Conditions(SmallVec<[Packed; 5]>);

impl Clone for Conditions {
    fn clone(&self) -> Self {
        // One copy of memory, where the derived form would push element by element.
        Self(SmallVec::from_slice(&self.0))
    }
}

impl std::fmt::Debug for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Conditions {
    /// The condition of a type.
    #[must_use]
    pub fn get(&self, kind: ConditionType) -> Option<Condition> {
        self.0.iter().find(|c| c.kind() == kind).map(|c| c.open())
    }

    /// All of them, in the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = Condition> + '_ {
        self.0.iter().map(|c| c.open())
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a condition; the transition time is kept if the status does not change. Says whether
    /// anything changed.
    pub fn set(&mut self, mut condition: Condition) -> bool {
        if let Some(old) = self.0.iter_mut().find(|c| c.kind() == condition.kind) {
            let was = old.open();
            if was.status == condition.status {
                condition.transition = was.transition;
            }
            let changed = was != condition;
            if changed {
                *old = Packed::new(&condition);
            }
            return changed;
        }
        self.0.push(Packed::new(&condition));
        true
    }

    /// Removes a condition.
    pub fn remove(&mut self, kind: ConditionType) {
        self.0.retain(|c| c.kind() != kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read() {
        let mut all = Conditions::default();
        let mut told = Vec::new();
        for (i, kind) in ConditionType::NUMBERED
            .into_iter()
            .chain([ConditionType::Other("x".into())])
            .enumerate()
        {
            for (status, reason) in [(Truth::Unknown, ""), (Truth::True, "Why"), (Truth::False, "")]
            {
                let transition = Stamp(u32::try_from(i).unwrap());
                let reason = Sym::new(reason);
                let c = Condition { kind, status, reason, message: Sym::EMPTY, transition };
                assert!(all.set(c));
                assert!(!all.set(c));
                assert_eq!(all.get(kind), Some(c));
            }
            told.push(all.get(kind).unwrap());
        }
        assert_eq!(all.iter().collect::<Vec<_>>(), told);
        all.remove(ConditionType::Ready);
        assert_eq!(
            (all.get(ConditionType::Ready), all.iter().count()),
            (None, ConditionType::NUMBERED.len())
        );
    }

    #[test]
    fn the_transition_stays_while_the_status_does() {
        let mut all = Conditions::default();
        let at = |status, at, reason: &str| Condition {
            kind: ConditionType::Ready,
            status,
            reason: reason.into(),
            message: Sym::EMPTY,
            transition: Stamp(at),
        };
        all.set(at(Truth::False, 1, "A"));
        assert!(all.set(at(Truth::False, 2, "B")));
        assert_eq!(all.get(ConditionType::Ready).map(|c| c.transition), Some(Stamp(1)));
        assert!(all.set(at(Truth::True, 3, "")));
        assert_eq!(all.get(ConditionType::Ready).map(|c| c.transition), Some(Stamp(3)));
    }
}
