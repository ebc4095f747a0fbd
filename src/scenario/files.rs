//! The files a scenario names, found relative to it or in the shared data directory, and kept for
//! the run directory.

use super::error::{InputError, InputErrors};
use super::load::Inputs;
use super::report::{MAX_TEXT, MAX_TRACE, read_bytes, unpack};
use super::source;
use std::path::{Path, PathBuf};

/// Stands for the shared data directory at the start of a path.
const SHARED: &str = "${shared}";

/// A trace that stands for itself: its path as people find it, its bytes, and its content,
/// unpacked.
///
/// # Errors
/// If it cannot be read or unpacked.
pub fn read_trace(path: &Path) -> Result<(String, Vec<u8>, Vec<u8>), InputError> {
    let label = path.display().to_string();
    let bytes = read_bytes(path, MAX_TRACE)?;
    let unpacked = unpack(&label, bytes.clone(), MAX_TRACE)?;
    Ok((label, bytes, unpacked))
}

/// Reads files for a scenario.
#[derive(Debug)]
pub(crate) struct Files {
    /// Directory of the scenario file.
    dir: PathBuf,
    /// Directory that `${shared}` stands for.
    shared: PathBuf,
    /// What was read, each file once.
    pub(crate) inputs: Inputs,
}

impl Files {
    /// For a scenario in this directory.
    pub(crate) fn new(dir: &Path, shared: &Path) -> Self {
        Self { dir: dir.to_owned(), shared: shared.to_owned(), inputs: Vec::new() }
    }

    fn resolve(&self, written: &str) -> Result<PathBuf, InputError> {
        if written.is_empty() {
            return Err(InputError::new("", "the path is empty"));
        }
        let Some(rest) = written.strip_prefix(SHARED) else {
            if written.contains("${") {
                return Err(InputError::new(written, "only ${shared} can stand for a directory"));
            }
            return Ok(self.dir.join(written));
        };
        if !self.shared.is_dir() {
            let dir = self.shared.display().to_string();
            return Err(InputError::new(dir, "the shared data directory is not there")
                .hint("name it with --shared DIR"));
        }
        Ok(self.shared.join(rest.trim_start_matches('/')))
    }

    fn read(&mut self, written: &str, limit: u64) -> Result<(String, Vec<u8>), InputError> {
        let path = self.resolve(written)?;
        let label = path.display().to_string();
        let bytes = read_bytes(&path, limit).map_err(|error| {
            if error.hint.is_empty() && error.problem == "no such file" {
                error.hint("paths in a scenario are relative to the scenario file")
            } else {
                error
            }
        })?;
        let name = PathBuf::from(written);
        if !self.inputs.iter().any(|(known, _)| *known == name) {
            self.inputs.push((name, bytes.clone()));
        }
        Ok((label.clone(), unpack(&label, bytes, limit)?))
    }

    /// A text file: its path as people find it, and its text.
    pub(crate) fn text(&mut self, written: &str) -> Result<(String, String), InputErrors> {
        let (label, bytes) = self.read(written, MAX_TEXT).map_err(|error| vec![error])?;
        let text = source::decode(&label, bytes)?;
        Ok((label, text))
    }

    /// A trace: its path as people find it, and its content, unpacked.
    pub(crate) fn trace(&mut self, written: &str) -> Result<(String, Vec<u8>), InputErrors> {
        self.read(written, MAX_TRACE).map_err(|error| vec![error])
    }
}
