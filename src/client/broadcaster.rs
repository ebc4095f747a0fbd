//! Kubernetes Events on their way: the broadcaster posts them in order, waits for each, and drops
//! what comes while too many wait (source: client-go `tools/record/event.go`).

use super::events::Correlator;
use super::limiter::RateLimiter;
use crate::api::request::{Op, Request};
use crate::event::{Address, Context};
use std::collections::VecDeque;

/// Events that wait to be posted; more are dropped (source: `maxQueuedEvents`).
const WAITING: usize = 1000;

/// The Events of a client that are still to be posted. One is on its way at a time, so that they
/// take no more than a token of the limit from the requests beside them.
#[derive(Debug, Clone, Default)]
pub struct Broadcaster {
    /// Requests with the hop that caused each.
    waiting: VecDeque<(u64, Request)>,
    correlator: Correlator,
    posting: bool,
}

impl Broadcaster {
    /// Takes an Event that a hop has caused.
    pub fn push(&mut self, hop: u64, request: Request) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back((hop, request));
        }
    }

    /// Posts the Event that has waited longest, unless one is on its way: [`Self::answered`] is
    /// to be called with what arrives at `reply`.
    pub fn post(&mut self, limiter: &mut RateLimiter, reply: (Address, u32), cx: &mut Context<'_>) {
        if self.posting {
            return;
        }
        while let Some((hop, mut request)) = self.waiting.pop_front() {
            if let Op::CreateEvent(event, _) = &request.op {
                let Some(op) = self.correlator.correlate(event, cx.now()) else { continue };
                request.op = op;
            }
            self.posting = true;
            let at = limiter.reserve(cx.now());
            cx.at_hop(hop, |cx| cx.submit(at, request, Some(reply)));
            return;
        }
    }

    /// The Event on its way has been answered: the next one goes.
    pub fn answered(
        &mut self,
        limiter: &mut RateLimiter,
        reply: (Address, u32),
        cx: &mut Context<'_>,
    ) {
        self.posting = false;
        self.post(limiter, reply, cx);
    }
}
