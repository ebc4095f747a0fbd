//! What is exported reads back as the same object, also when no manifest gave it.

use super::*;
use crate::api::labels::Requirement;
use crate::api::pod::{
    Affinity, Condition, ConditionType, Container, Effect, NodeSelectorTerm, Phase,
    PodAffinityTerm, PodSpec, PodStatus, Port, PreferredNodeTerm, PreferredPodTerm, Probe,
    RestartPolicy, SpreadConstraint, Toleration, Truth, Volume, VolumeSource,
};
use crate::api::resources::{Named, Resources};
use crate::api::{Name, Uid};
use crate::engine::Sym;
use crate::scenario::{Mode, obj_from_json};
use proptest::prelude::*;
use proptest::strategy::Strategy as Strategy2;

fn word() -> impl Strategy2<Value = Sym> {
    "[a-z]{1,6}".prop_map(|w| Sym::new(&w))
}

fn amounts() -> impl Strategy2<Value = (Resources, Named)> {
    (0_i64..10_000, 0_i64..1 << 40, 0_i64..4, any::<bool>()).prop_map(
        |(cpu, memory, gpus, zero)| {
            let mut r = Resources { cpu_milli: cpu, memory, ..Resources::default() };
            if gpus > 0 {
                r.set_scalar(Sym::new("nvidia.com/gpu"), gpus);
            }
            (r, Named { cpu: cpu > 0 || zero, memory: memory > 0 || zero })
        },
    )
}

fn container() -> impl Strategy2<Value = Container> {
    let port = (1_u16.., 0_u16..3, word()).prop_map(|(container_port, host_port, name)| Port {
        name,
        container_port,
        host_port,
        ..Port::default()
    });
    let probe = (0_u32..5, 1_u32..20, 1_u32..5).prop_map(|(initial, period, failure)| Probe {
        initial_delay_s: initial,
        period_s: period,
        timeout_s: 1,
        success_threshold: 1,
        failure_threshold: failure,
        grace_s: None,
    });
    let ports = prop::collection::vec(port, 0..3);
    (word(), word(), amounts(), amounts(), ports, prop::option::of(probe)).prop_map(
        |(name, image, requests, limits, ports, readiness)| Container {
            name,
            image,
            requests: requests.0,
            requests_named: requests.1,
            limits: limits.0,
            limits_named: limits.1,
            ports,
            readiness,
            ..Container::default()
        },
    )
}

fn selector_of() -> impl Strategy2<Value = Selector> {
    (word(), word()).prop_map(|(key, value)| {
        Selector::new(vec![
            Requirement { key, op: Op::In, values: vec![value] },
            Requirement { key, op: Op::NotIn, values: vec![value, key] },
            Requirement { key, op: Op::Exists, values: vec![] },
        ])
    })
}

fn affinity() -> impl Strategy2<Value = Affinity> {
    (word(), selector_of(), 1_i64..100).prop_map(|(key, selector, weight)| {
        let expressions = vec![Requirement { key, op: Op::Gt, values: vec![Sym::new("5")] }];
        let term = NodeSelectorTerm { expressions, fields: vec![] };
        let pods = PodAffinityTerm {
            selector: Some(selector),
            namespaces: vec![key],
            namespace_selector: Some(Selector::default()),
            topology_key: key,
        };
        Affinity {
            node_required: Some(vec![term.clone()]),
            node_preferred: vec![PreferredNodeTerm { weight, term }],
            pod_required: vec![pods.clone()],
            pod_preferred: vec![],
            anti_required: vec![],
            anti_preferred: vec![PreferredPodTerm { weight, term: pods }],
        }
    })
}

fn spec() -> impl Strategy2<Value = PodSpec> {
    let toleration =
        (word(), any::<bool>(), prop::option::of(0_i64..300)).prop_map(|(key, exists, seconds)| {
            Toleration {
                key,
                exists,
                value: if exists { Sym::EMPTY } else { key },
                effect: Some(Effect::NoExecute),
                seconds,
            }
        });
    let spread =
        (1_i32..5, word(), selector_of(), any::<bool>()).prop_map(|(skew, key, selector, flag)| {
            SpreadConstraint {
                max_skew: skew,
                topology_key: key,
                hard: flag,
                selector: Some(selector),
                min_domains: flag.then_some(skew),
                honor_affinity: flag,
                honor_taints: !flag,
                match_label_keys: vec![key],
            }
        });
    let several = prop::collection::vec(container(), 1..3);
    let tolerations = prop::collection::vec(toleration, 0..3);
    let spreads = prop::collection::vec(spread, 0..2);
    (several, tolerations, spreads, prop::option::of(affinity()), word(), -5_i32..5).prop_map(
        |(containers, tolerations, spread, affinity, word, priority)| {
            let mut spec = PodSpec {
                containers,
                tolerations,
                spread,
                affinity: affinity.map(Arc::new),
                node_selector: vec![(word, word)],
                gates: vec![word],
                volumes: vec![Volume { name: word, source: VolumeSource::Claim(word, true) }],
                priority,
                restart: RestartPolicy::OnFailure,
                scheduler_name: word,
                grace_s: 7,
                ..PodSpec::default()
            };
            spec.sum_requests();
            spec
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_pod_without_manifest_survives(spec in spec(), uid in 1_u64.., seconds in 1_u32..) {
        let mut meta = Meta::named(Sym::new("ns"), Name::new("p-x7k2p"));
        meta.uid = Uid(uid & !0xf000 | 0x4000);
        meta.created = Stamp(seconds);
        meta.labels = LabelSet::new([(Sym::new("a"), Sym::new("b"))]);
        let mut status = PodStatus { phase: Phase::Running, pod_ip: 77, start: Stamp(seconds), ..PodStatus::default() };
        status.conditions.set(Condition {
            kind: ConditionType::Ready, status: Truth::True, reason: Sym::EMPTY,
            message: Sym::new("m"), transition: Stamp(seconds),
        });
        let pod = Pod { meta, spec: Arc::new(spec), node: Sym::new("n1"), status };
        let printed = to_value(&Obj::Pod(Arc::new(pod.clone())), 0);
        let read = obj_from_json(&printed, Mode::Dump).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
        let again = read.as_pod().ok_or_else(|| TestCaseError::fail("no pod"))?;
        prop_assert_eq!(&again.status, &pod.status);
        prop_assert_eq!(again.node, pod.node);
        prop_assert_eq!((again.meta.uid, again.meta.created, again.meta.labels), (pod.meta.uid, pod.meta.created, pod.meta.labels));
        // Where a pod runs is part of its spec once it is printed, and the document is new.
        let mut spec = (*again.spec).clone();
        (spec.doc, spec.node_name) = (None, Sym::EMPTY);
        prop_assert_eq!(&spec, &*pod.spec);
    }
}

#[test]
fn keys_come_in_the_order_of_the_alphabet() {
    let node = Node { meta: Meta::named(Sym::EMPTY, Name::new("n1")), ..Node::default() };
    let yaml = to_yaml(&Obj::Node(Arc::new(node)), 0);
    assert_eq!(yaml, "apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\nspec: {}\nstatus: {}\n");
}
