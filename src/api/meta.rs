//! What every object has: names, identity, labels, owners, life-cycle marks.

use super::{Kind, LabelSet, Name};
use crate::engine::Sym;
use std::fmt;
use std::sync::Arc;

/// A Kubernetes timestamp: whole seconds of unix time; 0 means absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u32);

impl Stamp {
    /// No timestamp.
    pub const NONE: Self = Self(0);

    /// True if absent.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Seconds from `earlier` to this one; 0 if it is later.
    #[must_use]
    pub fn secs_since(self, earlier: Self) -> u64 {
        u64::from(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Stamp {
    /// RFC 3339 in UTC, as the API prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_second(i64::from(self.0)).unwrap_or_default();
        f.pad(&instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

/// The identity of an object: the first 64 bits of its UUID. 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uid(pub u64);

impl fmt::Display for Uid {
    /// An RFC 4122 version 4 UUID whose first half is the number, so text and number order alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let low = crate::engine::digest::mix(self.0, 0x5549_4400);
        let high = self.0;
        write!(
            f,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48 & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }
}

/// An owner reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Kind of the owner.
    pub kind: Kind,
    /// Name of the owner (in the same namespace, or cluster-scoped).
    pub name: Name,
    /// Identity of the owner: a same-named successor is not the owner.
    pub uid: Uid,
    /// True for the managing controller; at most one owner has it.
    pub controller: bool,
    /// Foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

/// Set when deletion has been asked for but is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deletion {
    /// `deletionTimestamp`: when the object should be gone.
    pub at: Stamp,
    /// `deletionGracePeriodSeconds`.
    pub grace_s: u32,
}

/// Annotations, shared by all pods of a template; sorted by key.
pub type Annotations = Option<Arc<[(Sym, Arc<str>)]>>;

/// Object metadata.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Meta {
    /// Namespace; empty for cluster-scoped kinds.
    pub ns: Sym,
    /// Name.
    pub name: Name,
    /// Identity, given by the API server.
    pub uid: Uid,
    /// Labels.
    pub labels: LabelSet,
    /// Annotations.
    pub annotations: Annotations,
    /// Owners, shared by all objects of one owner.
    pub owners: Option<Arc<[Owner]>>,
    /// Finalizers that hold the object.
    pub finalizers: Option<Arc<[Sym]>>,
    /// `creationTimestamp`.
    pub created: Stamp,
    /// `metadata.generation`; 0 for kinds without one.
    pub generation: u32,
    /// `deletionTimestamp` and grace period.
    pub deletion: Option<Deletion>,
    /// `resourceVersion`: the etcd revision of the last write; written by etcd alone.
    pub resource_version: u64,
}

impl Meta {
    /// Metadata with a namespace and a name.
    #[must_use]
    pub fn named(ns: Sym, name: Name) -> Self {
        Self { ns, name, ..Self::default() }
    }

    /// The owner that manages the object.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.as_deref()?.iter().find(|o| o.controller)
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_deref()?.iter().find(|(k, _)| k.as_str() == key).map(|(_, v)| &**v)
    }

    /// Sets one annotation (the others are kept).
    pub fn set_annotation(&mut self, key: &str, value: &str) {
        let mut list: Vec<(Sym, Arc<str>)> =
            self.annotations.as_deref().map(<[_]>::to_vec).unwrap_or_default();
        match list.binary_search_by(|(k, _)| k.as_str().cmp(key)) {
            Ok(at) => list[at].1 = value.into(),
            Err(at) => list.insert(at, (Sym::new(key), value.into())),
        }
        self.annotations = Some(list.into());
    }

    /// Takes an annotation away, if it is there.
    pub fn remove_annotation(&mut self, key: &str) {
        if self.annotation(key).is_some() {
            let kept = self.annotations.as_deref().unwrap_or_default();
            let kept: Vec<(Sym, Arc<str>)> =
                kept.iter().filter(|(k, _)| k.as_str() != key).cloned().collect();
            self.annotations = (!kept.is_empty()).then(|| kept.into());
        }
    }

    /// True once deletion has been asked for.
    #[must_use]
    pub fn terminating(&self) -> bool {
        self.deletion.is_some()
    }

    /// True if a finalizer is set.
    #[must_use]
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.as_deref().is_some_and(|all| all.iter().any(|f| f.as_str() == finalizer))
    }

    /// `namespace/name`, or the name alone for cluster-scoped kinds.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.ns.is_empty() {
            self.name.to_string()
        } else {
            format!("{}/{}", self.ns, self.name)
        }
    }
}
