//! Work in the words of annotations: `cpu-seconds: "600"`, `parallelism: "4"`,
//! `reads: 20Gi from zone a`, `read-speeds: 2G 1250M 625M`, `interference: shuffle 15%`.

use crate::api::quantity::Quantity;
use crate::api::work::{Neighbours, Read, Source, Work};
use crate::engine::num;

/// More core-seconds than this (over 30,000 core-years) are a slip.
const MOST_SECONDS: f64 = 1e12;

/// What one annotation says of a container's work.
pub(crate) fn read(word: &str, text: &str, work: &mut Work) -> Result<(), String> {
    match word {
        "cpu-seconds" => work.cpu_ns = core_seconds(text)?,
        "parallelism" => work.parallelism_milli = cores(text)?,
        "reads" => {
            work.reads =
                text.split(',').map(|part| one_read(part.trim())).collect::<Result<_, _>>()?;
        }
        "read-speeds" => {
            let speeds: Vec<u64> =
                text.split_whitespace().map(bytes).collect::<Result<_, String>>()?;
            let [node, zone, elsewhere] = speeds.as_slice() else {
                return Err(format!(
                    "{text:?} is not three speeds: write bytes per second on the node, within the \
                     zone and from elsewhere, as in \"2G 1250M 625M\""
                ));
            };
            if speeds.contains(&0) {
                return Err(format!("{text:?}: nothing would ever be read at 0"));
            }
            (work.speeds.node, work.speeds.zone, work.speeds.elsewhere) =
                (*node, *zone, *elsewhere);
        }
        _interference => work.neighbours = Some(neighbours(text)?),
    }
    Ok(())
}

/// `600`, or `540..660`.
fn core_seconds(text: &str) -> Result<(u64, u64), String> {
    let one = |text: &str| {
        let seconds: f64 =
            text.trim().parse().map_err(|why| format!("{text:?} are no core-seconds: {why}"))?;
        if !(0.0..=MOST_SECONDS).contains(&seconds) {
            return Err(format!("{text:?} are no core-seconds: write 600 or 540..660"));
        }
        Ok(num::trunc_u(seconds * 1e9))
    };
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (one(low)?, one(high)?);
    if low > high { Err(format!("{text:?} runs backwards")) } else { Ok((low, high)) }
}

/// More cores than any node has.
const MOST_CORES: i64 = 1_000_000;

fn cores(text: &str) -> Result<u64, String> {
    let milli = Quantity::parse(text.trim())?.milli_value();
    if milli < 1 {
        return Err(format!("{text:?} are no cores: write 4 or 500m"));
    }
    if milli > MOST_CORES * 1000 {
        return Err(format!("{text:?} are more than a million cores"));
    }
    Ok(num::u64_of(milli))
}

fn bytes(text: &str) -> Result<u64, String> {
    let amount = Quantity::parse(text)?.value();
    u64::try_from(amount).map_err(|_negative| format!("{text:?} is less than nothing"))
}

/// `20Gi from zone a`, `5Gi from node node-3`.
fn one_read(text: &str) -> Result<Read, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [amount, "from", kind, name] = words.as_slice() else {
        return Err(format!("{text:?} is not understood: write \"20Gi from zone a\""));
    };
    let from = match *kind {
        "zone" => Source::Zone((*name).into()),
        "node" => Source::Node((*name).into()),
        other => return Err(format!("{other:?} is neither zone nor node, where data lies")),
    };
    Ok(Read { from, bytes: bytes(amount)? })
}

/// `shuffle 15%`.
fn neighbours(text: &str) -> Result<Neighbours, String> {
    let form = || format!("{text:?} is not understood: write \"GROUP 15%\"");
    let (group, slower) = text.trim().split_once(' ').ok_or_else(form)?;
    let percent: f64 =
        slower.trim().strip_suffix('%').and_then(|p| p.parse().ok()).ok_or_else(form)?;
    if !(0.0..=10_000.0).contains(&percent) {
        return Err(format!("{text:?}: write 0% to 10000%"));
    }
    let slower_permille =
        u32::try_from(num::trunc_u(num::rounded(percent * 10.0, 0))).map_err(|_large| form())?;
    Ok(Neighbours { group: group.into(), slower_permille })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Result<Work, String> {
        let mut work = Work::default();
        for (word, text) in pairs {
            read(word, text, &mut work)?;
        }
        Ok(work)
    }

    #[test]
    fn work_is_read() {
        let work = said(&[
            ("cpu-seconds", "540..660.5"),
            ("parallelism", "1500m"),
            ("reads", "20Gi from zone a, 1G from node node-3"),
            ("read-speeds", "2G 1250M 625M"),
            ("interference", "shuffle 12.5%"),
        ])
        .unwrap();
        assert_eq!(work.cpu_ns, (540_000_000_000, 660_500_000_000));
        assert_eq!(work.parallelism_milli, 1_500);
        assert_eq!(work.reads[0], Read { from: Source::Zone("a".into()), bytes: 20 << 30 });
        assert_eq!(work.reads[1].from, Source::Node("node-3".into()));
        assert_eq!(work.speeds.elsewhere, 625_000_000);
        assert_eq!(work.neighbours.unwrap().slower_permille, 125);
    }

    #[test]
    fn what_is_not_understood_says_how_to_write_it() {
        for (word, text, hint) in [
            ("cpu-seconds", "long", "no core-seconds"),
            ("cpu-seconds", "9..3", "runs backwards"),
            ("cpu-seconds", "-1", "write 600"),
            ("cpu-seconds", "nan", "write 600"),
            ("parallelism", "0", "write 4 or 500m"),
            ("reads", "20Gi of zone a", "write \"20Gi from zone a\""),
            ("reads", "20Gi from rack a", "neither zone nor node"),
            ("reads", "-5Gi from zone a", "less than nothing"),
            ("read-speeds", "1G 2G", "three speeds"),
            ("read-speeds", "1G 0 2G", "nothing would ever be read"),
            ("interference", "shuffle", "write \"GROUP 15%\""),
            ("interference", "shuffle -3%", "write 0%"),
        ] {
            let why = said(&[(word, text)]).unwrap_err();
            assert!(why.contains(hint), "{word}: {text}: {why}");
        }
    }
}
