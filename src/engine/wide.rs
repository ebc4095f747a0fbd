//! Loops compiled twice: for every machine, and with the vector registers most machines have (on
//! x86-64: AVX2). Results are equal to the last bit, since neither form reorders or fuses
//! arithmetic; only the time differs.

use pulp::{Arch, Simd, WithSimd};

/// A loop worth the wide registers.
pub trait Loop {
    /// What it gives.
    type Output;

    /// Runs it. Mark it `#[inline(always)]`: only what is inlined is compiled for them.
    fn run(self) -> Self::Output;
}

struct Wide<L>(L);

impl<L: Loop> WithSimd for Wide<L> {
    type Output = L::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> L::Output {
        self.0.run()
    }
}

/// Runs a loop in the widest form this machine has.
#[inline]
pub fn wide<L: Loop>(it: L) -> L::Output {
    Arch::new().dispatch(Wide(it))
}
