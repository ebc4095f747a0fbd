//! Helpers shared by the integration tests.

use std::path::PathBuf;

/// The folder with reference data that is too large for the repository, or none (which the caller
/// prints as skipped). With `WAVETANK_REQUIRE_SHARED=1` its absence is a failure.
#[expect(clippy::disallowed_methods, reason = "tests may look at the environment")]
pub(crate) fn shared_dir() -> Option<PathBuf> {
    let given = std::env::var("WAVETANK_SHARED").ok().map(PathBuf::from);
    let path = given.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    if path.is_dir() {
        return Some(path);
    }
    let required = std::env::var("WAVETANK_REQUIRE_SHARED").is_ok_and(|v| v == "1");
    assert!(!required, "WAVETANK_SHARED ({}) is not there", path.display());
    None
}
