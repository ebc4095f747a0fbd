//! What the user does: steps of the file to those of the plan, in order of time.

use super::arrivals::instant;
use super::file::{Cascade, ScenarioFile, SetImage, Step as FileStep, TaintStep};
use super::objects::{Known, Objects};
use super::place::{Place, suggest};
use super::report::Report;
use super::target::{self, Target};
use super::{pools, value};
use crate::api::request::{Propagation, User};
use crate::api::{Kind, Name};
use crate::cluster::spec::{Action, Step};
use crate::engine::Sym;

/// Application of all manifests, then the steps in order of time (file order at one instant).
pub(crate) fn steps(file: &ScenarioFile, objects: &Objects, report: &mut Report) -> Vec<Step> {
    let mut list = objects.first_steps();
    for (i, step) in file.workload.iter().enumerate() {
        let place = Place::default().key("workload").item(i);
        let at = instant(&step.at, &place.key("at"), report);
        for (field, given) in [
            ("gracePeriodSeconds", step.grace_period_seconds.is_some()),
            ("cascade", step.cascade.is_some()),
        ] {
            if given && step.delete.is_none() {
                report.error(&place.key(field), "goes with delete only", "leave it out");
            }
        }
        if step.nth.is_some() && step.delete.is_none() && step.evict.is_none() {
            report.error(&place.key("nth"), "goes with delete and evict only", "leave it out");
        }
        let how = match (&step.apply, &step.create) {
            (Some(_), _) => Action::Apply,
            (None, Some(_)) => Action::Create,
            (None, None) => Action::Replace,
        };
        let applied = objects.applied.get(&i).into_iter().flatten().cloned().map(how);
        let actions = actions(step, &objects.known, &place, report);
        let user = user(step, &place, report);
        list.extend(applied.chain(actions).map(|action| Step { at, user, action }));
    }
    list.sort_by_key(|step| step.at);
    list
}

/// Who acts in a step.
fn user(step: &FileStep, at: &Place, report: &mut Report) -> User {
    let Some(name) = &step.user else {
        if !step.groups.is_empty() {
            report.error(&at.key("groups"), "go with as only", "name the user with as:");
        }
        return User::Admin;
    };
    let plain = |text: &str| !text.is_empty() && !text.contains([',', ' ', '\n']);
    if !plain(name) {
        report.error(&at.key("as"), format!("{name:?} is no user name"), "write as: alice");
    }
    for (i, group) in step.groups.iter().enumerate().filter(|(_, g)| !plain(g)) {
        let problem = format!("{group:?} is no group");
        report.error(&at.key("groups").item(i), problem, "write groups: [developers]");
    }
    User::Person { name: Sym::new(name), groups: Sym::new(&step.groups.join(",")) }
}

/// The actions of a step but for `apply`, `create` and `replace`; it is an error if there is not
/// exactly one in all.
fn actions(step: &FileStep, known: &Known, at: &Place, report: &mut Report) -> Vec<Action> {
    let given = [
        ("apply", step.apply.is_some()),
        ("delete", step.delete.is_some()),
        ("scale", step.scale.is_some()),
        ("setImage", step.set_image.is_some()),
        ("taint", step.taint.is_some()),
        ("cordon", step.cordon.is_some()),
        ("uncordon", step.uncordon.is_some()),
        ("drain", step.drain.is_some()),
        ("create", step.create.is_some()),
        ("replace", step.replace.is_some()),
        ("evict", step.evict.is_some()),
    ];
    let named: Vec<&str> = given.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    if named.is_empty() {
        let all: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        report.error(at, "does nothing", format!("possible here: {}", all.join(", ")));
    } else if named.len() > 1 {
        let problem = format!("{} are given in one step", named.join(" and "));
        report.error(at, problem, "write a step for each");
    }
    let mut list = Vec::new();
    list.extend(delete(step, known, at, report));
    if let Some(scale) = &step.scale {
        let place = at.key("scale").key("target");
        if let Some(t) = target(&scale.target, known, &place, report) {
            t.scalable(&place, report);
            let Target { kind, ns, name } = t;
            list.push(Action::Scale { kind, ns, name, replicas: scale.replicas });
        }
    }
    if let Some(set) = &step.set_image {
        list.extend(set_image(set, known, &at.key("setImage"), report));
    }
    if let Some(taint) = &step.taint {
        list.push(taint_node(taint, known, &at.key("taint"), report));
    }
    for (field, node, on) in [("cordon", &step.cordon, true), ("uncordon", &step.uncordon, false)] {
        let Some(node) = node else { continue };
        known.check_node(node, &at.key(field), report);
        list.push(Action::Cordon { node: node.as_str().into(), on });
    }
    if let Some(node) = &step.drain {
        known.check_node(node, &at.key("drain"), report);
        list.push(Action::Drain { node: node.as_str().into() });
    }
    list.extend(evict(step, known, at, report));
    list
}

fn evict(step: &FileStep, known: &Known, at: &Place, report: &mut Report) -> Option<Action> {
    let place = at.key("evict");
    let text = ("evict", step.evict.as_deref()?);
    let (Target { kind, ns, name }, nth) = chosen(text, step.nth, known, at, report)?;
    if kind != Kind::Pod {
        report.error(
            &place,
            format!("a {kind} cannot be evicted"),
            "name a pod: pod/default/web-0",
        );
    }
    Some(Action::Evict { ns, name, nth })
}

fn target(text: &str, known: &Known, at: &Place, report: &mut Report) -> Option<Target> {
    let target = report.take(at, Target::parse(text), target::HINT)?;
    known.check_target(&target, at, report).then_some(target)
}

/// The object that a step names; of `web-*` how the name begins, and which of those that begin so.
fn chosen(
    text: (&str, &str),
    nth: Option<u32>,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(Target, Option<u32>)> {
    let (field, text) = text;
    let place = at.key(field);
    if let Some(prefix) = text.strip_suffix("-*") {
        let target = report.take(&place, Target::parse(prefix), target::HINT)?;
        known.check_makes(&target, &place, report).then_some(())?;
        let name = Name::new(&format!("{}-", target.name));
        return Some((Target { name, ..target }, nth.or(Some(0))));
    }
    let found = target(text, known, &place, report)?;
    if nth.is_some() {
        let hint = format!("write pod/NAMESPACE/web-* in {field}");
        report.error(&at.key("nth"), "goes with the beginning of a name only", hint);
    }
    Some((found, None))
}

fn delete(step: &FileStep, known: &Known, at: &Place, report: &mut Report) -> Option<Action> {
    let text = ("delete", step.delete.as_deref()?);
    let (found, nth) = chosen(text, step.nth, known, at, report)?;
    let Target { kind, ns, name } = found;
    let propagation = match step.cascade {
        None | Some(Cascade::Background) => Propagation::Background,
        Some(Cascade::Foreground) => Propagation::Foreground,
        Some(Cascade::Orphan) => Propagation::Orphan,
    };
    Some(Action::Delete { kind, ns, name, nth, grace_s: step.grace_period_seconds, propagation })
}

fn taint_node(step: &TaintStep, known: &Known, at: &Place, report: &mut Report) -> Action {
    known.check_node(&step.node, &at.key("node"), report);
    if step.add.is_empty() && step.remove.is_empty() {
        report.error(at, "changes nothing", "give taints to add or to remove");
    }
    let mut read = |field: &str, list: &[value::Taint]| {
        let place = at.key(field);
        let taints = list.iter().enumerate();
        let taints = taints.filter_map(|(i, t)| {
            report.take(&place.item(i), pools::taint(&t.0), value::TAINT_HINT)
        });
        taints.collect()
    };
    let (remove, add) = (read("remove", &step.remove), read("add", &step.add));
    Action::Taint { node: step.node.as_str().into(), remove, add }
}

fn set_image(set: &SetImage, known: &Known, at: &Place, report: &mut Report) -> Option<Action> {
    let place = at.key("target");
    let target = target(&set.target, known, &place, report)?;
    let Some(template) = known.template_of(&target) else {
        let hint = "possible here: deployment, statefulset, daemonset, replicaset, job";
        report.error(&place, format!("a {} has no pod template", target.kind), hint);
        return None;
    };
    if target.kind == Kind::Job {
        report.error(&place, "the template of a Job cannot be changed", "");
    }
    let all = template.spec.containers.iter().chain(&template.spec.init_containers);
    let names: Vec<&str> = all.map(|c| c.name.as_str()).collect();
    if !set.container.is_empty() && !names.contains(&set.container.as_str()) {
        let problem = format!("unable to find container named {:?}", set.container);
        report.error(&at.key("container"), problem, suggest(&set.container, &names));
    }
    if set.image.trim().is_empty() {
        report.error(&at.key("image"), "is empty", "name an image such as nginx:1.27");
    }
    let Target { kind, ns, name } = target;
    let (container, image) = (set.container.as_str().into(), set.image.as_str().into());
    Some(Action::SetImage { kind, ns, name, container, image })
}
