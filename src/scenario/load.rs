//! The front door: a scenario file to a plan, or everything that is wrong with it.

use super::error::{InputError, InputErrors};
use super::file::ScenarioFile;
use super::files::Files;
use super::report::{MAX_TEXT, Report, read_bytes, unpack};
use super::schema::Checker;
use super::{plan, set, source};
use crate::cluster::spec::Plan;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Files read for a run: path as written in the scenario, and content.
pub type Inputs = Vec<(PathBuf, Vec<u8>)>;

/// A scenario that can be run.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The plan.
    pub plan: Plan,
    /// Every file read, as the scenario names it; the scenario itself comes first.
    pub inputs: Inputs,
    /// Things worth saying that do not stop the run.
    pub warnings: Vec<InputError>,
}

/// How to read a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// `--set path=value`, in order.
    pub overrides: Vec<(String, String)>,
    /// What `${shared}` at the start of a path stands for.
    pub shared: PathBuf,
}

impl Default for LoadOptions {
    /// No overrides; shared data beside the current directory.
    fn default() -> Self {
        Self { overrides: Vec::new(), shared: PathBuf::from("../shared") }
    }
}

/// Reads a scenario, with values replaced.
///
/// # Errors
/// All that is wrong with the scenario and the files it names.
pub fn load(path: &Path, overrides: &[(String, String)]) -> Result<Loaded, InputErrors> {
    load_with(path, &LoadOptions { overrides: overrides.to_vec(), ..LoadOptions::default() })
}

/// Reads a scenario.
///
/// # Errors
/// All that is wrong with the scenario and the files it names.
pub fn load_with(path: &Path, options: &LoadOptions) -> Result<Loaded, InputErrors> {
    let label = path.display().to_string();
    let bytes = read_bytes(path, MAX_TEXT).map_err(|error| vec![error])?;
    let unpacked = unpack(&label, bytes.clone(), MAX_TEXT).map_err(|error| vec![error])?;
    let text = source::decode(&label, unpacked)?;
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let mut loaded = parse(&label, text, dir, options)?;
    if loaded.plan.name.is_empty() {
        let mut report = Report::default();
        loaded.plan.name = plan::name("", path, &mut report);
    }
    let name = path.file_name().map_or_else(|| PathBuf::from("scenario.yaml"), PathBuf::from);
    loaded.inputs.insert(0, (name, bytes));
    Ok(loaded)
}

/// Reads a scenario from text; its files are looked for in `dir`. The name stays empty if the text
/// gives none.
///
/// # Errors
/// All that is wrong with the scenario and the files it names.
pub fn parse(
    label: &str,
    text: String,
    dir: &Path,
    options: &LoadOptions,
) -> Result<Loaded, InputErrors> {
    let (mut value, first_line) = document(label, &text)?;
    let mut report = Report::new(label, text, first_line);
    set::apply(&mut value, &options.overrides, &mut report);
    for mistake in Checker::default().check(&value) {
        report.error(&mistake.place, mistake.problem, mistake.hint);
    }
    if report.failed() {
        return Err(report.finish().0);
    }
    let file: ScenarioFile = serde_path_to_error::deserialize(&value).map_err(|err| {
        // The check above speaks better; this catches what it lets through.
        let at = super::place::Place::parse(&err.path().to_string()).unwrap_or_default();
        let mut report = std::mem::take(&mut report);
        report.error(&at, err.inner(), "");
        report.finish().0
    })?;
    let mut files = Files::new(dir, &options.shared);
    let mut plan = plan::build(&file, &mut files, &mut report);
    if !plan.name.is_empty() {
        plan.name = plan::name(&plan.name, Path::new(label), &mut report);
    }
    let failed = report.failed();
    let (errors, warnings) = report.finish();
    if failed { Err(errors) } else { Ok(Loaded { plan, inputs: files.inputs, warnings }) }
}

/// The one document of the text, and the line on which it begins.
fn document(label: &str, text: &str) -> Result<(Value, usize), InputErrors> {
    let (documents, errors) = source::documents(label, text);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut documents = documents.into_iter();
    let Some(first) = documents.next() else {
        return Err(vec![
            InputError::new(label, "is empty")
                .at(1)
                .hint("a scenario begins with apiVersion: wavetank.dev/v1 and kind: Scenario"),
        ]);
    };
    if let Some(second) = documents.next() {
        return Err(vec![
            InputError::new(label, "holds more than one document").at(second.first_line).hint(
                "Kubernetes objects go into a file of their own under manifests:, or into objects:",
            ),
        ]);
    }
    if !first.value.is_object() {
        let found = super::schema::quoted(&first.value);
        return Err(vec![
            InputError::new(label, format!("is no scenario: expected a map, found {found}"))
                .at(first.first_line)
                .hint("a scenario begins with apiVersion: wavetank.dev/v1 and kind: Scenario"),
        ]);
    }
    Ok((first.value, first.first_line))
}
