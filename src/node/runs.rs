//! The containers of a pod: nearly all pods have one, which then needs no memory of its own.

use super::runtime::Run;
use std::ops::{Deref, DerefMut};

/// Runs of a pod's containers; a slice.
#[derive(Debug, Clone)]
pub(super) enum Runs {
    /// The only one.
    One(Run),
    /// None, or several.
    Many(Box<[Run]>),
}

impl Runs {
    /// `n` containers that have not been started.
    pub(super) fn new(n: usize) -> Self {
        if n == 1 { Self::One(Run::default()) } else { Self::Many(vec![Run::default(); n].into()) }
    }
}

impl Deref for Runs {
    type Target = [Run];
    fn deref(&self) -> &[Run] {
        match self {
            Self::One(run) => std::slice::from_ref(run),
            Self::Many(runs) => runs,
        }
    }
}

impl DerefMut for Runs {
    fn deref_mut(&mut self) -> &mut [Run] {
        match self {
            Self::One(run) => std::slice::from_mut(run),
            Self::Many(runs) => runs,
        }
    }
}

const _: () = assert!(size_of::<Runs>() <= 32, "there is one for each pod");
