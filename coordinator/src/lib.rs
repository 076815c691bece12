//! The coordinator: collects signed results, tallies them under a policy, logs what follows, and serves
//! it. Nobody has to trust it: every answer can be checked against evidence.
//!
//! In scope: ingest over gossip and gRPC, the store with its commit rule, verdicts, HTTP, gRPC and the
//! dashboard. Out of scope: what a result means, how votes are counted, how a tree is hashed; that is
//! `proto/`.
//!
//! Reading order follows the data: [`door`], [`ingest`], [`store`], [`verdicts`], [`witnesses`],
//! [`views`], [`serve`], [`dashboard`], [`mesh`], then [`config`], [`metrics`] and the commands in [`daemon`],
//! [`drill`] and [`check`].

pub mod door;
pub mod ingest;
pub mod store;
pub mod verdicts;
pub mod views;
pub mod witnesses;

pub mod dashboard;
pub mod mesh;
pub mod serve;

pub mod cache;
pub mod check;
pub mod config;
pub mod daemon;
pub mod drill;
pub mod metrics;

/// Generated gRPC code. Its messages are `quorate_proto::api`.
#[allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated code")]
pub mod rpc {
    include!(concat!(env!("OUT_DIR"), "/quorate.v1.rs"));
}
