//! GPUs that pods share: devices of 1000 thousandths each, as Alibaba's open-gpu-share has them
//! (names of resources and annotation are that project's own).

use super::Pod;
use super::resources::Resources;
use crate::engine::intern::Known;
use crate::engine::{Sym, num};

/// GPU capacity and requests, thousandths of a GPU.
pub const MILLI: &str = "alibabacloud.com/gpu-milli";
/// GPU capacity, whole devices.
pub const COUNT: &str = "alibabacloud.com/gpu-count";
/// Node label: the model of its GPUs.
pub const MODEL: &str = "alibabacloud.com/gpu-card-model";
/// Pod annotation: the devices a pod got, as in `0` or `2-3`. The scheduler writes it with the
/// binding.
pub const INDEX: &str = "alibabacloud.com/gpu-index";
/// Thousandths of a whole device.
pub const WHOLE: u16 = 1000;
/// Devices a node can have.
pub const MOST: usize = 16;

static MILLI_SYM: Known = Known::new(MILLI);
static COUNT_SYM: Known = Known::new(COUNT);

/// What a pod asks for: so many devices, so much of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GpuAsk {
    /// Devices.
    pub count: u16,
    /// Thousandths of each.
    pub milli: u16,
}

impl GpuAsk {
    /// What these requests ask for; none if they name no shared GPU. Up to 1000 thousandths lie on
    /// one device; more are whole devices.
    #[must_use]
    pub fn of(requests: &Resources) -> Option<Self> {
        if requests.scalars.is_empty() {
            return None;
        }
        let total = requests.scalar(MILLI_SYM.sym());
        if total <= 0 {
            return None;
        }
        let whole = i64::from(WHOLE);
        Some(if total <= whole {
            Self { count: 1, milli: u16::try_from(total).unwrap_or(WHOLE) }
        } else {
            let count = total.saturating_add(whole - 1) / whole;
            Self { count: u16::try_from(count).unwrap_or(u16::MAX), milli: WHOLE }
        })
    }

    /// Thousandths over all devices.
    #[must_use]
    pub fn total(self) -> u32 {
        u32::from(self.count) * u32::from(self.milli)
    }

    /// True if it is a part of one device.
    #[must_use]
    pub fn shares(self) -> bool {
        self.count == 1 && self.milli < WHOLE
    }
}

/// Devices that a node has; at most [`MOST`] count.
#[must_use]
pub fn devices_of(allocatable: &Resources) -> usize {
    if allocatable.scalars.is_empty() {
        return 0;
    }
    num::index(u64::try_from(allocatable.scalar(COUNT_SYM.sym())).unwrap_or(0)).min(MOST)
}

/// A set of devices of one node, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Devices(u16);

impl Devices {
    /// No device.
    pub const NONE: Self = Self(0);

    /// One device.
    #[must_use]
    pub fn one(index: usize) -> Self {
        let mut set = Self::NONE;
        set.insert(index);
        set
    }

    /// Adds a device.
    pub fn insert(&mut self, index: usize) {
        debug_assert!(index < MOST, "a node has at most {MOST} devices");
        self.0 |= 1 << index;
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MOST).filter(move |i| self.0 >> i & 1 == 1)
    }

    /// As the annotation writes them: `2-3`.
    #[must_use]
    pub fn text(self) -> String {
        let list: Vec<String> = self.iter().map(|i| i.to_string()).collect();
        list.join("-")
    }

    /// Those that a pod's annotation names; none if it names other than it asks for.
    #[must_use]
    pub fn told(pod: &Pod, ask: GpuAsk) -> Option<Self> {
        let told = Self::parse(pod.meta.annotation(INDEX)?)?;
        (told.0.count_ones() == u32::from(ask.count)).then_some(told)
    }

    /// As the annotation writes them; none if it is nothing of the kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = Self::NONE;
        for part in text.split('-') {
            let index: usize = part.parse().ok().filter(|i| *i < MOST)?;
            set.insert(index);
        }
        Some(set)
    }
}

/// The symbol of [`MILLI`].
#[must_use]
pub fn milli() -> Sym {
    MILLI_SYM.sym()
}

/// The symbol of [`COUNT`].
#[must_use]
pub fn count() -> Sym {
    COUNT_SYM.sym()
}

/// The GPUs of a node: what is left of each, and what pods hold them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gpus {
    left: [u16; MOST],
    /// What pods hold of each: more than there is if a node has lost devices or annotations lie.
    used: [u32; MOST],
    n: u8,
    sum: u32,
    /// Pods by the number of devices they hold; those that share one at 0.
    pods: [u16; MOST + 1],
}

impl Gpus {
    /// So many devices, all free.
    #[must_use]
    pub fn new(n: usize) -> Self {
        let n = n.min(MOST);
        let mut left = [0; MOST];
        left[..n].fill(WHOLE);
        let sum = u32::from(WHOLE) * num::u32_of(n);
        let n = u8::try_from(n).unwrap_or(0);
        Self { left, used: [0; MOST], n, sum, pods: [0; MOST + 1] }
    }

    /// What is left of each device, thousandths.
    #[must_use]
    pub fn left(&self) -> &[u16] {
        &self.left[..usize::from(self.n)]
    }

    /// What is left of all of them together.
    #[must_use]
    pub fn sum(&self) -> u32 {
        self.sum
    }

    /// Pods that hold so many devices each (0: that share one).
    #[must_use]
    pub fn pods(&self, class: usize) -> u16 {
        self.pods.get(class).copied().unwrap_or(0)
    }

    /// The class of a pod for [`Gpus::pods`].
    #[must_use]
    pub fn class(ask: GpuAsk) -> usize {
        if ask.shares() { 0 } else { usize::from(ask.count).min(MOST) }
    }

    /// True if the pod's devices can be had.
    #[must_use]
    pub fn fits(&self, ask: GpuAsk) -> bool {
        if self.sum < ask.total() {
            return false;
        }
        let enough = self.left().iter().filter(|left| **left >= ask.milli).count();
        enough >= usize::from(ask.count)
    }

    /// Best fit: of those with enough left the fullest device, the first of equal ones; whole
    /// devices by index. Empty if they cannot be had.
    #[must_use]
    pub fn best_fit(&self, ask: GpuAsk) -> Devices {
        let fitting = || self.left().iter().enumerate().filter(|(_, left)| **left >= ask.milli);
        if ask.count == 1 {
            let best = fitting().min_by_key(|(i, left)| (**left, *i));
            return best.map_or(Devices::NONE, |(i, _)| Devices::one(i));
        }
        let mut set = Devices::NONE;
        let mut found = 0;
        for (i, _) in fitting().take(usize::from(ask.count)) {
            set.insert(i);
            found += 1;
        }
        if found == usize::from(ask.count) { set } else { Devices::NONE }
    }

    /// A pod takes its devices (or with `add` false gives them back).
    pub fn take(&mut self, ask: GpuAsk, devices: Devices, add: bool) {
        for i in devices.iter().filter(|i| *i < usize::from(self.n)) {
            let (before, held) = (self.left[i], u32::from(ask.milli));
            let used = &mut self.used[i];
            *used = if add { *used + held } else { used.saturating_sub(held) };
            let after = u16::try_from(u32::from(WHOLE).saturating_sub(*used)).unwrap_or(0);
            self.left[i] = after;
            self.sum = self.sum + u32::from(after) - u32::from(before);
        }
        let class = &mut self.pods[Self::class(ask)];
        *class = if add { *class + 1 } else { class.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(total: i64) -> GpuAsk {
        let mut requests = Resources::default();
        requests.set_scalar(milli(), total);
        GpuAsk::of(&requests).unwrap()
    }

    #[test]
    fn up_to_a_whole_device_lies_on_one() {
        assert_eq!(ask(460), GpuAsk { count: 1, milli: 460 });
        assert_eq!(ask(1000), GpuAsk { count: 1, milli: 1000 });
        assert_eq!(ask(4000), GpuAsk { count: 4, milli: 1000 });
        assert!(ask(460).shares() && !ask(1000).shares() && !ask(4000).shares());
        assert_eq!(GpuAsk::of(&Resources::default()), None);
    }

    #[test]
    fn best_fit_takes_the_fullest_device_that_has_enough() {
        let mut gpus = Gpus::new(3);
        gpus.take(ask(600), gpus.best_fit(ask(600)), true);
        assert_eq!(gpus.left(), [400, 1000, 1000]);
        assert_eq!(gpus.best_fit(ask(300)), Devices::one(0));
        assert_eq!(gpus.best_fit(ask(500)), Devices::one(1));
        assert_eq!(gpus.best_fit(ask(2000)).text(), "1-2");
        assert!(!gpus.fits(ask(3000)) && gpus.best_fit(ask(3000)).is_empty());
        assert_eq!((gpus.sum(), gpus.pods(0), gpus.pods(1)), (2400, 1, 0));
        gpus.take(ask(600), Devices::one(0), false);
        assert_eq!(gpus, Gpus::new(3));
    }

    #[test]
    fn what_is_free_in_sum_may_not_be_had_on_one_device() {
        let mut gpus = Gpus::new(2);
        gpus.take(ask(600), Devices::one(0), true);
        gpus.take(ask(600), Devices::one(1), true);
        assert!(gpus.sum() == 800 && !gpus.fits(ask(500)) && gpus.fits(ask(400)));
    }

    #[test]
    fn what_two_hold_is_free_when_both_are_gone() {
        let mut gpus = Gpus::new(1);
        gpus.take(ask(600), Devices::one(0), true);
        gpus.take(ask(600), Devices::one(0), true);
        gpus.take(ask(600), Devices::one(0), false);
        assert_eq!((gpus.left(), gpus.sum()), (&[400][..], 400));
        gpus.take(ask(600), Devices::one(0), false);
        assert_eq!(gpus, Gpus::new(1));
    }

    #[test]
    fn an_annotation_is_read_back() {
        let mut set = Devices::one(2);
        set.insert(11);
        assert_eq!(set.text(), "2-11");
        assert_eq!(Devices::parse("2-11"), Some(set));
        assert_eq!(Devices::parse("2-x"), None);
        assert_eq!(Devices::parse("16"), None);
    }
}
