//! The directory a run leaves behind: complete or absent. Everything is written aside and renamed
//! at the end, so nobody ever sees half of it.

use super::html;
use super::metrics::Metrics;
use super::plots::{self, picture::Picture, png::png, svg::svg};
use super::rows::{RowSink, Stream};
use super::summary::Summary;
use crate::api::versions::Versions;
use crate::engine::digest::hash_bytes;
use crate::event::{Record, What};
use crate::scenario::InputError;
use crate::session::Observer;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};

/// What the run directory says about the run, beside what the metrics know.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Digest over all events.
    pub digest: String,
    /// Options of the command line that matter for the outcome.
    pub options: Vec<(String, String)>,
    /// Every file that was read, by the name the scenario calls it.
    pub inputs: Vec<(String, Vec<u8>)>,
    /// Draw the plots and write the report page.
    pub plots: bool,
}

/// A run directory in the making. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct RunDir {
    target: PathBuf,
    temp: PathBuf,
    done: bool,
}

fn failed(path: &Path, doing: &str, error: &io::Error) -> InputError {
    InputError::new(path.display().to_string(), format!("{doing}: {error}"))
}

impl RunDir {
    /// Begins a run directory. A run directory of before is replaced at the end; anything else
    /// that is not empty is refused.
    ///
    /// # Errors
    /// If the target is taken, or the place cannot be written to.
    pub fn begin(target: &Path) -> Result<Self, InputError> {
        let name = target.file_name().ok_or_else(|| {
            InputError::new(target.display().to_string(), "is no name of a directory")
        })?;
        let name = name.to_string_lossy().into_owned();
        let parent = parent_of(target);
        fs::create_dir_all(&parent).map_err(|e| failed(&parent, "cannot be made", &e))?;
        recover(&parent, &name, target);
        refuse_foreign(target)?;
        let temp = parent.join(format!(".{name}.tmp-{}", std::process::id()));
        fs::create_dir(&temp).map_err(|e| failed(&temp, "cannot be made", &e))?;
        Ok(Self { target: target.to_owned(), temp, done: false })
    }

    /// Where rows of pods and events go while the run goes on.
    ///
    /// # Errors
    /// If the files cannot be made.
    pub fn sink(&self) -> Result<Box<dyn RowSink>, InputError> {
        let open = |name: &str| {
            let path = self.temp.join(name);
            File::create(&path)
                .map(|file| BufWriter::with_capacity(1 << 18, file))
                .map_err(|e| failed(&path, "cannot be made", &e))
        };
        Ok(Box::new(Files { pods: open("pods.csv")?, events: open("events.csv")?, error: None }))
    }

    /// Writes all that is left and puts the directory in place. Gives the summary it wrote.
    ///
    /// # Errors
    /// If anything cannot be written: then nothing is left behind.
    pub fn finish(mut self, metrics: &mut Metrics, facts: &Facts) -> Result<Summary, InputError> {
        let temp = self.temp.clone();
        metrics.close().map_err(|e| failed(&temp, "rows could not be written", &e))?;
        let summary = Summary::new(metrics, &facts.digest);
        self.write("workloads.csv", &metrics.workloads.csv(metrics.ended))?;
        self.write("nodes.csv", &metrics.nodes.csv(metrics.bills.as_deref()))?;
        self.write("timeseries.csv", &metrics.series.csv(&metrics.nodes))?;
        if !metrics.traffic.rows.is_empty() {
            self.write("traffic.csv", &metrics.traffic.csv())?;
        }
        if !metrics.logs.rows.is_empty() {
            self.write("logs.csv", &metrics.logs.csv())?;
        }
        if let Some(gpus) = &summary.gpus {
            self.write("gpus.csv", gpus.csv().as_bytes())?;
        }
        self.write("summary.json", &pretty(&summary)?)?;
        let inputs = self.inputs(&facts.inputs)?;
        let run = json!({
            "tool": "wavetank",
            "version": env!("CARGO_PKG_VERSION"),
            "scenario": summary.scenario,
            "seed": summary.seed,
            "digest": summary.digest,
            "kubernetes": summary.kubernetes,
            "options": facts.options.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "inputs": inputs,
        });
        self.write("run.json", &pretty(&run)?)?;
        if facts.plots {
            self.draw(metrics, &summary)?;
        }
        self.publish()?;
        Ok(summary)
    }

    /// Writes files and pictures that answer another question than what one run was like, what was
    /// read for it, and puts the directory in place.
    ///
    /// # Errors
    /// If anything cannot be written: then nothing is left behind.
    pub fn leave(
        mut self,
        files: &[(&str, Vec<u8>)],
        pictures: &[(&str, Picture)],
        (mut run, inputs): (serde_json::Value, &[(String, Vec<u8>)]),
    ) -> Result<(), InputError> {
        for (name, bytes) in files {
            self.write(name, bytes)?;
        }
        self.pictures(pictures)?;
        run["inputs"] = self.inputs(inputs)?.into();
        self.write("run.json", &pretty(&run)?)?;
        self.publish()
    }

    fn pictures(&self, pictures: &[(&str, Picture)]) -> Result<(), InputError> {
        for (name, picture) in pictures {
            self.write(&format!("{name}.svg"), svg(picture).as_bytes())?;
            let path = self.temp.join(format!("{name}.png"));
            png(picture, &path).map_err(|e| InputError::new(path.display().to_string(), e))?;
        }
        Ok(())
    }

    fn draw(&self, metrics: &Metrics, summary: &Summary) -> Result<(), InputError> {
        let pictures = plots::all(metrics, summary);
        self.pictures(&pictures)?;
        self.write("report.html", html::page(summary, &pictures).as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), InputError> {
        let path = self.temp.join(name);
        fs::write(&path, bytes).map_err(|e| failed(&path, "cannot be written", &e))
    }

    /// Copies the inputs and says what they were.
    fn inputs(&self, inputs: &[(String, Vec<u8>)]) -> Result<Vec<serde_json::Value>, InputError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.temp.join("inputs");
        fs::create_dir(&folder).map_err(|e| failed(&folder, "cannot be made", &e))?;
        let mut rows = Vec::new();
        for (number, (name, bytes)) in inputs.iter().enumerate() {
            let mut inside = inside(name);
            if inside.as_os_str().is_empty() || folder.join(&inside).exists() {
                inside = PathBuf::from(format!("{number}-{}", inside.display()));
            }
            let path = folder.join(&inside);
            let parent = parent_of(&path);
            fs::create_dir_all(&parent).map_err(|e| failed(&parent, "cannot be made", &e))?;
            fs::write(&path, bytes).map_err(|e| failed(&path, "cannot be written", &e))?;
            rows.push(json!({
                "name": name,
                "file": format!("inputs/{}", inside.display()),
                "bytes": bytes.len(),
                "hash": format!("{:016x}", hash_bytes(bytes)),
            }));
        }
        Ok(rows)
    }

    /// Puts the directory in place of an older one, if there is one.
    fn publish(&mut self) -> Result<(), InputError> {
        let taken = |e: &io::Error| failed(&self.target, "cannot be put in place", e);
        let old = sibling(&self.target, "old");
        let replaces = self.target.exists();
        if replaces {
            fs::rename(&self.target, &old).map_err(|e| taken(&e))?;
        }
        if let Err(error) = fs::rename(&self.temp, &self.target) {
            if replaces {
                // The older run comes back; if even that fails, the next run repairs it.
                drop(fs::rename(&old, &self.target));
            }
            return Err(taken(&error));
        }
        self.done = true;
        if replaces {
            fs::remove_dir_all(&old).map_err(|e| failed(&old, "cannot be removed", &e))?;
        }
        Ok(())
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed now is removed by the next run.
            drop(fs::remove_dir_all(&self.temp));
        }
    }
}

fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, InputError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| InputError::new("", format!("cannot be written as JSON: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn sibling(target: &Path, what: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    parent_of(target).join(format!(".{name}.{what}-{}", std::process::id()))
}

/// The part of a path that stays inside a folder.
fn inside(name: &str) -> PathBuf {
    Path::new(name).components().filter(|c| matches!(c, Component::Normal(_))).collect()
}

fn refuse_foreign(target: &Path) -> Result<(), InputError> {
    if !target.exists() {
        return Ok(());
    }
    let file = target.display().to_string();
    if !target.is_dir() {
        return Err(InputError::new(file, "is a file, not a run directory"));
    }
    let mut entries = fs::read_dir(target).map_err(|e| failed(target, "cannot be read", &e))?;
    if entries.next().is_none() || target.join("run.json").is_file() {
        return Ok(());
    }
    Err(InputError::new(file, "is not empty and no run directory: it will not be overwritten")
        .hint("give another directory, or remove this one"))
}

/// Cleans up after killed runs. A run that was killed while it put its directory in place has left
/// the older one aside: it comes back.
fn recover(parent: &Path, name: &str, target: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for entry in names {
        for (what, keep) in [("tmp", false), ("old", true)] {
            let Some(pid) = entry.strip_prefix(&format!(".{name}.{what}-")) else { continue };
            if !stale(pid) {
                continue;
            }
            let path = parent.join(&entry);
            // Best effort: a leftover that stays harms nobody.
            if keep && !target.exists() {
                drop(fs::rename(&path, target));
            } else {
                drop(fs::remove_dir_all(&path));
            }
        }
    }
}

/// True if no process of this number runs (or it is this one, which has no other run of the name).
/// Where the system does not tell, only this process' own leftovers count.
fn stale(pid: &str) -> bool {
    if !pid.bytes().all(|b| b.is_ascii_digit()) || pid.is_empty() {
        return false;
    }
    let told = Path::new("/proc/self").exists();
    pid == std::process::id().to_string() || told && !Path::new("/proc").join(pid).exists()
}

/// The two files that grow during a run.
#[derive(Debug)]
struct Files {
    pods: BufWriter<File>,
    events: BufWriter<File>,
    error: Option<io::Error>,
}

impl RowSink for Files {
    fn row(&mut self, stream: Stream, row: &[u8]) {
        let file = match stream {
            Stream::Pods => &mut self.pods,
            Stream::Events => &mut self.events,
        };
        if let Err(error) = file.write_all(row) {
            self.error.get_or_insert(error);
        }
    }

    fn close(&mut self) -> io::Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        self.pods.flush()?;
        self.events.flush()
    }
}

/// Writes every record of a traced run as a line of `trace.txt`.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    file: BufWriter<File>,
    error: Option<io::Error>,
}

impl Trace {
    /// A trace inside a run directory in the making.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn new(dir: &RunDir) -> Result<Self, InputError> {
        let path = dir.temp.join("trace.txt");
        let file = File::create(&path).map_err(|e| failed(&path, "cannot be made", &e))?;
        Ok(Self { path, file: BufWriter::new(file), error: None })
    }

    /// Ends the trace.
    ///
    /// # Errors
    /// The first error of writing.
    pub fn close(mut self) -> Result<(), InputError> {
        let result = self.error.take().map_or_else(|| self.file.flush(), Err);
        result.map_err(|e| failed(&self.path, "cannot be written", &e))
    }
}

impl Observer for Trace {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let line = trace_line(record, versions);
        if let Err(error) = writeln!(self.file, "{line}") {
            self.error.get_or_insert(error);
        }
    }
}

/// A record as one line with fixed columns: seconds, number, cause, what.
#[must_use]
pub fn trace_line(record: &Record, versions: &Versions) -> String {
    let Record { seq, time, cause, what } = record;
    let (s, ns) = (time.0 / 1_000_000_000, time.0 % 1_000_000_000);
    let text = if let What::Committed { kind, log, user, verb, .. } = what {
        let change = versions.change(*kind, *log);
        let (ns, name) = change.map(|c| c.value.key()).unwrap_or_default();
        let rev = change.map_or(0, |c| c.rev);
        format!("committed {}{} {kind} {ns}/{name} by {user} rev {rev}", verb.0, verb.1)
    } else {
        format!("{what:?}")
    };
    format!("{s:>6}.{ns:09} #{seq:<8} <-#{cause:<8} {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_stay_inside() {
        assert_eq!(inside("../../etc/passwd"), Path::new("etc/passwd"));
        assert_eq!(inside("/abs/web.yaml"), Path::new("abs/web.yaml"));
        assert_eq!(inside("./a/b.yaml"), Path::new("a/b.yaml"));
    }
}
