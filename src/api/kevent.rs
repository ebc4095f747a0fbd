//! Kubernetes Events: what `kubectl get events` shows. Small, since a run makes five per pod.

use super::meta::{Stamp, Uid};
use super::{Kind, Name};
use crate::engine::Sym;
use crate::engine::digest::mix;

/// Who reports an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// `default-scheduler`.
    Scheduler,
    /// `kubelet`, with its node.
    Kubelet(Sym),
    /// A controller by its component name.
    Controller(Sym),
}

/// The text of an event, kept as its parts and rendered when somebody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Text {
    /// Whole text.
    Plain(Sym),
    /// `Successfully assigned NS/NAME to NODE`.
    Assigned(Sym),
    /// `Container image "IMAGE" already present on machine`.
    ImagePresent(Sym),
    /// `Pulling image "IMAGE"`.
    Pulling(Sym),
    /// `Successfully pulled image "IMAGE" in D`, milliseconds.
    Pulled(Sym, u32),
    /// `Created container: NAME`.
    Created(Sym),
    /// `Started container NAME`.
    Started(Sym),
    /// `Stopping container NAME`.
    Stopping(Sym),
    /// `Created pod: NAME`.
    CreatedPod(Name),
    /// `Deleted pod: NAME`.
    DeletedPod(Name),
    /// `Failed to create pod sandbox: … WHY`, and which attempt it was.
    NoSandbox(Sym, u32),
}

impl Text {
    /// The same for the same text in every process.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        let (form, word) = match *self {
            Self::Plain(text) => (0, text.stable_hash()),
            Self::Assigned(node) => (1, node.stable_hash()),
            Self::ImagePresent(image) => (2, image.stable_hash()),
            Self::Pulling(image) => (3, image.stable_hash()),
            Self::Pulled(image, ms) => (4, mix(image.stable_hash(), u64::from(ms))),
            Self::Created(container) => (5, container.stable_hash()),
            Self::Started(container) => (6, container.stable_hash()),
            Self::Stopping(container) => (7, container.stable_hash()),
            Self::CreatedPod(pod) => (8, pod.stable_hash()),
            Self::DeletedPod(pod) => (9, pod.stable_hash()),
            Self::NoSandbox(why, n) => (10, mix(why.stable_hash(), u64::from(n))),
        };
        mix(word, form)
    }
}

/// A Kubernetes Event. A run makes five per pod and keeps each for an hour, so it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KEvent {
    /// Namespace of the event (that of the object; `default` for cluster-scoped ones).
    pub ns: Sym,
    /// Reason, CamelCase.
    pub reason: Sym,
    /// Name of the object.
    pub name: Name,
    /// Identity of the object.
    pub uid: Uid,
    /// First time.
    pub first: Stamp,
    /// Last time.
    pub last: Stamp,
    /// The words of the text, and what else it has: milliseconds, or the tail of a name.
    words: (Sym, u32),
    /// The node of a kubelet, the name of a controller.
    source: Sym,
    /// Kind of the object it is about.
    pub kind: Kind,
    /// Form of the text, form of the source, and whether it is a warning.
    forms: u8,
    /// How often it happened.
    pub count: u16,
}

const _: () = assert!(size_of::<KEvent>() == 48, "Events are most of what a store holds");

/// Where `forms` keeps what.
const TEXT_FORM: u8 = 0xf;
const SOURCE_SHIFT: u8 = 4;
const WARNING: u8 = 0x80;

/// What an Event is about: kind, namespace, name, identity.
pub type About = (Kind, Sym, Name, Uid);

impl KEvent {
    /// An Event that happens for the first time.
    #[must_use]
    pub fn new(
        (kind, ns, name, uid): About,
        (warning, reason, text): (bool, Sym, Text),
        source: Source,
        at: Stamp,
    ) -> Self {
        let (form, voice) = match source {
            Source::Scheduler => (0, Sym::EMPTY),
            Source::Kubelet(node) => (1, node),
            Source::Controller(name) => (2, name),
        };
        let forms = form << SOURCE_SHIFT | if warning { WARNING } else { 0 };
        let (first, last, count) = (at, at, 1);
        let words = (Sym::EMPTY, 0);
        let bare =
            Self { ns, reason, name, uid, first, last, words, source: voice, kind, forms, count };
        bare.with_text(text)
    }

    /// The same Event with another text.
    #[must_use]
    pub fn with_text(self, text: Text) -> Self {
        let (form, words) = match text {
            Text::Plain(text) => (0, (text, 0)),
            Text::Assigned(node) => (1, (node, 0)),
            Text::ImagePresent(image) => (2, (image, 0)),
            Text::Pulling(image) => (3, (image, 0)),
            Text::Pulled(image, ms) => (4, (image, ms)),
            Text::Created(container) => (5, (container, 0)),
            Text::Started(container) => (6, (container, 0)),
            Text::Stopping(container) => (7, (container, 0)),
            Text::CreatedPod(pod) => (8, pod.parts()),
            Text::DeletedPod(pod) => (9, pod.parts()),
            Text::NoSandbox(why, n) => (10, (why, n)),
        };
        Self { words, forms: self.forms & !TEXT_FORM | form, ..self }
    }

    /// Text.
    #[must_use]
    pub fn text(&self) -> Text {
        let (word, more) = self.words;
        match self.forms & TEXT_FORM {
            1 => Text::Assigned(word),
            2 => Text::ImagePresent(word),
            3 => Text::Pulling(word),
            4 => Text::Pulled(word, more),
            5 => Text::Created(word),
            6 => Text::Started(word),
            7 => Text::Stopping(word),
            8 => Text::CreatedPod(Name::of_parts(word, more)),
            9 => Text::DeletedPod(Name::of_parts(word, more)),
            10 => Text::NoSandbox(word, more),
            _plain => Text::Plain(word),
        }
    }

    /// Who says so.
    #[must_use]
    pub fn source(&self) -> Source {
        match self.forms >> SOURCE_SHIFT & 3 {
            0 => Source::Scheduler,
            1 => Source::Kubelet(self.source),
            _two => Source::Controller(self.source),
        }
    }

    /// True for type Warning, false for Normal.
    #[must_use]
    pub fn warning(&self) -> bool {
        self.forms & WARNING != 0
    }

    /// The message, rendered.
    #[must_use]
    pub fn message(&self) -> String {
        match self.text() {
            Text::Plain(text) => text.to_string(),
            Text::Assigned(node) => {
                format!("Successfully assigned {}/{} to {node}", self.ns, self.name)
            }
            Text::ImagePresent(image) => {
                format!("Container image \"{image}\" already present on machine")
            }
            Text::Pulling(image) => format!("Pulling image \"{image}\""),
            Text::Pulled(image, ms) => {
                format!("Successfully pulled image \"{image}\" in {}.{:03}s", ms / 1000, ms % 1000)
            }
            Text::Created(container) => format!("Created container: {container}"),
            Text::Started(container) => format!("Started container {container}"),
            Text::Stopping(container) => format!("Stopping container {container}"),
            Text::CreatedPod(pod) => format!("Created pod: {pod}"),
            Text::DeletedPod(pod) => format!("Deleted pod: {pod}"),
            Text::NoSandbox(why, n) => format!(
                "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup \
                 network for sandbox \"{}\": {why}",
                sandbox(self.uid, n)
            ),
        }
    }

    /// `default-scheduler`, `kubelet`, `replicaset-controller`.
    #[must_use]
    pub fn component(&self) -> Sym {
        match self.source() {
            Source::Scheduler => Sym::new("default-scheduler"),
            Source::Kubelet(_) => Sym::new("kubelet"),
            Source::Controller(name) => name,
        }
    }
}

/// The name that a runtime gives a pod's sandbox: 64 hexadecimal digits, others with each attempt.
fn sandbox(pod: Uid, attempt: u32) -> String {
    let part = |i| format!("{:016x}", mix(pod.0, u64::from(attempt) << 2 | i));
    (0..4).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let s = Sym::new;
        let texts = [
            Text::Plain(s("x")),
            Text::Assigned(s("n1")),
            Text::ImagePresent(s("i")),
            Text::Pulling(s("i")),
            Text::Pulled(s("i"), 1234),
            Text::Created(s("c")),
            Text::Started(s("c")),
            Text::Stopping(s("c")),
            Text::CreatedPod(Name::new("web-x7k2p")),
            Text::DeletedPod(Name::new("web-12")),
            Text::NoSandbox(s("w"), 2),
        ];
        let about = (Kind::Pod, s("ns"), Name::new("web-1"), Uid(7));
        let sources = [Source::Scheduler, Source::Kubelet(s("n")), Source::Controller(s("c"))];
        for text in texts {
            for source in sources {
                for warning in [false, true] {
                    let e = KEvent::new(about, (warning, s("R"), text), source, Stamp(3));
                    assert_eq!((e.text(), e.source(), e.warning()), (text, source, warning));
                }
            }
        }
    }
}
