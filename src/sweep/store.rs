//! The directory of a study: `sweep.json`, one file per run that has ended below `runs/`, copies of
//! what was read below `inputs/`. Every file is written aside and renamed, so each is whole or
//! absent whenever somebody is killed; several processes may write at once, also on several
//! machines.

use super::done::Done;
use super::study::{Book, Study, copy_name};
use crate::scenario::InputError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// An error about a file as a whole.
fn failed(path: &Path, doing: &str, error: &io::Error) -> InputError {
    InputError::new(path.display().to_string(), format!("{doing}: {error}"))
}

/// A directory of results.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The directory; nothing is made yet.
    ///
    /// # Errors
    /// If there is something else in it.
    pub fn open(root: &Path) -> Result<Self, InputError> {
        let file = root.display().to_string();
        if root.exists() && !root.is_dir() {
            return Err(InputError::new(file, "is a file, not a directory of results"));
        }
        let store = Self { root: root.to_owned() };
        let ours = |entry: &fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Another process may just be beginning: the book comes after the inputs.
            let begun = name == "inputs" || name.contains(".tmp");
            begun || name.starts_with("submit-") || name.starts_with("merge-")
        };
        if root.join("sweep.json").is_file() || root.join("runs").is_dir() || !root.exists() {
            return Ok(store);
        }
        let mut entries = fs::read_dir(root).map_err(|e| failed(root, "cannot be read", &e))?;
        if entries.by_ref().flatten().all(|entry| ours(&entry)) {
            return Ok(store);
        }
        Err(InputError::new(file, "is not empty and holds no results of a sweep")
            .hint("give another directory, or remove this one"))
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where tables and pictures go.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.root.join("report")
    }

    /// Makes the directory for a study, and copies what was read.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub fn begin(&self, study: &Study, book: &Book) -> Result<(), InputError> {
        let mut known: Vec<String> = Vec::new();
        for (name, bytes) in study.cells.iter().flat_map(|cell| &cell.inputs) {
            let file = copy_name(name, bytes);
            if !known.contains(&file) {
                self.put(&format!("inputs/{file}"), bytes)?;
                known.push(file);
            }
        }
        self.write_book(book)
    }

    /// Keeps the book.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_book(&self, book: &Book) -> Result<(), InputError> {
        self.put("sweep.json", &book.write())
    }

    /// The book, if there is a whole one.
    #[must_use]
    pub fn book(&self) -> Option<Book> {
        Book::read(&fs::read(self.root.join("sweep.json")).ok()?)
    }

    /// A run that has ended; none if its file is missing, torn or foreign.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Done> {
        self.whole(key).map(|(done, _)| done)
    }

    /// The same with the bytes of its file.
    fn whole(&self, key: &str) -> Option<(Done, Vec<u8>)> {
        let bytes = fs::read(self.root.join("runs").join(format!("{key}.json"))).ok()?;
        Some((Done::read(&bytes, key)?, bytes))
    }

    /// Keeps a run that has ended.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, key: &str, bytes: &[u8]) -> Result<(), InputError> {
        self.put(&format!("runs/{key}.json"), bytes)
    }

    /// Copies what another directory has of this book and this one has not; how many runs.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn collect(&self, other: &Self, book: &Book) -> Result<usize, InputError> {
        let mut copied = 0;
        for job in book.jobs() {
            let key = book.key(job);
            if self.get(key).is_some() {
                continue;
            }
            if let Some((_, bytes)) = other.whole(key) {
                self.keep(key, &bytes)?;
                copied += 1;
            }
        }
        for (_, file) in &book.inputs {
            let inside = format!("inputs/{file}");
            if let Ok(bytes) = fs::read(other.root.join(&inside)) {
                self.put(&inside, &bytes)?;
            }
        }
        Ok(copied)
    }

    /// Writes a file of this name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), InputError> {
        self.put(name, bytes)
    }

    /// Writes a file aside and renames it; one that is there with this content stays.
    fn put(&self, inside: &str, bytes: &[u8]) -> Result<(), InputError> {
        let path = self.root.join(inside);
        if fs::read(&path).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(|e| failed(parent, "cannot be made", &e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = parent.join(format!(".{name}.{}.{}.tmp", unique(), aside_number()));
        // Not forced to the disk: what a power cut tears is told by its checksum.
        let written = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, &path));
        written.map_err(|e| {
            // Nothing is left behind; if even this fails, the next start sweeps it up.
            drop(fs::remove_file(&aside));
            failed(&path, "cannot be written", &e)
        })
    }

    /// Removes what killed processes of this machine have left half-written.
    pub fn tidy(&self) {
        for folder in ["", "runs", "inputs"] {
            for entry in fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let number = name.strip_suffix(".tmp").and_then(|n| n.rsplit_once('.'));
                if number.is_some_and(|(_, number)| left_behind(number)) {
                    // Best effort: a leftover harms nobody.
                    drop(fs::remove_file(entry.path()));
                }
            }
        }
    }
}

/// What no other process uses at the same time: the host counts, since many may share the
/// directory.
fn aside_number() -> String {
    format!("{}-{}", host(), std::process::id())
}

/// True if a process of this machine has been killed while it wrote.
fn left_behind(number: &str) -> bool {
    let pid = number.rsplit_once('-').filter(|(of, _)| *of == host()).map(|(_, pid)| pid);
    let told = Path::new("/proc/self").exists();
    pid.is_some_and(|pid| told && !Path::new("/proc").join(pid).exists())
}

/// What nobody else has, be it in another container of this machine's name; only in names of files
/// that last for milliseconds.
fn unique() -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    uuid.chars().filter(char::is_ascii_hexdigit).take(16).collect()
}

/// The machine's name, with the space in which its process numbers count.
fn host() -> String {
    let mut name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    name.push_str(&space.to_string_lossy());
    name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}
