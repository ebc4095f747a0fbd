//! What stands at the end of a run beside pods: claims without a disk, Services that nobody serves.

use super::expect::{Verdict, verdict};
use super::text::count;
use crate::api::service::{EndpointSlice, SERVICE_NAME, Service};
use crate::api::storage::ClaimPhase;
use crate::api::versions::Versions;
use crate::api::{Kind, Obj};
use serde::Serialize;
use std::collections::BTreeSet;

/// How many there are, and who lacks what makes them useful.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// All of them.
    pub total: usize,
    /// Those that lack it, as `NAMESPACE/NAME`, sorted.
    pub without: Vec<String>,
}

/// Claims and Services at the end of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// `PersistentVolumeClaim`s; without: those that are not `Bound`.
    pub claims: Share,
    /// Services with a selector; without: those without a ready endpoint.
    pub services: Share,
}

fn full_name(object: &Obj) -> String {
    let (ns, name) = object.key();
    format!("{ns}/{name}")
}

/// Namespace and name of a Service.
type Named = (&'static str, &'static str);

fn served(slice: &EndpointSlice) -> Option<Named> {
    let ready = slice.endpoints.iter().any(|e| e.ready);
    let service = slice.meta.labels.get(SERVICE_NAME.into()).filter(|_| ready)?;
    Some((slice.meta.ns.as_str(), service.as_str()))
}

fn share(versions: &Versions, kind: Kind, lacks: impl Fn(&Obj) -> Option<bool>) -> Share {
    let mut share = Share::default();
    for (_, object) in versions.iter(kind) {
        let Some(lacks) = lacks(object) else { continue };
        share.total += 1;
        if lacks {
            share.without.push(full_name(object));
        }
    }
    share.without.sort();
    share
}

impl Standing {
    /// Looks once at what is there.
    #[must_use]
    pub fn of(versions: &Versions) -> Self {
        let slices = versions.iter(Kind::EndpointSlice);
        let served: BTreeSet<Named> = slices
            .filter_map(|(_, o)| if let Obj::EndpointSlice(s) = o { served(s) } else { None })
            .collect();
        let unbound = |object: &Obj| {
            let Obj::PersistentVolumeClaim(claim) = object else { return None };
            Some(claim.phase != ClaimPhase::Bound)
        };
        let unserved = |object: &Obj| {
            let Obj::Generic(Kind::Service, generic) = object else { return None };
            Service::of(generic).selector?;
            Some(!served.contains(&(generic.meta.ns.as_str(), generic.meta.name.sym().as_str())))
        };
        Self {
            claims: share(versions, Kind::PersistentVolumeClaim, unbound),
            services: share(versions, Kind::Service, unserved),
        }
    }

    /// A line for each lack.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |share: &Share, what: &str, lack: &str| {
            let names: Vec<&str> = share.without.iter().take(MOST).map(String::as_str).collect();
            let more = share.without.len().saturating_sub(MOST);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let (n, total) = (share.without.len(), count(share.total as u64, what));
            (n > 0)
                .then(|| format!("{n} of {total} {lack} at the end: {}{more}.", names.join(", ")))
        };
        let claims = line(&self.claims, "PersistentVolumeClaim", "not bound");
        let services = line(&self.services, "Service", "without a ready endpoint");
        claims.into_iter().chain(services).collect()
    }
}

/// Names in a line of the summary; the others are counted.
const MOST: usize = 5;

/// Whether none lacks it.
pub(super) fn judge(share: &Share, expected: &str) -> Verdict {
    let observed = match share.without.as_slice() {
        [] => format!("{} of {}", share.total, share.total),
        [first, ..] => {
            format!("{} of {} not, {first} first", share.without.len(), share.total)
        }
    };
    verdict(share.without.is_empty(), expected.to_owned(), observed)
}
