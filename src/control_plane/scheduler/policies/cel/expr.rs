//! Expressions of a policy after checking: one tree per type, so that nothing is left to find out
//! while nodes are looked at.

use crate::control_plane::scheduler::plugins::fit::Amount as Resource;
use crate::engine::Sym;

/// An amount of something on a node or asked for by a pod: cpu in milli-cores, memory in bytes,
/// GPUs in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    /// A resource.
    Of(Resource),
    /// Pods.
    Pods,
    /// Thousandths of GPUs that pods share.
    Gpu,
}

/// A number of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `node.allocatable.X`
    Allocatable(Amount),
    /// `node.requested.X`
    Requested(Amount),
    /// `node.free.X`
    Free(Amount),
    /// `pod.requests.X`
    Asked(Amount),
    /// `cluster.largest.X`: of the node that has most of it.
    Largest(Amount),
}

/// Two numbers to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Math {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`, of ints alone.
    Rem,
    /// `math.least`
    Least,
    /// `math.greatest`
    Greatest,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// A double.
#[derive(Debug, Clone)]
pub(super) enum Double {
    /// A literal.
    Is(f64),
    /// Of the cluster.
    Field(Field),
    /// `-x`
    Neg(Box<Self>),
    /// Of two.
    Math(Math, Box<Self>, Box<Self>),
    /// `c ? a : b`
    If(Box<Bool>, Box<Self>, Box<Self>),
    /// `double(n)`
    Of(Box<Int>),
    /// `double("1.5")`: an error if the text is no number.
    Parse(Box<Text>),
}

/// An int.
#[derive(Debug, Clone)]
pub(super) enum Int {
    /// A literal.
    Is(i64),
    /// `cluster.nodes`
    Nodes,
    /// `node.pods`
    Pods,
    /// `pod.priority`
    Priority,
    /// `-n`
    Neg(Box<Self>),
    /// Of two.
    Math(Math, Box<Self>, Box<Self>),
    /// `c ? a : b`
    If(Box<Bool>, Box<Self>, Box<Self>),
    /// `int(x)`, truncated.
    Of(Box<Double>),
    /// `int("5")`: an error if the text is no number.
    Parse(Box<Text>),
    /// `size(text)`, in characters.
    Size(Box<Text>),
}

/// Whose labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The node's.
    Node,
    /// The pod's.
    Pod,
}

/// A string.
#[derive(Debug, Clone)]
pub(super) enum Text {
    /// A literal.
    Is(Box<str>),
    /// `node.name`
    NodeName,
    /// `pod.name`
    PodName,
    /// `pod.namespace`
    Namespace,
    /// `labels["key"]`: an error if there is none.
    Label(Whose, Sym),
    /// `a + b`
    Join(Box<Self>, Box<Self>),
    /// `c ? a : b`
    If(Box<Bool>, Box<Self>, Box<Self>),
}

/// What a string is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// `startsWith`
    Starts,
    /// `endsWith`
    Ends,
    /// `contains`
    Contains,
}

/// A bool.
#[derive(Debug, Clone)]
pub(super) enum Bool {
    /// A literal.
    Is(bool),
    /// `node.unschedulable`
    Unschedulable,
    /// `has(labels.key)` or `"key" in labels`
    Has(Whose, Sym),
    /// `!b`
    Not(Box<Self>),
    /// `a && b`
    And(Box<Self>, Box<Self>),
    /// `a || b`
    Or(Box<Self>, Box<Self>),
    /// `c ? a : b`
    If(Box<Self>, Box<Self>, Box<Self>),
    /// Of two doubles.
    Doubles(Order, Box<Double>, Box<Double>),
    /// Of two ints.
    Ints(Order, Box<Int>, Box<Int>),
    /// Of two strings.
    Texts(Order, Box<Text>, Box<Text>),
    /// Of two bools: `==` and `!=`.
    Bools(Order, Box<Self>, Box<Self>),
    /// `text in ["a", "b"]`
    In(Box<Text>, Vec<Text>),
    /// `text.startsWith(other)` and the like.
    Asks(Ask, Box<Text>, Box<Text>),
}
