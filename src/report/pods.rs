//! The life of every pod, as the API server's commits tell it.

use super::rows::Line;
use crate::api::request::User;
use crate::api::versions::{ObjRef, Versions};
use crate::api::{Kind, Obj, Pod, pod::Phase};
use crate::engine::intern::Pool;
use crate::engine::table::Table;
use crate::engine::{SimTime, Sym, num};
use rustc_hash::FxHashMap;

/// No row: an index that points nowhere.
pub const NONE: u32 = u32::MAX;

/// The head of `pods.csv`.
pub const PODS_HEAD: &str = "namespace,pod,workload,node,created_s,bound_s,running_s,ready_s,\
    ended_s,gone_s,pending_s,phase,reason,gone_by,evicted,restarts,scheduling_attempts,\
    cpu_request_cores,memory_request_bytes\n";

/// What a pod is doing: its phase, cut finer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Pending, no node yet.
    Waiting,
    /// Pending on its node: images, sandbox, init containers.
    Starting,
    /// Running and ready on a machine that is up.
    Ready,
    /// Running, but not ready or on a machine that is down.
    NotReady,
    /// Being deleted.
    Terminating,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

/// Every state, in the order of tables and stacks.
pub const STATES: [State; 7] = [
    State::Ready,
    State::Starting,
    State::Waiting,
    State::NotReady,
    State::Terminating,
    State::Succeeded,
    State::Failed,
];

impl State {
    /// Position in [`STATES`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Ready => 0,
            Self::Starting => 1,
            Self::Waiting => 2,
            Self::NotReady => 3,
            Self::Terminating => 4,
            Self::Succeeded => 5,
            Self::Failed => 6,
        }
    }

    /// The column of `timeseries.csv`.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::Ready => "pods_running_ready",
            Self::Starting => "pods_pending_bound",
            Self::Waiting => "pods_pending_unbound",
            Self::NotReady => "pods_running_not_ready",
            Self::Terminating => "pods_terminating",
            Self::Succeeded => "pods_succeeded",
            Self::Failed => "pods_failed",
        }
    }

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Ready => "Running, ready",
            Self::Starting => "Pending, starting on a node",
            Self::Waiting => "Pending, no node",
            Self::NotReady => "Running, not ready or machine down",
            Self::Terminating => "Terminating",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// The phase the API shows.
    const fn phase(self) -> &'static str {
        match self {
            Self::Waiting | Self::Starting => "Pending",
            Self::Ready | Self::NotReady => "Running",
            Self::Terminating => "Terminating",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// CPU (milli-cores) and memory (bytes) that pods ask for: few different ones, in many rows.
static ROOMS: Pool<(i64, i64)> = Pool::new();

/// A pod that is there. Instants are [`SimTime::MAX`] until they come.
#[derive(Debug, Clone)]
pub struct PodRow {
    /// Created; [`SimTime::MAX`] in a row without a pod.
    pub created: SimTime,
    /// Bound to a node.
    pub bound: SimTime,
    /// Running for the first time.
    pub running: SimTime,
    /// Ready for the first time.
    pub ready: SimTime,
    /// Which object of its row.
    generation: u32,
    /// Index of its node, or [`NONE`].
    pub node: u32,
    /// Index of its workload.
    pub workload: u32,
    /// What it asks for, in [`ROOMS`].
    room: u32,
    /// Container restarts.
    pub restarts: u32,
    /// Decisions of the scheduler about it.
    pub attempts: u32,
    /// Its place in the list of its node.
    place: u32,
    /// What it does.
    pub state: State,
    /// Its machine died under it, and its kubelet has not reported since.
    pub lost: bool,
    /// Evicted by a taint, by the eviction API or by its kubelet.
    pub evicted: bool,
}

impl Default for PodRow {
    fn default() -> Self {
        let never = SimTime::MAX;
        Self {
            created: never,
            bound: never,
            running: never,
            ready: never,
            generation: 0,
            node: NONE,
            workload: NONE,
            room: 0,
            restarts: 0,
            attempts: 0,
            place: NONE,
            state: State::Waiting,
            lost: false,
            evicted: false,
        }
    }
}

const _: () = assert!(size_of::<PodRow>() <= 64, "there is one for each pod");

impl PodRow {
    /// CPU (milli-cores) and memory (bytes) that it asks for.
    #[must_use]
    pub fn room(&self) -> (i64, i64) {
        *ROOMS.at(self.room)
    }

    /// True while the pod takes up room on its node.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.node != NONE && !matches!(self.state, State::Succeeded | State::Failed)
    }

    /// The state that a content of the pod means.
    #[must_use]
    pub fn judge(&self, pod: &Pod) -> State {
        match pod.status.phase {
            Phase::Succeeded => State::Succeeded,
            Phase::Failed => State::Failed,
            Phase::Pending | Phase::Running | Phase::Unknown if pod.meta.terminating() => {
                State::Terminating
            }
            Phase::Pending if pod.node.is_empty() => State::Waiting,
            Phase::Pending => State::Starting,
            Phase::Running | Phase::Unknown => {
                if pod.ready() && !self.lost {
                    State::Ready
                } else {
                    State::NotReady
                }
            }
        }
    }
}

/// The pods that are there, by their rows in the table of versions.
#[derive(Debug, Clone, Default)]
pub struct PodTable {
    rows: Table<PodRow>,
    /// Rows of the pods on each node, in no order.
    on_node: Vec<Vec<u32>>,
    /// Who asked for the deletion of pods that are still there.
    gone_by: FxHashMap<usize, User>,
    /// When pods that are still there succeeded or failed.
    ended: FxHashMap<usize, SimTime>,
    /// Times pods waited from creation to binding, nanoseconds, in order of binding.
    pub waits: Vec<u64>,
}

impl PodTable {
    /// The row of an object.
    #[must_use]
    pub fn find(&self, object: ObjRef) -> Option<usize> {
        let row = self.rows.get(object.slot as usize)?;
        let same = row.generation == object.generation && row.created != SimTime::MAX;
        same.then_some(object.slot as usize)
    }

    /// Takes in a new pod, not bound yet.
    pub fn add(&mut self, object: ObjRef, pod: &Pod, workload: u32, now: SimTime) -> usize {
        let requests = &pod.spec.requests;
        let index = object.slot as usize;
        while self.rows.len() <= index {
            self.rows.push(PodRow::default());
        }
        self.rows[index] = PodRow {
            created: now,
            generation: object.generation,
            workload,
            room: ROOMS.put((requests.cpu_milli, requests.memory)),
            ..PodRow::default()
        };
        index
    }

    /// The pod has a node.
    pub fn bind(&mut self, index: usize, node: usize, now: SimTime) {
        /// Nodes are many, and none needs room for twice its pods.
        const ROOM: usize = 8;
        if self.on_node.len() <= node {
            self.on_node.resize(node + 1, Vec::new());
        }
        let list = &mut self.on_node[node];
        if list.len() == list.capacity() {
            list.reserve_exact(ROOM);
        }
        let row = &mut self.rows[index];
        (row.node, row.bound, row.place) = (num::u32_of(node), now, num::u32_of(list.len()));
        list.push(num::u32_of(index));
    }

    /// Rows of the pods on a node, ascending.
    #[must_use]
    pub fn on_node(&self, node: usize) -> Vec<usize> {
        let list = self.on_node.get(node).into_iter().flatten();
        let mut rows: Vec<usize> = list.map(|&row| row as usize).collect();
        rows.sort_unstable();
        rows
    }

    /// The pod is gone from the store.
    pub fn remove(&mut self, index: usize) {
        let row = &mut self.rows[index];
        row.created = SimTime::MAX;
        let place = row.place as usize;
        if let Some(list) = self.on_node.get_mut(row.node as usize) {
            list.swap_remove(place);
            if let Some(&moved) = list.get(place) {
                self.rows[moved as usize].place = num::u32_of(place);
            }
        }
        self.gone_by.remove(&index);
        self.ended.remove(&index);
    }

    /// It has succeeded or failed.
    pub fn end(&mut self, index: usize, now: SimTime) {
        self.ended.insert(index, now);
    }

    /// When it succeeded or failed; [`SimTime::MAX`] until it has.
    #[must_use]
    pub fn ended(&self, index: usize) -> SimTime {
        self.ended.get(&index).copied().unwrap_or(SimTime::MAX)
    }

    /// Somebody asks that the pod go away; true if nobody had.
    pub fn unwanted(&mut self, index: usize, by: User) -> bool {
        let new = !self.gone_by.contains_key(&index);
        self.gone_by.entry(index).or_insert(by);
        new
    }

    /// Who asked first that the pod go away.
    #[must_use]
    pub fn gone_by(&self, index: usize) -> Option<User> {
        self.gone_by.get(&index).copied()
    }

    /// The object of a row.
    #[must_use]
    pub fn object(&self, index: usize) -> ObjRef {
        ObjRef { slot: num::u32_of(index), generation: self.rows[index].generation }
    }

    /// The pod of a row.
    #[must_use]
    pub fn content<'v>(&self, index: usize, versions: &'v Versions) -> Option<&'v Pod> {
        let pod = versions.current(Kind::Pod, self.object(index)).and_then(Obj::as_pod)?;
        Some(pod)
    }

    /// A row.
    #[must_use]
    pub fn row(&self, index: usize) -> &PodRow {
        &self.rows[index]
    }

    /// A row for writing.
    pub fn row_mut(&mut self, index: usize) -> &mut PodRow {
        &mut self.rows[index]
    }

    /// Indices of all pods that are there.
    pub fn live(&self) -> impl Iterator<Item = usize> + '_ {
        let all = self.rows.iter().enumerate();
        all.filter(|(_, row)| row.created != SimTime::MAX).map(|(index, _)| index)
    }
}

/// Writes the row of a pod that is gone at `gone` ([`SimTime::MAX`]: still there at the end).
pub fn pod_row(
    line: &mut Line,
    (row, pod): (&PodRow, &Pod),
    (workload, node): (&str, Sym),
    (ended, gone, by): (SimTime, SimTime, Option<User>),
) {
    line.begin().plain(pod.meta.ns.as_str()).name(pod.meta.name).plain(workload);
    line.plain(node.as_str());
    line.seconds(row.created).seconds(row.bound).seconds(row.running).seconds(row.ready);
    line.seconds(ended).seconds(gone);
    if row.bound == SimTime::MAX {
        line.empty();
    } else {
        line.seconds(SimTime(row.bound.since(row.created).0));
    }
    line.plain(row.state.phase()).sym(pod.status.reason);
    match by {
        None => line.empty(),
        Some(User::Admin) => line.text("user"),
        Some(User::Scheduler) => line.text("scheduler"),
        Some(User::ApiServer) => line.text("apiserver"),
        Some(User::Controller(name) | User::Kubelet(name) | User::Person { name, .. }) => {
            line.sym(name)
        }
    };
    line.plain(if row.evicted { "true" } else { "false" });
    line.uint(u64::from(row.restarts)).uint(u64::from(row.attempts));
    let (cpu_milli, memory) = row.room();
    line.milli(cpu_milli).int(memory);
}
