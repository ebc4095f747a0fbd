//! Object names in eight bytes: an interned base and a tail code, so that generated names
//! (`web-6d4b75cb6d-x7k2p`, `job-000017`) do not grow the interner with every pod.

use crate::engine::{Sym, num};
use rustc_hash::FxBuildHasher;
use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::BuildHasher;

/// The alphabet of generated suffixes (source: apimachinery `util/rand/rand.go`).
pub const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Letters of a generated suffix (source: apiserver `storage/names/generate.go`).
pub const SUFFIX_LEN: usize = 5;

/// How many suffixes there are: 27 to the fifth.
pub const N_SUFFIXES: u32 = 14_348_907;

const DECIMAL: &[u8; 10] = b"0123456789";

const NUMBER_FLAG: u32 = 1 << 31;

/// A name such as `web`, `web-7` or `web-x7k2p`. Equal text is equal `Name`: every name is brought
/// into one form (a decimal tail wins over a suffix tail, which wins over plain text).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Name {
    base: Sym,
    /// 0: none; high bit: a decimal number; else 1 + the suffix code.
    tail: u32,
}

impl Name {
    /// The name with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if let Some((base, tail)) = text.rsplit_once('-') {
            if let Some(number) = decimal(tail) {
                return Self { base: Sym::new(base), tail: NUMBER_FLAG | number };
            }
            if let Some(code) = suffix_code(tail.as_bytes()) {
                return Self { base: Sym::new(base), tail: 1 + code };
            }
        }
        Self { base: Sym::new(text), tail: 0 }
    }

    /// `base-NUMBER`.
    #[must_use]
    pub fn numbered(base: Sym, number: u32) -> Self {
        if number < NUMBER_FLAG {
            Self { base, tail: NUMBER_FLAG | number }
        } else {
            Self::new(&format!("{base}-{number}"))
        }
    }

    /// `base-SUFFIX` for a suffix code below [`N_SUFFIXES`]: what `generateName: base-` gives.
    #[must_use]
    pub fn suffixed(base: Sym, code: u32) -> Self {
        let letters = suffix_letters(code % N_SUFFIXES);
        let text = std::str::from_utf8(&letters).unwrap_or_default();
        decimal(text).map_or(Self { base, tail: 1 + code % N_SUFFIXES }, |number| Self {
            base,
            tail: NUMBER_FLAG | number,
        })
    }

    /// The part before the tail, and whether there is a tail.
    #[must_use]
    pub fn base(self) -> (Sym, bool) {
        (self.base, self.tail != 0)
    }

    /// Base and tail code: for columns that keep names in two words.
    #[must_use]
    pub fn parts(self) -> (Sym, u32) {
        (self.base, self.tail)
    }

    /// The name of [`Name::parts`].
    #[must_use]
    pub fn of_parts(base: Sym, tail: u32) -> Self {
        Self { base, tail }
    }

    /// The decimal tail, if that is what the name has (`web-7` has 7).
    #[must_use]
    pub fn number(self) -> Option<u32> {
        (self.tail & NUMBER_FLAG != 0).then_some(self.tail & !NUMBER_FLAG)
    }

    /// True for the empty name.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.base.is_empty() && self.tail == 0
    }

    /// A hash of the text that is the same in every process.
    #[must_use]
    pub fn stable_hash(self) -> u64 {
        crate::engine::digest::mix(self.base.stable_hash(), u64::from(self.tail))
    }

    /// Appends the text to a buffer of bytes without making a string in between.
    pub fn push_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.base.as_str().as_bytes());
        if let Some(number) = self.number() {
            let mut digits = [0_u8; 10];
            let mut at = digits.len();
            let mut rest = number;
            loop {
                at -= 1;
                digits[at] = DECIMAL[(rest % 10) as usize];
                rest /= 10;
                if rest == 0 {
                    break;
                }
            }
            out.push(b'-');
            out.extend_from_slice(&digits[at..]);
        } else if self.tail != 0 {
            out.push(b'-');
            out.extend_from_slice(&suffix_letters(self.tail - 1));
        }
    }

    /// The whole name as one symbol.
    #[must_use]
    pub fn sym(self) -> Sym {
        if self.tail == 0 {
            return self.base;
        }
        let mut recent = RECENT.take();
        if recent.is_empty() {
            recent.resize(1 << 12, (Self::default(), Sym::EMPTY));
        }
        let place = &mut recent[num::index(FxBuildHasher.hash_one(self) >> 52)];
        if place.0 != self {
            *place = (self, Sym::new(&self.to_string()));
        }
        let sym = place.1;
        RECENT.set(recent);
        sym
    }

    /// Orders by text (byte order, as etcd orders keys).
    #[must_use]
    pub fn cmp_text(self, other: Self) -> Ordering {
        if self == other { Ordering::Equal } else { self.to_string().cmp(&other.to_string()) }
    }
}

thread_local! {
    /// Names that were spelled out lately: those of nodes are asked for again and again. One place
    /// for each value of the hash's upper twelve bits.
    static RECENT: Cell<Vec<(Name, Sym)>> = const { Cell::new(Vec::new()) };
}

/// A decimal number without leading zero that fits the tail.
fn decimal(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 9 || text.len() > 1 && text.starts_with('0') {
        return None;
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn suffix_code(letters: &[u8]) -> Option<u32> {
    if letters.len() != SUFFIX_LEN {
        return None;
    }
    letters.iter().try_fold(0, |code, letter| {
        let digit = SUFFIX_ALPHABET.iter().position(|a| a == letter)?;
        Some(code * 27 + num::u32_of(digit))
    })
}

fn suffix_letters(mut code: u32) -> [u8; SUFFIX_LEN] {
    let mut letters = [b'b'; SUFFIX_LEN];
    for letter in letters.iter_mut().rev() {
        *letter = SUFFIX_ALPHABET[(code % 27) as usize];
        code /= 27;
    }
    letters
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<Sym> for Name {
    fn from(sym: Sym) -> Self {
        Self::new(sym.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tail == 0 {
            return f.pad(self.base.as_str());
        }
        let text = self.number().map_or_else(
            || {
                let letters = suffix_letters(self.tail - 1);
                format!("{}-{}", self.base, std::str::from_utf8(&letters).unwrap_or_default())
            },
            |number| format!("{}-{number}", self.base),
        );
        f.pad(&text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives() {
        for text in [
            "web",
            "web-7",
            "web-07",
            "web-x7k2p",
            "web-24567",
            "a-b-c",
            "web-",
            "-",
            "web-aeiou",
            "x-999999999",
            "x-9999999999",
        ] {
            assert_eq!(Name::new(text).to_string(), text);
            let mut bytes = Vec::new();
            Name::new(text).push_to(&mut bytes);
            assert_eq!(bytes, text.as_bytes());
        }
    }

    #[test]
    fn generated_names_equal_their_text() {
        let base = Sym::new("web");
        for code in (0..N_SUFFIXES).step_by(9_973) {
            let name = Name::suffixed(base, code);
            assert_eq!(name, Name::new(&name.to_string()));
        }
        assert_eq!(Name::numbered(base, 3), Name::new("web-3"));
    }
}
