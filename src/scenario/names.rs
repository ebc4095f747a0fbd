//! Names and labels as Kubernetes allows them (source: apimachinery
//! `util/validation/validation.go`).

use super::place::Place;
use super::report::Report;
use std::collections::BTreeMap;

/// Way out of a bad name.
pub(crate) const HINT: &str =
    "names are lower-case letters, digits, '-' and '.', and begin and end with a letter or digit";

/// A DNS-1123 subdomain: what most objects are called.
pub(crate) fn subdomain(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err("the name is longer than 253 characters".into());
    }
    if !name.is_empty() && name.split('.').all(is_label) {
        Ok(())
    } else {
        Err(format!("{name:?} is not a valid name"))
    }
}

/// A DNS-1123 label: what namespaces are called.
pub(crate) fn label(name: &str) -> Result<(), String> {
    if name.len() > 63 {
        return Err("the name is longer than 63 characters".into());
    }
    if is_label(name) { Ok(()) } else { Err(format!("{name:?} is not a valid name")) }
}

fn is_label(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    part.bytes().all(|b| plain(b) || b == b'-')
        && part.bytes().next().is_some_and(plain)
        && part.bytes().last().is_some_and(plain)
}

fn is_word(text: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A label key: an optional DNS prefix and a slash, then a word.
fn is_key(key: &str) -> bool {
    key.split_once('/')
        .map_or_else(|| is_word(key), |(prefix, word)| subdomain(prefix).is_ok() && is_word(word))
}

/// Checks keys and values of labels.
pub(crate) fn labels(labels: &BTreeMap<String, String>, at: &Place, report: &mut Report) {
    for (key, value) in labels {
        if !is_key(key) {
            let problem = format!("{key:?} is not a valid label key");
            report.error(&at.key(key), problem, "write key or example.com/key");
        } else if !value.is_empty() && !is_word(value) {
            let problem = format!("{value:?} is not a valid label value");
            report.error(
                &at.key(key),
                problem,
                "at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kubernetes() {
        assert!(subdomain("node-0.example.com").is_ok());
        for bad in ["", "Node", "-a", "a-", "a..b", "a_b"] {
            assert!(subdomain(bad).is_err(), "{bad}");
        }
        assert!(label("a.b").is_err());
        assert!(is_key("example.com/x_Y.z") && !is_key("/x") && !is_key("a/b/c"));
    }
}
