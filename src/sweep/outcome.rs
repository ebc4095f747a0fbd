//! What the runs of a study amount to: verdicts, tables, pictures and a page. A pure function of
//! the book and the runs, so that it does not matter who played them, where, and in what order.

use super::page;
use super::pictures;
use super::play::Results;
use super::study::Book;
use super::table::{Policy, Table, measured, plain};
use super::verdict::Verdicts;
use crate::report::rundir::RunDir;
use crate::scenario::InputError;
use std::path::Path;

/// The outcome of a study.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was studied.
    pub book: Book,
    /// Its runs.
    pub policies: Vec<Policy>,
    /// The comparison with the baseline.
    pub table: Table,
    /// Who wins.
    pub verdicts: Verdicts,
}

impl Outcome {
    /// Of the runs of a book.
    #[must_use]
    pub fn new(book: &Book, results: Results) -> Self {
        let policies: Vec<Policy> = book
            .cells
            .iter()
            .zip(results)
            .map(|(cell, runs)| Policy { name: cell.name.clone(), runs })
            .collect();
        let (table, verdicts) = (Table::new(&policies), Verdicts::new(&policies));
        Self { book: book.clone(), policies, table, verdicts }
    }

    /// Verdicts and table as text.
    #[must_use]
    pub fn text(&self, width: u16) -> String {
        format!("{}\n{}", self.verdicts.render(width), self.table.render(width))
    }

    /// Table and verdicts as data.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let mut data = self.table.json();
        data["verdicts"] = self.verdicts.json();
        data
    }

    /// Every run as a row.
    fn runs_csv(&self) -> Vec<u8> {
        let measures = measured(&self.policies);
        let names = measures.iter().map(|m| m.name);
        let mut out = csv::Writer::from_writer(Vec::new());
        // Writing to memory cannot fail.
        out.write_record(["policy", "seed", "digest", "key"].into_iter().chain(names))
            .unwrap_or_default();
        for policy in &self.policies {
            for run in &policy.runs {
                let own = [policy.name.clone(), run.seed.to_string(), run.digest.clone()];
                let values = measures.iter().map(|m| plain(run.value(m.name)));
                let row = own.into_iter().chain([run.key.clone()]).chain(values);
                out.write_record(row).unwrap_or_default();
            }
        }
        out.into_inner().unwrap_or_default()
    }

    /// Writes everything into a directory, which is complete or absent.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn leave(&self, target: &Path) -> Result<(), InputError> {
        let dir = RunDir::begin(target)?;
        let pictures = pictures::all(self);
        let files = [
            ("table.txt", self.text(WIDTH).into_bytes()),
            ("table.json", format!("{:#}\n", self.json()).into_bytes()),
            ("table.csv", self.table.csv()),
            ("runs.csv", self.runs_csv()),
            ("report.html", page::page(self, &pictures).into_bytes()),
        ];
        let about = serde_json::json!({
            "tool": "wavetank", "program": self.book.program, "sweep": self.book.title,
            "cells": self.table.policies, "seeds": self.book.seeds,
        });
        dir.leave(&files, &pictures, (about, &[]))
    }
}

/// Columns of what is written: the same everywhere.
const WIDTH: u16 = 100;
