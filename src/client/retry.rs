//! What client-go does by itself with an answer that asks for patience: a `Retry-After` header
//! makes it wait and send the same request again, ten times at most, before its caller hears of it.
//! Source: client-go `rest/with_retry.go`, `rest/request.go` (`maxRetries` 10).

use crate::api::request::ApiError;
use crate::engine::SimDuration;
use crate::engine::id::Id;
use crate::event::context::NOWHERE;
use crate::event::{ApiEvent, Context, Event};

/// Times a request is sent again.
const MOST_RETRIES: u8 = 10;

/// Sends a refused request again if its answer says when; true if so.
pub fn again(id: Id, error: ApiError, cx: &mut Context<'_>) -> bool {
    let ApiError::TooManyRequests(_, after_s) = error else { return false };
    let network = cx.network();
    let Some(in_flight) = cx.in_flight_mut(id).filter(|f| after_s > 0 && f.tries < MOST_RETRIES)
    else {
        return false;
    };
    in_flight.tries += 1;
    in_flight.server = NOWHERE;
    // The answer travels to the client, which waits and sends the request anew.
    let after = network + SimDuration::from_secs(u64::from(after_s)) + network;
    cx.after(after, Event::Api(ApiEvent::Arrive(id)));
    true
}

/// The wait after an operation on a volume that has failed, with so many failures before it: 500
/// ms, doubled up to 2 min 2 s (source: `pkg/util/goroutinemap/exponentialbackoff`).
#[must_use]
pub fn operation_back_off(failures: u32) -> SimDuration {
    const FIRST: SimDuration = SimDuration::from_millis(500);
    const LONGEST: SimDuration = SimDuration::from_secs(122);
    FIRST.times(1 << failures.min(10)).min(LONGEST)
}
