//! Requests to Services: what fails, when and why, and what it costs to know.

use crate::partitions::between;
use crate::support::{plan, plan_with};
use std::path::Path;
use std::sync::Arc;
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Name, Obj};
use wavetank::cluster::spec::Plan;
use wavetank::engine::{SimTime, Sym};
use wavetank::event::traffic::{Cause, Flow};
use wavetank::event::{Record, What};
use wavetank::report::metrics::Metrics;
use wavetank::report::summary::Summary;
use wavetank::report::traffic::TrafficSummary;
use wavetank::scenario::{LoadOptions, parse};
use wavetank::session::{Observer, Session};

/// What an observer is told of requests, and of Services.
#[derive(Debug, Default)]
struct Told {
    flows: Vec<(f64, u32, Flow)>,
    lost: Vec<(f64, Cause, f64)>,
    /// Commits of slices.
    slices: Vec<f64>,
    refused: Vec<String>,
}

impl Observer for Told {
    fn on(&mut self, record: &Record, _versions: &Versions) {
        let at = record.time.secs_f64();
        if let What::Lost { cause, count, .. } = record.what {
            self.lost.push((at, cause, count));
        } else if let What::Committed { kind: Kind::EndpointSlice, .. } = record.what {
            self.slices.push(at);
        } else if let What::Refused { error, kind, name, .. } = record.what {
            self.refused.push(error.message(kind, name));
        }
    }

    fn flow(&mut self, now: SimTime, row: u32, flow: &Flow) {
        self.flows.push((now.secs_f64(), row, flow.clone()));
    }
}

impl Told {
    /// The rates of a row at an instant.
    fn at(&self, row: u32, s: f64) -> Flow {
        let before = self.flows.iter().rev().find(|(at, of, _)| *of == row && *at <= s);
        before.map(|(_, _, flow)| flow.clone()).unwrap_or_default()
    }
}

fn failing(flow: &Flow, cause: Cause) -> f64 {
    flow.failing[cause as usize] / flow.offered
}

fn played(plan: Arc<Plan>) -> (Told, Session, Vec<TrafficSummary>) {
    let (mut told, mut metrics) = (Told::default(), Metrics::new(&plan, None));
    let mut session = Session::new(plan);
    session.run(&mut [&mut told, &mut metrics], |_| {});
    let summary = Summary::new(&metrics, &session.digest());
    (told, session, summary.traffic)
}

fn read(yaml: &str) -> Arc<Plan> {
    let text =
        format!("apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {{name: t}}\n{yaml}");
    let loaded = parse("t.yaml", text, Path::new(""), &LoadOptions::default());
    let loaded = loaded.unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    Arc::new(loaded.plan)
}

/// A Deployment, its Service and clients on each node.
fn web(replicas: u32, service: &str, more: &str) -> String {
    format!(
        "objects:
  - {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{replicas: {replicas},
      selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}},
      spec: {{containers: [{{name: c, image: i, resources: {{requests: {{cpu: 100m}}, limits: {{cpu: '1'}}}}}}]}}}}}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{selector: {{app: web}}, ports: [{{port: 80}}]{service}}}}}
  - {{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: client}}, spec: {{
      selector: {{matchLabels: {{app: client}}}}, template: {{metadata: {{labels: {{app: client}}}},
      spec: {{containers: [{{name: c, image: i}}]}}}}}}}}
{more}"
    )
}

const NODES: &str =
    "cluster: {nodes: [{name: node, count: 4, cpu: 8, memory: 16Gi, zones: [a, b]}]}\n";

#[test]
fn twice_as_many_requests_are_no_more_events() {
    for name in ["node-loss-under-load", "rolling-update-under-load"] {
        let once = played(plan(name));
        let rate = |factor: f64| {
            let mut plan = (*plan(name)).clone();
            for row in &mut plan.traffic {
                row.rate = row.rate.times(factor);
            }
            Arc::new(plan)
        };
        let twice = played(rate(2.0));
        assert_eq!(once.1.steps(), twice.1.steps(), "{name}");
        let (a, b) = (once.2[0].requests, twice.2[0].requests);
        assert!((b / a - 2.0).abs() < 1e-6, "{name}: {a} and {b} requests");
    }
}

#[test]
fn a_lost_node_fails_its_share_until_checks_and_rules_have_seen_it() {
    let (told, _, rows) = played(plan("node-loss-under-load"));
    // Two of six nodes take no connection, and four of twelve endpoints answer none.
    let first = told.at(0, 301.0);
    between(failing(&first, Cause::Unreachable), 1.0 - 4.0 / 6.0 * 8.0 / 12.0 - 1e-9, 0.555_556);
    // The balancer's third failed check takes a node out: the endpoints stay.
    let checked = told.at(0, 335.0);
    between(failing(&checked, Cause::Unreachable), 4.0 / 12.0 - 1e-9, 4.0 / 12.0 + 1e-9);
    // Nodes are noticed after 40 s to 50 s; their endpoints go, and rules follow within 2 s.
    let after = told.at(0, 352.5);
    assert!(after.failing.iter().sum::<f64>() < 1e-3, "{after:?}");
    assert_eq!(rows[0].causes.first().map(|f| f.cause), Some(Cause::Unreachable.words()));
    // What the machines had at work is lost with them.
    let lost: f64 = told.lost.iter().filter(|l| l.1 == Cause::Unreachable).map(|l| l.2).sum();
    assert!(lost > 0.5, "{lost}");
}

#[test]
fn who_says_when_it_is_ready_and_waits_before_it_stops_loses_nothing() {
    let (_, _, rows) = played(plan("rolling-update-under-load"));
    let [careful, careless] = [0, 1].map(|i| &rows[i]);
    assert!(careful.failed < 1e-6, "{careful:?}");
    let refused = careless.causes.iter().find(|f| f.cause == Cause::Refused.words()).unwrap();
    assert!(refused.requests > 1000.0, "{careless:?}");
    assert!(careless.budget_used.unwrap() > 1.0);
}

#[test]
fn rules_follow_at_once_and_then_a_second_after_the_sync_before() {
    let yaml = format!(
        "seed: 3\nuntil: 3m\n{NODES}{}",
        web(
            1,
            "",
            "workload:\n  - {at: 1m, scale: {target: deployment/web, replicas: 4}}\ntraffic:\n  - {name: t, to: service/web, from: {workload: daemonset/client}, start: 50s, rate: 100}\n"
        )
    );
    let (told, session, _) = played(read(&yaml));
    let slices: Vec<f64> = told.slices.iter().copied().filter(|at| *at > 60.0).collect();
    let flows: Vec<f64> = told.flows.iter().map(|f| f.0).filter(|at| *at > 60.0).collect();
    // An idle proxy begins at once: 60 ms and some microseconds for few rules, a tenth more or less.
    let first = flows[0] - slices[0];
    between(first, 0.054, 0.070);
    // What comes while it pauses waits until a second after that sync.
    let late = slices.iter().find(|at| **at > slices[0] && **at < flows[0] + 0.9);
    if let Some(late) = late {
        let next = flows.iter().find(|at| **at > late + 0.2).unwrap();
        between(next - flows[0], 1.0, 1.2);
    }
    let end = told.at(0, 170.0);
    assert!((end.answered() - 100.0).abs() < 1e-6);
    let mut cluster = session.cluster().clone();
    let proxies = cluster.proxies().unwrap();
    assert_eq!(proxies.rules(), [1, 4]);
    assert!(proxies.programmed.quantile(1.0).unwrap() < 1.4);
}

#[test]
fn services_get_addresses_and_ports() {
    let yaml = format!(
        "until: 3m\n{NODES}objects:
  - {{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{ports: [{{port: 80}}]}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: b}}, spec: {{type: NodePort, ports: [{{port: 80}}]}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: c}}, spec: {{clusterIP: None, ports: [{{port: 80}}]}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: d}}, spec: {{type: ExternalName, externalName: x.example}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: e}}, spec: {{clusterIP: 10.96.0.10, type: LoadBalancer, externalTrafficPolicy: Local, ports: [{{port: 80, nodePort: 30080}}]}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: f}}, spec: {{clusterIP: 10.96.0.10, ports: [{{port: 80}}]}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: g}}, spec: {{clusterIP: 192.0.2.1, ports: [{{port: 80}}]}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: h}}, spec: {{type: NodePort, ports: [{{port: 80, nodePort: 30080}}]}}}}
  - {{apiVersion: v1, kind: Service, metadata: {{name: i}}, spec: {{type: NodePort, ports: [{{port: 80, nodePort: 80}}]}}}}
"
    );
    let (told, session, _) = played(read(&yaml));
    let versions = &session.cluster().shared().versions;
    let doc = |name: &str| {
        let found = versions.find(Kind::Service, Sym::new("default"), Name::new(name))?;
        let Some(Obj::Generic(_, service)) = versions.current(Kind::Service, found) else {
            return None;
        };
        Some(service.doc.clone())
    };
    let ip = |name: &str| doc(name)?.pointer("/spec/clusterIP")?.as_str().map(str::to_owned);
    let number: Vec<u8> = ip("a").unwrap().split('.').map(|n| n.parse().unwrap()).collect();
    assert_eq!((number[0], number[1] & 0xf0), (10, 96));
    assert!(number[2] > 0 || number[1] > 96, "the lower 256 are for those who choose");
    assert_ne!(ip("a"), ip("b"));
    let port = doc("b").unwrap().pointer("/spec/ports/0/nodePort").unwrap().as_u64().unwrap();
    assert!((30_086..32_768).contains(&port), "{port}");
    assert_eq!(ip("c").as_deref(), Some("None"));
    assert_eq!(ip("d"), None);
    assert_eq!(ip("e").as_deref(), Some("10.96.0.10"));
    assert!(doc("e").unwrap().pointer("/spec/healthCheckNodePort").is_some());
    let gone: Vec<bool> = ["f", "g", "h", "i"].map(|name| doc(name).is_none()).to_vec();
    assert_eq!(gone, [true; 4]);
    for part in [
        "failed to allocate IP 10.96.0.10: provided IP is already allocated",
        "the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is 10.96.0.0/12",
        "Invalid value: 30080: provided port is already allocated",
        "Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
    ] {
        assert!(told.refused.iter().any(|text| text.contains(part)), "{part}: {:?}", told.refused);
    }
}

#[test]
fn what_was_given_stays_through_an_update_and_is_free_after_the_end() {
    let service = |port: u32| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{type: NodePort, ports: [{{port: 80, targetPort: {port}}}]}}}}"
        )
    };
    let yaml = format!(
        "until: 3m\n{NODES}objects:\n  - {}\nworkload:\n  - {{at: 1m, apply: {}}}\n  - {{at: 2m, delete: service/a}}\n  - {{at: 150s, apply: {}}}\n",
        service(8080),
        service(9090),
        service(8080)
    );
    let mut session = Session::new(read(&yaml));
    let mut seen = Vec::new();
    for s in [30, 90, 170] {
        while session.next_time().is_some_and(|t| t <= SimTime::from_secs(s)) {
            session.step();
        }
        let versions = &session.cluster().shared().versions;
        let found = versions.find(Kind::Service, Sym::new("default"), Name::new("a")).unwrap();
        let Some(Obj::Generic(_, service)) = versions.current(Kind::Service, found) else {
            panic!("no Service")
        };
        let at = |path: &str| service.doc.pointer(path).cloned();
        seen.push((
            at("/spec/clusterIP"),
            at("/spec/ports/0/nodePort"),
            at("/spec/ports/0/targetPort"),
        ));
    }
    assert_eq!((&seen[0].0, &seen[0].1), (&seen[1].0, &seen[1].1), "kept");
    assert_ne!(seen[0].2, seen[1].2, "the update itself");
    // Drawn by its name, and free again: the same one.
    assert_eq!((&seen[0].0, &seen[0].1), (&seen[2].0, &seen[2].1), "free after its end");
}

#[test]
fn local_traffic_stays_on_the_node_or_is_dropped() {
    let yaml = format!(
        "until: 3m\n{NODES}{}",
        web(
            2,
            ", internalTrafficPolicy: Local",
            "traffic:\n  - {name: t, to: service/web, from: {workload: daemonset/client}, start: 1m, rate: 100}\n"
        )
    );
    let (told, _, _) = played(read(&yaml));
    // Two replicas, on two of four nodes.
    let flow = told.at(0, 170.0);
    between(failing(&flow, Cause::Unreachable), 0.5 - 1e-9, 0.5 + 1e-9);
}

#[test]
fn a_load_balancer_sends_local_traffic_only_where_endpoints_are() {
    let service = ", type: LoadBalancer, externalTrafficPolicy: Local";
    let traffic = "traffic:\n  - {name: t, to: service/web, from: outside, start: 2m, rate: 100}\n";
    let steps = "workload:\n  - {at: 3m, scale: {target: deployment/web, replicas: 4}}\n";
    let web = web(2, service, traffic);
    let (told, _, _) = played(read(&format!("until: 6m\n{NODES}{steps}{web}")));
    let failing = |s| told.at(0, s).failing.iter().sum::<f64>();
    assert!(failing(121.0) < 1e-9, "{}: sent to nodes without an endpoint", failing(121.0));
    assert!(failing(350.0) < 1e-9);
}

#[test]
fn a_program_that_listens_late_sends_late() {
    let client = "  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: shy}, spec: {selector: {matchLabels: {app: shy}},
      template: {metadata: {labels: {app: shy}, annotations: {wavetank.dev/listens-after: 30s}}, spec: {containers: [{name: c, image: i}]}}}}
traffic:
  - {name: t, to: service/web, from: {workload: deployment/shy}, rate: 100}
";
    let (told, session, rows) = played(read(&format!("until: 3m\n{NODES}{}", web(2, "", client))));
    assert!(told.at(0, 25.0).offered < 1e-9);
    between(told.at(0, 60.0).offered, 100.0 - 1e-9, 100.0 + 1e-9);
    assert!(rows[0].requests > 10_000.0 && session.now() > SimTime::ZERO);
}

#[test]
fn what_is_lost_at_an_instant_was_sent_before_it() {
    let (_, _, rows) = played(plan("node-loss-under-load"));
    // 600 per second for fourteen minutes, whatever is lost on the way.
    between(rows[0].requests, 504_000.0 - 1e-3, 504_000.0 + 1e-3);
}

#[test]
fn names_are_resolved_by_coredns_and_not_without_it() {
    let dns = "  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: coredns, namespace: kube-system}, spec: {replicas: 2,
      selector: {matchLabels: {k8s-app: kube-dns}}, template: {metadata: {labels: {k8s-app: kube-dns}},
      spec: {containers: [{name: coredns, image: coredns}]}}}}
  - {apiVersion: v1, kind: Service, metadata: {name: kube-dns, namespace: kube-system}, spec: {clusterIP: 10.96.0.10, selector: {k8s-app: kube-dns}, ports: [{name: dns, port: 53, protocol: UDP}]}}
workload:
  - {at: 2m, scale: {target: deployment/kube-system/coredns, replicas: 0}}
traffic:
  - {name: t, to: service/web, from: {workload: daemonset/client}, start: 1m, rate: 100}
";
    let (told, _, rows) = played(read(&format!("until: 4m\n{NODES}{}", web(2, "", dns))));
    // A name of the client's own namespace: one name tried, in both families.
    let names = told.at(1, 110.0);
    between(names.offered, 199.999, 200.001);
    assert!(told.at(0, 110.0).failing.iter().sum::<f64>() < 1e-9);
    // Nobody is left to ask.
    let without = told.at(0, 200.0);
    between(failing(&without, Cause::NoDns), 1.0, 1.0);
    assert!(rows.iter().any(|row| row.derived && row.traffic == "dns"));
}

/// An Ingress, an HTTPRoute that splits nine to one, and a controller with a Service.
const ROUTES: &str = "  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: proxy}, spec: {replicas: 2,
      selector: {matchLabels: {app: proxy}}, template: {metadata: {labels: {app: proxy}},
      spec: {containers: [{name: c, image: i}]}}}}
  - {apiVersion: v1, kind: Service, metadata: {name: proxy}, spec: {type: LoadBalancer, selector: {app: proxy}, ports: [{port: 80}]}}
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: new}, spec: {replicas: 1,
      selector: {matchLabels: {app: new}}, template: {metadata: {labels: {app: new}},
      spec: {containers: [{name: c, image: i}]}}}}
  - {apiVersion: v1, kind: Service, metadata: {name: new}, spec: {selector: {app: new}, ports: [{port: 80}]}}
  - {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop}, spec: {rules: [{host: shop.example.com,
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}
  - {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: split}, spec: {rules: [
      {backendRefs: [{name: web, port: 80, weight: 9}, {name: new, port: 80, weight: 1}]}]}}
";

#[test]
fn an_ingress_leads_through_its_controller_to_the_pods() {
    let more = format!(
        "{ROUTES}workload:
  - {{at: 3m, scale: {{target: deployment/proxy, replicas: 0}}}}
traffic:
  - {{name: t, to: ingress/shop, host: shop.example.com, via: service/proxy, start: 1m, rate: 100}}
  - {{name: bare, to: ingress/shop, host: shop.example.com, start: 1m, rate: 50}}
"
    );
    let (told, _, rows) = played(read(&format!("until: 5m\n{NODES}{}", web(2, "", &more))));
    let (through, way) = (told.at(0, 170.0), told.at(1, 170.0));
    assert!((through.answered() - 100.0).abs() < 1e-6 && (way.offered - 100.0).abs() < 1e-6);
    assert!(rows.iter().any(|row| row.traffic == "t:way" && row.derived));
    // Both ways take their time.
    assert!(through.latency.quantile(0.5) > told.at(2, 170.0).latency.quantile(0.5));
    // Without its controller nobody answers; the load balancer that knows the pods goes on.
    let gone = told.at(0, 240.0);
    assert!(gone.offered > 99.0 && gone.answered() < 1e-6, "{gone:?}");
    between(failing(&gone, Cause::NoEndpoints), 1.0, 1.0);
    assert!((told.at(2, 240.0).answered() - 50.0).abs() < 1e-6);
}

#[test]
fn a_route_splits_requests_by_weight() {
    let more = format!(
        "{ROUTES}traffic:\n  - {{name: t, to: httproute/split, via: service/proxy, start: 1m, rate: 100}}\n"
    );
    let (told, _, rows) = played(read(&format!("until: 3m\n{NODES}{}", web(2, "", &more))));
    between(told.at(0, 170.0).answered(), 89.999, 90.001);
    between(told.at(1, 170.0).answered(), 9.999, 10.001);
    between(told.at(2, 170.0).offered, 99.999, 100.001);
    assert_eq!([&rows[0].traffic, &rows[1].traffic], ["t:web", "t:new"]);
}

#[test]
fn a_cut_keeps_clients_from_the_endpoints_behind_it() {
    let cut = "faults:\n  - {partition: {between: {zone: a}, and: {zone: b}}, at: 2m, for: 20s}\ntraffic:\n  - {name: t, to: service/web, from: {workload: daemonset/client}, start: 1m, rate: 100}\n";
    let (told, _, _) = played(read(&format!("until: 4m\n{NODES}{}", web(4, "", cut))));
    assert!(told.at(0, 119.0).failing.iter().sum::<f64>() < 1e-9);
    // Half of what each half sends goes to the other one.
    between(failing(&told.at(0, 130.0), Cause::Unreachable), 0.5 - 1e-9, 0.5 + 1e-9);
    assert!(told.at(0, 200.0).failing.iter().sum::<f64>() < 1e-9);
}

#[test]
fn serving_costs_cpu_that_an_autoscaler_sees() {
    let hpa = "  - {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec: {minReplicas: 1, maxReplicas: 10,
      scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web},
      metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}
traffic:
  - {name: t, to: service/web, from: {workload: daemonset/client}, start: 1m, rate: 60, request: {cpu: 5ms}}
";
    let (_, session, _) = played(read(&format!("until: 10m\n{NODES}{}", web(1, "", hpa))));
    let versions = &session.cluster().shared().versions;
    let found = versions.find(Kind::Deployment, Sym::new("default"), Name::new("web")).unwrap();
    let Some(Obj::Deployment(web)) = versions.current(Kind::Deployment, found) else {
        panic!("no Deployment")
    };
    // 60 per second at 5 ms are 300m; at half of 100m each that is six pods.
    assert_eq!(web.replicas, 6);
}

#[test]
fn bad_traffic_is_named_with_its_place() {
    let bad = |rest: &str| {
        let yaml = format!(
            "apiVersion: wavetank.dev/v1\nkind: Scenario\nuntil: 1m\n{NODES}{}",
            web(1, "", rest)
        );
        let errors = parse("t.yaml", yaml, Path::new(""), &LoadOptions::default()).err().unwrap();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let row = |text: &str| bad(&format!("traffic:\n  - {{name: t, {text}}}\n"));
    for (text, wanted) in [
        ("to: service/wbe, rate: 1", "services \"wbe\" in namespace \"default\" not found"),
        ("to: deployment/web, rate: 1", "a Deployment takes no requests"),
        ("to: service/web, rate: 1", "nobody outside reaches service/web"),
        ("to: service/web, from: {workload: daemonset/client}, rate: -1", "-1 is no rate"),
        (
            "to: service/web, from: {workload: daemonset/client}, rate: {}",
            "needs one of series, ramp",
        ),
        (
            "to: service/web, from: {workload: daemonset/client}, rate: 1, objective: 100",
            "is no share",
        ),
        (
            "to: service/web, from: {workload: daemonset/client}, rate: 1, request: {timeout: 0s}",
            "nobody would wait",
        ),
        ("to: service/web, from: {workload: daemonset/client}, rate: 1, speed: 1", "unknown field"),
    ] {
        let said = row(text);
        assert!(said.contains(wanted) && said.contains("traffic[0]"), "{text}: {said}");
    }
}

#[test]
fn rates_follow_waves_ramps_and_bursts() {
    let rate = |text: &str| {
        let more = format!(
            "traffic:\n  - {{name: t, to: service/web, from: {{workload: daemonset/client}}, rate: {text}}}\n"
        );
        read(&format!("until: 1d\n{NODES}{}", web(1, "", &more))).traffic[0].rate.clone()
    };
    let at = |course: &wavetank::event::usage::Course, s: u64| {
        course.piece(SimTime::ZERO, SimTime::from_secs(s)).amount
    };
    let daily = rate("{daily: {mean: 100, swing: 0.5, peakAt: 12h}}");
    assert_eq!(at(&daily, 43_200), 149_973);
    assert!(at(&daily, 60) < 50_100 && at(&daily, 21_700) > 99_000);
    let ramp = rate("{ramp: {from: 10, to: 100, start: 10m, over: 10m}}");
    assert_eq!((at(&ramp, 0), at(&ramp, 1_200)), (10_000, 100_000));
    between(wavetank::engine::num::float(at(&ramp, 900)), 54_000.0, 57_000.0);
    let bursts = rate("{bursts: {base: 1, peak: 9, every: 1h, lasts: 1m}}");
    assert_eq!((at(&bursts, 3_599), at(&bursts, 3_600), at(&bursts, 3_660)), (1_000, 9_000, 1_000));
}

#[test]
fn the_report_says_what_failed() {
    let plan = plan_with("node-loss-under-load", &[]).unwrap();
    let (_, _, rows) = played(plan);
    let page = rows[0].lines().join("\n");
    for part in ["504,000 sent", "no answer from the address", "5m00s to 5m4"] {
        assert!(page.contains(part), "{page}");
    }
}

/// Pods of `web` on one of two nodes, a client on each, and a network that takes 40 ms more
/// between them.
fn split(cni: &str) -> String {
    format!(
        "until: 5m
cluster:
  {cni}nodes:
    - {{name: far, cpu: 8, memory: 32Gi}}
    - {{name: node, cpu: 8, memory: 32Gi, labels: {{web: here}}}}
traffic:
  - {{name: t, to: service/web, from: {{workload: daemonset/client}}, rate: 100, start: 1m, request: {{cpu: 1us, latency: 5ms, timeout: 30ms}}}}
{}",
        web(4, "", "").replace("spec: {containers: [{name: c, image: i, res", "spec: {nodeSelector: {web: here}, containers: [{name: c, image: i, res")
    )
}

#[test]
fn requests_between_nodes_cost_what_the_network_says() {
    let figures = |cni: &str| {
        let (told, _, summary) = played(read(&split(cni)));
        let flow = told.at(0, 200.0);
        (failing(&flow, Cause::TimedOut), flow.latency.quantile(0.999).unwrap(), summary)
    };
    let (late, longest, _) = figures("");
    assert!(late < 1e-6 && longest < 0.008, "{late} {longest}");
    // Half of the clients are on the node of the pods: theirs are as before, the others' are late.
    let (late, longest, _) = figures("cni: {preset: calico, latency: 40ms}\n  ");
    assert!((late - 0.5).abs() < 1e-6, "{late}");
    assert!(longest < 0.008, "{longest}");
    // With 15 ms more they are in time, and half of all latencies are the longer ones.
    let (told, _, _) = played(read(&split("cni: {preset: calico, latency: 15ms}\n  ")));
    let flow = told.at(0, 200.0);
    let at = |share| flow.latency.quantile(share).unwrap();
    assert!(failing(&flow, Cause::TimedOut) < 1e-6);
    assert!(
        at(0.4) < 0.008 && at(0.6) > 0.017 && at(0.9) < 0.024,
        "{} {} {}",
        at(0.4),
        at(0.6),
        at(0.9)
    );
}
