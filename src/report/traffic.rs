//! What became of requests: rates of each row of traffic integrated over time.

use super::expect::{Verdict, listed, verdict};
use super::rows::Line;
use super::text::{clock, span};
use crate::cluster::spec::ExpectRequests;
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::traffic::{CAUSES, Cause, Flow, Latencies};
use crate::traffic::RowSpec;
use serde::Serialize;

/// Pieces of a row that are kept; more are folded into half as many.
const PIECES: usize = 8_192;
/// Requests fail noticeably where more than this share of them does.
const NOTICED: f64 = 0.001;

/// A stretch of time with one rate for each outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Its begin.
    pub from: SimTime,
    /// Its end.
    pub to: SimTime,
    /// Requests.
    pub offered: f64,
    /// Requests that failed, by cause.
    pub failed: [f64; CAUSES],
    /// Latencies of 50, 95 and 99 % of those answered, seconds.
    pub latency: Option<[f64; 3]>,
}

impl Piece {
    /// Requests per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.offered / self.to.since(self.from).secs_f64().max(1e-9)
    }

    /// Share of requests that failed; what was lost at an instant is held against a second.
    #[must_use]
    pub fn failing(&self) -> f64 {
        let seconds = self.to.since(self.from).secs_f64();
        let rates = self.offered / seconds.max(1e-9);
        self.lost() / (rates * seconds.max(1.0)).max(1e-9)
    }

    /// Requests that failed.
    #[must_use]
    pub fn lost(&self) -> f64 {
        self.failed.iter().sum()
    }
}

/// A row of traffic.
#[derive(Debug, Clone)]
pub struct Row {
    /// Name.
    pub name: Sym,
    /// `service/web`.
    pub to: String,
    /// Share that should be answered.
    pub objective: Option<f64>,
    /// Nobody has written it.
    pub derived: bool,
    /// Pieces, in order; those without requests are left out.
    pub pieces: Vec<Piece>,
    /// Latencies of all requests that were answered.
    pub latency: Latencies,
    now: Flow,
    since: SimTime,
    lost: [f64; CAUSES],
}

/// All rows.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// As the plan has them.
    pub rows: Vec<Row>,
}

impl Table {
    /// No request yet.
    #[must_use]
    pub fn new(rows: &[RowSpec]) -> Self {
        let of = |row: &RowSpec| {
            let ns = row.ns.as_str();
            let ns = if ns == "default" { String::new() } else { format!("{ns}/") };
            Row {
                name: row.name,
                to: format!("service/{ns}{}", row.service),
                objective: row.objective,
                derived: row.derived,
                pieces: Vec::new(),
                latency: Latencies::default(),
                now: Flow::default(),
                since: SimTime::ZERO,
                lost: [0.0; CAUSES],
            }
        };
        Self { rows: rows.iter().map(of).collect() }
    }

    /// A row has other rates from now on.
    pub fn flow(&mut self, now: SimTime, row: u32, flow: &Flow) {
        if let Some(row) = self.rows.get_mut(row as usize) {
            row.close(now);
            row.now = flow.clone();
        }
    }

    /// Requests under way were lost.
    pub fn lost(&mut self, row: u32, cause: Cause, count: f64) {
        if let Some(row) = self.rows.get_mut(row as usize) {
            row.lost[cause as usize] += count;
        }
    }

    /// The run has ended.
    pub fn end(&mut self, now: SimTime) {
        self.rows.iter_mut().for_each(|row| row.close(now));
    }

    /// `traffic.csv`.
    #[must_use]
    pub fn csv(&self) -> Vec<u8> {
        let mut bytes = b"traffic,from_s,to_s,requests_per_s,answered_per_s".to_vec();
        for cause in Cause::ALL {
            bytes.extend(format!(",{}_per_s", cause.column()).bytes());
        }
        bytes.extend(b",latency_p50_s,latency_p95_s,latency_p99_s\n");
        for row in &self.rows {
            for piece in &row.pieces {
                let seconds = piece.to.since(piece.from).secs_f64().max(1e-9);
                let mut all = Line::default();
                all.text(row.name.as_str());
                all.text(&decimals(piece.from.secs_f64(), 6));
                all.text(&decimals(piece.to.secs_f64(), 6));
                all.text(&decimals(piece.rate(), 3));
                all.text(&decimals((piece.offered - piece.lost()) / seconds, 3));
                for failed in piece.failed {
                    all.text(&decimals(failed / seconds, 3));
                }
                for i in 0..3 {
                    let words = piece.latency.map(|l| decimals(l[i], 6)).unwrap_or_default();
                    all.text(&words);
                }
                bytes.extend(all.end());
            }
        }
        bytes
    }

    /// What each row amounts to.
    #[must_use]
    pub fn summary(&self) -> Vec<TrafficSummary> {
        self.rows.iter().filter(|row| !row.pieces.is_empty()).map(Row::summary).collect()
    }
}

fn decimals(x: f64, n: u32) -> String {
    num::rounded(x, n).to_string()
}

impl Row {
    /// The present piece ends.
    fn close(&mut self, now: SimTime) {
        let seconds = now.since(self.since).secs_f64();
        let lost = std::mem::take(&mut self.lost);
        let from = std::mem::replace(&mut self.since, now);
        if now == from {
            self.lost = lost;
            return;
        }
        let flow = &self.now;
        if flow.offered <= 0.0 && lost.iter().all(|n| *n <= 0.0) {
            return;
        }
        let mut failed = lost;
        for (all, rate) in failed.iter_mut().zip(flow.failing) {
            *all += rate * seconds;
        }
        let offered = flow.offered * seconds;
        self.latency.add_all(&flow.latency, seconds);
        let quantiles = [0.5, 0.95, 0.99].map(|share| flow.latency.quantile(share));
        let latency = match quantiles {
            [Some(a), Some(b), Some(c)] => Some([a, b, c]),
            [_, _, _] => None,
        };
        let piece = Piece { from, to: now, offered, failed, latency };
        let piece = self.lend(piece);
        self.pieces.push(piece);
        if self.pieces.len() > PIECES {
            self.fold();
        }
    }

    /// What is lost at work was sent before, and counted as answered there: a piece in which more
    /// is lost than sent begins so much earlier, second by second.
    fn lend(&mut self, mut piece: Piece) -> Piece {
        while piece.lost() > piece.offered {
            let Some(before) = self.pieces.last_mut().filter(|b| b.to == piece.from) else { break };
            let length = before.to.since(before.from);
            let take = length.min(SimDuration::from_secs(1));
            let share = take.secs_f64() / length.secs_f64();
            let kept = 1.0 - share;
            piece.from = SimTime(piece.from.0 - take.0);
            piece.offered += before.offered * share;
            before.to = piece.from;
            before.offered *= kept;
            for (all, more) in piece.failed.iter_mut().zip(&mut before.failed) {
                *all += *more * share;
                *more *= kept;
            }
            if take == length {
                self.pieces.pop();
            }
        }
        piece
    }

    /// Folds two pieces each into one.
    fn fold(&mut self) {
        let mut folded: Vec<Piece> = Vec::with_capacity(PIECES);
        for pair in self.pieces.chunks(2) {
            let mut one = pair[0].clone();
            if let Some(two) = pair.get(1).filter(|two| two.from == one.to) {
                one.latency = if two.offered > one.offered { two.latency } else { one.latency };
                one.to = two.to;
                one.offered += two.offered;
                for (all, more) in one.failed.iter_mut().zip(two.failed) {
                    *all += more;
                }
                folded.push(one);
            } else {
                folded.extend(pair.iter().cloned());
            }
        }
        self.pieces = folded;
    }

    fn summary(&self) -> TrafficSummary {
        let requests: f64 = self.pieces.iter().map(|p| p.offered).sum();
        let failed =
            |cause: Cause| -> f64 { self.pieces.iter().map(|p| p.failed[cause as usize]).sum() };
        let causes: Vec<Failures> = Cause::ALL
            .into_iter()
            .map(|cause| Failures {
                cause: cause.words(),
                requests: num::rounded(failed(cause), 1),
            })
            .filter(|f| f.requests > 0.0)
            .collect();
        let lost: f64 = self.pieces.iter().map(Piece::lost).sum();
        let share = if requests > 0.0 { 1.0 - lost / requests } else { 1.0 };
        let quantile = |q| self.latency.quantile(q).map(|s| num::rounded(s, 6));
        TrafficSummary {
            traffic: self.name.to_string(),
            to: self.to.clone(),
            requests: num::rounded(requests, 1),
            answered_share: num::rounded(share, 9),
            failed: num::rounded(lost, 1),
            causes,
            p50_s: quantile(0.5),
            p95_s: quantile(0.95),
            p99_s: quantile(0.99),
            objective: self.objective,
            budget_used: self.objective.map(|o| num::rounded((1.0 - share) / (1.0 - o), 4)),
            episodes: self.episodes(),
            derived: self.derived,
        }
    }

    /// Stretches in which requests failed noticeably; pauses of up to ten seconds are part of them.
    fn episodes(&self) -> Vec<Episode> {
        const PAUSE: SimDuration = SimDuration::from_secs(10);
        let mut all: Vec<(SimTime, SimTime, [f64; CAUSES], f64)> = Vec::new();
        for piece in self.pieces.iter().filter(|p| p.lost() > NOTICED * p.offered) {
            match all.last_mut().filter(|last| piece.from.since(last.1) <= PAUSE) {
                Some(last) => {
                    last.1 = piece.to;
                    last.3 = last.3.max(piece.failing());
                    for (sum, more) in last.2.iter_mut().zip(piece.failed) {
                        *sum += more;
                    }
                }
                None => {
                    let worst = piece.failing();
                    all.push((piece.from, piece.to, piece.failed, worst));
                }
            }
        }
        let one = |(from, to, failed, worst): (SimTime, SimTime, [f64; CAUSES], f64)| {
            let most = Cause::ALL.into_iter().fold(Cause::NoDns, |best, cause| {
                if failed[cause as usize] > failed[best as usize] { cause } else { best }
            });
            Episode {
                from_s: from.secs_f64(),
                to_s: to.secs_f64(),
                failed: num::rounded(failed.iter().sum(), 1),
                worst_share: num::rounded(worst, 6),
                mostly: most.words(),
            }
        };
        all.into_iter().map(one).collect()
    }
}

/// What a row of traffic amounts to. Requests are expected values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrafficSummary {
    /// Name.
    pub traffic: String,
    /// The Service.
    pub to: String,
    /// Requests sent.
    pub requests: f64,
    /// Share of them that was answered in time.
    pub answered_share: f64,
    /// Requests that failed.
    pub failed: f64,
    /// Why.
    pub causes: Vec<Failures>,
    /// Latency of those answered, seconds.
    pub p50_s: Option<f64>,
    /// 95 % of them were faster.
    pub p95_s: Option<f64>,
    /// 99 % of them were faster.
    pub p99_s: Option<f64>,
    /// Share that should be answered.
    pub objective: Option<f64>,
    /// Failures, as a share of those that the objective allows.
    pub budget_used: Option<f64>,
    /// When they failed.
    pub episodes: Vec<Episode>,
    /// Nobody has written the row: queries for names.
    pub derived: bool,
}

/// Requests that failed for one cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failures {
    /// The cause.
    pub cause: &'static str,
    /// How many.
    pub requests: f64,
}

/// A stretch in which requests failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Episode {
    /// Its begin.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// Requests that failed.
    pub failed: f64,
    /// The greatest share of requests that failed at a time.
    pub worst_share: f64,
    /// The cause of most of them.
    pub mostly: &'static str,
}

/// Requests in words: `1,204,000`, `12.3`.
fn requests(n: f64) -> String {
    if n > 0.0 && n < 100.0 {
        return format!("{n:.1}");
    }
    let digits = num::round(n).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in percent, with as many nines as it has.
fn percent(share: f64) -> String {
    let missing = 1.0 - share;
    let digits = if missing > 0.001 {
        2
    } else if missing > 0.000_01 {
        4
    } else {
        6
    };
    let text = format!("{:.digits$}", 100.0 * share);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

impl TrafficSummary {
    /// The lines of the terminal page.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        const EPISODES: usize = 3;
        let latency = match (self.p50_s, self.p95_s, self.p99_s) {
            (Some(a), Some(b), Some(c)) => {
                format!(", latency p50 {}, p95 {}, p99 {}", span(a), span(b), span(c))
            }
            (_, _, _) => String::new(),
        };
        let mut lines = vec![format!(
            "Requests {} -> {}: {} sent, {} answered in time{latency}.",
            self.traffic,
            self.to,
            requests(self.requests),
            percent(self.answered_share),
        )];
        if self.failed > 0.0 {
            let mut causes = self.causes.clone();
            causes.sort_by(|a, b| b.requests.total_cmp(&a.requests).then(a.cause.cmp(b.cause)));
            let causes: Vec<String> =
                causes.iter().map(|f| format!("{} {}", requests(f.requests), f.cause)).collect();
            let budget = match (self.objective, self.budget_used) {
                (Some(o), Some(used)) => {
                    let used = if used < 2.0 {
                        format!("{:.0} % of", 100.0 * used)
                    } else {
                        format!("{used:.0} times")
                    };
                    format!("; {used} the failures that {} allows", percent(o))
                }
                (_, _) => String::new(),
            };
            let why = match self.causes.as_slice() {
                [only] => format!(" ({})", only.cause),
                _several => format!(": {}", causes.join(", ")),
            };
            lines.push(format!("  {} failed{why}{budget}.", requests(self.failed)));
            lines.extend(self.episodes.iter().take(EPISODES).map(|e| {
                format!(
                    "  {} to {}: {} failed, up to {} at a time, mostly {}.",
                    clock(e.from_s),
                    clock(e.to_s),
                    requests(e.failed),
                    percent(e.worst_share),
                    e.mostly
                )
            }));
            if self.episodes.len() > EPISODES {
                lines.push(format!(
                    "  and {} more times: traffic.csv",
                    self.episodes.len() - EPISODES
                ));
            }
        }
        lines
    }
}

/// Judges an assertion about requests.
pub(super) fn judge(table: &Table, wanted: &ExpectRequests) -> Verdict {
    let mut words = Vec::new();
    words.extend(wanted.answered.map(|share| format!("{} answered", percent(share))));
    words.extend(wanted.p99.map(|most| format!("99 % within {most}")));
    let least = wanted.at_least;
    words.extend((least > 0.0).then(|| format!("at least {} fail", requests(least))));
    words.extend(wanted.at_most.map(|most| format!("at most {} fail", requests(most))));
    words.extend(wanted.cause.map(|cause| format!("with {}", cause.words())));
    let expected = format!("of requests {}: {}", wanted.traffic, words.join(", "));
    let rows = table.summary();
    let Some(row) = rows.iter().find(|row| row.traffic == wanted.traffic.as_str()) else {
        let known: Vec<String> = rows.iter().map(|r| r.traffic.clone()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { listed(&known, 5) };
        return verdict(false, expected, format!("none was sent; there are: {known}"));
    };
    let failed = match wanted.cause {
        None => row.failed,
        Some(cause) => {
            let of = |f: &&Failures| f.cause == cause.words();
            row.causes.iter().find(of).map_or(0.0, |f| f.requests)
        }
    };
    let p99 = SimDuration::from_secs_f64(row.p99_s.unwrap_or(0.0));
    let pass = wanted.answered.is_none_or(|share| row.answered_share >= share)
        && wanted.p99.is_none_or(|most| row.p99_s.is_some() && p99 <= most)
        && failed >= wanted.at_least
        && wanted.at_most.is_none_or(|most| failed <= most);
    let observed = format!(
        "{} answered, {} failed{}, p99 {p99}",
        percent(row.answered_share),
        requests(failed),
        wanted.cause.map_or_else(String::new, |c| format!(" with {}", c.words())),
    );
    verdict(pass, expected, observed)
}
