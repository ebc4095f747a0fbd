//! What acts on the objects: each component watches, decides, and writes through the API server.

pub mod controllers;
