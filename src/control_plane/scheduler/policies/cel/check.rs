//! From text to typed expressions: the parser is that of the `cel` crate, the types are those of
//! CEL. All that does not fit is told with its place before anything runs.

use super::expr::{Amount, Ask, Bool, Double, Field, Int, Math, Order, Text, Whose};
use crate::control_plane::scheduler::plugins::fit::Amount as Resource;
use crate::engine::Sym;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};

/// What is wrong with an expression, and where (line and column from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CelError {
    /// Line within the expression, from 1.
    pub line: usize,
    /// Column, in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do about it; may be empty.
    pub hint: &'static str,
}

/// A checked expression of any type.
#[derive(Debug, Clone)]
pub(super) enum Typed {
    /// A double.
    Double(Double),
    /// An int.
    Int(Int),
    /// A bool.
    Bool(Bool),
    /// A string.
    Text(Text),
}

impl Typed {
    fn name(&self) -> &'static str {
        match self {
            Self::Double(_) => "double",
            Self::Int(_) => "int",
            Self::Bool(_) => "bool",
            Self::Text(_) => "string",
        }
    }
}

type Checked<T = Typed> = Result<T, CelError>;

struct Checker {
    source: SourceInfo,
}

/// Parses and checks.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn check(text: &str) -> Checked {
    let (expr, source) =
        cel::parser::Parser::new().parse_with_source_info(text).map_err(|errors| {
            let first = errors.errors.first();
            let place = first.map_or((1, 1), |e| e.pos);
            let from_one = |n: isize| usize::try_from(n).unwrap_or(1).max(1);
            let problem = first.map_or_else(|| "cannot be read".into(), |e| e.msg.clone());
            CelError { line: from_one(place.0), column: from_one(place.1), problem, hint: "" }
        })?;
    Checker { source }.expr(&expr)
}

const MIX: &str = "CEL does not mix int and double: write 2.0 for 2, or double(n)";
const FIELDS: &str = "known: node.name, .labels, .pods, .unschedulable, .allocatable.X, .requested.X, .free.X; pod.name, .namespace, .labels, .priority, .requests.X; cluster.nodes, .largest.X; X is cpu, memory, ephemeralStorage, pods, gpu or [\"a/resource\"]";
const FUNCTIONS: &str =
    "known: double, int, size, has, math.least, math.greatest, startsWith, endsWith, contains, in";

impl Checker {
    fn error(&self, at: &IdedExpr, problem: String, hint: &'static str) -> CelError {
        let start = self.source.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        let before: String = self.source.source.chars().take(start).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        CelError { line, column, problem, hint }
    }

    fn expr(&self, at: &IdedExpr) -> Checked {
        match &at.expr {
            Expr::Literal(value) => self.literal(at, value),
            Expr::Ident(name) => Err(self.error(at, format!("{name} is no value"), FIELDS)),
            Expr::Select(select) => self.select(at, select),
            Expr::Call(call) => self.call(at, call),
            Expr::List(_) => {
                Err(self.error(at, "a list stands here".into(), "lists are possible after `in`"))
            }
            Expr::Comprehension(_) => {
                let problem = "macros over lists are not supported here".into();
                Err(self.error(at, problem, FUNCTIONS))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.error(at, "maps and messages are not supported here".into(), ""))
            }
        }
    }

    fn literal(&self, at: &IdedExpr, value: &LiteralValue) -> Checked {
        Ok(match value {
            LiteralValue::Boolean(b) => Typed::Bool(Bool::Is(*b.inner())),
            LiteralValue::Double(x) => Typed::Double(Double::Is(*x.inner())),
            LiteralValue::Int(n) => Typed::Int(Int::Is(*n.inner())),
            LiteralValue::String(s) => Typed::Text(Text::Is(s.inner().into())),
            LiteralValue::Bytes(_) | LiteralValue::Null | LiteralValue::UInt(_) => {
                let hint = "possible here: bool, int, double and string";
                return Err(self.error(at, "such a literal is not supported".into(), hint));
            }
        })
    }

    /// `node.free.cpu` as its words; none if it is anything else than words.
    fn path(at: &IdedExpr) -> Option<Vec<&str>> {
        match &at.expr {
            Expr::Ident(name) => Some(vec![name]),
            Expr::Select(select) if !select.test => {
                let mut words = Self::path(&select.operand)?;
                words.push(&select.field);
                Some(words)
            }
            Expr::Select(_)
            | Expr::Literal(_)
            | Expr::Call(_)
            | Expr::List(_)
            | Expr::Comprehension(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Unspecified => None,
        }
    }

    fn labels(at: &IdedExpr) -> Option<Whose> {
        match Self::path(at)?.as_slice() {
            ["node", "labels"] => Some(Whose::Node),
            ["pod", "labels"] => Some(Whose::Pod),
            _others => None,
        }
    }

    fn select(&self, at: &IdedExpr, select: &SelectExpr) -> Checked {
        if let Some(whose) = Self::labels(&select.operand) {
            let key = Sym::new(&select.field);
            return Ok(if select.test {
                Typed::Bool(Bool::Has(whose, key))
            } else {
                Typed::Text(Text::Label(whose, key))
            });
        }
        if select.test {
            let hint = "write has(node.labels.key) or \"a/key\" in node.labels";
            return Err(self.error(at, "has() is about labels alone".into(), hint));
        }
        let words = Self::path(at).unwrap_or_default();
        Ok(match words.as_slice() {
            ["node", "name"] => Typed::Text(Text::NodeName),
            ["node", "pods"] => Typed::Int(Int::Pods),
            ["node", "unschedulable"] => Typed::Bool(Bool::Unschedulable),
            ["pod", "name"] => Typed::Text(Text::PodName),
            ["pod", "namespace"] => Typed::Text(Text::Namespace),
            ["pod", "priority"] => Typed::Int(Int::Priority),
            ["cluster", "nodes"] => Typed::Int(Int::Nodes),
            [start @ .., last] => {
                let amount = match *last {
                    "cpu" => Amount::Of(Resource::Cpu),
                    "memory" => Amount::Of(Resource::Memory),
                    "ephemeralStorage" => Amount::Of(Resource::Ephemeral),
                    "pods" => Amount::Pods,
                    "gpu" => Amount::Gpu,
                    _other => return Err(self.unknown(at)),
                };
                let field = Self::amounts(start).ok_or_else(|| self.unknown(at))?;
                Typed::Double(Double::Field(field(amount)))
            }
            [] => return Err(self.unknown(at)),
        })
    }

    fn unknown(&self, at: &IdedExpr) -> CelError {
        let words = Self::path(at).unwrap_or_default().join(".");
        self.error(at, format!("there is no {words}"), FIELDS)
    }

    /// Which table of amounts these words name.
    fn amounts(words: &[&str]) -> Option<fn(Amount) -> Field> {
        Some(match words {
            ["node", "allocatable"] => Field::Allocatable,
            ["node", "requested"] => Field::Requested,
            ["node", "free"] => Field::Free,
            ["pod", "requests"] => Field::Asked,
            ["cluster", "largest"] => Field::Largest,
            _others => return None,
        })
    }

    fn call(&self, at: &IdedExpr, call: &CallExpr) -> Checked {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::CONDITIONAL, [when, a, b]) => self.conditional(at, when, (a, b)),
            (operators::LOGICAL_AND, [a, b]) => {
                Ok(Typed::Bool(Bool::And(Box::new(self.bool(a)?), Box::new(self.bool(b)?))))
            }
            (operators::LOGICAL_OR, [a, b]) => {
                Ok(Typed::Bool(Bool::Or(Box::new(self.bool(a)?), Box::new(self.bool(b)?))))
            }
            (operators::LOGICAL_NOT, [of]) => Ok(Typed::Bool(Bool::Not(Box::new(self.bool(of)?)))),
            (operators::NEGATE, [of]) => match self.expr(of)? {
                Typed::Double(x) => Ok(Typed::Double(Double::Neg(Box::new(x)))),
                Typed::Int(n) => Ok(Typed::Int(Int::Neg(Box::new(n)))),
                other @ (Typed::Bool(_) | Typed::Text(_)) => {
                    Err(self.error(at, format!("there is no minus of a {}", other.name()), ""))
                }
            },
            (operators::INDEX, [of, key]) => self.index(at, of, key),
            (operators::IN, [item, list]) => self.within(at, item, list),
            ("startsWith" | "endsWith" | "contains", [other]) => {
                let Some(text) = &call.target else {
                    let hint = "write node.name.startsWith(\"a\")";
                    return Err(self.error(at, format!("{name} asks a string"), hint));
                };
                let ask = match name {
                    "startsWith" => Ask::Starts,
                    "endsWith" => Ask::Ends,
                    _contains => Ask::Contains,
                };
                let (text, other) = (self.text(text)?, self.text(other)?);
                Ok(Typed::Bool(Bool::Asks(ask, Box::new(text), Box::new(other))))
            }
            ("double" | "int", [of]) if call.target.is_none() => self.cast(at, name, of),
            ("size", [of]) if call.target.is_none() => {
                Ok(Typed::Int(Int::Size(Box::new(self.text(of)?))))
            }
            (_, [a, b]) => self.binary(at, call, a, b),
            _others => {
                let problem = format!("{name} is not supported with so many arguments");
                Err(self.error(at, problem, FUNCTIONS))
            }
        }
    }

    fn binary(&self, at: &IdedExpr, call: &CallExpr, a: &IdedExpr, b: &IdedExpr) -> Checked {
        let order = match call.func_name.as_str() {
            operators::EQUALS => Some(Order::Eq),
            operators::NOT_EQUALS => Some(Order::Ne),
            operators::LESS => Some(Order::Lt),
            operators::LESS_EQUALS => Some(Order::Le),
            operators::GREATER => Some(Order::Gt),
            operators::GREATER_EQUALS => Some(Order::Ge),
            _others => None,
        };
        if let Some(order) = order {
            return self.compare(at, order, (self.expr(a)?, self.expr(b)?));
        }
        let of_math = call.target.as_ref().is_some_and(|t| Self::path(t) == Some(vec!["math"]));
        let math = match call.func_name.as_str() {
            operators::ADD => Math::Add,
            operators::SUBSTRACT => Math::Sub,
            operators::MULTIPLY => Math::Mul,
            operators::DIVIDE => Math::Div,
            operators::MODULO => Math::Rem,
            "least" if of_math => Math::Least,
            "greatest" if of_math => Math::Greatest,
            other => {
                return Err(self.error(at, format!("there is no function {other}"), FUNCTIONS));
            }
        };
        match (self.expr(a)?, self.expr(b)?) {
            (Typed::Double(a), Typed::Double(b)) if math != Math::Rem => {
                Ok(Typed::Double(Double::Math(math, Box::new(a), Box::new(b))))
            }
            (Typed::Int(a), Typed::Int(b)) => {
                Ok(Typed::Int(Int::Math(math, Box::new(a), Box::new(b))))
            }
            (Typed::Text(a), Typed::Text(b)) if math == Math::Add => {
                Ok(Typed::Text(Text::Join(Box::new(a), Box::new(b))))
            }
            (a, b) => Err(self.mixed(at, &a, &b)),
        }
    }

    fn mixed(&self, at: &IdedExpr, a: &Typed, b: &Typed) -> CelError {
        let problem = format!("no such overload for {} and {}", a.name(), b.name());
        let numbers = [a.name(), b.name()].iter().all(|n| ["int", "double"].contains(n));
        self.error(at, problem, if numbers { MIX } else { "" })
    }

    fn compare(&self, at: &IdedExpr, order: Order, pair: (Typed, Typed)) -> Checked {
        let only_equal = matches!(order, Order::Eq | Order::Ne);
        Ok(Typed::Bool(match pair {
            (Typed::Double(a), Typed::Double(b)) => Bool::Doubles(order, a.into(), b.into()),
            // CEL compares numbers across types.
            (Typed::Int(a), Typed::Double(b)) => {
                Bool::Doubles(order, Double::Of(a.into()).into(), b.into())
            }
            (Typed::Double(a), Typed::Int(b)) => {
                Bool::Doubles(order, a.into(), Double::Of(b.into()).into())
            }
            (Typed::Int(a), Typed::Int(b)) => Bool::Ints(order, a.into(), b.into()),
            (Typed::Text(a), Typed::Text(b)) => Bool::Texts(order, a.into(), b.into()),
            (Typed::Bool(a), Typed::Bool(b)) if only_equal => {
                Bool::Bools(order, a.into(), b.into())
            }
            (a, b) => return Err(self.mixed(at, &a, &b)),
        }))
    }

    fn conditional(
        &self,
        at: &IdedExpr,
        when: &IdedExpr,
        (a, b): (&IdedExpr, &IdedExpr),
    ) -> Checked {
        let when = Box::new(self.bool(when)?);
        Ok(match (self.expr(a)?, self.expr(b)?) {
            (Typed::Double(a), Typed::Double(b)) => {
                Typed::Double(Double::If(when, a.into(), b.into()))
            }
            (Typed::Int(a), Typed::Int(b)) => Typed::Int(Int::If(when, a.into(), b.into())),
            (Typed::Bool(a), Typed::Bool(b)) => Typed::Bool(Bool::If(when, a.into(), b.into())),
            (Typed::Text(a), Typed::Text(b)) => Typed::Text(Text::If(when, a.into(), b.into())),
            (a, b) => {
                let problem = format!("the two outcomes are {} and {}", a.name(), b.name());
                return Err(self.error(at, problem, "both must have one type"));
            }
        })
    }

    /// `labels["key"]`, and `node.free["a/resource"]`.
    fn index(&self, at: &IdedExpr, of: &IdedExpr, key: &IdedExpr) -> Checked {
        let Expr::Literal(LiteralValue::String(name)) = &key.expr else {
            let hint = "write it in quotes";
            return Err(self.error(key, "only a literal string is possible here".into(), hint));
        };
        let name = Sym::new(name.inner());
        if let Some(whose) = Self::labels(of) {
            return Ok(Typed::Text(Text::Label(whose, name)));
        }
        let words = Self::path(of).unwrap_or_default();
        let field = Self::amounts(&words).ok_or_else(|| self.unknown(at))?;
        Ok(Typed::Double(Double::Field(field(Amount::Of(Resource::Scalar(name))))))
    }

    /// `"key" in node.labels`, `text in ["a", "b"]`.
    fn within(&self, at: &IdedExpr, item: &IdedExpr, list: &IdedExpr) -> Checked {
        if let Some(whose) = Self::labels(list) {
            let Expr::Literal(LiteralValue::String(key)) = &item.expr else {
                return Err(self.error(item, "only a literal string is possible here".into(), ""));
            };
            return Ok(Typed::Bool(Bool::Has(whose, Sym::new(key.inner()))));
        }
        let Expr::List(list) = &list.expr else {
            let hint = "write `text in [\"a\", \"b\"]` or `\"key\" in node.labels`";
            return Err(self.error(at, "`in` needs a list of strings or labels".into(), hint));
        };
        let item = self.text(item)?;
        let items: Result<Vec<Text>, CelError> =
            list.elements.iter().map(|e| self.text(e)).collect();
        Ok(Typed::Bool(Bool::In(Box::new(item), items?)))
    }

    fn cast(&self, at: &IdedExpr, name: &str, of: &IdedExpr) -> Checked {
        let to_double = name == "double";
        Ok(match self.expr(of)? {
            Typed::Double(x) if to_double => Typed::Double(x),
            Typed::Double(x) => Typed::Int(Int::Of(x.into())),
            Typed::Int(n) if to_double => Typed::Double(Double::Of(n.into())),
            Typed::Int(n) => Typed::Int(n),
            Typed::Text(t) if to_double => Typed::Double(Double::Parse(t.into())),
            Typed::Text(t) => Typed::Int(Int::Parse(t.into())),
            Typed::Bool(_) => return Err(self.error(at, "a bool is no number".into(), "")),
        })
    }

    fn bool(&self, at: &IdedExpr) -> Checked<Bool> {
        match self.expr(at)? {
            Typed::Bool(b) => Ok(b),
            other @ (Typed::Double(_) | Typed::Int(_) | Typed::Text(_)) => {
                Err(self.error(at, format!("is {}, where a bool is needed", other.name()), ""))
            }
        }
    }

    fn text(&self, at: &IdedExpr) -> Checked<Text> {
        match self.expr(at)? {
            Typed::Text(t) => Ok(t),
            other @ (Typed::Double(_) | Typed::Int(_) | Typed::Bool(_)) => {
                Err(self.error(at, format!("is {}, where a string is needed", other.name()), ""))
            }
        }
    }
}
