//! Who is it? Components and the administrator come with certificates that hold; a service account
//! comes with its token, which holds as long as the account exists.

use super::rbac::service_account;
use crate::api::request::{ApiError, User};
use crate::api::versions::Versions;
use crate::api::{Kind, Name};
use crate::engine::Sym;

/// 401 for the token of a service account that is not there (source:
/// `pkg/serviceaccount/claims.go`: the validator looks the account up).
pub(super) fn authenticate(user: User, versions: &Versions) -> Result<(), ApiError> {
    let User::Person { name, .. } = user else { return Ok(()) };
    let Some((ns, account)) = service_account(name.as_str()) else { return Ok(()) };
    let (ns, account) = (Sym::new(ns), Name::new(account));
    let there = versions.find(Kind::ServiceAccount, ns, account).is_some();
    if there { Ok(()) } else { Err(ApiError::Unauthorized) }
}
