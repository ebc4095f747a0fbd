//! Records of failures, fitted: how long machines run between failures and how long repairs take,
//! as distributions that a scenario's `outages:` can draw from.

mod likelihood;
mod plot;
mod spells;

pub use likelihood::{Family, Fit, Member, fit};
pub use spells::{Spell, Spells, ended_by, spells};

use super::text::{count, span, wrap};
use crate::engine::num;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

/// A kind of span, and what fits it.
#[derive(Debug, Clone)]
pub struct Quantity {
    /// The field of `outages:` that takes it: `mtbf` or `repair`.
    pub field: &'static str,
    /// Spans as the record tells them.
    pub spells: Vec<Spell>,
    /// Fits, the best by AIC first.
    pub fits: Vec<Fit>,
}

/// What a record of failures comes to.
#[derive(Debug, Clone)]
pub struct Study {
    /// Name of the record.
    pub name: String,
    /// Machines, those that never failed included.
    pub machines: u32,
    /// Time between failures and, if the record tells it, time to repair.
    pub quantities: Vec<Quantity>,
}

impl Quantity {
    fn new(field: &'static str, spells: Vec<Spell>) -> Option<Self> {
        let mut fits: Vec<Fit> = Family::ALL.iter().filter_map(|f| fit(*f, &spells)).collect();
        fits.sort_by(|a, b| a.aic.total_cmp(&b.aic));
        (!fits.is_empty()).then_some(Self { field, spells, fits })
    }

    /// How many spans have ended, and how many are cut off.
    fn counts(&self) -> (u64, u64) {
        let of = |ended| {
            let those = self.spells.iter().filter(|s| s.ended == ended);
            num::trunc_u(those.map(|s| s.count).sum())
        };
        (of(true), of(false))
    }

    /// In words.
    fn title(&self) -> String {
        let (ended, cut) = self.counts();
        let (what, cut_words) = match self.field {
            "mtbf" => ("time between failures of a machine", "without a failure by the end"),
            _repair => ("time to repair", "not over by the end"),
        };
        format!("{what}: {ended} spans, {cut} more {cut_words}")
    }

    fn table(&self, width: u16) -> String {
        let mut grid = Table::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        grid.set_width(width);
        grid.set_header(["distribution", "mean", "log-likelihood", "AIC", "KS"]);
        for fit in &self.fits {
            grid.add_row([
                fit.member.written(),
                span(num::rounded(fit.member.mean_s(), 0)),
                num::rounded(fit.log_likelihood, 1).to_string(),
                num::rounded(fit.aic, 1).to_string(),
                num::rounded(fit.ks, 3).to_string(),
            ]);
        }
        for column in 1..5 {
            if let Some(column) = grid.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        grid.trim_fmt()
    }
}

impl Study {
    /// Fits a record.
    #[must_use]
    pub fn new(name: &str, told: Spells) -> Self {
        let Spells { up, down, machines } = told;
        let all = [("mtbf", up), ("repair", down)];
        let quantities = all.into_iter().filter_map(|(field, list)| Quantity::new(field, list));
        Self { name: name.to_owned(), machines, quantities: quantities.collect() }
    }

    /// What a scenario writes to have machines fail like this.
    #[must_use]
    pub fn written(&self) -> String {
        let fields = self.quantities.iter().filter_map(|q| {
            let best = q.fits.first()?;
            Some(format!("{}: {}", q.field, best.member.written()))
        });
        let fields: Vec<String> = fields.collect();
        format!("outages: [{{name: {}, {}}}]", self.name, fields.join(", "))
    }

    /// As text, at most `width` columns wide.
    #[must_use]
    pub fn render(&self, width: u16) -> String {
        let mut page = format!("{}: {}\n", self.name, count(u64::from(self.machines), "machine"));
        for quantity in &self.quantities {
            page.push_str(&format!("\n{}\n{}\n", quantity.title(), quantity.table(width)));
        }
        let notes = "the best by AIC comes first; KS: how far the fit is from the record at worst \
                     (Kaplan and Meier's share, since the record cuts spans off)";
        page.push('\n');
        wrap(&mut page, notes, usize::from(width));
        wrap(&mut page, &self.written(), usize::from(width));
        page
    }

    /// One row per fit.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut out = "span,family,scale_s,shape,mean_s,log_likelihood,aic,ks\n".to_owned();
        for quantity in &self.quantities {
            for fit in &quantity.fits {
                let cells = [
                    fit.member.scale_s(),
                    fit.member.shape(),
                    fit.member.mean_s(),
                    fit.log_likelihood,
                    fit.aic,
                    fit.ks,
                ];
                let cells = cells.map(|x| num::rounded(x, 6).to_string()).join(",");
                out.push_str(&format!(
                    "{},{},{cells}\n",
                    quantity.field,
                    fit.member.family().word()
                ));
            }
        }
        out
    }

    /// As data.
    #[must_use]
    pub fn json(&self) -> Value {
        let quantities = self.quantities.iter().map(|quantity| {
            let (ended, cut_off) = quantity.counts();
            let fits = quantity.fits.iter().map(|fit| {
                json!({
                    "family": fit.member.family().word(),
                    "scale_s": fit.member.scale_s(),
                    "shape": fit.member.shape(),
                    "mean_s": fit.member.mean_s(),
                    "log_likelihood": fit.log_likelihood,
                    "aic": fit.aic,
                    "ks": fit.ks,
                    "written": fit.member.written(),
                })
            });
            json!({
                "span": quantity.field,
                "ended": ended,
                "cut_off": cut_off,
                "fits": fits.collect::<Vec<_>>(),
            })
        });
        json!({
            "name": self.name,
            "machines": self.machines,
            "spans": quantities.collect::<Vec<_>>(),
            "outages": self.written(),
        })
    }
}
