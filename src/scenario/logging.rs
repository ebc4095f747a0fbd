//! Logs of pods: the section `logging:` of a scenario.

use super::objects::Known;
use super::place::Place;
use super::report::Report;
use super::target::{self, Target};
use super::value::{self, QUANTITY_HINT, Quantity};
use crate::api::{Kind, Selector};
use crate::cluster::spec::ExpectLogs;
use crate::engine::Sym;
use crate::event::logs::{Agent, Logging, Source};
use schemars::JsonSchema;
use serde::Deserialize;

/// What gzip makes of log files that repeat themselves; an assumption.
const GZIP: u32 = 10;

/// Logs of pods: who writes them, the agent on each node that ships them, and the store.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoggingSection {
    /// Who writes.
    #[serde(default)]
    pub sources: Vec<LogSource>,
    /// The agent; without one all logs are rotated away unread.
    pub agent: Option<LogAgent>,
    /// Where the agents ship to. A fault `logStoreDown` keeps it away.
    #[serde(default)]
    pub store: LogStore,
    /// How many times smaller gzip makes a rotated file; 10 by default, 1 counts them whole.
    #[schemars(range(min = 1))]
    pub compression: Option<u32>,
}

/// The pods of a workload write logs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSource {
    /// The workload: `deployment/web`.
    pub workload: String,
    /// Which container of each pod; the first one by default.
    pub container: Option<String>,
    /// What it writes per second while it runs, in bytes: `200Ki`.
    pub bytes_per_second: Quantity,
}

/// The agent that reads the logs of its node, such as Fluent Bit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogAgent {
    /// Its `DaemonSet`: `daemonset/logging/fluent-bit`.
    pub workload: String,
    /// What it ships per second at most from one node, in bytes.
    pub bytes_per_second: Quantity,
    /// Size of its buffer on the node's disk (a `hostPath`), from which the oldest is thrown away
    /// when it is full; no bound by default.
    pub buffer_limit: Option<Quantity>,
}

/// The store of logs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogStore {
    /// What it takes per second from all agents, in bytes; they share it in equal parts. No bound
    /// by default.
    pub bytes_per_second: Option<Quantity>,
}

/// Logs that may be lost or wait; at least one of the two is given.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectLogsSection {
    /// All that is lost, in the whole run.
    pub lost: Option<AtMost>,
    /// What waits in the agent's buffer of any one node, at any time.
    pub backlog: Option<AtMost>,
}

/// A greatest amount.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AtMost {
    /// Bytes: `10Mi`.
    pub at_most: Quantity,
}

/// The section as the plan has it.
pub(crate) fn logging(
    from: &LoggingSection,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Logging {
    let sources = at.key("sources");
    if from.sources.is_empty() {
        let hint = "write - {workload: deployment/web, bytesPerSecond: 200Ki}";
        report.error(&sources, "nobody writes logs", hint);
    }
    if from.compression == Some(0) {
        let hint = "write 1 for files that stay as large as they are";
        report.error(&at.key("compression"), "is zero", hint);
    }
    if known.nodes.iter().all(|n| n.capacity.ephemeral == 0) && !known.nodes.is_empty() {
        let hint = "give the pools ephemeralStorage: the size of the disk";
        report.warn(at, "no node's disk has a size, so logs fill none", hint);
    }
    let each = from.sources.iter().enumerate();
    let each = each.filter_map(|(i, s)| source(s, known, &sources.item(i), report)).collect();
    Logging {
        sources: each,
        agent: from.agent.as_ref().and_then(|a| agent(a, known, &at.key("agent"), report)),
        store_bytes_per_s: from
            .store
            .bytes_per_second
            .as_ref()
            .and_then(|q| bytes(q, 1, &at.key("store").key("bytesPerSecond"), report)),
        gzip: from.compression.unwrap_or(GZIP).max(1),
    }
}

fn source(from: &LogSource, known: &Known, at: &Place, report: &mut Report) -> Option<Source> {
    let bytes_per_s = bytes(&from.bytes_per_second, 1, &at.key("bytesPerSecond"), report);
    let (target, pods) = pods(&from.workload, known, &at.key("workload"), report)?;
    let container = Sym::new(from.container.as_deref().unwrap_or_default());
    Some(Source { ns: target.ns, pods, container, bytes_per_s: bytes_per_s? })
}

fn agent(from: &LogAgent, known: &Known, at: &Place, report: &mut Report) -> Option<Agent> {
    let bytes_per_s = bytes(&from.bytes_per_second, 1, &at.key("bytesPerSecond"), report);
    let limit = from.buffer_limit.as_ref();
    let buffer = limit.and_then(|q| bytes(q, 0, &at.key("bufferLimit"), report));
    let place = at.key("workload");
    let (target, pods) = pods(&from.workload, known, &place, report)?;
    if target.kind != Kind::DaemonSet {
        let hint = "an agent runs on each node: write daemonset/NAMESPACE/NAME";
        report.error(&place, format!("{target} is no DaemonSet"), hint);
    }
    Some(Agent { ns: target.ns, pods, bytes_per_s: bytes_per_s?, buffer })
}

/// The pods of a workload that the scenario names.
fn pods(text: &str, known: &Known, at: &Place, report: &mut Report) -> Option<(Target, Selector)> {
    let target = report.take(at, Target::parse(text), target::HINT)?;
    if !known.check_target(&target, at, report) {
        return None;
    }
    let selector = known.selector_of(&target);
    if selector.is_none() {
        report.error(at, format!("{target} has no pods"), "name a workload");
    }
    Some((target, selector?))
}

/// An amount of bytes, of `least` at least.
fn bytes(text: &Quantity, least: u64, at: &Place, report: &mut Report) -> Option<u64> {
    let amount = report.take(at, value::amount(&text.0), QUANTITY_HINT)?;
    let bytes = u64::try_from(amount.value()).ok().filter(|n| *n >= least);
    if bytes.is_none() {
        report.error(at, "is too little", format!("write at least {least}"));
    }
    bytes
}

/// What is asserted of logs.
pub(crate) fn expect(
    from: &ExpectLogsSection,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> ExpectLogs {
    if !known.has_logging {
        report.error(at, "there are no logs", "write a section logging:");
    }
    if from.lost.is_none() && from.backlog.is_none() {
        report.error(at, "bounds nothing", "give lost or backlog: {lost: {atMost: 0}}");
    }
    let mut bound = |field: &str, given: Option<&AtMost>| {
        bytes(&given?.at_most, 0, &at.key(field).key("atMost"), report)
    };
    ExpectLogs {
        lost: bound("lost", from.lost.as_ref()),
        backlog: bound("backlog", from.backlog.as_ref()),
    }
}
