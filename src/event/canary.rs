//! Known bugs that can be planted on purpose, to see that the checkers would find them
//! (`wavetank fuzz --canary`). Each is struck at one place in the code, now and then.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Canary {
    /// A delivery never reaches the scheduler's handlers.
    LostSchedulerEvent,
    /// A delivery never reaches the controllers' caches.
    LostControllerEvent,
    /// A kubelet never hears of a change.
    LostKubeletEvent,
    /// A watch skips an entry.
    SkippedEntry,
    /// A bound pod is bound again, to another node.
    DoubleBind,
    /// A cache takes in a change, and an index of it does not.
    StaleCache,
    /// An object is deleted though finalizers hold it.
    LostFinalizer,
    /// A late status report brings an ended pod back to life.
    Revival,
    /// A write is acknowledged that was never made.
    LostWrite,
    /// An update is taken although its base is old.
    BlindUpdate,
    /// An eviction does not ask the budget.
    FreeEviction,
    /// A key that was to be looked at later is forgotten.
    ForgottenKey,
    /// A rejected pod falls out of the scheduling queue.
    LostPod,
    /// The scheduler forgets what an assumed pod asks for, and the kubelet does not look.
    Overcommit,
    /// A kubelet does not hear that a pod is to be stopped.
    Zombie,
    /// A run depends on what was run before it.
    Unstable,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::LostSchedulerEvent,
        Self::LostControllerEvent,
        Self::LostKubeletEvent,
        Self::SkippedEntry,
        Self::DoubleBind,
        Self::StaleCache,
        Self::LostFinalizer,
        Self::Revival,
        Self::LostWrite,
        Self::BlindUpdate,
        Self::FreeEviction,
        Self::ForgottenKey,
        Self::LostPod,
        Self::Overcommit,
        Self::Zombie,
        Self::Unstable,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostSchedulerEvent => "lost-scheduler-event",
            Self::LostControllerEvent => "lost-controller-event",
            Self::LostKubeletEvent => "lost-kubelet-event",
            Self::SkippedEntry => "skipped-entry",
            Self::DoubleBind => "double-bind",
            Self::StaleCache => "stale-cache",
            Self::LostFinalizer => "lost-finalizer",
            Self::Revival => "revival",
            Self::LostWrite => "lost-write",
            Self::BlindUpdate => "blind-update",
            Self::FreeEviction => "free-eviction",
            Self::ForgottenKey => "forgotten-key",
            Self::LostPod => "lost-pod",
            Self::Overcommit => "overcommit",
            Self::Zombie => "zombie",
            Self::Unstable => "unstable",
        }
    }
}

/// A planted bug and how often its place was passed.
#[derive(Debug, Clone, Copy)]
pub struct Planted {
    /// Which one.
    pub canary: Canary,
    /// How often its place was passed.
    pub passed: u32,
}
