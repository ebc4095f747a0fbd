//! What observers see. Metrics, timeline, recorder, `step`, `why` and the checkers read records;
//! no component holds a metrics object.

use super::{Address, Event};
use crate::api::request::{ApiError, User};
use crate::api::versions::ObjRef;
use crate::api::{Kind, Name};
use crate::engine::{SimTime, Sym};

/// One thing that happened, with its cause.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Its number in the run's total order.
    pub seq: u64,
    /// When.
    pub time: SimTime,
    /// The record (or event) that led to it: its trigger, or where a component acted upon
    /// evidence, that evidence. 0: the scenario itself.
    pub cause: u64,
    /// What.
    pub what: What,
}

/// A stage of the API server's request pipeline, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Who is it?
    Authentication,
    /// May they?
    Authorization,
    /// Defaults that depend on the cluster.
    MutatingAdmission,
    /// Static defaults and validation.
    Validation,
    /// Last say.
    ValidatingAdmission,
    /// The transaction is handed to etcd.
    Etcd,
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// An event of the queue is being handled (only while tracing).
    Event(Event),
    /// A component sends a request (only while tracing).
    Submitted {
        /// Who.
        user: User,
        /// Verb and subresource.
        verb: (&'static str, &'static str),
        /// Kind of the object.
        kind: Kind,
        /// Namespace.
        ns: Sym,
        /// Name.
        name: Name,
    },
    /// A request passes a stage of the API server (only while tracing).
    Stage(Stage),
    /// etcd committed a change. The entry of the kind's log holds the content.
    Committed {
        /// Kind.
        kind: Kind,
        /// Index into the kind's log.
        log: u64,
        /// The object.
        object: ObjRef,
        /// Who asked for it.
        user: User,
        /// Verb and subresource.
        verb: (&'static str, &'static str),
    },
    /// The API server refused a request.
    Refused {
        /// Who asked.
        user: User,
        /// Verb and subresource.
        verb: (&'static str, &'static str),
        /// Kind.
        kind: Kind,
        /// Namespace.
        ns: Sym,
        /// Name.
        name: Name,
        /// Why.
        error: ApiError,
    },
    /// Admission warns whoever sent a request (`Warning` header of the answer).
    Warned {
        /// Who asked.
        user: User,
        /// Kind.
        kind: Kind,
        /// Namespace.
        ns: Sym,
        /// Name.
        name: Name,
        /// The warning.
        text: Sym,
    },
    /// An informer delivers a change to its component's handlers (only while tracing).
    Delivered {
        /// To whom.
        to: Address,
        /// Kind.
        kind: Kind,
        /// Index into the kind's log.
        log: u64,
    },
    /// An object of a client's list reaches its handlers (only while tracing).
    Listed {
        /// To whom.
        to: Address,
        /// Kind.
        kind: Kind,
        /// The object.
        object: ObjRef,
        /// The revision of it that the client knew; 0 if it did not know it.
        known: u64,
        /// The revision it has now; 0 if it is gone.
        rev: u64,
    },
    /// A worker takes a key of a controller's work queue (only while tracing).
    Sync {
        /// Name of the controller.
        controller: Sym,
        /// Namespace of the key.
        ns: Sym,
        /// Name of the key.
        name: Name,
        /// How many wake-ups were folded into this one.
        folded: u32,
    },
    /// The scheduler has decided on a pod.
    Scheduled {
        /// The pod.
        pod: ObjRef,
        /// The node; empty if none fits.
        node: Sym,
        /// Nodes looked at.
        evaluated: u32,
        /// Nodes that fit.
        feasible: u32,
    },
    /// A step on a node (only while tracing): sandbox, image, container…
    Node {
        /// The node.
        node: Sym,
        /// What happens, as a short phrase.
        step: &'static str,
        /// The pod it concerns; none for the node itself.
        pod: ObjRef,
    },
    /// A fault begins or ends on a node.
    Fault {
        /// Row in the plan's list of faults.
        fault: u32,
        /// The node.
        node: Sym,
        /// What happens, as a short phrase (`machine crashes`, `machine boots`).
        step: &'static str,
    },
    /// A component noticed something by itself (lease expiry, a zone's state), as a phrase.
    Noticed {
        /// Who.
        who: Sym,
        /// About which node; empty for none.
        node: Sym,
        /// What.
        step: &'static str,
    },
    /// A machine of the cloud is paid for from now on, or no longer.
    Machine {
        /// Its name, which is its node's.
        node: Sym,
        /// Its node group or pool.
        pool: Sym,
        /// Its type.
        kind: Sym,
        /// Of spare capacity.
        spot: bool,
        /// Price, millionths of the currency per hour.
        micro_per_hour: u32,
        /// True if it is paid for from now on.
        on: bool,
    },
    /// The scenario does something: row of the plan.
    Scenario {
        /// What, as a short phrase.
        step: &'static str,
        /// Row in the plan.
        row: u32,
    },
    /// What the requests of a row of traffic come to has changed: the rates stand in
    /// [`super::traffic::Traffic::flows`].
    Flow {
        /// Row of the plan.
        row: u32,
    },
    /// Requests under way were lost.
    Lost {
        /// Row of the plan.
        row: u32,
        /// Why.
        cause: super::traffic::Cause,
        /// How many, on average.
        count: f64,
    },
    /// What a worker's time was spent on: told when its container ends, each part for itself.
    Worked {
        /// The pod.
        pod: ObjRef,
        /// The part.
        part: super::work::Part,
        /// Nanoseconds.
        ns: u64,
        /// The work is done; else it is lost.
        done: bool,
    },
}
