use super::*;
use crate::control_plane::scheduler::plugins::registry::{PLUGINS, Points};
use crate::control_plane::scheduler::profile::Profile as Runtime;
use serde_json::json;

fn read(profile: &Value) -> Result<ProfileConfig, String> {
    let whole = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "profiles": [profile],
    });
    scheduler_config_from_json(&whole)
        .map(|mut c| c.profiles.remove(0))
        .map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// The plugins at an extension point, with their weights where they score.
fn at(profile: &ProfileConfig, point: Points) -> String {
    let with = |name: &'static str| {
        let plugin = profile.plugins.iter().find(|p| p.name == name).unwrap();
        if point == Points::SCORE { format!("{name}={}", plugin.weight) } else { name.to_owned() }
    };
    let named = profile.order.iter().find(|(p, _)| *p == point).map(|(_, names)| names.clone());
    let plain = || profile.plugins.iter().filter(|p| p.points.has(point)).map(|p| p.name).collect();
    named.unwrap_or_else(plain).into_iter().map(with).collect::<Vec<_>>().join(" ")
}

#[test]
fn nothing_given_is_the_default_profile() {
    let plain = read(&json!({})).unwrap();
    let spelt = read(&json!({"plugins": {}})).unwrap();
    assert_eq!(plain.plugins, spelt.plugins);
    assert_eq!(spelt.plugins.len(), PLUGINS.len());
    assert!(spelt.order.is_empty());
    insta::assert_snapshot!(at(&spelt, Points::SCORE), @"TaintToleration=3 NodeAffinity=2 NodeResourcesFit=1 VolumeBinding=1 PodTopologySpread=2 InterPodAffinity=2 DynamicResources=2 NodeResourcesBalancedAllocation=1 ImageLocality=1");
}

#[test]
fn multi_point_configures_in_place_and_appends() {
    let profile = read(&json!({"plugins": {"multiPoint": {
        "enabled": [{"name": "ImageLocality", "weight": 7}, {"name": "TaintToleration"}],
        "disabled": [{"name": "NodeAffinity"}, {"name": "ImageLocality"}],
    }}}))
    .unwrap();
    // What is disabled and enabled goes to the end; a weight that is left out is 1, not the
    // default.
    insta::assert_snapshot!(at(&profile, Points::SCORE), @"TaintToleration=1 NodeResourcesFit=1 VolumeBinding=1 PodTopologySpread=2 InterPodAffinity=2 DynamicResources=2 NodeResourcesBalancedAllocation=1 ImageLocality=7");
    assert!(!at(&profile, Points::FILTER).contains("NodeAffinity"));
}

#[test]
fn all_of_multi_point_can_be_disabled() {
    let profile = read(&json!({"plugins": {"multiPoint": {
        "disabled": [{"name": "*"}],
        "enabled": [
            {"name": "PrioritySort"}, {"name": "DefaultBinder"}, {"name": "NodeResourcesFit"},
            {"name": "NodeName"},
        ],
    }}}))
    .unwrap();
    assert_eq!(at(&profile, Points::FILTER), "NodeResourcesFit NodeName");
    assert_eq!(at(&profile, Points::SCORE), "NodeResourcesFit=1");
}

#[test]
fn an_extension_point_goes_before_multi_point() {
    let profile = read(&json!({"plugins": {
        "filter": {
            "enabled": [{"name": "NodePorts"}, {"name": "NodeName"}],
            "disabled": [{"name": "NodeUnschedulable"}],
        },
        "score": {
            "enabled": [{"name": "NodeResourcesFit", "weight": 5}],
            "disabled": [{"name": "*"}],
        },
    }}))
    .unwrap();
    insta::assert_snapshot!(at(&profile, Points::FILTER), @"NodePorts NodeName TaintToleration NodeAffinity NodeResourcesFit VolumeRestrictions NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread InterPodAffinity DynamicResources");
    insta::assert_snapshot!(at(&profile, Points::SCORE), @"NodeResourcesFit=5");
    // The other points keep their order.
    insta::assert_snapshot!(at(&profile, Points::PRE_FILTER), @"NodeAffinity NodePorts NodeResourcesFit VolumeRestrictions NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread InterPodAffinity DynamicResources");
    let runtime = Runtime::new(&profile);
    let filters: Vec<&str> = runtime.rows_at(Points::FILTER).map(|(_, row)| row.name).collect();
    assert_eq!(&filters[..3], ["NodePorts", "NodeName", "TaintToleration"]);
}

#[test]
fn a_plugin_disabled_at_a_point_and_enabled_there_comes_last() {
    let profile = read(&json!({"plugins": {"filter": {
        "disabled": [{"name": "NodeName"}], "enabled": [{"name": "NodeName"}],
    }}}))
    .unwrap();
    assert!(at(&profile, Points::FILTER).ends_with("DynamicResources NodeName"));
}

#[test]
fn arguments_reach_the_plugins() {
    let profile = read(&json!({"percentageOfNodesToScore": 30, "pluginConfig": [
        {"name": "NodeResourcesFit", "args": {
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "NodeResourcesFitArgs",
            "ignoredResources": ["a.com/b"], "ignoredResourceGroups": ["c.com"],
            "scoringStrategy": {
                "type": "RequestedToCapacityRatio",
                "resources": [{"name": "cpu", "weight": 3}, {"name": "memory"}],
                "requestedToCapacityRatio": {"shape": [
                    {"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]},
            }}},
        {"name": "NodeResourcesBalancedAllocation", "args": {"resources": [{"name": "cpu"}]}},
        {"name": "NodeAffinity", "args": {"addedAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}},
        {"name": "PodTopologySpread", "args": {"defaultingType": "List", "defaultConstraints": [
            {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}},
        {"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 0}},
        {"name": "DefaultPreemption", "args": {"minCandidateNodesPercentage": 0}},
        {"name": "VolumeBinding", "args": {"bindTimeoutSeconds": 5}},
    ]}))
    .unwrap();
    insta::assert_debug_snapshot!((profile.percentage, profile.args));
}

#[test]
fn rules_are_kube_schedulers() {
    let wrong = read(&json!({
        "percentageOfNodesToScore": 101,
        "plugins": {
            "filter": {"enabled": [{"name": "ImageLocality"}]},
            "score": {"enabled": [{"name": "Coscheduling"}, {"name": "NodeAfinity"}]},
            "queueSort": {"disabled": [{"name": "*"}]},
            "preScore": {"enabled": [{"name": "EBSLimits"}]},
        },
        "pluginConfig": [
            {"name": "Coscheduling", "args": {"permitWaitingTimeSeconds": 10}},
            {"name": "NodeResourcesFit", "args": {
                "kind": "InterPodAffinityArgs", "ignoredResource": [], "ignoredResourceGroups": ["a/b"],
                "scoringStrategy": {"type": "Least", "resources": [{"name": "cpu", "weight": 101}],
                    "requestedToCapacityRatio": {}}}},
            {"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 101}},
            {"name": "InterPodAffinity", "args": {"ignorePreferredTermsOfExistingPods": "yes"}},
            {"name": "DefaultPreemption", "args": {
                "minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0}},
            {"name": "PodTopologySpread", "args": {"defaultConstraints": [
                {"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Maybe", "labelSelector": {}},
                {"maxSkew": 1, "topologyKey": "", "whenUnsatisfiable": "Maybe"}]}},
            {"name": "NodeResourcesBalancedAllocation", "args": {"resources": [
                {"name": "cpu", "weight": 2}, {"name": "cpu"}]}},
            {"name": "VolumeBinding", "args": {"bindTimeoutSeconds": -1, "shape": []}},
        ],
    }))
    .unwrap_err();
    insta::assert_snapshot!(wrong);
}

#[test]
fn what_cannot_work_is_refused() {
    let wrong = read(&json!({"plugins": {
        "preFilter": {"disabled": [{"name": "NodePorts"}]},
        "bind": {"disabled": [{"name": "*"}]},
        "queueSort": {"disabled": [{"name": "*"}]},
        "score": {"enabled": [{"name": "ImageLocality", "weight": 99_999_999}]},
    }}));
    insta::assert_snapshot!(wrong.unwrap_err());
    let twice = read(&json!({"plugins": {"filter": {
        "enabled": [{"name": "NodeName"}, {"name": "NodeName"}]}}}));
    insta::assert_snapshot!(twice.unwrap_err(), @r#"profiles[0].plugins.filter: plugin "NodeName" already registered as filter"#);
}

#[test]
fn general_rules_are_kube_schedulers() {
    let whole = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "parallelism": 0, "percentageOfNodesToScore": -1,
        "podInitialBackoffSeconds": 0, "podMaxBackoffSeconds": -1,
        "clientConnection": {"burst": -1, "qsp": 5},
        "leaderElection": {"resourceLock": "endpoints", "leaseDuration": "5s", "retryPeriod": "0s"},
        "extenders": [{"urlPrefix": "http://localhost:8888/"}],
        "profiles": [{"schedulerName": "a"}, {"schedulerName": "a"}],
        "healthzBindAddress": "0.0.0.0:10251",
    });
    let errors = scheduler_config_from_json(&whole).unwrap_err();
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn general_settings_reach_the_scheduler() {
    let whole = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "parallelism": 4, "percentageOfNodesToScore": 20,
        "podInitialBackoffSeconds": 3, "podMaxBackoffSeconds": 30,
        "clientConnection": {"qps": 200, "burst": 400},
        "profiles": [{"schedulerName": "a"}, {"schedulerName": "b", "percentageOfNodesToScore": 70}],
    });
    let config = scheduler_config_from_json(&whole).unwrap();
    assert_eq!(config.initial_backoff, SimDuration::from_secs(3));
    assert_eq!(config.max_backoff, SimDuration::from_secs(30));
    assert_eq!((config.qps.to_bits(), config.burst), (200_f64.to_bits(), 400));
    let percentages: Vec<_> = config.profiles.iter().map(|p| p.percentage).collect();
    assert_eq!(percentages, [Some(20), Some(70)]);
}
