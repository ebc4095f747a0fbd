//! The control plane: [`etcd`], API server, scheduler, controllers. They meet only through requests
//! and watches; only the API server touches etcd.

pub mod apiserver;
pub mod cloud;
pub mod controllers;
pub mod etcd;
pub mod scheduler;
