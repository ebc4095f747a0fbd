//! Time and chance, and the plain data structures under everything else.
//!
//! This floor knows no Kubernetes: virtual [`time`], the event [`queue`], stateless [`draw`]s and
//! [`dist`]ributions, [`grid`]s for periodic things, [`intern`]ed strings, generational
//! [`id`]s, copy-on-write [`table`]s, [`num`]bers that are the same on every machine, the
//! delays of [`packets`], and the running [`digest`].

pub mod digest;
pub mod dist;
pub mod draw;
pub mod grid;
pub mod id;
pub mod intern;
pub mod num;
pub mod packets;
pub mod queue;
pub mod table;
pub mod time;
pub mod wide;

pub use digest::Digest;
pub use dist::{Dist, Tabled};
pub use draw::{Draws, Purpose};
pub use grid::Grid;
pub use intern::Sym;
pub use packets::Packets;
pub use time::{SimDuration, SimTime};
pub use wide::{Loop, wide};
