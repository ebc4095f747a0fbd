//! A network that is slow or loses packets.

use super::draw::Draw;
use super::{Dist, SimDuration};

/// How a network treats packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packets {
    /// Added to each way.
    pub delay: Dist,
    /// Share that is lost and sent again, 0 to less than 1.
    pub loss: f64,
}

impl Packets {
    /// TCP sends again after 200 ms, and waits twice as long each time (source: Linux
    /// `TCP_RTO_MIN`, `tcp_retransmit_timer`).
    pub const AGAIN: SimDuration = SimDuration::from_millis(200);
    /// A draw has eight numbers, of which a delay may need two.
    const TRIES: u64 = 6;

    /// How much later something arrives. A message counts as one packet.
    #[must_use]
    pub fn late(&self, draw: &mut Draw) -> SimDuration {
        let mut late = self.delay.sample(draw);
        for n in 0..Self::TRIES {
            if self.loss <= 0.0 || draw.unit() >= self.loss {
                break;
            }
            late = SimDuration(late.0 + Self::AGAIN.times(1 << n).0);
        }
        late
    }
}
