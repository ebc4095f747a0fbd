//! Records of real outages, for faults that follow them: when which machine was away, and for how
//! long. Machines are numbered in the order in which the file first names them.
//!
//! | format | file | what is read |
//! |---|---|---|
//! | `fta` | Failure Trace Archive, event trace (tabs) | rows with `event_type` 0: away from `event_start_time` to `event_stop_time`, unix seconds |
//! | `lanl` | LANL LA-UR-05-7318 (CSV) | `Prob Started` to `Prob Fixed`; a machine is (System, nodenumz), one of `nodes` |
//! | `google-2011` | `machine_events`, REMOVE events (CSV) | time in microseconds, machine; when it came back is not told and must be given |
//! | `opendc` | service outages (CSV) | interval to the next one, duration, share of machines hit |

use crate::engine::num;
use crate::scenario::error::{InputError, InputErrors};
use rustc_hash::FxHashMap;
use std::io::Read;

/// Errors told before the rest is only counted.
const MAX_ERRORS: usize = 20;

/// How a file tells of outages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Failure Trace Archive.
    Fta,
    /// Los Alamos 1996–2005.
    Lanl,
    /// Google 2011.
    Google2011,
    /// Service outages as `OpenDC` has them.
    OpenDc,
}

/// Who was away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hit {
    /// One machine, by number.
    Machine(u32),
    /// A share of all machines, 0 to 1.
    Share(f64),
}

/// An outage as the file tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// Who.
    pub hit: Hit,
    /// Its begin, milliseconds on the file's clock.
    pub from_ms: u64,
    /// Its end; none if the file does not tell.
    pub to_ms: Option<u64>,
}

/// What a file tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outages {
    /// Names of the machines, by number.
    pub machines: Vec<String>,
    /// The outages, by begin.
    pub list: Vec<Outage>,
    /// What is watched together, in order of appearance.
    pub watches: Vec<Watch>,
    /// The watch that each machine belongs to, by number.
    pub watch_of: Vec<u32>,
}

/// Machines that are watched from the same instant to the same instant: the first and the last one
/// that the file tells of any of them. FTA tells it of each machine, LANL of each system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// First instant, milliseconds on the file's clock.
    pub from_ms: u64,
    /// Last instant.
    pub to_ms: u64,
    /// How many machines, those included of which nothing bad is told.
    pub machines: u32,
}

/// Numbers machines as they appear.
#[derive(Debug, Default)]
struct Machines {
    names: Vec<String>,
    numbers: FxHashMap<String, u32>,
    watches: Vec<Watch>,
    watch_of: Vec<u32>,
    watch_numbers: FxHashMap<String, u32>,
    declared: Vec<u32>,
}

impl Machines {
    /// The number of a machine, which is watched with others under a name, at these instants.
    fn number(&mut self, name: &str, watch: &str, at: [u64; 2]) -> u32 {
        let next = num::u32_of(self.watches.len());
        let watch = *self.watch_numbers.entry(watch.to_owned()).or_insert(next);
        if watch == next {
            self.watches.push(Watch { from_ms: u64::MAX, to_ms: 0, machines: 0 });
        }
        let watched = &mut self.watches[watch as usize];
        watched.from_ms = watched.from_ms.min(at[0]);
        watched.to_ms = watched.to_ms.max(at[0]).max(at[1]);
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = num::u32_of(self.names.len());
        self.names.push(name.to_owned());
        self.watch_of.push(watch);
        watched.machines += 1;
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The file says how many machines are watched with this one.
    fn declare(&mut self, machine: u32, machines: u32) {
        let watch = self.watch_of[machine as usize];
        self.declared.resize(self.watches.len(), 0);
        let declared = &mut self.declared[watch as usize];
        *declared = machines.max(*declared);
    }

    fn told(self, list: Vec<Outage>) -> Outages {
        let mut watches = self.watches;
        for (watch, declared) in watches.iter_mut().zip(self.declared) {
            watch.machines = watch.machines.max(declared);
        }
        Outages { machines: self.names, list, watches, watch_of: self.watch_of }
    }
}

/// Reads a file of outages.
///
/// # Errors
/// Every bad row, by line.
pub fn read(format: Format, label: &str, from: impl Read) -> Result<Outages, InputErrors> {
    let mut machines = Machines::default();
    let mut list = Vec::new();
    // OpenDC's outages follow each other; its clock starts at zero.
    let mut clock = 0;
    rows(format, label, from, |row| {
        list.extend(match format {
            Format::Fta => fta(row, &mut machines)?,
            Format::Lanl => Some(lanl(row, &mut machines)?),
            Format::Google2011 => Some(google(row, &mut machines)?),
            Format::OpenDc => Some(opendc(row, &mut clock)?),
        });
        Ok(())
    })?;
    list.sort_by_key(|o: &Outage| o.from_ms);
    Ok(machines.told(list))
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fta, Self::Lanl, Self::Google2011, Self::OpenDc];

    /// As scenarios and the command line call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fta => "fta",
            Self::Lanl => "lanl",
            Self::Google2011 => "google2011",
            Self::OpenDc => "opendc",
        }
    }

    /// The format whose columns a file has, by its first line.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let has = |format: &Self| {
            let tabs = if *format == Self::Fta { '\t' } else { ',' };
            let names: Vec<&str> = line.split(tabs).map(str::trim).collect();
            format.columns().iter().all(|column| names.contains(column))
        };
        Self::ALL.into_iter().find(has)
    }

    /// The columns it must have, in the order in which the readers below take them.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Fta => &["node_name", "event_type", "event_start_time", "event_stop_time"],
            Self::Lanl => &["System", "nodenumz", "Prob Started", "Prob Fixed", "nodes"],
            Self::Google2011 => &["time_us", "machine_id"],
            Self::OpenDc => &["failure_interval_ms", "failure_duration_ms", "failure_intensity"],
        }
    }
}

type Row<'a> = &'a [&'a str];

fn fta(row: Row<'_>, machines: &mut Machines) -> Result<Option<Outage>, String> {
    let [name, kind, from, to] = row else { return Err("is short".into()) };
    let (from, to) = (whole(from)?, whole(to)?);
    // A machine counts even if the file has nothing but good to say of it.
    let hit = Hit::Machine(machines.number(name, name, [from * 1000, to * 1000]));
    match *kind {
        "0" if from > to => Err(format!("ends at {to}, before its begin at {from}")),
        "0" => {
            Ok((to > from).then(|| Outage { hit, from_ms: from * 1000, to_ms: Some(to * 1000) }))
        }
        "1" => Ok(None),
        other => Err(format!("event_type {other:?} is neither 0 (away) nor 1 (there)")),
    }
}

fn lanl(row: Row<'_>, machines: &mut Machines) -> Result<Outage, String> {
    let [system, node, from, to, nodes] = row else { return Err("is short".into()) };
    let (from_ms, to) = (minute(from)?, minute(to)?);
    let machine = machines.number(&format!("{system}/{node}"), system, [from_ms, to]);
    if !nodes.is_empty() {
        machines.declare(machine, num::u32_of(num::index(whole(nodes)?)));
    }
    Ok(Outage { hit: Hit::Machine(machine), from_ms, to_ms: (to > from_ms).then_some(to) })
}

fn google(row: Row<'_>, machines: &mut Machines) -> Result<Outage, String> {
    let [at, machine] = row else { return Err("is short".into()) };
    let from_ms = whole(at)? / 1000;
    let hit = Hit::Machine(machines.number(machine, "", [from_ms, from_ms]));
    Ok(Outage { hit, from_ms, to_ms: None })
}

fn opendc(row: Row<'_>, clock: &mut u64) -> Result<Outage, String> {
    let [gap, lasts, share] = row else { return Err("is short".into()) };
    let share: f64 = share.parse().map_err(|_e| format!("{share:?} is no share"))?;
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("a share of {share} is not between 0 and 1"));
    }
    *clock += whole(gap)?;
    Ok(Outage { hit: Hit::Share(share), from_ms: *clock, to_ms: Some(*clock + whole(lasts)?) })
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_e| format!("{text:?} is no whole number"))
}

/// `6/21/2005 10:54`, as milliseconds of unix time.
fn minute(text: &str) -> Result<u64, String> {
    let parsed = jiff::civil::DateTime::strptime("%m/%d/%Y %H:%M", text)
        .and_then(|t| t.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|_e| format!("{text:?} is no time such as 6/21/2005 10:54"))?;
    u64::try_from(parsed.timestamp().as_millisecond())
        .map_err(|_e| format!("{text:?} is too early"))
}

/// Hands over the wanted columns of each row; the first twenty mistakes are told by line.
fn rows(
    format: Format,
    label: &str,
    from: impl Read,
    mut each: impl FnMut(Row<'_>) -> Result<(), String>,
) -> Result<(), InputErrors> {
    let tabs = if format == Format::Fta { b'\t' } else { b',' };
    let mut reader = csv::ReaderBuilder::new().flexible(true).delimiter(tabs).from_reader(from);
    let bad = |problem: String, line: u64| InputError::new(label, problem).at(num::index(line));
    let header = reader
        .byte_headers()
        .map_err(|err| vec![bad(format!("is not CSV: {err}"), 1)])?
        .iter()
        .map(|h| String::from_utf8_lossy(h).trim().to_owned())
        .collect::<Vec<String>>();
    let wanted = format.columns();
    let places: Vec<Option<usize>> =
        wanted.iter().map(|c| header.iter().position(|h| h == c)).collect();
    if let Some(missing) = places.iter().position(Option::is_none) {
        let error = bad(format!("has no column {:?}", wanted[missing]), 1);
        return Err(vec![error.hint(format!("the first line must name {}", wanted.join(", ")))]);
    }
    let (mut errors, mut wrong) = (Vec::new(), 0_usize);
    let mut record = csv::ByteRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(err) => return Err(vec![bad(format!("is not CSV: {err}"), line)]),
        }
        // Latin-1 in columns that are not read does no harm.
        let text = |place: &Option<usize>| {
            let bytes = place.and_then(|p| record.get(p)).unwrap_or_default();
            std::str::from_utf8(bytes).unwrap_or_default().trim()
        };
        let row: Vec<&str> = places.iter().map(text).collect();
        if let Err(problem) = each(&row) {
            wrong += 1;
            if wrong <= MAX_ERRORS {
                errors.push(bad(problem, record.position().map_or(line, csv::Position::line)));
            }
        }
    }
    if wrong > MAX_ERRORS {
        errors.push(InputError::new(label, format!("{} more rows are wrong", wrong - MAX_ERRORS)));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(format: Format, text: &str) -> Result<Outages, InputErrors> {
        read(format, "trace", text.as_bytes())
    }

    #[test]
    fn an_archive_tells_who_is_away_and_who_is_there() {
        let text = "node_name\tevent_type\tevent_start_time\tevent_stop_time\n\
                    a\t1\t0\t5\nb\t0\t3\t9\na\t0\t5\t7\na\t0\t7\t7\n";
        let read = read_text(Format::Fta, text).unwrap();
        assert_eq!(read.machines, ["a", "b"]);
        let told: Vec<_> = read.list.iter().map(|o| (o.hit, o.from_ms, o.to_ms)).collect();
        let wanted = [(Hit::Machine(1), 3000, Some(9000)), (Hit::Machine(0), 5000, Some(7000))];
        assert_eq!(told, wanted);
        let watch = |from_ms, to_ms| Watch { from_ms, to_ms, machines: 1 };
        assert_eq!(read.watches, [watch(0, 7000), watch(3000, 9000)]);
        assert_eq!((read.watch_of, Format::of(text.as_bytes())), (vec![0, 1], Some(Format::Fta)));
    }

    #[test]
    fn systems_have_machines_that_never_fail() {
        let text = "System,nodes,nodenumz,Prob Started,Prob Fixed\n\
                    2,49,0,1/1/1970 0:10,1/1/1970 0:12\n2,49,1,1/1/1970 0:01,1/1/1970 0:30\n\
                    3,,0,1/1/1970 0:02,1/1/1970 0:02\n";
        let read = read_text(Format::Lanl, text).unwrap();
        let minutes = |from: u64, to: u64, machines| Watch {
            from_ms: from * 60_000,
            to_ms: to * 60_000,
            machines,
        };
        assert_eq!(read.watches, [minutes(1, 30, 49), minutes(2, 2, 1)]);
        assert_eq!(
            (read.watch_of, Format::of(text.as_bytes())),
            (vec![0, 0, 1], Some(Format::Lanl))
        );
    }

    #[test]
    fn service_outages_follow_each_other() {
        let text =
            "failure_interval_ms,failure_duration_ms,failure_intensity\n100,10,0.5\n50,20,1\n";
        let read = read_text(Format::OpenDc, text).unwrap();
        let told: Vec<_> = read.list.iter().map(|o| (o.hit, o.from_ms, o.to_ms)).collect();
        assert_eq!(told, [(Hit::Share(0.5), 100, Some(110)), (Hit::Share(1.0), 150, Some(170))]);
    }

    #[test]
    fn mistakes_are_told_by_line() {
        let text = "System,nodes,nodenumz,Prob Started,Prob Fixed\n\
                    2,49,0,6/21/2005 10:54,6/21/2005 11:00\n2,49,1,yesterday,6/21/2005 11:00\n";
        let errors = read_text(Format::Lanl, text).unwrap_err();
        assert_eq!(errors.len(), 1);
        let told = errors[0].to_string();
        assert!(told.contains("trace:3") && told.contains("yesterday"), "{told}");
        let none = read_text(Format::Lanl, "System,nodenumz\n").unwrap_err();
        assert!(none[0].to_string().contains("Prob Started"), "{}", none[0]);
    }
}
