//! `ServiceAccount`: every pod runs as an account of its namespace that exists.
//! Source: `plugin/pkg/admission/serviceaccount/admission.go`. The token's volume is not modelled.

use crate::api::pod::PodSpec;
use crate::api::request::ApiError;
use crate::api::versions::Versions;
use crate::api::{Kind, Name};
use crate::engine::draw::Draw;
use crate::engine::{SimDuration, Sym};

const DEFAULT: &str = "default";

/// Looks at the account `default` of a new namespace, which its controller is about to make.
pub(in crate::control_plane::apiserver) const ATTEMPTS: u8 = 10;

/// Sets `serviceAccountName`; true if the account is there.
pub(super) fn admit(spec: &mut PodSpec, ns: Sym, versions: &Versions) -> bool {
    if spec.service_account.is_empty() {
        spec.service_account = Sym::new(DEFAULT);
    }
    versions.find(Kind::ServiceAccount, ns, Name::from(spec.service_account)).is_some()
}

/// Whether an account that is missing is worth another look.
pub(super) fn is_default(spec: &PodSpec) -> bool {
    spec.service_account.as_str() == DEFAULT
}

/// Between two looks at it: 100 to 200 ms.
pub(in crate::control_plane::apiserver) fn interval(mut draw: Draw) -> SimDuration {
    let least = SimDuration::from_millis(100);
    SimDuration(least.0 + draw.below(least.0))
}

/// The refusal.
pub(super) fn missing(account: Sym, ns: Sym) -> ApiError {
    let text = format!(
        "error looking up service account {ns}/{account}: serviceaccount \"{account}\" not found"
    );
    ApiError::Forbidden(Sym::new(&text))
}
