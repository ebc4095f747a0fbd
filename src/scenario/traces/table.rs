//! Reading traces row by row, whatever their size: no file is ever held as text. All mistakes are
//! told by line, the first twenty in words.

use crate::engine::num;
use crate::scenario::error::{InputError, InputErrors};
use std::io::{BufRead, Read};
use std::str::FromStr;

/// Mistakes told before the rest is only counted.
const MOST: usize = 20;

/// What is wrong with the rows of a file.
#[derive(Debug)]
pub(crate) struct Mistakes<'l> {
    label: &'l str,
    told: InputErrors,
    wrong: usize,
}

impl<'l> Mistakes<'l> {
    /// Nothing is wrong yet.
    pub(crate) fn new(label: &'l str) -> Self {
        Self { label, told: Vec::new(), wrong: 0 }
    }

    /// Notes what is wrong with a line.
    pub(crate) fn note(&mut self, line: usize, problem: String) {
        self.wrong += 1;
        if self.wrong <= MOST {
            self.told.push(InputError::new(self.label, problem).at(line));
        }
    }

    /// Fine, or all that is wrong.
    pub(crate) fn finish(mut self) -> Result<(), InputErrors> {
        if self.wrong > MOST {
            let more = format!("{} more rows are wrong", self.wrong - MOST);
            self.told.push(InputError::new(self.label, more));
        }
        if self.told.is_empty() { Ok(()) } else { Err(self.told) }
    }
}

/// The columns of a CSV file that are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// Their names.
    pub(crate) names: &'static [&'static str],
    /// Where they stand, of a file whose first line does not name them.
    pub(crate) places: Option<&'static [usize]>,
}

/// The cells of a row, numbered as the columns are.
#[derive(Debug)]
pub(crate) struct Cells<'r> {
    record: &'r csv::StringRecord,
    columns: Columns,
    places: &'r [usize],
}

impl Cells<'_> {
    /// The text of a cell.
    pub(crate) fn text(&self, column: usize) -> Result<&str, String> {
        self.record.get(self.places[column]).ok_or_else(|| {
            let least = self.places.iter().max().map_or(0, |most| most + 1);
            format!("has {} of at least {least} columns", self.record.len())
        })
    }

    /// A number; `what` names its kind.
    pub(crate) fn number<T: FromStr>(&self, column: usize, what: &str) -> Result<T, String> {
        let text = self.text(column)?;
        text.parse()
            .map_err(|_word| format!("{}: {text:?} is no {what}", self.columns.names[column]))
    }

    /// A whole number of an unsigned type.
    pub(crate) fn count<T: FromStr>(&self, column: usize) -> Result<T, String> {
        self.number(column, "whole number")
    }

    /// An amount, or none where the cell is blank.
    pub(crate) fn blank_or_amount(&self, column: usize) -> Result<Option<f64>, String> {
        if self.text(column)?.is_empty() { Ok(None) } else { self.amount(column).map(Some) }
    }

    /// An amount that may have decimals and is not negative.
    pub(crate) fn amount(&self, column: usize) -> Result<f64, String> {
        let amount: f64 = self.number(column, "amount")?;
        if amount.is_finite() && (0.0..1e15).contains(&amount) {
            return Ok(amount);
        }
        Err(format!("{}: {amount} is out of range", self.columns.names[column]))
    }
}

/// Hands every row of a CSV file over.
///
/// # Errors
/// Every bad row, by line.
pub(crate) fn rows(
    label: &str,
    from: impl Read,
    columns: Columns,
    mut each: impl FnMut(&Cells<'_>) -> Result<(), String>,
) -> Result<(), InputErrors> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(columns.places.is_none())
        .trim(csv::Trim::All)
        .from_reader(from);
    let places = match columns.places {
        Some(places) => places.to_vec(),
        None => named(label, &mut reader, columns)?,
    };
    let mut mistakes = Mistakes::new(label);
    let mut record = csv::StringRecord::new();
    loop {
        let line = num::index(reader.position().line());
        let outcome = match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => each(&Cells { record: &record, columns, places: &places }),
            Err(err) if err.is_io_error() => {
                let error = InputError::new(label, format!("cannot be read: {err}")).at(line);
                return Err(vec![error]);
            }
            Err(err) => Err(format!("is not CSV: {err}")),
        };
        if let Err(problem) = outcome {
            let line = record.position().map_or(line, |at| num::index(at.line()));
            mistakes.note(line, problem);
        }
    }
    mistakes.finish()
}

/// Where the columns stand by the first line.
fn named(
    label: &str,
    reader: &mut csv::Reader<impl Read>,
    columns: Columns,
) -> Result<Vec<usize>, InputErrors> {
    let headers = reader
        .headers()
        .map_err(|err| vec![InputError::new(label, format!("is not CSV: {err}")).at(1)])?;
    let place = |name: &&str| headers.iter().position(|header| header == *name);
    let missing: Vec<&str> =
        columns.names.iter().copied().filter(|name| place(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(columns.names.iter().filter_map(place).collect());
    }
    let problem = format!("has no column {}", missing.join(", "));
    let hint = format!("the first line has to name {}", columns.names.join(","));
    Err(vec![InputError::new(label, problem).at(1).hint(hint)])
}

/// Hands every line of a text file over, without its end.
///
/// # Errors
/// Every bad line.
pub(crate) fn lines(
    label: &str,
    mut from: impl BufRead,
    mut each: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), InputErrors> {
    let mut mistakes = Mistakes::new(label);
    let mut line = 0;
    let mut text = Vec::new();
    while next_line(label, &mut from, line, &mut text)? {
        line += 1;
        // Comments of old archives are not always UTF-8, and nobody reads them.
        if let Err(problem) = each(String::from_utf8_lossy(&text).trim_end()) {
            mistakes.note(line, problem);
        }
    }
    mistakes.finish()
}

/// Reads one line; false at the end of the file.
///
/// # Errors
/// If the file cannot be read on.
pub(crate) fn next_line(
    label: &str,
    from: &mut impl BufRead,
    line: usize,
    text: &mut Vec<u8>,
) -> Result<bool, InputErrors> {
    text.clear();
    let read = from.read_until(b'\n', text);
    let failed = |err| vec![InputError::new(label, format!("cannot be read: {err}")).at(line + 1)];
    Ok(read.map_err(failed)? > 0)
}
