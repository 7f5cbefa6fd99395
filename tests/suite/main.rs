//! End-to-end tests: the gateway's binary, real Postgres, the system's SSH clients, a simulated Studio account.

#![allow(clippy::disallowed_methods, reason = "tests may spawn tasks and look at the clock")]

mod api;
mod approval;
mod architecture;
mod asking_about_spaces;
mod audit;
mod aws_side;
mod certificates;
mod doors;
mod endings;
mod flow;
mod grants;
mod hostile;
mod idling;
mod ledger_pages;
mod looking_inside;
mod messages;
mod money;
mod notices;
mod pages;
mod people;
mod probe;
mod provider;
mod providers;
mod refusals;
mod replicas;
mod roles;
mod scene;
mod secrets;
mod sessions_pages;
mod sharing;
mod sign_in;
mod simulating;
mod spaces;
mod starting;
mod streams;
mod terminal;
mod transfers;
mod unscripted;
mod walk;
mod watching;
mod zones;
