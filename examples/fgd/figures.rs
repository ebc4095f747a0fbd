//! The paper's kinds of figures: what is not allocated and what is fragmented as pods arrive, and
//! bars by workload.

use super::table::{Cell, Curve, Measure, mean};
use wavetank::report::plots::axes::Frame;
use wavetank::report::plots::picture::{
    Anchor, BLUE, Colour, FAINT, GREEN, INK, ORANGE, PURPLE, Picture, RED, SKY,
};

/// One colour a policy, FGD in blue.
const COLOURS: [(&str, Colour); 6] = [
    ("01-Random", SKY),
    ("02-DotProd", ORANGE),
    ("03-GpuClustering", PURPLE),
    ("04-GpuPacking", GREEN),
    ("05-BestFit", RED),
    ("06-FGD", BLUE),
];

/// All figures with their names.
pub(crate) fn all(curves: &[Curve], cells: &[Cell]) -> Vec<(String, Picture)> {
    let mut workloads: Vec<&str> = cells.iter().map(|c| c.workload.as_str()).collect();
    workloads.dedup();
    let mut figures = Vec::new();
    let main = if workloads.contains(&"openb_pod_list_default") {
        Some("openb_pod_list_default")
    } else {
        workloads.first().copied()
    };
    if let Some(workload) = main {
        let of: Vec<&Curve> = curves.iter().filter(|c| c.workload == workload).collect();
        figures.push(("by-arrival".to_owned(), lines(short(workload), &of)));
    }
    if workloads.len() > 1 {
        figures.push(("by-workload".to_owned(), bars(&workloads, cells)));
    }
    figures
}

fn short(workload: &str) -> &str {
    workload.strip_prefix("openb_pod_list_").unwrap_or(workload)
}

fn number(n: usize) -> f64 {
    u32::try_from(n).map_or(0.0, f64::from)
}

fn legend(picture: &mut Picture, y: f64) {
    let mut x = 64.0;
    for (name, colour) in COLOURS {
        picture.line(vec![(x, y - 4.0), (x + 22.0, y - 4.0)], colour, 3.0);
        picture.text((x + 28.0, y), 12.0, Anchor::Start, INK, &name[3..]);
        x += 150.0;
    }
}

/// What is drawn of a row of a curve.
type Value = fn(&Curve, u32) -> Option<f64>;

/// Figures 7 and 9: three panels over what has arrived.
fn lines(workload: &str, curves: &[&Curve]) -> Picture {
    let seeds = curves.iter().filter(|c| c.policy == "06-FGD").count();
    let title = format!("GPUs not allocated and GPUs fragmented, workload {workload}");
    let below =
        format!("means of {seeds} seeds; per cent of GPUs, over GPUs that pods have asked for");
    let mut picture = Picture::new(1000, 800, &title, &below);
    legend(&mut picture, 78.0);
    let panels: [(&str, u32, Value); 3] = [
        ("not allocated, % of all GPUs (from 85 % arrived)", 85, |c, at| {
            c.at(Measure::Allocation, at).map(|v| 100.0 - v)
        }),
        ("free but of no use to typical pods, % of all GPUs", 0, |c, at| {
            c.at(Measure::Fragments, at)
        }),
        ("free but of no use to typical pods, % of free GPUs", 0, |c, at| c.at(Measure::Ratio, at)),
    ];
    for (i, (unit, from, value)) in panels.into_iter().enumerate() {
        let top = 120.0 + 225.0 * number(i);
        let of = |name: &str| -> Vec<(f64, f64)> {
            let runs: Vec<&&Curve> = curves.iter().filter(|c| c.policy == name).collect();
            let at = |arrived: u32| {
                let values: Vec<f64> = runs.iter().filter_map(|c| value(c, arrived)).collect();
                (!values.is_empty()).then(|| (f64::from(arrived), mean(&values)))
            };
            (from..=130).filter_map(at).collect()
        };
        let all: Vec<(Colour, Vec<(f64, f64)>)> =
            COLOURS.iter().map(|(name, colour)| (*colour, of(name))).collect();
        let highest = all.iter().flat_map(|(_, p)| p).map(|p| p.1).fold(0.0, f64::max);
        let panel = Frame::panel((top, 160.0), 130.0, highest);
        let y1 = panel.y1.min(100.0);
        let frame = Frame { x0: f64::from(from), y1, ..panel };
        frame.y_axis(&mut picture, 4, unit);
        for (colour, points) in all {
            let line = points.iter().map(|(x, y)| (frame.x(*x), frame.y(*y))).collect();
            picture.line(line, colour, 2.0);
        }
        let last = i == 2;
        percents(&mut picture, &frame, last);
    }
    picture
}

fn percents(picture: &mut Picture, frame: &Frame, label: bool) {
    picture.line(vec![(frame.left, frame.bottom), (frame.right, frame.bottom)], INK, 1.0);
    let step = if frame.x0 > 50.0 { 5 } else { 10 };
    for value in (0..=130_u32).step_by(step).filter(|v| f64::from(*v) >= frame.x0) {
        let x = frame.x(f64::from(value));
        picture.line(vec![(x, frame.bottom), (x, frame.bottom + 4.0)], INK, 1.0);
        let text = format!("{value} %");
        picture.text((x, frame.bottom + 18.0), 12.0, Anchor::Middle, FAINT, &text);
    }
    if label {
        let middle = f64::midpoint(frame.left, frame.right);
        let words = "GPUs that pods which have arrived ask for, of all GPUs";
        picture.text((middle, frame.bottom + 36.0), 12.0, Anchor::Middle, FAINT, words);
    }
}

/// Figures 11 to 14: what is not allocated when pods for all GPUs have arrived, by workload; the
/// published mean as a mark over each bar.
fn bars(workloads: &[&str], cells: &[Cell]) -> Picture {
    let title = "GPUs not allocated when pods for 100 % of them have arrived";
    let below = "bars: means of this project's runs; black marks: means published by the authors";
    let columns = 5;
    let rows = workloads.len().div_ceil(columns);
    let height = 130 + 190 * u32::try_from(rows).unwrap_or(1);
    let mut picture = Picture::new(1000, height, title, below);
    legend(&mut picture, 78.0);
    let of = |workload: &str, policy: &str| {
        cells.iter().find(|c| {
            c.workload == workload
                && c.policy == policy
                && c.measure == Measure::Allocation
                && c.arrived == 100
        })
    };
    let idle = cells
        .iter()
        .filter(|c| c.measure == Measure::Allocation && c.arrived == 100)
        .map(|c| 100.0 - c.mean)
        .fold(0.0, f64::max);
    for (i, workload) in workloads.iter().enumerate() {
        let left = 64.0 + 186.0 * number(i % columns);
        let top = 115.0 + 190.0 * number(i / columns);
        let panel = Frame::panel((top, 130.0), 6.0, idle);
        let frame = Frame { left, right: left + 150.0, ..panel };
        frame.y_axis(&mut picture, 4, if i % columns == 0 { "% of all GPUs" } else { "" });
        for (n, (policy, colour)) in COLOURS.iter().enumerate() {
            let Some(cell) = of(workload, policy) else { continue };
            let x = frame.x(number(n) + 0.12);
            let wide = frame.x(number(n) + 0.88) - x;
            let y = frame.y(100.0 - cell.mean);
            let tip = format!("{policy}: {:.2} %", 100.0 - cell.mean);
            picture.tip((x, y, wide, frame.bottom - y), *colour, tip);
            if let Some((published, _)) = cell.published {
                let y = frame.y(100.0 - published);
                picture.line(vec![(x - 1.0, y), (x + wide + 1.0, y)], INK, 2.0);
            }
        }
        let middle = f64::midpoint(frame.left, frame.right);
        picture.line(vec![(frame.left, frame.bottom), (frame.right, frame.bottom)], INK, 1.0);
        let name = short(workload);
        picture.text((middle, frame.bottom + 18.0), 12.0, Anchor::Middle, INK, name);
    }
    picture
}
