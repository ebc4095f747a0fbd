//! API servers on hosts: who of them serves, which of them a client is connected to, and what a
//! client is told when its server goes.
//!
//! Kubelets and people reach the servers through a load balancer that knows which are ready and
//! gives each connection one of them, drawn; scheduler and controller manager talk to the server
//! of their own host, as kubeadm sets them up (source: kubeadm `phases/kubeconfig/kubeconfig.go`
//! `localAPIEndpoint`). Every server knows every member of etcd.
//!
//! What a request that fails comes to depends on whoever sent it: components are answered with the
//! error; kubelets and people learn of it and ask again ([`ControlEvent::Unanswered`]).

use super::{ApiServer, fairness, placeholder};
use crate::api::request::{ApiError, Op, Request, User};
use crate::control_plane::etcd::raft::Quorum;
use crate::engine::id::Id;
use crate::engine::{Dist, Draws, Purpose, SimDuration, SimTime, Sym, Tabled, num};
use crate::event::context::NOWHERE;
use crate::event::{Address, ApiEvent, Context, ControlEvent, Event, Role, What};
use rustc_hash::FxHashMap;

/// The hosts of the control plane: one API server and one etcd member on each.
#[derive(Debug, Clone)]
pub struct Members {
    /// Names of the hosts.
    pub names: Vec<Sym>,
    /// fsync of a member.
    pub fsync: Dist,
    /// Round trip between members.
    pub rtt: SimDuration,
    /// `--quota-backend-bytes`, if given.
    pub quota_bytes: Option<u64>,
    /// Members that must have a write before it counts as committed, for tests: a planted bug
    /// unless it is a majority; none for a majority.
    pub needed: Option<usize>,
}

/// A connection through the load balancer.
#[derive(Debug, Clone, Copy)]
struct Connection {
    server: u8,
    /// The other end is gone, which the client finds at this instant.
    found: Option<SimTime>,
}

/// What is open at etcd about a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// When it commits, and the event.
    pub(super) commit: Option<(SimTime, u64)>,
    /// The event of its time-out, once one is possible.
    pub(super) timeout: Option<u64>,
    /// When its client gives it up; never for one that nobody waits for.
    pub(super) deadline: SimTime,
    /// etcd's term when it was made.
    pub(super) term: u64,
}

/// Servers and members on hosts.
#[derive(Debug, Clone)]
pub(super) struct Hosted {
    pub(super) quorum: Quorum,
    pub(super) names: Vec<Sym>,
    /// Who is ready.
    ready: Vec<bool>,
    /// The revision at which each server's watch cache began.
    floors: Vec<u64>,
    /// By the client's name.
    connections: FxHashMap<Sym, Connection>,
    /// Servers that a client does not reach, as bits.
    barred: FxHashMap<Sym, u16>,
    /// Draws of connections so far.
    dials: u64,
    /// The hosts of the leading scheduler and controller manager.
    locals: [Option<u8>; 2],
    pub(super) pending: FxHashMap<Id, Pending>,
    /// The vote under way: its number, and who will win it.
    pub(super) ballot: (u32, usize),
    /// etcd has a leader that it did not have, or has lost one.
    pub(super) changed: bool,
}

impl Hosted {
    pub(super) fn new(members: &Members, draws: &Draws) -> Self {
        let names: Vec<u64> = members.names.iter().map(|n| n.stable_hash()).collect();
        let fsync = Tabled::new(members.fsync, Purpose("fsync"));
        let quorum = Quorum::new(&names, fsync, members.rtt, draws);
        let needed = members.needed.unwrap_or(quorum.majority());
        Self {
            quorum: quorum.needing(needed),
            names: members.names.clone(),
            ready: vec![true; names.len()],
            floors: vec![0; names.len()],
            connections: FxHashMap::default(),
            barred: FxHashMap::default(),
            dials: 0,
            locals: [None; 2],
            pending: FxHashMap::default(),
            ballot: (0, 0),
            changed: false,
        }
    }

    /// True if some server is ready.
    pub(super) fn ready_somewhere(&self) -> bool {
        self.ready.contains(&true)
    }

    fn is_ready(&self, server: u8) -> bool {
        self.ready.get(usize::from(server)).copied().unwrap_or(false)
    }

    /// True if the server is ready and the client reaches it.
    fn serves(&self, client: Sym, server: usize) -> bool {
        let barred = self.barred.get(&client).copied().unwrap_or(0);
        self.ready.get(server).copied().unwrap_or(false) && barred >> server & 1 == 0
    }

    /// One of the servers that are ready, as the load balancer draws it.
    fn dial(&mut self, client: Sym, cx: &Context<'_>) -> Option<u8> {
        let ready: Vec<usize> = (0..self.ready.len()).filter(|&s| self.serves(client, s)).collect();
        let n = self.dials;
        self.dials += 1;
        let mut draw = cx.draw(client.stable_hash(), Purpose("load-balancer"), n);
        let server = *ready.get(num::index(draw.below(ready.len() as u64)))?;
        u8::try_from(server).ok()
    }
}

/// Which of the two elected components: scheduler, controller manager.
fn local_of(role: Role) -> usize {
    usize::from(role == Role::ControllerManager)
}

impl ApiServer {
    /// Finds the server of a request that arrives; false if there is none, and its client is told.
    pub(super) fn route(&mut self, id: Id, cx: &mut Context<'_>) -> bool {
        let Some(in_flight) = cx.in_flight(id) else { return false };
        let (user, reply) = (in_flight.request.user, in_flight.reply);
        let Some(hosted) = self.hosted.as_mut() else {
            if let Some(in_flight) = cx.in_flight_mut(id) {
                in_flight.server = 0;
            }
            return true;
        };
        let candidate = reply.map(|(to, _)| to).filter(|to| to.role == Role::Candidate);
        let (server, found) = match (candidate, user) {
            (Some(to), _) => (u8::try_from(to.index & 0xff).ok(), None),
            (None, User::Scheduler) => (hosted.locals[0], None),
            (None, User::Controller(_)) => (hosted.locals[1], None),
            (None, User::Kubelet(node)) => self.connection(node, cx),
            (None, User::Admin | User::Person { .. } | User::ApiServer) => {
                (hosted.dial("kubectl".into(), cx), None)
            }
        };
        if let Some(found) = found {
            self.fail(id, ApiError::Lost, found, cx);
            return false;
        }
        let server = server.filter(|s| self.hosted.as_ref().is_some_and(|h| h.is_ready(*s)));
        if let (Some(server), Some(in_flight)) = (server, cx.in_flight_mut(id)) {
            in_flight.server = server;
            return true;
        }
        self.fail(id, ApiError::Unreachable, cx.now() + cx.network(), cx);
        false
    }

    /// The server that a client is connected to; or when it will find that its server is gone.
    fn connection(&mut self, client: Sym, cx: &Context<'_>) -> (Option<u8>, Option<SimTime>) {
        let Some(hosted) = self.hosted.as_mut() else { return (Some(0), None) };
        let known = hosted.connections.get(&client).copied();
        match known {
            Some(Connection { found: Some(at), .. }) if at > cx.now() => (None, Some(at)),
            Some(Connection { server, found: None })
                if hosted.serves(client, usize::from(server)) =>
            {
                (Some(server), None)
            }
            Some(_) | None => {
                let server = hosted.dial(client, cx);
                if let Some(server) = server {
                    hosted.connections.insert(client, Connection { server, found: None });
                }
                (server, None)
            }
        }
    }

    /// Connects a client, if a server is ready and its old connection is known to be dead; gives
    /// the revision at which that server's watch cache began.
    pub fn dial(&mut self, client: Sym, cx: &Context<'_>) -> Option<u64> {
        let (server, _) = self.connection(client, cx);
        let hosted = self.hosted.as_ref()?;
        hosted.floors.get(usize::from(server?)).copied()
    }

    /// True if the client is connected to this server, and does not know that it is gone.
    #[must_use]
    pub fn connected(&self, client: Sym, server: usize) -> bool {
        let known = self.hosted.as_ref().and_then(|h| h.connections.get(&client));
        known.is_some_and(|c| usize::from(c.server) == server && c.found.is_none())
    }

    /// The server that a client is connected to, whether it answers or not.
    #[must_use]
    pub fn server_of(&self, client: Sym) -> Option<usize> {
        let known = self.hosted.as_ref().and_then(|h| h.connections.get(&client));
        known.map(|c| usize::from(c.server))
    }

    /// The servers, as bits, that a client does not reach from now on.
    pub fn bar(&mut self, client: Sym, servers: u16) {
        let Some(hosted) = &mut self.hosted else { return };
        if servers == 0 {
            hosted.barred.remove(&client);
        } else {
            hosted.barred.insert(client, servers);
        }
    }

    /// True if some server that the client reaches takes requests.
    #[must_use]
    pub fn reaches_any(&self, client: Sym) -> bool {
        let hosted = self.hosted.as_ref();
        hosted.is_none_or(|h| (0..h.ready.len()).any(|server| h.serves(client, server)))
    }

    /// The client has started anew, and has no connection.
    pub fn hang_up(&mut self, client: Sym) {
        if let Some(hosted) = &mut self.hosted {
            hosted.connections.remove(&client);
        }
    }

    /// The client will find at this instant that its connection is dead.
    pub fn half_open(&mut self, client: Sym, found: SimTime) {
        let hosted = self.hosted.as_mut();
        if let Some(known) = hosted.and_then(|h| h.connections.get_mut(&client)) {
            known.found = Some(found);
        }
    }

    /// Where the leading scheduler or controller manager runs: it talks to the server there.
    pub fn set_local(&mut self, role: Role, host: Option<u8>) {
        if let Some(hosted) = &mut self.hosted {
            hosted.locals[local_of(role)] = host;
        }
    }

    /// True if the server takes requests.
    #[must_use]
    pub fn is_ready(&self, server: usize) -> bool {
        self.hosted.as_ref().is_none_or(|h| h.ready.get(server).copied().unwrap_or(false))
    }

    /// True if some server takes requests.
    #[must_use]
    pub fn any_ready(&self) -> bool {
        self.hosted.as_ref().is_none_or(|h| h.ready_somewhere())
    }

    /// The revision at which the server's watch cache began.
    #[must_use]
    pub fn floor(&self, server: usize) -> u64 {
        self.hosted.as_ref().and_then(|h| h.floors.get(server).copied()).unwrap_or(0)
    }

    /// A server is ready: its caches begin now.
    pub fn server_ready(&mut self, server: usize, cx: &Context<'_>) {
        if let Some(hosted) = &mut self.hosted {
            hosted.ready[server] = true;
            hosted.floors[server] = cx.versions().rev();
        }
    }

    /// A server stops. Requests that it had are lost to their clients, who learn it at once, or by
    /// `found` if the whole machine is gone; what etcd has been asked for by then may still come.
    pub fn server_stop(&mut self, server: usize, found: SimTime, cx: &mut Context<'_>) {
        let Some(hosted) = &mut self.hosted else { return };
        hosted.ready[server] = false;
        self.fairness[server] = self.fairness[server].emptied();
        let at = num::u32_of(server);
        for id in cx.all_in_flight() {
            let Some(in_flight) = cx.in_flight(id) else { continue };
            if u32::from(in_flight.server) != at || in_flight.outcome.is_some() {
                continue;
            }
            self.looks.remove(&id);
            self.sweeps.remove(&id);
            self.let_go(id, cx);
            self.fail(id, ApiError::Lost, found, cx);
        }
    }

    /// True if whoever sent the request asks again after such an error by itself.
    pub(super) fn repeats(&self, id: Id, error: ApiError, cx: &Context<'_>) -> bool {
        let Some(in_flight) = cx.in_flight(id).filter(|_| self.hosted.is_some()) else {
            return false;
        };
        error.is_outage()
            && match in_flight.request.user {
                User::Kubelet(_) | User::Admin | User::Person { .. } => true,
                User::Scheduler | User::Controller(_) | User::ApiServer => false,
            }
    }

    /// A copy of a request that may be sent again, if etcd will refuse it for want of space.
    pub(super) fn spare(&self, id: Id, cx: &Context<'_>) -> Option<Request> {
        let full = self.hosted.is_some() && self.etcd.alarm();
        let in_flight = cx.in_flight(id).filter(|_| full)?;
        let again = match in_flight.request.user {
            User::Kubelet(_) | User::Admin | User::Person { .. } => true,
            User::Scheduler | User::Controller(_) | User::ApiServer => false,
        };
        again.then(|| in_flight.request.clone())
    }

    /// The client of a request learns at this instant that it has failed.
    pub(super) fn fail(&mut self, id: Id, error: ApiError, at: SimTime, cx: &mut Context<'_>) {
        let at = at.max(cx.now());
        let repeats = self.repeats(id, error, cx);
        let Some(in_flight) = cx.in_flight_mut(id) else { return };
        in_flight.server = NOWHERE;
        let reply = in_flight.reply;
        in_flight.outcome = Some(Err(error));
        let request = &in_flight.request;
        let (user, verb) = (request.user, request.op.verb());
        let (kind, ns, name) = (request.kind, request.ns, request.name);
        if matches!(error, ApiError::Lost | ApiError::Unreachable) {
            self.counts.refused += 1;
            cx.record(What::Refused { user, verb, kind, ns, name, error });
        }
        match reply {
            Some((to, token)) if !repeats => {
                cx.schedule(at, Event::Answer { to, token, request: id });
            }
            Some(_) | None => {
                cx.schedule(at, Event::Control(ControlEvent::Unanswered(id)));
            }
        }
    }

    /// Nobody waits for the request any more; what etcd has been asked for goes on without it.
    fn let_go(&mut self, id: Id, cx: &mut Context<'_>) {
        let Some(hosted) = &mut self.hosted else { return };
        let Some(pending) = hosted.pending.remove(&id) else { return };
        if let Some(event) = pending.timeout {
            cx.cancel(event);
        }
        if let Some((_, event)) = pending.commit {
            cx.cancel(event);
        }
        let sweeps = cx.in_flight(id).is_none_or(|f| matches!(f.request.op, Op::DeleteCollection));
        let request = cx.in_flight(id).map(|f| f.request.clone());
        let request = request.filter(|_| !sweeps).unwrap_or_else(placeholder);
        let orphan = cx.orphan(request);
        if !hosted.quorum.abandon(id, orphan) {
            cx.take_request(orphan);
            return;
        }
        if sweeps {
            // The rest of a collection stays as it is.
            hosted.quorum.settle(orphan, cx.now());
            cx.take_request(orphan);
            return;
        }
        let commit = pending.commit.map(|(at, _)| {
            let at = at.max(cx.now());
            (at, cx.schedule(at, Event::Api(ApiEvent::Commit(orphan))))
        });
        let pending = Pending { commit, timeout: None, deadline: SimTime::MAX, ..pending };
        hosted.pending.insert(orphan, pending);
    }

    /// A request has waited for etcd as long as etcd lets it.
    pub(super) fn timed_out(&mut self, id: Id, cx: &mut Context<'_>) {
        let Some(hosted) = &mut self.hosted else { return };
        let Some(pending) = hosted.pending.get_mut(&id) else { return };
        pending.timeout = None;
        let deposed = pending.term != hosted.quorum.term();
        let Some(in_flight) = cx.in_flight(id) else { return };
        let (level, server) = (fairness::level(&in_flight.request), in_flight.server);
        self.sweeps.remove(&id);
        self.let_go(id, cx);
        let text = if deposed {
            "etcdserver: request timed out, possibly due to previous leader failure"
        } else {
            "etcdserver: request timed out"
        };
        self.refuse(id, ApiError::Internal(Sym::new(text)), cx);
        self.seat_free(level, server, cx);
    }

    /// Whom the answer of a candidate's request is for.
    #[must_use]
    pub fn candidate(race: u8, host: u8, life: u16) -> Address {
        let index = u32::from(race) << 8 | u32::from(host);
        Address { role: Role::Candidate, incarnation: life, index }
    }
}
