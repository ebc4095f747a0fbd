//! How a pod's containers behave: annotations of a manifest, since it does not say what its
//! programs do.

use super::path::{At, Problems};
use crate::api::pod::{Behaviour, Failing, PodSpec, Probing};
use crate::engine::SimDuration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The prefixes under which a manifest may say how its containers behave: ours, and that of the
/// recordings.
const PREFIXES: [&str; 2] = ["wavetank.dev/", "sim/"];
/// What may be said; with `.CONTAINER` behind it, of that container alone.
const KEYS: [&str; 15] = [
    "exit-after",
    "exit-code",
    "ready-after",
    "stop-after",
    "listens-after",
    "startup-after",
    "liveness-fails",
    "readiness-fails",
    "post-start",
    "pre-stop",
    "cpu-seconds",
    "parallelism",
    "reads",
    "read-speeds",
    "interference",
];

/// The annotation that says this of a container's program; or what is wrong, and a way out.
pub(crate) fn check(word: &str, text: &str) -> Result<String, (String, String)> {
    let plain = word.split_once('.').map_or(word, |(word, _)| word);
    if !KEYS.contains(&plain) {
        let hint = super::path::nearest(plain, KEYS)
            .map(|near| format!("did you mean {near:?}?"))
            .unwrap_or_else(|| format!("there are {}", KEYS.join(", ")));
        return Err((format!("unknown behaviour {plain:?}"), hint));
    }
    behave(plain, text, &mut Behaviour::default(), &mut Probing::default())
        .map_err(|why| (why, String::new()))?;
    Ok(format!("{}{word}", PREFIXES[0]))
}

/// The behaviour of a pod whose containers are known already.
pub(crate) fn read(
    spec: &PodSpec,
    annotations: Option<&BTreeMap<String, String>>,
    at: &At<'_>,
    problems: &mut Problems,
) -> Behaviour {
    let mut all = Behaviour::default();
    let mut probing = Probing::default();
    let mut own: BTreeMap<&str, Vec<(&String, &str, &String)>> = BTreeMap::new();
    for (key, text) in annotations.into_iter().flatten() {
        let Some(word) = PREFIXES.iter().find_map(|p| key.strip_prefix(p)) else { continue };
        let (word, container) = word.split_once('.').map_or((word, None), |(w, c)| (w, Some(c)));
        if !KEYS.contains(&word) {
            let hint = super::path::nearest(word, KEYS)
                .map(|near| format!("did you mean {near:?}?"))
                .unwrap_or_else(|| format!("there are {}", KEYS.join(", ")));
            problems.push_hint(&at.key(key), "unknown annotation", hint);
        } else if let Some(container) = container {
            own.entry(container).or_default().push((key, word, text));
        } else if let Err(why) = behave(word, text, &mut all, &mut probing) {
            problems.push(&at.key(key), why);
        }
    }
    let general = probing.clone();
    for (name, said) in own {
        let containers = spec.init_containers.iter().chain(&spec.containers);
        if !containers.into_iter().any(|c| c.name.as_str() == name) {
            problems.push(&at.key(said[0].0), format!("there is no container {name:?}"));
            continue;
        }
        // Other than app containers, those of the start do not end as their pod does.
        let init = spec.init_containers.iter().any(|c| c.name.as_str() == name);
        let mut one = if init {
            Behaviour { exit_after_ns: None, exit_code: 0, work: None, ..all.clone() }
        } else {
            all.clone()
        };
        let mut its = general.clone();
        for &(key, word, text) in &said {
            if let Err(why) = behave(word, text, &mut one, &mut its) {
                problems.push(&at.key(key), why);
            }
        }
        if init && one.work.is_some() {
            let hint = "say exit-after of an init container, and cpu-seconds of app containers";
            problems.push_hint(&at.key(said[0].0), "an init container has no work", hint);
        }
        whole(&one, at, problems);
        one.probing = boxed(its);
        probing.containers.push((name.into(), one));
    }
    whole(&all, at, problems);
    all.probing = boxed(probing);
    all
}

/// Work and a time exclude each other, and what belongs to work needs some.
fn whole(behaviour: &Behaviour, at: &At<'_>, problems: &mut Problems) {
    let Some(work) = &behaviour.work else { return };
    if behaviour.exit_after_ns.is_some() {
        let hint = "say exit-after (how long it runs) or cpu-seconds (what it has to do)";
        problems.push_hint(at, "has work and a time to exit after", hint);
    } else if work.cpu_ns == (0, 0) && work.reads.is_empty() {
        let hint = "add cpu-seconds, as in cpu-seconds: \"600\"";
        problems.push_hint(at, "has work that is nothing", hint);
    }
}

fn boxed(probing: Probing) -> Option<Arc<Probing>> {
    (probing != Probing::default()).then(|| Arc::new(probing))
}

/// What one annotation says.
fn behave(
    word: &str,
    text: &str,
    behaviour: &mut Behaviour,
    probing: &mut Probing,
) -> Result<(), String> {
    let time = || SimDuration::parse(text).map(|t| t.0);
    match word {
        "exit-code" => {
            behaviour.exit_code = text
                .trim()
                .parse()
                .map_err(|why| format!("{text:?} is not an exit code: {why}"))?;
        }
        "exit-after" => behaviour.exit_after_ns = Some(time()?),
        "ready-after" => behaviour.ready_after_ns = time()?,
        "stop-after" => behaviour.stop_after_ns = time()?,
        "listens-after" => probing.listens_after_ns = Some(time()?),
        "startup-after" => probing.startup_after_ns = Some(time()?),
        "liveness-fails" => probing.liveness = Some(failing(text)?),
        "readiness-fails" => probing.readiness = Some(failing(text)?),
        "post-start" => {
            let (span, fails) =
                text.strip_suffix("fails").map_or((text, false), |span| (span.trim(), true));
            probing.post_start_ns = Some(bounds(span)?);
            probing.post_start_fails = fails;
        }
        "pre-stop" => probing.pre_stop_ns = Some(bounds(text)?),
        _work => {
            super::work::read(word, text, Arc::make_mut(behaviour.work.get_or_insert_default()))?;
        }
    }
    Ok(())
}

/// `3s`, or `2s..6s`.
fn bounds(text: &str) -> Result<(u64, u64), String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (SimDuration::parse(low.trim())?.0, SimDuration::parse(high.trim())?.0);
    if low > high { Err(format!("{text:?} runs backwards")) } else { Ok((low, high)) }
}

/// `after 5m`, `after 5m for 30s`, `after 5m for 30s every 2m`; `at 10m` counts from the start of
/// the run.
fn failing(text: &str) -> Result<Failing, String> {
    const FORM: &str = "write \"after 5m\" or \"at 10m\", then \"for 30s\", then \"every 2m\"";
    let words: Vec<&str> = text.split_whitespace().collect();
    let (from, rest) = match words.as_slice() {
        [way @ ("after" | "at"), from, rest @ ..] => ((*way == "at", *from), rest),
        _other => return Err(format!("{text:?} says not when: {FORM}")),
    };
    let (lasts, every) = match rest {
        [] => (None, None),
        ["for", lasts] => (Some(*lasts), None),
        ["for", lasts, "every", every] => (Some(*lasts), Some(*every)),
        _other => return Err(format!("{text:?} is not understood: {FORM}")),
    };
    let time = |text: &str| SimDuration::parse(text).map(|t| t.0);
    let failing = Failing {
        absolute: from.0,
        from_ns: time(from.1)?,
        lasts_ns: lasts.map(time).transpose()?,
        every_ns: every.map(time).transpose()?,
    };
    if failing.lasts_ns == Some(0) || failing.every_ns.is_some_and(|e| Some(e) <= failing.lasts_ns)
    {
        return Err(format!("{text:?}: a failure lasts, and ends before it comes again"));
    }
    Ok(failing)
}
