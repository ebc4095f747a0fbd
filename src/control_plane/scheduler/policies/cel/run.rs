//! Evaluation. An error (a label that is not there, an int that overflows) is `None`; as CEL has
//! it, `&&` and `||` swallow one where the other side decides.

use super::expr::{Amount, Ask, Bool, Double, Field, Int, Math, Order, Text, Whose};
use crate::api::LabelSet;
use crate::api::gpu::{self, GpuAsk, WHOLE};
use crate::control_plane::scheduler::cache::NodeRow;
use crate::control_plane::scheduler::framework::View;
use crate::control_plane::scheduler::plugins::fit::Amount as Resource;
use crate::engine::num;
use std::borrow::Cow;
use std::cmp::Ordering;

macro_rules! settle {
    ($scope:expr, $($part:expr),+) => {{ $($part.settle($scope);)+ }};
}

/// What expressions are about: a pod and a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    view: View<'a>,
    row: &'a NodeRow,
    at: usize,
    asked: Option<GpuAsk>,
}

impl<'a> Scope<'a> {
    /// The pod in hand and the node at a position.
    #[must_use]
    pub(super) fn new(view: View<'a>, at: usize) -> Self {
        let asked = GpuAsk::of(&view.pod.spec.requests);
        Self { view, row: view.cache.at(at), at, asked }
    }

    /// The same pod and another node.
    #[must_use]
    pub(super) fn at(self, at: usize) -> Self {
        Self { row: self.view.cache.at(at), at, ..self }
    }

    fn field(&self, field: Field) -> f64 {
        let row = self.row;
        match field {
            Field::Allocatable(Amount::Of(what)) => num::float(what.of(&row.alloc)),
            Field::Allocatable(Amount::Pods) => num::float(row.alloc.pods),
            Field::Allocatable(Amount::Gpu) => num::float_u(self.devices() * u64::from(WHOLE)),
            Field::Requested(Amount::Of(what)) => num::float(what.of(&row.used)),
            Field::Requested(Amount::Pods) => num::float_u(row.pods.len() as u64),
            Field::Free(Amount::Gpu) => f64::from(row.gpus.as_ref().map_or(0, |gpus| gpus.sum())),
            Field::Requested(Amount::Gpu) => {
                self.field(Field::Allocatable(Amount::Gpu)) - self.field(Field::Free(Amount::Gpu))
            }
            Field::Free(what) => {
                self.field(Field::Allocatable(what)) - self.field(Field::Requested(what))
            }
            Field::Asked(Amount::Of(what)) => num::float(what.of(&self.view.pod.spec.requests)),
            Field::Asked(Amount::Pods) => 1.0,
            Field::Asked(Amount::Gpu) => f64::from(self.asked.map_or(0, GpuAsk::total)),
            Field::Largest(what) => self.largest(what),
        }
    }

    fn devices(&self) -> u64 {
        self.row.gpus.as_ref().map_or(0, |gpus| gpus.left().len() as u64)
    }

    fn largest(&self, what: Amount) -> f64 {
        let columns = self.view.cache.columns();
        match what {
            Amount::Of(what) => columns.largest(what),
            Amount::Pods => columns.alloc_pods.iter().copied().fold(0.0, f64::max),
            Amount::Gpu => columns.largest(Resource::Scalar(gpu::count())) * f64::from(WHOLE),
        }
    }

    fn labels(&self, whose: Whose) -> LabelSet {
        match whose {
            Whose::Node => self.view.cache.node(self.at).meta.labels,
            Whose::Pod => self.view.pod.meta.labels,
        }
    }
}

impl Double {
    /// Its value.
    #[must_use]
    pub(super) fn eval(&self, scope: &Scope<'_>) -> Option<f64> {
        Some(match self {
            Self::Is(value) => *value,
            Self::Field(field) => scope.field(*field),
            Self::Neg(of) => -of.eval(scope)?,
            Self::Math(math, a, b) => {
                let (a, b) = (a.eval(scope)?, b.eval(scope)?);
                match math {
                    Math::Add => a + b,
                    Math::Sub => a - b,
                    Math::Mul => a * b,
                    Math::Div | Math::Rem => a / b,
                    Math::Least => a.min(b),
                    Math::Greatest => a.max(b),
                }
            }
            Self::If(when, a, b) => {
                if when.eval(scope)? {
                    a.eval(scope)?
                } else {
                    b.eval(scope)?
                }
            }
            Self::Of(int) => num::float(int.eval(scope)?),
            Self::Parse(text) => text.eval(scope)?.parse().ok()?,
        })
    }

    /// Puts in what is the same for all nodes of the cycle: what the pod asks for, and the largest
    /// node, which takes a look at all of them.
    pub(super) fn settle(&mut self, scope: &Scope<'_>) {
        match self {
            Self::Field(field @ (Field::Asked(_) | Field::Largest(_))) => {
                *self = Self::Is(scope.field(*field));
            }
            Self::Is(_) | Self::Field(_) | Self::Parse(_) => {}
            Self::Neg(of) => of.settle(scope),
            Self::Math(_, a, b) => settle!(scope, a, b),
            Self::If(when, a, b) => settle!(scope, when, a, b),
            Self::Of(int) => int.settle(scope),
        }
    }
}

impl Int {
    /// Its value.
    #[must_use]
    pub(super) fn eval(&self, scope: &Scope<'_>) -> Option<i64> {
        Some(match self {
            Self::Is(value) => *value,
            Self::Nodes => num::i64_of(scope.view.cache.len()),
            Self::Pods => num::i64_of(scope.row.pods.len()),
            Self::Priority => i64::from(scope.view.pod.spec.priority),
            Self::Neg(of) => of.eval(scope)?.checked_neg()?,
            Self::Math(math, a, b) => {
                let (a, b) = (a.eval(scope)?, b.eval(scope)?);
                match math {
                    Math::Add => a.checked_add(b)?,
                    Math::Sub => a.checked_sub(b)?,
                    Math::Mul => a.checked_mul(b)?,
                    Math::Div => a.checked_div(b)?,
                    Math::Rem => a.checked_rem(b)?,
                    Math::Least => a.min(b),
                    Math::Greatest => a.max(b),
                }
            }
            Self::If(when, a, b) => {
                if when.eval(scope)? {
                    a.eval(scope)?
                } else {
                    b.eval(scope)?
                }
            }
            Self::Of(double) => {
                let value = double.eval(scope)?;
                if value.abs() >= 9.2e18 || value.is_nan() {
                    return None;
                }
                num::trunc(value)
            }
            Self::Parse(text) => text.eval(scope)?.parse().ok()?,
            Self::Size(text) => num::i64_of(text.eval(scope)?.chars().count()),
        })
    }

    fn settle(&mut self, scope: &Scope<'_>) {
        match self {
            Self::Is(_) | Self::Nodes | Self::Pods | Self::Priority => {}
            Self::Parse(_) | Self::Size(_) => {}
            Self::Neg(of) => of.settle(scope),
            Self::Math(_, a, b) => settle!(scope, a, b),
            Self::If(when, a, b) => settle!(scope, when, a, b),
            Self::Of(double) => double.settle(scope),
        }
    }
}

impl Text {
    /// Its value.
    #[must_use]
    pub(super) fn eval<'s>(&'s self, scope: &Scope<'s>) -> Option<Cow<'s, str>> {
        Some(match self {
            Self::Is(text) => Cow::Borrowed(text),
            Self::NodeName => Cow::Borrowed(scope.row.name.as_str()),
            Self::PodName => Cow::Owned(scope.view.pod.meta.name.to_string()),
            Self::Namespace => Cow::Borrowed(scope.view.pod.meta.ns.as_str()),
            Self::Label(whose, key) => Cow::Borrowed(scope.labels(*whose).get(*key)?.as_str()),
            Self::Join(a, b) => Cow::Owned(a.eval(scope)?.into_owned() + &b.eval(scope)?),
            Self::If(when, a, b) => {
                if when.eval(scope)? {
                    a.eval(scope)?
                } else {
                    b.eval(scope)?
                }
            }
        })
    }
}

fn holds(order: Order, found: Option<Ordering>) -> bool {
    // What cannot be compared (NaN) is different, and neither more nor less.
    let Some(found) = found else { return order == Order::Ne };
    match order {
        Order::Eq => found.is_eq(),
        Order::Ne => found.is_ne(),
        Order::Lt => found.is_lt(),
        Order::Le => found.is_le(),
        Order::Gt => found.is_gt(),
        Order::Ge => found.is_ge(),
    }
}

impl Bool {
    /// Its value.
    #[must_use]
    pub(super) fn eval(&self, scope: &Scope<'_>) -> Option<bool> {
        Some(match self {
            Self::Is(value) => *value,
            Self::Unschedulable => scope.view.cache.node(scope.at).unschedulable,
            Self::Has(whose, key) => scope.labels(*whose).get(*key).is_some(),
            Self::Not(of) => !of.eval(scope)?,
            Self::And(a, b) => match (a.eval(scope), b.eval(scope)) {
                (Some(false), _) | (_, Some(false)) => false,
                (Some(true), Some(true)) => true,
                (None, _) | (_, None) => return None,
            },
            Self::Or(a, b) => match (a.eval(scope), b.eval(scope)) {
                (Some(true), _) | (_, Some(true)) => true,
                (Some(false), Some(false)) => false,
                (None, _) | (_, None) => return None,
            },
            Self::If(when, a, b) => {
                if when.eval(scope)? {
                    a.eval(scope)?
                } else {
                    b.eval(scope)?
                }
            }
            Self::Doubles(order, a, b) => {
                holds(*order, a.eval(scope)?.partial_cmp(&b.eval(scope)?))
            }
            Self::Ints(order, a, b) => holds(*order, Some(a.eval(scope)?.cmp(&b.eval(scope)?))),
            Self::Texts(order, a, b) => holds(*order, Some(a.eval(scope)?.cmp(&b.eval(scope)?))),
            Self::Bools(order, a, b) => holds(*order, Some(a.eval(scope)?.cmp(&b.eval(scope)?))),
            Self::In(text, list) => {
                let text = text.eval(scope)?;
                let mut any = false;
                for other in list {
                    any |= other.eval(scope)? == text;
                }
                any
            }
            Self::Asks(ask, a, b) => {
                let (a, b) = (a.eval(scope)?, b.eval(scope)?);
                match ask {
                    Ask::Starts => a.starts_with(&*b),
                    Ask::Ends => a.ends_with(&*b),
                    Ask::Contains => a.contains(&*b),
                }
            }
        })
    }

    /// As of a double.
    pub(super) fn settle(&mut self, scope: &Scope<'_>) {
        match self {
            Self::Is(_) | Self::Unschedulable | Self::Has(..) => {}
            Self::Texts(..) | Self::In(..) | Self::Asks(..) => {}
            Self::Not(of) => of.settle(scope),
            Self::And(a, b) | Self::Or(a, b) | Self::Bools(_, a, b) => settle!(scope, a, b),
            Self::If(when, a, b) => settle!(scope, when, a, b),
            Self::Doubles(_, a, b) => settle!(scope, a, b),
            Self::Ints(_, a, b) => settle!(scope, a, b),
        }
    }
}
