//! Quantities: exact arithmetic over Kubernetes' grammar.
