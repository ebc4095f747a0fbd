//! Storage drivers: how long the storage behind each takes. What a manifest says of a driver is its
//! name; the rest is a fact of the world outside the cluster. Figures of the drivers that clouds
//! bring along, with their sources, stand in [`Driver::named`]; a scenario can say otherwise
//! (`cluster.storage`).

use crate::engine::{Dist, SimDuration, Sym};
use std::sync::Arc;

/// A driver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Driver {
    /// Its name, as in `provisioner` of a class and `csi.driver` of a volume.
    pub name: Sym,
    /// Making a volume, and deleting one.
    pub provision: Dist,
    /// `ControllerPublishVolume`: the disk appears at the machine.
    pub attach: Dist,
    /// `ControllerUnpublishVolume`.
    pub detach: Dist,
    /// `NodeStageVolume` and `NodePublishVolume`: the disk is checked and mounted.
    pub mount: Dist,
    /// The reverse of it.
    pub unmount: Dist,
    /// `ControllerExpandVolume`.
    pub resize: Dist,
    /// Volumes that a node can have at once; none for no limit.
    pub limit: Option<i32>,
}

const fn log(ms: u64, sigma: f64) -> Dist {
    Dist::LogNormal { median: SimDuration::from_millis(ms), sigma }
}

impl Driver {
    /// A driver that nobody has said anything of. No figure is published that would fit any driver:
    /// these are assumptions.
    #[must_use]
    pub fn unknown(name: Sym) -> Self {
        Self {
            name,
            provision: log(3_000, 0.4),
            attach: log(4_000, 0.5),
            detach: log(4_000, 0.5),
            mount: log(500, 0.5),
            unmount: log(200, 0.5),
            resize: log(3_000, 0.4),
            limit: None,
        }
    }

    /// A driver by its name.
    ///
    /// - **Amazon EBS**: no distribution is published. A pod that moves is to be unmounted,
    ///   detached, attached, mounted and running within 10 to 20 s (Karpenter's design on
    ///   `FailedAttachVolume` delays), which leaves about 4 s each to attach and detach: an
    ///   assumption. 25 volumes per Nitro machine: `pkg/volume/util/attach_limit.go`.
    /// - **GCE PD**: 9 s to attach with the driver's polls (gitpod-io/gitpod#9054), 90 % of
    ///   attaches and detaches below 15 s (gcp-compute-persistent-disk-csi-driver#662). 127
    ///   volumes: `volumeLimitBig` of the driver.
    /// - **Azure Disk**: about 15 s (cloud-provider-azure#78); 5.54 % of 4,585 operations took
    ///   longer than 60 s and 0.79 % longer than 120 s (Azure/aks-engine#2888): a log-normal with
    ///   sigma 0.87 has 5.55 % and 0.84 %. 16 volumes: `defaultAzureVolumeLimit` of the driver.
    ///
    /// How long mounting takes is published for none.
    #[must_use]
    pub fn named(name: Sym) -> Self {
        let plain = Self::unknown(name);
        match name.as_str() {
            "ebs.csi.aws.com" => Self { limit: Some(25), ..plain },
            "pd.csi.storage.gke.io" => {
                let span = log(9_000, 0.4);
                Self { attach: span, detach: span, limit: Some(127), ..plain }
            }
            "disk.csi.azure.com" => {
                let span = log(15_000, 0.87);
                Self { attach: span, detach: span, limit: Some(16), ..plain }
            }
            _ => plain,
        }
    }
}

/// What the scenario says of drivers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drivers(pub Arc<[Driver]>);

impl Drivers {
    /// Those that are said to have a limit.
    pub fn limited(&self) -> impl Iterator<Item = &Driver> {
        self.0.iter().filter(|d| d.limit.is_some())
    }

    /// A driver by its name.
    #[must_use]
    pub fn of(&self, name: Sym) -> Driver {
        let told = self.0.iter().find(|d| d.name == name);
        told.copied().unwrap_or_else(|| Driver::named(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Draws, Purpose};

    fn share_beyond(dist: Dist, secs: u64) -> f64 {
        let draws = Draws::new(5);
        let span = SimDuration::from_secs(secs);
        let n = 20_000;
        let beyond = (0..n).filter(|i| dist.sample(&mut draws.draw(1, Purpose("disk"), *i)) > span);
        crate::engine::num::float_u(beyond.count() as u64) / 20_000.0
    }

    #[test]
    fn azure_disks_are_as_slow_as_was_counted() {
        let attach = Driver::named("disk.csi.azure.com".into()).attach;
        assert!((share_beyond(attach, 60) - 0.0554).abs() < 0.006);
        assert!((share_beyond(attach, 120) - 0.0079).abs() < 0.003);
    }

    #[test]
    fn ninety_percent_of_persistent_disks_are_there_in_15_seconds() {
        let attach = Driver::named("pd.csi.storage.gke.io".into()).attach;
        assert!((share_beyond(attach, 15) - 0.1).abs() < 0.01);
    }
}
