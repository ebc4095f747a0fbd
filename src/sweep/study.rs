//! A study: cells (values set on a scenario) × seeds, and the key of each of its runs.

use crate::cluster::spec::Plan;
use crate::engine::Digest;
use crate::engine::digest::hash_bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Version and source of this program: results of another one are not taken for its own.
pub const PROGRAM: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("WAVETANK_SOURCE"));

/// Files by the name the scenario calls them.
pub type Inputs = Vec<(String, Vec<u8>)>;

/// One variant of a scenario.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Name shown.
    pub name: String,
    /// Values set, as `--set` takes them.
    pub sets: Vec<(String, String)>,
    /// The plan that they make.
    pub plan: Arc<Plan>,
    /// Every file that was read for it.
    pub inputs: Inputs,
}

/// Cells × seeds; the first cell is what others are compared with.
#[derive(Debug, Clone)]
pub struct Study {
    /// What it is called.
    pub title: String,
    /// The cells.
    pub cells: Vec<Cell>,
    /// The seeds.
    pub seeds: Vec<u64>,
}

/// A study as its directory keeps it: all that tables and pictures need beside the runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// [`PROGRAM`] that made it.
    pub program: String,
    /// What it is called.
    pub title: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The cells, the baseline first.
    pub cells: Vec<BookCell>,
    /// Every file that was read: its name, and its file below `inputs/`.
    pub inputs: Vec<(String, String)>,
}

/// A cell of a [`Book`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookCell {
    /// Name shown.
    pub name: String,
    /// Values set.
    pub sets: Vec<(String, String)>,
    /// Keys of its runs, in the order of the seeds.
    pub keys: Vec<String>,
}

/// One run of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Index of the cell.
    pub cell: usize,
    /// Index of the seed.
    pub seed: usize,
}

/// The key of a run: a hash of the program, of every byte that was read, of the values set and of
/// the seed. Where files lie does not matter: a value that names a file counts by its content.
#[must_use]
pub fn key(cell: &Cell, seed: u64) -> String {
    let mut digest = Digest::default();
    digest.text(PROGRAM);
    for (name, bytes) in &cell.inputs {
        digest.text(&base(name));
        digest.word(bytes.len() as u64);
        digest.word(hash_bytes(bytes));
    }
    for (path, value) in &cell.sets {
        digest.text(path);
        let file = cell.inputs.iter().position(|(name, _)| names(value, name));
        match file {
            Some(file) => digest.word(file as u64),
            None => digest.text(value),
        }
    }
    digest.word(seed);
    digest.to_string()
}

/// The name of a file without its folders: from where a study is started does not matter.
fn base(name: &str) -> String {
    let file = Path::new(name).file_name();
    file.map_or_else(|| name.to_owned(), |f| f.to_string_lossy().into_owned())
}

/// True if a value is the absolute path of a file, quoted or not.
fn names(value: &str, file: &str) -> bool {
    Path::new(file).is_absolute() && value.trim_matches('"') == file
}

/// The name of an input's copy: by its content, so that copies of several runs lie side by side.
#[must_use]
pub fn copy_name(name: &str, bytes: &[u8]) -> String {
    let file = Path::new(name).file_name().map(|f| f.to_string_lossy().into_owned());
    format!("{:016x}-{}", hash_bytes(bytes), file.unwrap_or_default())
}

impl Study {
    /// What its directory keeps of it.
    #[must_use]
    pub fn book(&self) -> Book {
        let cells = self.cells.iter().map(|cell| BookCell {
            name: cell.name.clone(),
            sets: cell.sets.clone(),
            keys: self.seeds.iter().map(|&seed| key(cell, seed)).collect(),
        });
        let mut inputs: Vec<(String, String)> = Vec::new();
        for (name, bytes) in self.cells.iter().flat_map(|cell| &cell.inputs) {
            let file = copy_name(name, bytes);
            if !inputs.iter().any(|known| known.1 == file) {
                inputs.push((base(name), file));
            }
        }
        Book {
            program: PROGRAM.to_owned(),
            title: self.title.clone(),
            seeds: self.seeds.clone(),
            cells: cells.collect(),
            inputs,
        }
    }
}

impl Book {
    /// The key of a run.
    #[must_use]
    pub fn key(&self, job: Job) -> &str {
        &self.cells[job.cell].keys[job.seed]
    }

    /// Every run once, in the order of the grid: cells that come to the same share theirs.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        let mut known = BTreeSet::new();
        let all = (0..self.cells.len())
            .flat_map(|cell| (0..self.seeds.len()).map(move |seed| Job { cell, seed }));
        all.filter(|&job| known.insert(self.key(job).to_owned())).collect()
    }

    /// The file.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a file; none if it is torn or foreign.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let book: Self = serde_json::from_slice(bytes).ok()?;
        let whole = book.cells.iter().all(|cell| cell.keys.len() == book.seeds.len());
        (whole && !book.cells.is_empty() && !book.seeds.is_empty()).then_some(book)
    }
}

/// A part of the runs: number `index` of `of`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which part.
    pub index: usize,
    /// How many parts there are.
    pub of: usize,
}

impl Shard {
    /// `2/4`.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no shard: write 1/4 for the first of four");
        let (index, of) = text.split_once('/').ok_or_else(bad)?;
        let shard = Self {
            index: index.trim().parse().map_err(|_e| bad())?,
            of: of.trim().parse().map_err(|_e| bad())?,
        };
        if shard.index == 0 || shard.index > shard.of { Err(bad()) } else { Ok(shard) }
    }

    /// True if it has the run of this number. Neighbours go to different shards, so that the
    /// slow cells are shared out.
    #[must_use]
    pub fn has(self, number: usize) -> bool {
        number % self.of == self.index - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_out_every_run_once() {
        for of in 1..7 {
            let shards: Vec<Shard> =
                (1..=of).map(|i| Shard::parse(&format!("{i}/{of}")).unwrap()).collect();
            for number in 0..50 {
                assert_eq!(shards.iter().filter(|s| s.has(number)).count(), 1);
            }
        }
        for bad in ["0/4", "5/4", "1", "a/b", "1/0", "-1/3"] {
            assert!(Shard::parse(bad).is_err(), "{bad}");
        }
    }
}
