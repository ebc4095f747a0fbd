//! `ServiceAccount`: every pod runs as an account of its namespace that exists.
//! Source: `plugin/pkg/admission/serviceaccount/admission.go`. The token's volume is not modelled.

use crate::api::pod::PodSpec;
use crate::api::request::ApiError;
use crate::api::versions::Versions;
use crate::api::{Kind, Name};
use crate::engine::Sym;

const DEFAULT: &str = "default";

/// Sets `serviceAccountName`; the account must be there. `made`: a controller makes the account
/// `default` in every namespace; without one it counts as being there.
pub(super) fn admit(
    spec: &mut PodSpec,
    ns: Sym,
    made: bool,
    versions: &Versions,
) -> Result<(), ApiError> {
    if spec.service_account.is_empty() {
        spec.service_account = Sym::new(DEFAULT);
    }
    let account = spec.service_account;
    let given = account.as_str() == DEFAULT && !made;
    if given || versions.find(Kind::ServiceAccount, ns, Name::from(account)).is_some() {
        return Ok(());
    }
    let text = format!(
        "error looking up service account {ns}/{account}: serviceaccount \"{account}\" not found"
    );
    Err(ApiError::Forbidden(Sym::new(&text)))
}
