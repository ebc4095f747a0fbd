//! Interned strings: a [`Sym`] is four bytes, and equal text is the same `Sym`.
//!
//! The table is shared by the whole process and only ever grows, so a `Sym` can be read without a
//! lock and without a context. The numbers depend on who interned first (threads of a sweep race
//! for them), so nothing may order or print by them: [`Sym::cmp_text`] orders by text, and
//! [`Sym::stable_hash`] depends on the text alone. `Sym` has no `Ord` for that reason.

use super::digest::hash_bytes;
use rustc_hash::FxHashMap;
use std::cmp::Ordering;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, OnceLock};

/// Text of an entry and its content hash.
#[derive(Debug)]
struct Entry {
    text: &'static str,
    hash: u64,
}

/// Chunk `c` holds `1024 << c` entries; 22 chunks reach the full range of `u32`.
const CHUNKS: usize = 22;
const FIRST_CHUNK_BITS: u32 = 10;

static TABLE: [OnceLock<Box<[OnceLock<Entry>]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];
static INDEX: Mutex<Option<FxHashMap<&'static str, u32>>> = Mutex::new(None);

fn locate(id: u32) -> (usize, usize) {
    let shifted = u64::from(id) + (1 << FIRST_CHUNK_BITS);
    let top = 63 - shifted.leading_zeros();
    let chunk = (top - FIRST_CHUNK_BITS) as usize;
    let offset = shifted - (1 << top);
    (chunk, super::num::index(offset))
}

fn entry(id: u32) -> &'static Entry {
    let (chunk, offset) = locate(id);
    TABLE[chunk]
        .get()
        .and_then(|slots| slots[offset].get())
        .expect("a Sym is made only by interning, which fills its entry first")
}

/// An interned string. `Sym::default()` is the empty string.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sym(u32);

impl Sym {
    /// The empty string.
    pub const EMPTY: Self = Self(0);

    /// Interns `text`. Costs a lock and a hash: call it at the edges, keep the `Sym`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text.is_empty() {
            return Self::EMPTY;
        }
        let mut guard = INDEX.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let index = guard.get_or_insert_with(|| {
            let mut fresh = FxHashMap::default();
            fresh.insert("", push(0, ""));
            fresh
        });
        if let Some(&id) = index.get(text) {
            return Self(id);
        }
        let id = super::num::u32_of(index.len());
        // Leaked on purpose: the table lives as long as the process, and names recur between runs.
        let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
        index.insert(kept, push(id, kept));
        Self(id)
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        if self.0 == 0 { "" } else { entry(self.0).text }
    }

    /// True for the empty string.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// A hash of the text that is the same in every process.
    #[must_use]
    pub fn stable_hash(self) -> u64 {
        if self.0 == 0 { hash_bytes(b"") } else { entry(self.0).hash }
    }

    /// Orders by text (byte order, as etcd orders keys).
    #[must_use]
    pub fn cmp_text(self, other: Self) -> Ordering {
        if self == other { Ordering::Equal } else { self.as_str().cmp(other.as_str()) }
    }

    /// The number behind the symbol: only for columns indexed by symbol, never for order or output.
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0
    }
}

fn push(id: u32, text: &'static str) -> u32 {
    let (chunk, offset) = locate(id);
    let slots = TABLE[chunk].get_or_init(|| {
        let len = 1_usize << (FIRST_CHUNK_BITS as usize + chunk);
        (0..len).map(|_| OnceLock::new()).collect()
    });
    let filled = slots[offset].set(Entry { text, hash: hash_bytes(text.as_bytes()) });
    assert!(filled.is_ok(), "entry {id} was interned twice");
    id
}

/// Values that recur, each kept once for the whole process and known by a number, under the rules
/// of [`Sym`]: numbers are for equality alone.
#[derive(Debug)]
pub struct Pool<T: 'static> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
    index: Mutex<Option<FxHashMap<T, u32>>>,
}

impl<T: Copy + Eq + Hash> Pool<T> {
    /// An empty pool.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made in statics alone")]
    pub const fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], index: Mutex::new(None) }
    }

    /// The number of a value. Costs a lock and a hash.
    #[must_use]
    pub fn put(&self, value: T) -> u32 {
        let mut guard = self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let index = guard.get_or_insert_with(FxHashMap::default);
        if let Some(&id) = index.get(&value) {
            return id;
        }
        let id = super::num::u32_of(index.len());
        let (chunk, offset) = locate(id);
        let slots = self.chunks[chunk].get_or_init(|| {
            let len = 1_usize << (FIRST_CHUNK_BITS as usize + chunk);
            (0..len).map(|_| OnceLock::new()).collect()
        });
        assert!(slots[offset].set(value).is_ok(), "value {id} was kept twice");
        index.insert(value, id);
        id
    }

    /// The value of a number.
    #[must_use]
    pub fn at(&self, id: u32) -> &T {
        let (chunk, offset) = locate(id);
        self.chunks[chunk]
            .get()
            .and_then(|slots| slots[offset].get())
            .expect("numbers come from Pool::put, which fills the entry first")
    }
}

/// A symbol known when the program is written: interned once, then read without a lock.
#[derive(Debug)]
pub struct Known {
    text: &'static str,
    cell: OnceLock<Sym>,
}

impl Known {
    /// A symbol for this text.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self { text, cell: OnceLock::new() }
    }

    /// The symbol.
    #[must_use]
    pub fn sym(&self) -> Sym {
        *self.cell.get_or_init(|| Sym::new(self.text))
    }
}

impl From<&str> for Sym {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl serde::Serialize for Sym {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_text_is_the_same_symbol() {
        assert_eq!(Sym::new("node-1"), Sym::new("node-1"));
        assert_ne!(Sym::new("node-1"), Sym::new("node-2"));
        assert_eq!(Sym::new("").as_str(), "");
        assert_eq!(Sym::default(), Sym::EMPTY);
    }

    #[test]
    fn chunks_are_contiguous() {
        let mut last = (0, usize::MAX);
        for id in 0..5000_u32 {
            let here = locate(id);
            let follows = here == (last.0, last.1.wrapping_add(1)) || here == (last.0 + 1, 0);
            assert!(follows, "{id}: {last:?} -> {here:?}");
            last = here;
        }
    }
}
