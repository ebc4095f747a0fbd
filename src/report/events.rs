//! Kubernetes Events as rows of `events.csv`.

use super::rows::{Line, NAME};
use crate::api::Name;
use crate::api::kevent::{KEvent, Source, Text};
use crate::cluster::spec::EventMatch;
use crate::engine::{SimTime, Sym};

/// The head of `events.csv`.
pub const EVENTS_HEAD: &str =
    "time_s,namespace,kind,name,type,reason,count,component,node,message\n";

/// Writes the row of an event.
pub fn event_row(line: &mut Line, time: SimTime, event: &KEvent) {
    let (component, node) = match event.source() {
        Source::Scheduler => ("default-scheduler", Sym::EMPTY),
        Source::Kubelet(node) => ("kubelet", node),
        Source::Controller(name) => (name.as_str(), Sym::EMPTY),
    };
    line.begin().seconds(time).plain(event.ns.as_str()).plain(event.kind.name()).name(event.name);
    line.plain(if event.warning() { "Warning" } else { "Normal" });
    line.sym(event.reason).uint(u64::from(event.count)).plain(component).plain(node.as_str());
    message(line, event);
}

/// Whether an assertion is about this event.
#[must_use]
pub fn fits(event: &KEvent, wanted: &EventMatch) -> bool {
    wanted.reason.is_none_or(|reason| reason == event.reason)
        && wanted.kind.is_none_or(|kind| kind == event.kind)
        && wanted.name.as_ref().is_none_or(|name| *name == event.name.to_string())
        && wanted.message.as_ref().is_none_or(|part| event.message().contains(part.as_str()))
}

/// The message, piece by piece: the same words as [`KEvent::message`], without making a string.
fn message(line: &mut Line, event: &KEvent) {
    let none = Name::default();
    match event.text() {
        Text::Plain(text) => line.sym(text),
        Text::Assigned(node) => {
            let parts =
                ["Successfully assigned ", event.ns.as_str(), "/", NAME, " to ", node.as_str()];
            line.parts(&parts, event.name, false)
        }
        Text::ImagePresent(image) => {
            let parts = ["Container image \"\"", image.as_str(), "\"\" already present on machine"];
            line.parts(&parts, none, true)
        }
        Text::Pulling(image) => {
            line.parts(&["Pulling image \"\"", image.as_str(), "\"\""], none, true)
        }
        Text::Created(container) => {
            line.parts(&["Created container: ", container.as_str()], none, false)
        }
        Text::Started(container) => {
            line.parts(&["Started container ", container.as_str()], none, false)
        }
        Text::Stopping(container) => {
            line.parts(&["Stopping container ", container.as_str()], none, false)
        }
        Text::CreatedPod(pod) => line.parts(&["Created pod: ", NAME], pod, false),
        Text::DeletedPod(pod) => line.parts(&["Deleted pod: ", NAME], pod, false),
        Text::Pulled(..) | Text::NoSandbox(..) => line.text(&event.message()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, Stamp, Uid};

    #[test]
    fn messages_equal_those_of_the_api() {
        let s = Sym::new;
        let texts = [
            Text::Plain(s("0/3 nodes are available: 3 Insufficient cpu.")),
            Text::Plain(s("one, \"two\"")),
            Text::Assigned(s("n1")),
            Text::ImagePresent(s("nginx:1")),
            Text::Pulling(s("nginx:1")),
            Text::Pulled(s("nginx:1"), 1234),
            Text::Created(s("c")),
            Text::Started(s("c")),
            Text::Stopping(s("c")),
            Text::CreatedPod(Name::new("web-x7k2p")),
            Text::DeletedPod(Name::new("web-12")),
        ];
        for text in texts {
            let about = (Kind::Pod, s("default"), Name::new("web-7"), Uid(1));
            let source = Source::Kubelet(s("n1"));
            let event = KEvent::new(about, (false, s("R"), text), source, Stamp(1));
            let mut line = Line::default();
            event_row(&mut line, SimTime(5_000_000_000), &event);
            let row = line.end().to_vec();
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).from_reader(row.as_slice());
            let record = reader.records().next().unwrap().unwrap();
            assert_eq!(&record[0], "5.000000");
            assert_eq!(&record[3], "web-7");
            assert_eq!(record[9], event.message());
        }
    }
}
