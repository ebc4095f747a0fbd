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

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything the scheduler's loops do: products, quotients, comparisons, a running count.
    struct Sample<'a>(&'a [f64], &'a [f64], &'a mut [f64]);

    impl Loop for Sample<'_> {
        type Output = usize;

        #[inline(always)]
        fn run(self) -> usize {
            for ((out, a), b) in self.2.iter_mut().zip(self.0).zip(self.1) {
                let x = a * 100.0 / b + a * b;
                *out = if x > *b { x - a } else { x };
            }
            self.2.iter().filter(|x| **x > 50.0).count()
        }
    }

    #[test]
    fn both_forms_give_the_same_bits() {
        let draws = crate::engine::Draws::new(5);
        let column = |entity: u64| -> Vec<f64> {
            let draw = |i| draws.draw(entity, crate::engine::Purpose("column"), i).unit();
            (0..1001).map(|i| 0.01 + 7.0 * draw(i)).collect()
        };
        let (a, b) = (column(1), column(2));
        let (mut x, mut y) = (vec![0.0; a.len()], vec![0.0; a.len()]);
        let counts = (wide(Sample(&a, &b, &mut x)), Sample(&a, &b, &mut y).run());
        assert_eq!(counts.0, counts.1);
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&x), bits(&y));
    }
}
