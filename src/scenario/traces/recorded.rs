//! From a scenario's traces to nodes and arrivals of the plan, with all that is said of them.

use super::file::{AzureVm, Common, Google2011, Machines, Philly, Swf, Trace};
use super::rows::{Imported, Part, decimal, file_name, grouped};
use super::{azure, dlrm, google, philly, surf, swf};
use crate::api::resources::Resources;
use crate::api::workload::PodTemplate;
use crate::cluster::spec::{Amount, Arrival, Made, NodeSpec, Row};
use crate::engine::{SimDuration, SimTime, num};
use crate::scenario::arrivals;
use crate::scenario::error::InputErrors;
use crate::scenario::file::DrawnRequests;
use crate::scenario::files::Files;
use crate::scenario::objects::{self, Known, Origin};
use crate::scenario::place::Place;
use crate::scenario::pools;
use crate::scenario::report::Report;
use crate::scenario::value::{self, QUANTITY_HINT, Quantity, SPAN_HINT, Span};
use std::sync::Arc;

/// When a namespace that the scenario makes is there: what comes earlier comes then.
const MADE: SimTime = SimTime::from_secs(1);

/// What recorded workloads add to a plan.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Arrivals.
    pub(crate) arrivals: Vec<Arrival>,
    /// What the files hold, a line each.
    pub(crate) facts: Vec<String>,
    /// What is not modelled, with counts.
    pub(crate) not_modelled: Vec<(String, u32)>,
}

/// The importers of a trace that are given, by name.
fn given(trace: &Trace) -> Vec<&'static str> {
    importers(trace).into_iter().filter_map(|(name, given)| given.then_some(name)).collect()
}

fn importers(trace: &Trace) -> [(&'static str, bool); 8] {
    [
        ("openb", trace.openb.is_some()),
        ("dlrm", trace.dlrm.is_some()),
        ("google2011", trace.google2011.is_some()),
        ("azureVm", trace.azure_vm.is_some()),
        ("philly", trace.philly.is_some()),
        ("surf", trace.surf.is_some()),
        ("swf", trace.swf.is_some()),
        ("simkube", trace.simkube.is_some()),
    ]
}

/// Namespace and beginning of the names of what a trace makes.
pub(crate) fn makes(trace: &Trace) -> Option<(String, String)> {
    let ns = |common: Common<'_>| common.namespace.unwrap_or("default").to_owned();
    Some(if let Some(from) = &trace.openb {
        let ns = from.namespace.as_deref().unwrap_or("default");
        (ns.to_owned(), "openb-pod".to_owned())
    } else if let Some(from) = &trace.dlrm {
        (ns(from.common()), dlrm::BASE.to_owned())
    } else if let Some(from) = &trace.google2011 {
        (ns(from.common()), google::BASE.to_owned())
    } else if let Some(from) = &trace.azure_vm {
        (ns(from.common()), azure::BASE.to_owned())
    } else if let Some(from) = &trace.philly {
        (ns(from.common()), philly::BASE.to_owned())
    } else if let Some(from) = &trace.surf {
        (ns(from.common()), surf::BASE.to_owned())
    } else {
        (ns(trace.swf.as_ref()?.common()), swf::BASE.to_owned())
    })
}

/// Nodes of traces that have some, but for openb's.
pub(crate) fn nodes(traces: &[Trace], known: &mut Known, files: &mut Files, report: &mut Report) {
    for (i, trace) in traces.iter().enumerate() {
        let Some(from) = trace.google2011.as_ref().and_then(|g| g.machines.as_ref()) else {
            continue;
        };
        let at = Place::default().key("traces").item(i).key("google2011").key("machines");
        let Some(scale) = scale(from, &at, report) else { continue };
        let read = files
            .stream(&from.file)
            .and_then(|(label, reader)| google::machines(&label, reader, scale));
        if let Some((nodes, facts)) = report.take_all(&at.key("file"), read) {
            known.add_nodes(nodes, &Origin::Inline(at), report);
            known.facts.extend(facts);
        }
    }
}

fn scale(from: &Machines, at: &Place, report: &mut Report) -> Option<google::Scale> {
    let mut read = |field: &str, quantity: &Quantity| {
        let place = at.key(field);
        let amount = report.take(&place, value::amount(&quantity.0), QUANTITY_HINT)?;
        if amount.value() < 1 {
            report.error(&place, "a machine of nothing", "write what a machine of 1.0 has");
            return None;
        }
        Some(amount)
    };
    let (cpu, memory) = (read("cpu", &from.cpu), read("memory", &from.memory));
    Some(google::Scale {
        cpu_milli: cpu?.milli_value(),
        memory: memory?.value(),
        every: from.every.unwrap_or(1),
        agent: pools::agent(from.agent),
    })
}

/// Arrivals of all traces but openb's.
pub(crate) fn arrivals(
    traces: &[Trace],
    known: &Known,
    files: &mut Files,
    report: &mut Report,
) -> Recorded {
    let mut all = Recorded { facts: known.facts.clone(), ..Recorded::default() };
    for (i, trace) in traces.iter().enumerate() {
        let at = Place::default().key("traces").item(i);
        match given(trace)[..] {
            [name] => {
                let mut reader = Reader { at: at.key(name), known, files, report };
                reader.trace(trace, &mut all);
            }
            [] => {
                let names = importers(trace).map(|(name, _)| name).join(", ");
                report.error(&at, "names no importer", format!("possible here: {names}"));
            }
            [one, other, ..] => {
                let problem = format!("{one} and {other} are given in one trace");
                report.error(&at, problem, "give each a dash of its own");
            }
        }
    }
    all
}

/// Reads one trace.
struct Reader<'r> {
    /// Place of its importer.
    at: Place,
    known: &'r Known,
    files: &'r mut Files,
    report: &'r mut Report,
}

impl Reader<'_> {
    /// Adds what a trace makes; what is wrong is noted.
    fn trace(&mut self, trace: &Trace, all: &mut Recorded) {
        let made = if let Some(from) = &trace.dlrm {
            self.one(&from.pods, "pods", from.common(), |label, reader| dlrm::pods(label, reader))
                .map(|rows| self.pods(dlrm::BASE, from.common(), rows))
        } else if let Some(from) = &trace.google2011 {
            self.google(from)
        } else if let Some(from) = &trace.azure_vm {
            self.azure(from)
        } else if let Some(from) = &trace.philly {
            self.philly(from)
        } else if let Some(from) = &trace.surf {
            self.one(&from.jobs, "jobs", from.common(), |label, reader| surf::jobs(label, reader))
                .map(|rows| self.jobs(surf::BASE, from.common(), rows, None))
        } else if let Some(from) = &trace.swf {
            self.swf(from)
        } else {
            // openb has a road of its own, and SimKube's objects are steps.
            return;
        };
        let Some((arrival, imported)) = made else { return };
        all.facts.extend(imported.facts);
        let told = imported.not_modelled.into_iter().filter(|(_, n)| *n > 0);
        all.not_modelled.extend(told.map(|(what, n)| (what.to_owned(), num::u32_of(n))));
        all.arrivals.push(arrival);
    }

    /// Reads an importer's only file, and cuts the part out.
    fn one(
        &mut self,
        written: &str,
        field: &str,
        common: Common<'_>,
        import: impl FnOnce(&str, Box<dyn std::io::BufRead + '_>) -> Result<Imported, InputErrors>,
    ) -> Option<(Vec<Row>, Imported)> {
        let part = part(common, &self.at, self.report);
        let read = self.files.stream(written).and_then(|(label, reader)| import(&label, reader));
        let read = self.report.take_all(&self.at.key(field), read)?;
        self.cut(read, part?)
    }

    /// The part of what was read; it is worth a warning if that is nothing.
    fn cut(&mut self, mut read: Imported, part: Part) -> Option<(Vec<Row>, Imported)> {
        let rows = read.cut(&part);
        if rows.is_empty() {
            let hint = "from and until count from the trace's first arrival";
            self.report.warn(&self.at, "nothing arrives", hint);
        }
        Some((rows, read))
    }

    fn google(&mut self, from: &Google2011) -> Option<(Arrival, Imported)> {
        let part = part(from.common(), &self.at, self.report);
        let mut events = google::JobEvents::default();
        let at = self.at.key("jobEvents");
        if from.job_events.is_empty() {
            self.report.error(&at, "names no file", "write the parts of job_events in order");
        }
        for (i, written) in from.job_events.iter().enumerate() {
            let read =
                self.files.stream(written).and_then(|(label, reader)| events.part(&label, reader));
            self.report.take_all(&at.item(i), read)?;
        }
        let requests = self.drawn(&from.requests);
        let (rows, mut read) = self.cut(events.finish(), part?)?;
        read.not_modelled.extend(google::not_modelled(&rows));
        Some(self.jobs(google::BASE, from.common(), (rows, read), Some(requests)))
    }

    fn philly(&mut self, from: &Philly) -> Option<(Arrival, Imported)> {
        let per_pod = from.gpus_per_pod.unwrap_or(philly::GPUS_PER_POD);
        let requests = self.drawn(&from.requests);
        let cut = self.one(&from.jobs, "jobs", from.common(), |label, reader| {
            philly::jobs(label, reader, per_pod)
        })?;
        Some(self.jobs(philly::BASE, from.common(), cut, Some(requests)))
    }

    fn swf(&mut self, from: &Swf) -> Option<(Arrival, Imported)> {
        let at = self.at.key("memory");
        let memory = from
            .memory
            .as_ref()
            .and_then(|quantity| self.report.take(&at, value::amount(&quantity.0), QUANTITY_HINT));
        let sizes = swf::Sizes {
            cores_per_pod: from.cores_per_pod.unwrap_or(u32::MAX),
            memory: memory.map_or(0, |m| m.value()),
        };
        let cut = self.one(&from.jobs, "jobs", from.common(), |label, reader| {
            swf::jobs(label, reader, sizes)
        })?;
        Some(self.jobs(swf::BASE, from.common(), cut, None))
    }

    fn azure(&mut self, from: &AzureVm) -> Option<(Arrival, Imported)> {
        let part = part(from.common(), &self.at, self.report);
        let mut meaning = azure::Meaning::default();
        let read = self.files.stream(&from.flavors);
        let read = read.and_then(|(label, reader)| meaning.flavors(&label, reader));
        self.report.take_all(&self.at.key("flavors"), read)?;
        let read = self.files.stream(&from.intervals);
        let read = read.and_then(|(label, reader)| meaning.intervals(&label, reader));
        self.report.take_all(&self.at.key("intervals"), read)?;
        for (field, written) in [("arrivals", &from.arrivals), ("lifetimes", &from.lifetimes)] {
            let held = self.files.hold(written).map_err(|error| vec![error]);
            self.report.take_all(&self.at.key(field), held)?;
        }
        let both = self.files.open(&from.arrivals).and_then(|(label, flavors)| {
            let (partner, lifetimes) = self.files.open(&from.lifetimes)?;
            azure::vms((&label, flavors), (&partner, lifetimes), &meaning)
        });
        let read = self.report.take_all(&self.at.key("arrivals"), both)?;
        let cut = self.cut(read, part?)?;
        Some(self.pods(azure::BASE, from.common(), cut))
    }

    /// The drawn sizes of a trace that tells none.
    fn drawn(&mut self, from: &DrawnRequests) -> [Option<Amount>; 2] {
        let at = self.at.key("requests");
        let mut read = |field: &str, milli: bool, drawn: Option<&_>| {
            drawn.and_then(|d| arrivals::amount(d, milli, &at.key(field), self.report))
        };
        [read("cpu", true, from.cpu.as_ref()), read("memory", false, from.memory.as_ref())]
    }

    fn pods(
        &mut self,
        base: &str,
        common: Common<'_>,
        (rows, read): (Vec<Row>, Imported),
    ) -> (Arrival, Imported) {
        let template = first_template(&rows);
        (self.arrival(base, common, rows, Made::Pod(template)), read)
    }

    fn jobs(
        &mut self,
        base: &str,
        common: Common<'_>,
        (rows, read): (Vec<Row>, Imported),
        requests: Option<[Option<Amount>; 2]>,
    ) -> (Arrival, Imported) {
        let template = first_template(&rows);
        let [cpu_milli, memory] = requests.unwrap_or_default();
        let arrival = self.arrival(base, common, rows, Made::Job(template));
        (Arrival { cpu_milli, memory, ..arrival }, read)
    }

    fn arrival(&mut self, base: &str, common: Common<'_>, rows: Vec<Row>, made: Made) -> Arrival {
        let ns = common.namespace.unwrap_or("default");
        let start = first_instant(ns);
        self.known.check_namespace(ns, &self.at.key("namespace"), self.report);
        Arrival { start, ..Arrival::of_rows((base.into(), ns.into()), made, rows) }
    }
}

/// When pods may come to a namespace: one of the scenario's own is made in the first instant, and
/// nobody is quicker.
pub(crate) fn first_instant(ns: &str) -> SimTime {
    if objects::always_there(ns) { SimTime::ZERO } else { MADE }
}

/// The template of rows that have none of their own.
pub(crate) fn first_template(rows: &[Row]) -> Arc<PodTemplate> {
    rows.first().and_then(|row| row.template.clone()).unwrap_or_default()
}

/// The part of a trace that a scenario wants; none if that is told badly.
pub(crate) fn part(from: Common<'_>, at: &Place, report: &mut Report) -> Option<Part> {
    let mut part = Part::default();
    let mut read = |field: &str, span: Option<&Span>, into: &mut SimDuration| {
        let Some(text) = span else { return Some(()) };
        *into = report.take(&at.key(field), value::span(&text.0), SPAN_HINT)?;
        Some(())
    };
    read("from", from.from, &mut part.from)?;
    read("until", from.until, &mut part.until)?;
    if part.until <= part.from {
        let problem = "is not after from";
        report.error(&at.key("until"), problem, "both count from the trace's first arrival");
        return None;
    }
    if let Some(speed_up) = from.speed_up {
        if !speed_up.is_finite() || !(1e-6..=1e9).contains(&speed_up) {
            let hint = "above 1 for a shorter trace, between 1e-6 and 1e9";
            report.error(&at.key("speedUp"), format!("{speed_up} is out of range"), hint);
            return None;
        }
        part.speed_up = speed_up;
    }
    if let Some(limit) = from.limit {
        part.limit = num::index(limit.into());
    }
    Some(part)
}

/// What a list of pods asks for, all in all.
pub(crate) fn pods_asked(written: &str, rows: &[Row]) -> String {
    let specs = rows.iter().filter_map(|row| row.template.as_ref()).map(|t| &t.spec.requests);
    format!("{}: {} pods{}", file_name(written), grouped(rows.len() as u64), summed(specs))
}

/// What a list of nodes offers, all in all.
pub(crate) fn nodes_offered(written: &str, nodes: &[NodeSpec]) -> String {
    let offered = nodes.iter().map(|node| &*node.allocatable);
    format!("{}: {} nodes{}", file_name(written), grouped(nodes.len() as u64), summed(offered))
}

fn summed<'a>(amounts: impl Iterator<Item = &'a Resources>) -> String {
    let mut sum = Resources::default();
    amounts.for_each(|amount| sum.add(amount));
    let cpu = decimal(num::float(sum.cpu_milli) / 1000.0, 3);
    let mut text = format!(", {cpu} CPU, {} MiB", grouped(num::u64_of(sum.memory >> 20)));
    for (name, amount) in &sum.scalars {
        text.push_str(&format!(", {} {name}", grouped(num::u64_of(*amount))));
    }
    text
}
