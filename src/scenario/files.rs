//! The files a scenario names, found relative to it or in the shared data directory, and kept for
//! the run directory.

use super::error::{InputError, InputErrors};
use super::load::Inputs;
use super::report::{MAX_TEXT, MAX_TRACE, read_bytes, unpack};
use super::source;
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, BufReader, Read};
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

/// Unpacks no more than a trace may be: a small file may unpack to anything.
#[derive(Debug)]
struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(into)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            std::io::Error::other(format!("it unpacks to more than {} MiB", MAX_TRACE >> 20))
        })?;
        Ok(read)
    }
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
        let (label, bytes) = self.bytes(written, limit)?;
        Ok((label.clone(), unpack(&label, bytes, limit)?))
    }

    /// The file as it lies there, kept for the run directory.
    fn bytes(&mut self, written: &str, limit: u64) -> Result<(String, Vec<u8>), InputError> {
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
        Ok((label, bytes))
    }

    /// Takes a trace in, to be opened as often as needed.
    pub(crate) fn hold(&mut self, written: &str) -> Result<(), InputError> {
        self.bytes(written, MAX_TRACE).map(|_| ())
    }

    /// A trace that is held, to be read bit by bit: its path as people find it, and its content,
    /// unpacked on the way.
    pub(crate) fn open(
        &self,
        written: &str,
    ) -> Result<(String, Box<dyn BufRead + '_>), InputErrors> {
        let path = self.resolve(written).map_err(|error| vec![error])?;
        let label = path.display().to_string();
        let name = Path::new(written);
        let held = self.inputs.iter().find(|(known, _)| known == name);
        let bytes = held.map_or([].as_slice(), |(_, bytes)| bytes.as_slice());
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let unpacked = Bounded { from: MultiGzDecoder::new(bytes), left: MAX_TRACE };
            return Ok((label, Box::new(BufReader::new(unpacked))));
        }
        Ok((label, Box::new(bytes)))
    }

    /// A trace, to be read bit by bit.
    pub(crate) fn stream(
        &mut self,
        written: &str,
    ) -> Result<(String, Box<dyn BufRead + '_>), InputErrors> {
        self.hold(written).map_err(|error| vec![error])?;
        self.open(written)
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
