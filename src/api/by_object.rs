//! A map from objects of one kind, kept as columns by row of the table of versions: rows are dense,
//! so it needs no hash and grows without ever being copied.

use super::versions::ObjRef;
use crate::engine::table::Table;

/// Values by object.
#[derive(Debug, Clone)]
pub struct ByObject<V> {
    rows: Table<Option<(u32, V)>>,
    len: usize,
}

impl<V> Default for ByObject<V> {
    fn default() -> Self {
        Self { rows: Table::default(), len: 0 }
    }
}

impl<V: Clone> ByObject<V> {
    /// The value of an object.
    #[must_use]
    pub fn get(&self, object: ObjRef) -> Option<&V> {
        let (generation, value) = self.rows.get(object.slot as usize)?.as_ref()?;
        (*generation == object.generation).then_some(value)
    }

    /// The value of an object for writing.
    pub fn get_mut(&mut self, object: ObjRef) -> Option<&mut V> {
        let (generation, value) = self.rows.get_mut(object.slot as usize)?.as_mut()?;
        (*generation == object.generation).then_some(value)
    }

    /// Sets the value of an object; gives what stood in its row, be it of an earlier object.
    pub fn insert(&mut self, object: ObjRef, value: V) -> Option<V> {
        let slot = object.slot as usize;
        while self.rows.len() <= slot {
            self.rows.push(None);
        }
        let old = self.rows[slot].replace((object.generation, value));
        self.len += usize::from(old.is_none());
        old.map(|(_, value)| value)
    }

    /// One more than the largest slot that was ever used.
    #[must_use]
    pub fn slots(&self) -> u32 {
        crate::engine::num::u32_of(self.rows.len())
    }

    /// Removes an object; gives its value.
    pub fn remove(&mut self, object: ObjRef) -> Option<V> {
        self.get(object)?;
        self.len -= 1;
        self.rows[object.slot as usize].take().map(|(_, value)| value)
    }

    /// Number of objects that have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_in_the_same_row_is_another_object() {
        let (old, new) = (ObjRef { slot: 70, generation: 0 }, ObjRef { slot: 70, generation: 1 });
        let mut map = ByObject::default();
        assert_eq!(map.insert(old, "old"), None);
        assert_eq!((map.get(old), map.get(new), map.len()), (Some(&"old"), None, 1));
        assert_eq!((map.remove(new), map.insert(new, "new")), (None, Some("old")));
        assert_eq!((map.get(old), map.len()), (None, 1));
        assert_eq!((map.remove(new), map.len()), (Some("new"), 0));
    }
}
