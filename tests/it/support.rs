//! What several tests share.

use std::path::PathBuf;

/// The folder with third-party data, which is not part of the repository; none if it is not there.
///
/// # Panics
/// If it is missing although `WAVETANK_REQUIRE_SHARED=1` asks for it.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where data lies")]
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn shared_dir() -> Option<PathBuf> {
    let named = std::env::var("WAVETANK_SHARED").unwrap_or_else(|_| "../shared".to_owned());
    let path = PathBuf::from(named);
    if path.is_dir() {
        return Some(path);
    }
    let required = std::env::var("WAVETANK_REQUIRE_SHARED").is_ok_and(|v| v == "1");
    assert!(!required, "{} is missing; set WAVETANK_SHARED", path.display());
    eprintln!("skipped: {} is missing", path.display());
    None
}

/// Every file below a folder, sorted by path.
pub(crate) fn files_below(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
