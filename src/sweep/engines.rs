//! Sweeps beyond one machine: scripts and manifests that hand the shards of a sweep to an engine
//! that somebody runs already. Nothing here talks to an engine: a worker is `wavetank sweep --shard
//! I/N` on a shared directory, the end is `wavetank merge`, and whatever is killed is simply run
//! again.

use super::study::PROGRAM;

/// Who runs the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// Processes of this machine, by a shell script.
    Processes,
    /// GNU parallel, here or on several machines (its `--sshlogin`).
    GnuParallel,
    /// `HyperQueue`, by its Python package.
    Hyperqueue,
    /// A Slurm job array.
    Slurm,
    /// A Kubernetes Indexed Job.
    Kubernetes,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Work<'a> {
    /// Name of the sweep.
    pub name: &'a str,
    /// Its file, as workers see it.
    pub file: &'a str,
    /// The directory of results, as workers see it.
    pub out: &'a str,
    /// Where `${shared}` lies, as workers see it.
    pub shared: &'a str,
    /// How many workers.
    pub workers: usize,
}

impl Engine {
    /// Whether paths must be relative: to the root of the volume that all workers mount.
    #[must_use]
    pub fn is_mounted(self) -> bool {
        self == Self::Kubernetes
    }

    /// The files, by name, and the command that the first is for.
    #[must_use]
    pub fn files(self, work: &Work<'_>) -> (Vec<(&'static str, String)>, &'static str) {
        let sh = |text: &str| work.fill(text, &quoted);
        match self {
            Self::Processes => (vec![("submit-processes.sh", sh(PROCESSES))], "bash"),
            Self::GnuParallel => (vec![("submit-gnu-parallel.sh", sh(GNU_PARALLEL))], "bash"),
            Self::Slurm => (vec![("submit-slurm.sh", sh(SLURM))], "bash"),
            Self::Hyperqueue => (vec![("submit-hyperqueue.py", sh(HYPERQUEUE))], "python3"),
            Self::Kubernetes => {
                let files = vec![
                    ("submit-kubernetes.yaml", work.manifest(INDEXED, WORKER)),
                    ("merge-kubernetes.yaml", work.manifest(MERGE, "exec wavetank merge @OUT@")),
                ];
                (files, "kubectl apply -f")
            }
        }
    }
}

const PROCESSES: &str = include_str!("templates/processes.sh");
const GNU_PARALLEL: &str = include_str!("templates/gnu-parallel.sh");
const SLURM: &str = include_str!("templates/slurm.sh");
const HYPERQUEUE: &str = include_str!("templates/hyperqueue.py");
const INDEXED: &str = include_str!("templates/kubernetes.yaml");
const MERGE: &str = include_str!("templates/kubernetes-merge.yaml");

/// What a pod of the Indexed Job runs.
const WORKER: &str = "exec wavetank sweep @FILE@ --out @OUT@ --shared @SHARED@ --quiet --jobs 1 \
    --shard $((JOB_COMPLETION_INDEX + 1))/@WORKERS@";

impl Work<'_> {
    /// A template with its gaps filled; paths as `quote` writes them.
    fn fill(&self, template: &str, quote: &dyn Fn(&str) -> String) -> String {
        let paths = [self.file, self.out, self.shared];
        // Of JSON's strings, all are Python's.
        let python = paths.map(|path| serde_json::Value::from(path).to_string()).join(", ");
        let [file, out, shared] = paths.map(quote);
        let line: String = self.name.chars().map(|c| if c == '\n' { ' ' } else { c }).collect();
        let gaps = [
            ("@WORKERS@", self.workers.to_string()),
            ("@PROGRAM@", PROGRAM.to_owned()),
            ("@VERSION@", env!("CARGO_PKG_VERSION").to_owned()),
            ("@LABEL@", label(self.name)),
            ("@NAME@", line),
            ("@PYTHON@", python),
            ("@FILE@", file),
            ("@OUT@", out),
            ("@SHARED@", shared),
        ];
        // Each gap once, from the left: what fills one may look like another.
        let mut filled = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('@') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let gap = gaps.iter().find(|(name, _)| rest.starts_with(name));
            let (with, length) = gap.map_or(("@", 1), |(name, text)| (text, name.len()));
            filled.push_str(with);
            rest = &rest[length..];
        }
        filled + rest
    }

    fn manifest(&self, template: &str, command: &str) -> String {
        let command = serde_json::Value::from(self.fill(command, &quoted)).to_string();
        let (before, after) = template.split_once("@COMMAND@").unwrap_or((template, ""));
        let fill = |text: &str| self.fill(text, &quoted);
        format!("{}{command}{}", fill(before), fill(after))
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A name that Kubernetes takes.
fn label(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    format!("sweep-{}", kept.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Mode, parse_manifests};
    use clap::ValueEnum;

    const WORK: Work<'static> = Work {
        name: "a sweep's name",
        file: "my files/it's.yaml",
        out: "out",
        shared: "../shared",
        workers: 4,
    };

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("a/b-c.yaml"), "a/b-c.yaml");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn every_gap_is_filled_and_paths_survive() {
        for engine in Engine::value_variants() {
            for (name, text) in engine.files(&WORK).0 {
                for gap in ["WORKERS", "NAME", "FILE", "OUT", "SHARED", "COMMAND", "PYTHON"] {
                    assert!(!text.contains(&format!("@{gap}@")), "{name}: {gap}");
                }
                let merges = name.starts_with("merge");
                assert!(merges || text.contains("my files/it"), "{name}");
            }
        }
        let work = Work { name: "@FILE@", file: "@OUT@", ..WORK };
        assert_eq!(work.fill("@NAME@ @FILE@ a@b", &quoted), "@FILE@ '@OUT@' a@b");
    }

    #[test]
    fn manifests_are_those_of_kubernetes() {
        let (files, _) = Engine::Kubernetes.files(&WORK);
        assert_eq!(files.len(), 2);
        for (name, text) in files {
            let read = parse_manifests(name, &text, Mode::Strict);
            assert!(read.is_ok(), "{name}: {read:?}\n{text}");
        }
    }
}
