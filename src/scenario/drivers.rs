//! `cluster.storage`: storage drivers, where they differ from what is known of their name.

use super::place::Place;
use super::report::Report;
use super::value::{self, DIST_HINT, DistSpec};
use crate::engine::{Dist, Sym};
use crate::event::{Driver, Drivers};
use schemars::JsonSchema;
use serde::Deserialize;

/// A storage driver: how long the storage behind it takes. What is not given is as for the driver's
/// name, or for `like`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriverSpec {
    /// Name, as classes and volumes have it: `ebs.csi.aws.com`.
    pub driver: String,
    /// A driver whose figures it has: `ebs.csi.aws.com`, `pd.csi.storage.gke.io` or
    /// `disk.csi.azure.com`.
    pub like: Option<String>,
    /// Making a volume, and deleting one.
    pub provision: Option<DistSpec>,
    /// Attaching a volume to a machine.
    pub attach: Option<DistSpec>,
    /// Detaching it.
    pub detach: Option<DistSpec>,
    /// Checking and mounting an attached volume.
    pub mount: Option<DistSpec>,
    /// Unmounting it.
    pub unmount: Option<DistSpec>,
    /// Making it larger.
    pub resize: Option<DistSpec>,
    /// Volumes that a node can have attached; each node then says so in its `CSINode`.
    #[schemars(range(min = 1))]
    pub attach_limit: Option<u16>,
}

/// The drivers that the scenario describes.
pub(super) fn read(list: &[DriverSpec], at: &Place, report: &mut Report) -> Drivers {
    let one = |(i, spec): (usize, &DriverSpec)| {
        let place = at.item(i);
        let name = Sym::new(&spec.driver);
        let like = spec.like.as_ref().map_or(name, |l| Sym::new(l));
        let mut driver = Driver { name, ..Driver::named(like) };
        if spec.like.is_some() && driver == (Driver { name, ..Driver::unknown(like) }) {
            let problem = format!("nothing is known of {like}");
            let hint = "ebs.csi.aws.com, pd.csi.storage.gke.io or disk.csi.azure.com";
            report.error(&place.key("like"), problem, hint);
        }
        let spans: [(&str, &Option<DistSpec>, &mut Dist); 6] = [
            ("provision", &spec.provision, &mut driver.provision),
            ("attach", &spec.attach, &mut driver.attach),
            ("detach", &spec.detach, &mut driver.detach),
            ("mount", &spec.mount, &mut driver.mount),
            ("unmount", &spec.unmount, &mut driver.unmount),
            ("resize", &spec.resize, &mut driver.resize),
        ];
        for (field, given, into) in spans {
            let Some(given) = given else { continue };
            *into = report.take(&place.key(field), value::dist(given), DIST_HINT).unwrap_or(*into);
        }
        driver.limit = spec.attach_limit.map(i32::from);
        driver
    };
    let drivers: Vec<Driver> = list.iter().enumerate().map(one).collect();
    for (i, driver) in drivers.iter().enumerate() {
        if drivers[..i].iter().any(|d| d.name == driver.name) {
            let problem = format!("{} is described twice", driver.name);
            report.error(&at.item(i).key("driver"), problem, "describe each driver once");
        }
    }
    Drivers(drivers.into())
}
