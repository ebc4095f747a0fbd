//! Paged tables whose pages are shared until written: cloning one costs a pointer per page, and a
//! keyframe then costs only the pages that change afterwards.

use std::sync::Arc;

const PAGE: usize = 64;

/// A growable table in shared pages.
#[derive(Debug, Clone)]
pub struct Table<T> {
    pages: Vec<Arc<[T; PAGE]>>,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T: Clone + Default> Table<T> {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a row and gives its index.
    pub fn push(&mut self, value: T) -> usize {
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(Arc::new(std::array::from_fn(|_| T::default())));
        }
        let index = self.len;
        self.len += 1;
        self[index] = value;
        index
    }

    /// The row, if there is one.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&T> {
        (index < self.len).then(|| &self.pages[index / PAGE][index % PAGE])
    }

    /// The row for writing; its page is copied first if a clone of the table shares it.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        if index >= self.len {
            return None;
        }
        Some(&mut self[index])
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter()).take(self.len)
    }

    /// Pages this table shares with nobody: what a clone made now would add in time.
    #[must_use]
    pub fn owned_pages(&self) -> usize {
        self.pages.iter().filter(|page| Arc::strong_count(page) == 1).count()
    }
}

impl<T: Clone + Default> std::ops::Index<usize> for Table<T> {
    type Output = T;
    fn index(&self, index: usize) -> &T {
        &self.pages[index / PAGE][index % PAGE]
    }
}

impl<T: Clone + Default> std::ops::IndexMut<usize> for Table<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.pages[index / PAGE])[index % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_shares_until_written() {
        let mut table = Table::default();
        for i in 0..200 {
            table.push(i);
        }
        let frozen = table.clone();
        assert_eq!(table.owned_pages(), 0);
        table[70] = -1;
        assert_eq!(table.owned_pages(), 1);
        assert_eq!((table[70], frozen[70]), (-1, 70));
        assert_eq!(table.iter().count(), 200);
    }
}
