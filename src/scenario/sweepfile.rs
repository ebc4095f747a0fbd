//! The file of a sweep: a scenario, seeds, and a grid of values to set. Any field that `--set`
//! takes can be an axis; what is wrong with a value is said at its place in this file.

use super::error::{InputError, InputErrors};
use super::file::{Document, Metadata};
use super::load::{LoadOptions, Loaded, load_with, one_document};
use super::place::{Place, suggest};
use super::report::{MAX_TEXT, Report, read_bytes, unpack};
use super::schema::Checker;
use super::{plan, set, source};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Most cells of a grid.
const MOST_CELLS: usize = 10_000;
/// Most seeds.
const MOST_SEEDS: u64 = 100_000;

/// A Wavetank sweep: a scenario played with many values and seeds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SweepFile {
    /// `wavetank.dev/v1`.
    pub api_version: ApiVersion,
    /// `Sweep`.
    pub kind: SweepKind,
    /// Name of the sweep; by default that of its file.
    #[serde(default)]
    pub metadata: Metadata,
    /// The scenario file, relative to this one.
    pub scenario: String,
    /// Seeds: `1..30` (both ends included) or `3,5,7`.
    pub seeds: String,
    /// Values to set in all cells, by path as `--set` takes them: `until: 20m`.
    #[serde(default)]
    pub set: Document,
    /// Values to set, by path as `--set` takes them: `scheduler.policy: [least-allocated,
    /// most-allocated]`. Several paths span all their combinations.
    #[schemars(with = "BTreeMap<String, Vec<Value>>")]
    pub grid: Document,
    /// Names of the values of an axis, in the same order, where the values themselves are no good
    /// names.
    #[serde(default)]
    pub names: BTreeMap<String, Vec<String>>,
    /// Name of the cell that all others are compared with; the first one by default.
    pub baseline: Option<String>,
}

/// The version of the file.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one.
    #[serde(rename = "wavetank.dev/v1")]
    V1,
}

/// What the file is.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub enum SweepKind {
    /// A sweep.
    Sweep,
}

/// One cell of the grid.
#[derive(Debug, Clone)]
pub struct SweepCell {
    /// Its name: values of the axes, in the order of the file.
    pub name: String,
    /// Values set: those of all cells first.
    pub sets: Vec<(String, String)>,
    /// The scenario with them.
    pub loaded: Loaded,
}

/// A sweep that can be run.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Its name.
    pub name: String,
    /// Seeds, each once, in the order of the file.
    pub seeds: Vec<u64>,
    /// Cells, the baseline first, the others in the order of the grid: the last axis turns fastest.
    pub cells: Vec<SweepCell>,
}

/// The JSON schema of the file.
#[must_use]
pub fn sweep_schema() -> Value {
    let mut schema = Value::from(schemars::schema_for!(SweepFile));
    if let Some(top) = schema.as_object_mut() {
        top.insert("title".into(), "Wavetank sweep".into());
    }
    schema
}

/// Reads a sweep and its scenario with the values of every cell.
///
/// # Errors
/// All that is wrong with the sweep, and with the scenario in some cell.
pub fn load_sweep(path: &Path, shared: &Path) -> Result<Sweep, InputErrors> {
    let label = path.display().to_string();
    let bytes = read_bytes(path, MAX_TEXT).map_err(|error| vec![error])?;
    let unpacked = unpack(&label, bytes, MAX_TEXT).map_err(|error| vec![error])?;
    let text = source::decode(&label, unpacked)?;
    let (value, first_line) = one_document(&label, &text, HINT)?;
    let mut report = Report::new(&label, text, first_line);
    for mistake in Checker::of(sweep_schema()).check(&value) {
        report.error(&mistake.place, mistake.problem, mistake.hint);
    }
    if report.failed() {
        return Err(report.finish().0);
    }
    let file: SweepFile = serde_path_to_error::deserialize(&value).map_err(|err| {
        // The check above speaks better; this catches what it lets through.
        let at = Place::parse(&err.path().to_string()).unwrap_or_default();
        let mut report = std::mem::take(&mut report);
        report.error(&at, err.inner(), "");
        report.finish().0
    })?;
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let sweep = Reader { file: &file, report: &mut report }.read((dir, shared), &stem);
    match sweep {
        Some(sweep) if !report.failed() => Ok(sweep),
        Some(_) | None => Err(report.finish().0),
    }
}

const HINT: &str = "a sweep begins with apiVersion: wavetank.dev/v1 and kind: Sweep";

/// A value of an axis.
struct Point {
    /// Where it stands: `set` or `grid`.
    section: &'static str,
    axis: String,
    index: usize,
    value: String,
    /// What it adds to the name of a cell; nothing if all cells have it.
    word: String,
}

struct Reader<'a> {
    file: &'a SweepFile,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn read(&mut self, (dir, shared): (&Path, &Path), stem: &str) -> Option<Sweep> {
        let place = |key: &str| Place::default().key(key);
        let seeds = self.report.take(&place("seeds"), seeds(&self.file.seeds), SEEDS_HINT);
        let axes = self.axes();
        self.names();
        let cells = axes.iter().map(Vec::len).try_fold(1_usize, usize::checked_mul);
        if cells.is_none_or(|n| n > MOST_CELLS) {
            let problem = format!("spans more than {MOST_CELLS} cells");
            self.report.error(&place("grid"), problem, "cut it into several sweeps");
        }
        if self.report.failed() {
            return None;
        }
        let mut combinations: Vec<Vec<&Point>> = vec![Vec::new()];
        for axis in &axes {
            let with = |old: &[_], point| [old, &[point]].concat();
            let all = combinations.iter().map(|old| axis.iter().map(|p| with(old, p)).collect());
            combinations = all.collect::<Vec<Vec<_>>>().concat();
        }
        let scenario = dir.join(&self.file.scenario);
        let mut cells: Vec<SweepCell> = Vec::new();
        for points in &combinations {
            let cell = self.cell(&scenario, shared, points)?;
            cells.push(cell);
        }
        self.baseline(&mut cells);
        let given = &self.file.metadata.name;
        if !given.is_empty() {
            plan::name(given, &scenario, self.report);
        }
        let name = if given.is_empty() { stem } else { given };
        Some(Sweep { name: name.to_owned(), seeds: seeds?, cells })
    }

    /// The axes: values set in all cells are axes of one value.
    fn axes(&mut self) -> Vec<Vec<Point>> {
        let knows = Checker::default();
        let mut axes = Vec::new();
        let fixed = self.file.set.iter().map(|(path, value)| ("set", path, vec![value]));
        let spanned = self.file.grid.iter().map(|(path, values)| {
            ("grid", path, values.as_array().map(|list| list.iter().collect()).unwrap_or_default())
        });
        for (section, path, values) in fixed.chain(spanned).collect::<Vec<_>>() {
            let at = Place::default().key(section).key(path);
            let known = Place::parse(path).map_err(|problem| (problem, String::new()));
            if let Err((problem, hint)) = known.and_then(|place| knows.knows(&place)) {
                self.report.error(&at, problem, hint);
                continue;
            }
            if path == "seed" {
                self.report.error(&at, "a seed is no value of the grid", "write it under seeds:");
            }
            if values.is_empty() {
                self.report.error(&at, "has no values", "give at least one, or leave it out");
            }
            let word = |index: usize, value: &Value| match self.file.names.get(path) {
                _ if section == "set" => String::new(),
                Some(names) => names.get(index).cloned().unwrap_or_default(),
                None => self.word(path, value),
            };
            let point = |(index, value): (usize, &&Value)| Point {
                section,
                axis: path.clone(),
                index,
                value: value.to_string(),
                word: word(index, value),
            };
            axes.push(values.iter().enumerate().map(point).collect());
        }
        axes
    }

    /// A value as a name: the words of one axis speak for themselves, numbers need theirs.
    fn word(&self, path: &str, value: &Value) -> String {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if self.file.grid.len() == 1 || value.is_string() && path.starts_with("scheduler.") {
            return text;
        }
        let last = path.rsplit(['.', ']']).find(|part| !part.is_empty()).unwrap_or(path);
        format!("{last}={text}")
    }

    fn names(&mut self) {
        for (path, names) in &self.file.names {
            let at = Place::default().key("names").key(path);
            let Some(values) = self.file.grid.get(path).and_then(Value::as_array) else {
                let axes: Vec<&str> = self.file.grid.keys().map(String::as_str).collect();
                self.report.error(&at, "is no axis of the grid", suggest(path, &axes));
                continue;
            };
            if names.len() != values.len() {
                let problem = format!("{} names for {} values", names.len(), values.len());
                self.report.error(&at, problem, "give one name to each value of the axis");
            }
        }
    }

    fn cell(&mut self, scenario: &Path, shared: &Path, points: &[&Point]) -> Option<SweepCell> {
        let words: Vec<&str> =
            points.iter().map(|p| p.word.as_str()).filter(|word| !word.is_empty()).collect();
        let sets: Vec<(String, String)> =
            points.iter().map(|p| (p.axis.clone(), p.value.clone())).collect();
        let options = LoadOptions { overrides: sets.clone(), shared: PathBuf::from(shared) };
        match load_with(scenario, &options) {
            Ok(loaded) => Some(SweepCell { name: words.join(", "), sets, loaded }),
            Err(errors) => {
                for error in errors {
                    self.blame(points, error);
                }
                None
            }
        }
    }

    /// What is wrong with a value belongs to its place in this file; what is wrong with the
    /// scenario stays where it is.
    fn blame(&mut self, points: &[&Point], error: InputError) {
        let by = |p: &&&Point| error.file == set::argument(&p.axis, &p.value);
        let Some(point) = points.iter().find(by) else {
            self.report.elsewhere.push(error);
            return;
        };
        let at = Place::default().key(point.section).key(&point.axis);
        let at = if point.section == "set" { at } else { at.item(point.index) };
        let problem = if error.field.is_empty() || error.field == point.axis {
            error.problem
        } else {
            format!("{}: {}", error.field, error.problem)
        };
        self.report.error(&at, problem, error.hint);
    }

    fn baseline(&mut self, cells: &mut [SweepCell]) {
        let mut names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        let wanted = self.file.baseline.as_deref();
        let at = wanted.map_or(Some(0), |name| names.iter().position(|n| *n == name));
        if at.is_none() {
            let hint = suggest(wanted.unwrap_or_default(), &names);
            self.report.error(&Place::default().key("baseline"), "is no cell of the grid", hint);
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let problem = format!("two cells are called {:?}", twice[0]);
            let hint = "tell them apart under names:, or remove the value that stands twice";
            self.report.error(&Place::default().key("grid"), problem, hint);
        }
        cells[..=at.unwrap_or(0)].rotate_right(1);
    }
}

/// Way out of bad seeds.
pub const SEEDS_HINT: &str = "write 1..20 (both ends included) or 3,5,7";

/// `1..20` (both ends included) or `3,5,7`; each seed once.
///
/// # Errors
/// A sentence.
pub fn seeds(text: &str) -> Result<Vec<u64>, String> {
    let bad = || format!("{text:?} is not a list of seeds");
    let mut known = BTreeSet::new();
    let mut seeds: Vec<u64> = Vec::new();
    for part in text.split(',') {
        let number = |digits: &str| digits.trim().parse::<u64>().map_err(|_e| bad());
        let (from, to) = match part.split_once("..") {
            Some((from, to)) => (number(from)?, number(to.trim_start_matches('='))?),
            None => (number(part)?, number(part)?),
        };
        if from > to {
            return Err(bad());
        }
        if to - from >= MOST_SEEDS {
            return Err(format!("{text:?} are more than {MOST_SEEDS} seeds"));
        }
        seeds.extend((from..=to).filter(|&seed| known.insert(seed)));
    }
    Ok(seeds)
}
