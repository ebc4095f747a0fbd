//! Rows of the CSV files: written as they happen, formatted by hand, since a run makes millions.

use crate::api::Name;
use crate::engine::{SimTime, Sym};
use std::io;

/// A table that is written while the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// `pods.csv`.
    Pods,
    /// `events.csv`.
    Events,
}

/// Where rows go.
pub trait RowSink: std::fmt::Debug + Send + Sync {
    /// Takes a whole row, its line end included. An error is kept and told by [`RowSink::close`].
    fn row(&mut self, stream: Stream, row: &[u8]);

    /// No more rows will come.
    ///
    /// # Errors
    /// The first error of any write.
    fn close(&mut self) -> io::Result<()>;
}

/// A row in the making (RFC 4180); the buffer is used again for every row.
#[derive(Debug, Clone, Default)]
pub struct Line {
    bytes: Vec<u8>,
}

/// Stands for the object's name in [`Line::parts`].
pub const NAME: &str = "\0";

/// The numbers from 00 to 99, two digits each.
const PAIRS: &[u8; 200] = b"\
    00010203040506070809101112131415161718192021222324252627282930313233343536373839\
    40414243444546474849505152535455565758596061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

impl Line {
    /// Begins a row.
    pub fn begin(&mut self) -> &mut Self {
        self.bytes.clear();
        self
    }

    /// Ends the row and gives its bytes.
    pub fn end(&mut self) -> &[u8] {
        self.bytes.pop();
        self.bytes.push(b'\n');
        &self.bytes
    }

    /// A field of text, quoted if it must be.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.quoted(text.as_bytes());
        self.bytes.push(b',');
        self
    }

    fn quoted(&mut self, text: &[u8]) {
        if !text.iter().any(|b| matches!(b, b'"' | b',' | b'\n' | b'\r')) {
            self.bytes.extend_from_slice(text);
            return;
        }
        self.bytes.push(b'"');
        for &byte in text {
            if byte == b'"' {
                self.bytes.push(b'"');
            }
            self.bytes.push(byte);
        }
        self.bytes.push(b'"');
    }

    /// A field of text that holds nothing to be quoted: names of objects and Kubernetes' own words.
    pub fn plain(&mut self, text: &str) -> &mut Self {
        debug_assert!(!text.contains(['"', ',', '\n', '\r']), "{text:?} must be quoted");
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b',');
        self
    }

    /// A symbol.
    pub fn sym(&mut self, sym: Sym) -> &mut Self {
        self.text(sym.as_str())
    }

    /// A name of an object (a DNS name: never quoted).
    pub fn name(&mut self, name: Name) -> &mut Self {
        name.push_to(&mut self.bytes);
        self.bytes.push(b',');
        self
    }

    /// An empty field.
    pub fn empty(&mut self) -> &mut Self {
        self.bytes.push(b',');
        self
    }

    /// A whole number.
    pub fn uint(&mut self, n: u64) -> &mut Self {
        self.digits(n, 1);
        self.bytes.push(b',');
        self
    }

    /// A signed whole number.
    pub fn int(&mut self, n: i64) -> &mut Self {
        if n < 0 {
            self.bytes.push(b'-');
        }
        self.uint(n.unsigned_abs())
    }

    /// Thousandths as a decimal number (`1500` is `1.500`).
    pub fn milli(&mut self, n: i64) -> &mut Self {
        if n < 0 {
            self.bytes.push(b'-');
        }
        let n = n.unsigned_abs();
        self.digits(n / 1000, 1);
        self.bytes.push(b'.');
        self.digits(n % 1000, 3);
        self.bytes.push(b',');
        self
    }

    /// An instant in seconds with six decimals; empty for [`SimTime::MAX`] (never).
    pub fn seconds(&mut self, time: SimTime) -> &mut Self {
        if time != SimTime::MAX {
            let micros = time.0 / 1000;
            let mut buffer = [b'0'; 32];
            buffer[31] = b',';
            put(&mut buffer, 31, micros % 1_000_000);
            buffer[24] = b'.';
            let at = put(&mut buffer, 24, micros / 1_000_000).min(23);
            self.bytes.extend_from_slice(&buffer[at..]);
        } else {
            self.bytes.push(b',');
        }
        self
    }

    /// A float with so many decimals; empty if it is not a number.
    pub fn float(&mut self, x: f64, decimals: usize) -> &mut Self {
        if x.is_finite() {
            self.bytes.extend_from_slice(format!("{x:.decimals$}").as_bytes());
        }
        self.bytes.push(b',');
        self
    }

    /// Text in parts, written as one field and quoted as a whole if `quote`.
    pub fn parts(&mut self, parts: &[&str], name: Name, quote: bool) -> &mut Self {
        if quote {
            self.bytes.push(b'"');
        }
        for part in parts {
            if *part == NAME {
                name.push_to(&mut self.bytes);
            } else {
                self.bytes.extend_from_slice(part.as_bytes());
            }
        }
        if quote {
            self.bytes.push(b'"');
        }
        self.bytes.push(b',');
        self
    }

    fn digits(&mut self, n: u64, width: usize) {
        let mut buffer = [b'0'; 20];
        let at = put(&mut buffer, 20, n).min(buffer.len() - width);
        self.bytes.extend_from_slice(&buffer[at..]);
    }
}

/// Writes a number so that it ends before `end`; gives where it begins. 0 has no digits.
fn put(buffer: &mut [u8], end: usize, n: u64) -> usize {
    let (mut at, mut rest) = (end, n);
    // Two digits at a time: a division is the dear part.
    while rest >= 10 {
        at -= 2;
        let pair = 2 * crate::engine::num::index(rest % 100);
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        rest /= 100;
    }
    if rest > 0 {
        at -= 1;
        buffer[at] = PAIRS[2 * crate::engine::num::index(rest) + 1];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_formatted_and_quoted() {
        let mut line = Line::default();
        line.begin().text("a,\"b\"").uint(0).int(-7).milli(1500).milli(-5);
        line.seconds(SimTime(1_234_567_890)).seconds(SimTime::MAX).name(Name::new("web-x7k2p"));
        let row = line.end();
        let want = "\"a,\"\"b\"\"\",0,-7,1.500,-0.005,1.234567,,web-x7k2p\n";
        assert_eq!(std::str::from_utf8(row).unwrap(), want);
    }
}
