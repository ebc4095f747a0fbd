//! The answer for a build server: each loss is a test case, failing if an assertion fails after it.

use super::ranking::{Row, Study};
use crate::report::plots::svg::escape;

fn text(words: &str) -> String {
    let mut out = String::new();
    escape(&mut out, words);
    out
}

impl Study {
    /// The XML of `JUnit`, in the form that Jenkins, GitLab and GitHub's reporters read.
    #[must_use]
    pub fn junit(&self) -> String {
        let failures = self.rows.iter().filter(|row| !row.breaches.is_empty()).count();
        let suite = text(&format!("whatif {}", self.scenario));
        let totals = format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\"", self.rows.len());
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"wavetank\" {totals}>\n  <testsuite name=\"{suite}\" {totals}>\n"
        );
        for row in &self.rows {
            out.push_str(&self.case(row));
        }
        out.push_str("  </testsuite>\n</testsuites>\n");
        out
    }

    fn case(&self, row: &Row) -> String {
        let (class, name) = (text(&self.scenario), text(&row.loss.to_string()));
        let head = format!("    <testcase classname=\"{class}\" name=\"{name}\"");
        let lines = row.breaches.iter().map(|b| {
            let (seed, observed) = &b.first;
            let of = self.seeds.len();
            format!("{}: {observed} (seed {seed}; on {} of {of} seeds)", b.expected, b.seeds)
        });
        let lines: Vec<String> = lines.collect();
        let Some(first) = row.breaches.first() else { return format!("{head}/>\n") };
        format!(
            "{head}>\n      <failure type=\"expectation\" message=\"{}\">{}</failure>\n    \
             </testcase>\n",
            text(&first.expected),
            text(&lines.join("\n")),
        )
    }
}
