//! client-go: the one road to the API server. Watches with lag as cursors into the shared table of
//! versions, shared caches, rate-limited work queues, client-side rate limits, and the harness in
//! which a reconcile runs over latency.

pub mod broadcaster;
pub mod cache;
pub mod election;
pub mod events;
pub mod limiter;
pub mod retry;
pub mod runner;
pub mod watch;
pub mod workqueue;

pub use broadcaster::Broadcaster;
pub use cache::Cache;
pub use events::Correlator;
pub use limiter::RateLimiter;
pub use runner::{Call, Key, Next, Outbox, Reconcile, Runner};
pub use watch::Watches;
pub use workqueue::WorkQueue;
