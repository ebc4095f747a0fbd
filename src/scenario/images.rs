//! What a scenario says of images and of the registry they come from.

use super::place::Place;
use super::report::Report;
use super::value::{self, QUANTITY_HINT, Quantity};
use crate::engine::Sym;
use crate::node::Layer;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// An image: its size, or its layers, which images may share.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Described {
    /// Image reference.
    pub name: String,
    /// Size, if it is one layer of its own.
    pub size: Option<Quantity>,
    /// Layers, from the base on.
    #[serde(default)]
    pub layers: Vec<DescribedLayer>,
}

/// A layer: its name is what images share it by.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DescribedLayer {
    /// Name: a digest, or any other word.
    pub name: String,
    /// Size.
    pub size: Quantity,
}

/// The image registry.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    /// Bandwidth for all nodes together; by default nodes do not feel each other.
    pub bytes_per_second: Option<Quantity>,
}

/// The layers of all described images.
pub(crate) fn described(
    from: &[Described],
    at: &Place,
    report: &mut Report,
) -> Vec<(Sym, Arc<[Layer]>)> {
    let mut list: Vec<(Sym, Arc<[Layer]>)> = Vec::new();
    for (i, image) in from.iter().enumerate() {
        let place = at.item(i);
        let name = Sym::new(&image.name);
        if list.iter().any(|(n, _)| *n == name) {
            report.error(&place.key("name"), "is described already", "keep one of the two");
        }
        let mut size = |place: &Place, text: &Quantity| {
            let amount = report.take(place, value::amount(&text.0), QUANTITY_HINT);
            amount.map_or(0, |a| a.value().max(0))
        };
        let layers: Vec<Layer> = match (&image.size, image.layers.as_slice()) {
            (Some(whole), []) => {
                vec![Layer { name, bytes: size(&place.key("size"), whole) }]
            }
            (None, layers @ [_, ..]) => {
                let each = layers.iter().enumerate().map(|(n, l)| Layer {
                    name: Sym::new(&l.name),
                    bytes: size(&place.key("layers").item(n).key("size"), &l.size),
                });
                each.collect()
            }
            (Some(_), [_, ..]) | (None, []) => {
                report.error(&place, "needs one of size and layers", "write size: 120Mi");
                continue;
            }
        };
        list.push((name, layers.into()));
    }
    list
}

/// Bandwidth of the registry.
pub(crate) fn bandwidth(from: &Registry, at: &Place, report: &mut Report) -> Option<u64> {
    let text = from.bytes_per_second.as_ref()?;
    let place = at.key("bytesPerSecond");
    let amount = report.take(&place, value::amount(&text.0), QUANTITY_HINT)?;
    let amount = u64::try_from(amount.value()).unwrap_or(0);
    if amount == 0 {
        report.error(&place, "nothing could ever be pulled", "give an amount above zero");
    }
    Some(amount.max(1))
}
