//! What is wrong with the scenario, collected until all of it is known, and the files it read.

use super::error::{InputError, InputErrors};
use super::lines::Wanted;
use super::place::Place;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest scenario file or manifest; larger inputs belong into a CSV trace.
pub(crate) const MAX_TEXT: u64 = super::source::MAX_BYTES;
/// Largest trace file.
pub(crate) const MAX_TRACE: u64 = 1 << 30;

/// Reads a whole file, refusing what is no regular file or is larger than `limit`.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, InputError> {
    let label = path.display().to_string();
    let failed = |err: std::io::Error| {
        if err.kind() == std::io::ErrorKind::NotFound {
            InputError::new(&label, "no such file")
        } else {
            InputError::new(&label, format!("cannot be read: {err}"))
        }
    };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if meta.is_dir() {
        return Err(InputError::new(&label, "is a directory").hint("name the file in it"));
    }
    if !meta.is_file() {
        return Err(InputError::new(&label, "is not a regular file"));
    }
    let too_large = || {
        InputError::new(&label, format!("is larger than {} MiB", limit >> 20))
            .hint("describe many objects by pools, arrivals or a CSV trace")
    };
    if meta.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    // The file may have grown since it was measured.
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// The content of a file that may be packed with gzip.
pub(crate) fn unpack(label: &str, bytes: Vec<u8>, limit: u64) -> Result<Vec<u8>, InputError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice())
        .take(limit + 1)
        .read_to_end(&mut unpacked)
        .map_err(|err| InputError::new(label, format!("is damaged gzip: {err}")))?;
    if unpacked.len() as u64 > limit {
        return Err(InputError::new(label, format!("unpacks to more than {} MiB", limit >> 20)));
    }
    Ok(unpacked)
}

/// A remark at a place of the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remark {
    place: Place,
    problem: String,
    hint: String,
}

/// The scenario's text, and everything found wrong with it so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The scenario file as the user named it.
    pub(crate) label: String,
    /// Its text.
    pub(crate) text: String,
    /// Line on which the document begins.
    pub(crate) first_line: usize,
    /// Places given on the command line, with the argument.
    pub(crate) overridden: Vec<(Place, String)>,
    /// Errors of other files and of the command line.
    pub(crate) elsewhere: InputErrors,
    /// Warnings of other files.
    pub(crate) warnings_elsewhere: Vec<InputError>,
    errors: Vec<Remark>,
    warnings: Vec<Remark>,
}

impl Report {
    /// Nothing is wrong yet.
    pub(crate) fn new(label: &str, text: String, first_line: usize) -> Self {
        Self { label: label.to_owned(), text, first_line, ..Self::default() }
    }

    /// Notes an error at a place.
    pub(crate) fn error(&mut self, place: &Place, problem: impl Display, hint: impl Display) {
        let remark =
            Remark { place: place.clone(), problem: problem.to_string(), hint: hint.to_string() };
        // One mistake may be found by two checks.
        if !self.errors.contains(&remark) {
            self.errors.push(remark);
        }
    }

    /// Notes a warning at a place.
    pub(crate) fn warn(&mut self, place: &Place, problem: impl Display, hint: impl Display) {
        self.warnings.push(Remark {
            place: place.clone(),
            problem: problem.to_string(),
            hint: hint.to_string(),
        });
    }

    /// The value, or its error noted.
    pub(crate) fn take<T>(
        &mut self,
        place: &Place,
        result: Result<T, String>,
        hint: &str,
    ) -> Option<T> {
        result.map_err(|problem| self.error(place, problem, hint)).ok()
    }

    /// The value read from another file, or its errors noted: those without a line at the place
    /// that names the file.
    pub(crate) fn take_all<T>(&mut self, place: &Place, read: Result<T, InputErrors>) -> Option<T> {
        let errors = match read {
            Ok(value) => return Some(value),
            Err(errors) => errors,
        };
        for error in errors {
            if error.line > 0 {
                self.elsewhere.push(error);
            } else {
                self.error(place, format!("{}: {}", error.file, error.problem), error.hint);
            }
        }
        None
    }

    /// True if anything is wrong.
    pub(crate) fn failed(&self) -> bool {
        !self.errors.is_empty() || !self.elsewhere.is_empty()
    }

    /// All errors and all warnings, with their lines; the scenario's own first.
    pub(crate) fn finish(self) -> (InputErrors, Vec<InputError>) {
        let paths = self.errors.iter().chain(&self.warnings).map(|r| r.place.0.as_slice());
        let lines = Wanted::find(&self.text, self.first_line, paths);
        let located = |remark: &Remark| {
            let argument = self.overridden.iter().find(|(at, _)| remark.place.within(at));
            let error = argument.map_or_else(
                || {
                    let line = lines.line(&remark.place.0).unwrap_or(self.first_line);
                    InputError::new(&self.label, &remark.problem).at(line)
                },
                |(_, argument)| InputError::new(argument, &remark.problem),
            );
            error.field(remark.place.to_string()).hint(&remark.hint)
        };
        let mut errors: InputErrors = self.errors.iter().map(located).collect();
        errors.sort_by_key(|e| e.line);
        let mut warnings: Vec<InputError> = self.warnings.iter().map(located).collect();
        errors.extend(self.elsewhere.iter().cloned());
        warnings.extend(self.warnings_elsewhere.iter().cloned());
        (errors, warnings)
    }
}
