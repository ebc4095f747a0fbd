//! Expressions against the interpreter of the `cel` crate: the same text, the same values, the same
//! answer.

use super::check::{Typed, check};
use super::run::Scope;
use crate::api::node::{Node, NodeStatus};
use crate::api::resources::Resources;
use crate::api::{LabelSet, Meta, Name, Pod, PodSpec};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::View;
use crate::engine::Sym;
use cel::{Context, Program, Value};
use proptest::prelude::*;
use std::sync::Arc;

/// One node of 8 cores with 2 taken, and a pod that asks for 1.5.
fn world() -> (Cache, Pod) {
    let mut cache = Cache::default();
    let mut meta = Meta::named(Sym::EMPTY, Name::new("big-1"));
    meta.labels = LabelSet::new([("zone".into(), "a".into())]);
    let allocatable =
        Resources { cpu_milli: 8000, memory: 1 << 34, pods: 110, ..Resources::default() };
    let status = NodeStatus { allocatable: Arc::new(allocatable), ..NodeStatus::default() };
    cache.set_node(&Arc::new(Node { meta, status, ..Node::default() }), 0);
    let spec = |cpu_milli| PodSpec {
        requests: Resources { cpu_milli, memory: 1 << 30, ..Resources::default() },
        priority: 7,
        ..PodSpec::default()
    };
    let pod = |name: &str, cpu| Pod {
        meta: Meta::named("shop".into(), Name::new(name)),
        spec: Arc::new(spec(cpu)),
        ..Pod::default()
    };
    let there = crate::api::versions::ObjRef { slot: 0, generation: 0 };
    cache.add_pod(there, &Arc::new(pod("there", 2000)), "big-1".into(), false);
    cache.settle();
    (cache, pod("mine", 1500))
}

fn map(pairs: &[(&str, Value)]) -> Value {
    #[expect(clippy::disallowed_types, reason = "the interpreter's maps are made of these")]
    let all: std::collections::HashMap<String, Value> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    all.into()
}

/// The same world for the interpreter.
fn context() -> Context<'static, 'static> {
    let amounts = |cpu: f64, memory: f64, pods: f64| {
        map(&[("cpu", cpu.into()), ("memory", memory.into()), ("pods", pods.into())])
    };
    let (gib, all) = (1_073_741_824.0, 17_179_869_184.0);
    let node = map(&[
        ("name", "big-1".into()),
        ("labels", map(&[("zone", "a".into())])),
        ("pods", 1_i64.into()),
        ("unschedulable", false.into()),
        ("allocatable", amounts(8000.0, all, 110.0)),
        ("requested", amounts(2000.0, gib, 1.0)),
        ("free", amounts(6000.0, all - gib, 109.0)),
    ]);
    let pod = map(&[
        ("name", "mine".into()),
        ("namespace", "shop".into()),
        ("labels", map(&[])),
        ("priority", 7_i64.into()),
        ("requests", amounts(1500.0, gib, 1.0)),
    ]);
    let cluster = map(&[("nodes", 1_i64.into()), ("largest", amounts(8000.0, all, 110.0))]);
    let mut context = Context::default();
    context.add_variable_from_value("node", node);
    context.add_variable_from_value("pod", pod);
    context.add_variable_from_value("cluster", cluster);
    context
}

/// What both say, as text; `error` if an evaluation fails.
fn both(text: &str) -> (String, String) {
    let (cache, pod) = world();
    let scope = Scope::new(View { cache: &cache, pod: &pod }, 0);
    let ours = match check(text).unwrap_or_else(|e| panic!("{text}: {e:?}")) {
        Typed::Double(x) => x.eval(&scope).map(|v| format!("{v:?}")),
        Typed::Int(n) => n.eval(&scope).map(|v| v.to_string()),
        Typed::Bool(b) => b.eval(&scope).map(|v| v.to_string()),
        Typed::Text(t) => t.eval(&scope).map(|v| v.into_owned()),
    };
    let theirs = Program::compile(text).unwrap().execute(&context());
    let theirs = theirs.ok().map(|value| {
        if let Value::Float(x) = value {
            format!("{x:?}")
        } else if let Value::Int(n) = value {
            n.to_string()
        } else if let Value::Bool(b) = value {
            b.to_string()
        } else if let Value::String(s) = value {
            s.to_string()
        } else {
            format!("{value:?}")
        }
    });
    let text = |said: Option<String>| said.unwrap_or_else(|| "error".into());
    (text(ours), text(theirs))
}

#[test]
fn expressions_mean_what_they_mean_in_cel() {
    let table = [
        "1 + 2 * 3 - 4",
        "7 / 2",
        "-7 / 2",
        "-7 % 3",
        "7 / 0",
        "9223372036854775807 + 1",
        "7.0 / 2.0",
        "1.0 / 0.0",
        "100.0 * (1.0 - 0.5 * (node.free.cpu - pod.requests.cpu) / cluster.largest.cpu)",
        "node.free.memory / node.allocatable.memory",
        "node.requested.pods + pod.requests.pods",
        "node.pods < cluster.nodes + 1",
        "pod.priority > 5 ? 1 : 2",
        "double(pod.priority) / 2.0",
        "int(2.9)",
        "int(-2.9)",
        "int(\"12\") + 1",
        "double(\"1.5\") * 2.0",
        "size(node.name) + size(\"äöü\")",
        "node.name.startsWith(\"big-\") && !node.unschedulable",
        "node.name.endsWith(\"2\") || node.labels[\"zone\"] == \"a\"",
        "node.name.contains(\"g-\")",
        "node.labels.zone in [\"b\", \"a\"]",
        "\"zone\" in node.labels",
        "\"zone\" in pod.labels",
        "has(node.labels.zone) && !has(pod.labels.zone)",
        "pod.labels[\"zone\"] == \"a\"",
        "false && pod.labels[\"zone\"] == \"a\"",
        "pod.labels[\"zone\"] == \"a\" || true",
        "pod.namespace + \"/\" + pod.name",
        "1 < 2.5",
        "3 == 3.0",
        "\"a\" < \"b\"",
        "true != false",
    ];
    for text in table {
        let (ours, theirs) = both(text);
        assert_eq!(ours, theirs, "{text}");
    }
}

/// Numbers and conditions over them, as text: doubles and ints apart.
fn number(double: bool) -> impl Strategy<Value = String> {
    let leaf = if double {
        prop_oneof![
            Just("node.free.cpu".to_owned()),
            Just("pod.requests.cpu".to_owned()),
            (-5_i32..50).prop_map(|n| format!("{n}.5")),
        ]
        .boxed()
    } else {
        prop_oneof![
            Just("node.pods".to_owned()),
            Just("pod.priority".to_owned()),
            (-5_i32..50).prop_map(|n| n.to_string()),
        ]
        .boxed()
    };
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop_oneof![Just("+"), Just("-"), Just("*"), Just("/")];
        let order = prop_oneof![Just("<"), Just("<="), Just("=="), Just("!="), Just(">")];
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (inner.clone(), order, inner.clone(), inner)
                .prop_map(|(a, o, b, c)| format!("({a} {o} {b} ? {c} : {b})")),
        ]
    })
}

proptest! {
    #[test]
    fn any_arithmetic_is_that_of_the_interpreter(
        text in prop_oneof![number(true), number(false)]
    ) {
        let (ours, theirs) = both(&text);
        prop_assert_eq!(ours, theirs, "{}", text);
    }
}
