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
        };
        mix(word, form)
    }
}

/// A Kubernetes Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KEvent {
    /// Namespace of the event (that of the object; `default` for cluster-scoped ones).
    pub ns: Sym,
    /// Kind of the object it is about.
    pub kind: Kind,
    /// True for type Warning, false for Normal.
    pub warning: bool,
    /// How often it happened.
    pub count: u16,
    /// Name of the object.
    pub name: Name,
    /// Identity of the object.
    pub uid: Uid,
    /// Reason, CamelCase.
    pub reason: Sym,
    /// Text.
    pub text: Text,
    /// Who says so.
    pub source: Source,
    /// First time.
    pub first: Stamp,
    /// Last time.
    pub last: Stamp,
    /// What tells it from other Events about its object, so that repetitions can be folded into it;
    /// 0 if there will be none.
    pub key: u32,
}

impl KEvent {
    /// The message, rendered.
    #[must_use]
    pub fn message(&self) -> String {
        match self.text {
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
        }
    }

    /// `default-scheduler`, `kubelet`, `replicaset-controller`.
    #[must_use]
    pub fn component(&self) -> Sym {
        match self.source {
            Source::Scheduler => Sym::new("default-scheduler"),
            Source::Kubelet(_) => Sym::new("kubelet"),
            Source::Controller(name) => name,
        }
    }
}
