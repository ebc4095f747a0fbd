//! The answer for a build server: each loss is a test case, failing if an assertion fails after
//! it; a first one says whether all hold with nothing lost.

use super::ranking::{Breach, Study};
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
        let losses = self.rows.iter().map(|row| (row.loss.to_string(), row.breaches.as_slice()));
        let nothing = ("nothing lost".to_owned(), self.anyway.as_slice());
        let cases: Vec<(String, &[Breach])> = std::iter::once(nothing).chain(losses).collect();
        let failures = cases.iter().filter(|(_, breaches)| !breaches.is_empty()).count();
        let suite = text(&format!("whatif {}", self.scenario));
        let totals = format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\"", cases.len());
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"wavetank\" {totals}>\n  <testsuite name=\"{suite}\" {totals}>\n"
        );
        for (lost, breaches) in &cases {
            out.push_str(&self.case(lost, breaches));
        }
        out.push_str("  </testsuite>\n</testsuites>\n");
        out
    }

    fn case(&self, lost: &str, breaches: &[Breach]) -> String {
        let (class, name) = (text(&self.scenario), text(lost));
        let head = format!("    <testcase classname=\"{class}\" name=\"{name}\"");
        let lines = breaches.iter().map(|b| {
            let (seed, observed) = &b.first;
            let of = self.seeds.len();
            format!("{}: {observed} (seed {seed}; on {} of {of} seeds)", b.expected, b.seeds)
        });
        let lines: Vec<String> = lines.collect();
        let Some(first) = breaches.first() else { return format!("{head}/>\n") };
        format!(
            "{head}>\n      <failure type=\"expectation\" message=\"{}\">{}</failure>\n    \
             </testcase>\n",
            text(&first.expected),
            text(&lines.join("\n")),
        )
    }
}
