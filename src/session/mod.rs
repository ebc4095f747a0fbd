//! Play, pause, step, back: a [`observer::Observer`] sees what happens, and never changes it.

pub mod observer;

pub use observer::Observer;
