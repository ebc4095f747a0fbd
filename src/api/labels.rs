//! Label sets and selectors. A label set is interned, so that pods of one template share it and a
//! selector's verdict can be remembered per set.

use crate::engine::Sym;
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// The longest label set the intern table has room for, by chunks of 1024 sets.
const CHUNK: usize = 1024;
const MAX_CHUNKS: usize = 1 << 14;

type Pairs = &'static [(Sym, Sym)];
type Chunk = Box<[OnceLock<Pairs>]>;
static SETS: OnceLock<Box<[OnceLock<Chunk>]>> = OnceLock::new();
static INDEX: Mutex<Option<FxHashMap<Pairs, u32>>> = Mutex::new(None);

fn chunks() -> &'static [OnceLock<Chunk>] {
    SETS.get_or_init(|| (0..MAX_CHUNKS).map(|_| OnceLock::new()).collect())
}

/// An interned set of labels, sorted by key. `LabelSet::default()` is the empty set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LabelSet(u32);

impl LabelSet {
    /// The set of these pairs; of equal keys the last one wins.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (Sym, Sym)>) -> Self {
        let mut sorted: Vec<(Sym, Sym)> = Vec::new();
        for (key, value) in pairs {
            match sorted.binary_search_by(|(k, _)| k.cmp_text(key)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (key, value)),
            }
        }
        if sorted.is_empty() {
            return Self(0);
        }
        let mut guard = INDEX.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let index = guard.get_or_insert_with(FxHashMap::default);
        if let Some(&id) = index.get(sorted.as_slice()) {
            return Self(id);
        }
        let id = index.len() + 1;
        let kept: Pairs = Box::leak(sorted.into_boxed_slice());
        let chunk = chunks()
            .get(id / CHUNK)
            .expect("fewer than 16 million distinct label sets")
            .get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        assert!(chunk[id % CHUNK].set(kept).is_ok(), "label set {id} was interned twice");
        let id = crate::engine::num::u32_of(id);
        index.insert(kept, id);
        Self(id)
    }

    /// The pairs, sorted by key.
    #[must_use]
    pub fn pairs(self) -> &'static [(Sym, Sym)] {
        if self.0 == 0 {
            return &[];
        }
        let id = self.0 as usize;
        chunks()[id / CHUNK]
            .get()
            .and_then(|chunk| chunk[id % CHUNK].get())
            .expect("a LabelSet is made only by interning, which fills its entry first")
    }

    /// The value of a key.
    #[must_use]
    pub fn get(self, key: Sym) -> Option<Sym> {
        self.pairs().iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    /// True if there is no label.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// This set with one label set (or replaced).
    #[must_use]
    pub fn with(self, key: Sym, value: Sym) -> Self {
        Self::new(self.pairs().iter().copied().chain([(key, value)]))
    }

    /// This set without a key.
    #[must_use]
    pub fn without(self, key: Sym) -> Self {
        Self::new(self.pairs().iter().copied().filter(|(k, _)| *k != key))
    }

    /// A hash of the content that is the same in every process.
    #[must_use]
    pub fn stable_hash(self) -> u64 {
        use crate::engine::digest::mix;
        self.pairs().iter().fold(0, |h, (k, v)| mix(mix(h, k.stable_hash()), v.stable_hash()))
    }
}

impl std::fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.pairs().iter().map(|(k, v)| (k, v))).finish()
    }
}

/// Operator of a requirement. `Gt` and `Lt` occur in node selectors only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// The value is one of the list.
    In,
    /// The key is absent or the value is not in the list.
    NotIn,
    /// The key is there.
    Exists,
    /// The key is not there.
    DoesNotExist,
    /// The value is an integer greater than the one given.
    Gt,
    /// The value is an integer less than the one given.
    Lt,
}

/// One requirement on a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// Label key.
    pub key: Sym,
    /// Operator.
    pub op: Op,
    /// Operands; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<Sym>,
}

impl Requirement {
    /// Whether a set with this value for the key (or none) meets the requirement.
    /// Source: apimachinery `labels/selector.go` `Matches`.
    #[must_use]
    pub fn matches_value(&self, value: Option<Sym>) -> bool {
        match (self.op, value) {
            (Op::In, Some(v)) => self.values.contains(&v),
            (Op::NotIn, Some(v)) => !self.values.contains(&v),
            (Op::NotIn | Op::DoesNotExist, None) | (Op::Exists, Some(_)) => true,
            (Op::In | Op::Exists | Op::Gt | Op::Lt, None) | (Op::DoesNotExist, Some(_)) => false,
            (Op::Gt | Op::Lt, Some(v)) => self.compare(v),
        }
    }

    fn compare(&self, value: Sym) -> bool {
        let [bound] = self.values.as_slice() else { return false };
        let (Ok(have), Ok(bound)) = (value.as_str().parse::<i64>(), bound.as_str().parse::<i64>())
        else {
            return false;
        };
        if self.op == Op::Gt { have > bound } else { have < bound }
    }
}

/// A label selector: all requirements must hold. An empty one matches everything; Kubernetes' nil
/// selector, which matches nothing, is `Option::None` where it can occur.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selector {
    /// The requirements; `matchLabels` are `In` with one value.
    pub requirements: Arc<[Requirement]>,
}

impl Selector {
    /// A label that everything selected has, if one can be named: the last requirement of a single
    /// value, since those before tend to be shared by many (`app=web` before
    /// `pod-template-hash=…`). What to index a selector by.
    #[must_use]
    pub fn pair(&self) -> Option<(Sym, Sym)> {
        let single = |r: &&Requirement| r.op == Op::In && r.values.len() == 1;
        self.requirements.iter().rev().find(single).map(|r| (r.key, r.values[0]))
    }

    /// A selector of these requirements.
    #[must_use]
    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements: requirements.into() }
    }

    /// `key in (value)` for each pair.
    #[must_use]
    pub fn of_labels(pairs: impl IntoIterator<Item = (Sym, Sym)>) -> Self {
        Self::new(
            pairs
                .into_iter()
                .map(|(key, value)| Requirement { key, op: Op::In, values: vec![value] })
                .collect(),
        )
    }

    /// True if it has no requirement (and so matches everything).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the labels meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: LabelSet) -> bool {
        self.requirements.iter().all(|r| r.matches_value(labels.get(r.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::new(pairs.iter().map(|(k, v)| (Sym::new(k), Sym::new(v))))
    }

    #[test]
    fn equal_content_is_the_same_set() {
        assert_eq!(set(&[("a", "1"), ("b", "2")]), set(&[("b", "2"), ("a", "1")]));
        assert_eq!(set(&[]), LabelSet::default());
        assert_eq!(
            set(&[("a", "1")]).with("b".into(), "2".into()).without("a".into()),
            set(&[("b", "2")])
        );
    }

    #[test]
    fn not_in_matches_what_lacks_the_key() {
        let requirement =
            Requirement { key: "tier".into(), op: Op::NotIn, values: vec!["db".into()] };
        let selector = Selector::new(vec![requirement]);
        assert!(selector.matches(set(&[])));
        assert!(!selector.matches(set(&[("tier", "db")])));
    }
}
