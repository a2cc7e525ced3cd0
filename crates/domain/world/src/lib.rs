// SPDX-License-Identifier: Apache-2.0
//! A small world for tests of rules: records, a clock, and every operation by its name.
//!
//! A test calls an operation through the doors of the crates of rules, as the server does, in one of two forms:
//! - [`World::call`]: a request and an answer as JSON, with members named as AWS names them;
//! - [`World::transcript`]: lines of text, each with its answer below it. See the module `line` for the language.
//!
//! Ids have short names in both directions. [`World::with_cluster`] gives `subnet-a` (us-west-2a), `subnet-b`
//! (us-west-2b), `subnet-tiny` (11 addresses, us-west-2a), `sg-web`, `sg-default`; `subnet-far`, `sg-far` and
//! `sg-fardefault` are in another VPC. A transcript names further ids in the order in which they appear: `vpc-1`,
//! `subnet-2`, `task-1`, `container-1`, `attachment-1`. `host-1` is the host, and the container instance, with the
//! number 1.
//!
//! The unit tests of a crate of rules link this crate against the other build of the same crate. Only types of
//! `berth-state` cross between the two, so a test may mix calls by name with calls of private functions.
#![deny(clippy::disallowed_methods)]
// A fault of a test ends it where it happens.
#![allow(clippy::panic, clippy::unwrap_used)]

mod fill;
mod host;
mod line;
mod names;
mod network;
mod requests;
mod show;

use std::cell::Cell;

use berth_shapes::{OPERATIONS, Operation, Structure};
use berth_state::door::Door;
use berth_state::{Change, Env, Refusal, Rule, Snapshot};
use berth_types::TimestampMs;
use serde_json::Value;

pub use fill::fill;
pub use host::{hello, report};
pub use requests::{ec2_definition, fargate_definition, merged, run_request, table};

use line::Line;
use names::Names;

/// The records, the time, and the names of ids.
#[derive(Clone)]
pub struct World {
    /// The records.
    pub snap: Snapshot,
    /// The time of the next call.
    pub now: TimestampMs,
    calls: Cell<u128>,
    names: Names,
}

impl World {
    /// A world without records.
    pub fn empty() -> Self {
        Self { snap: Snapshot::default(), now: Env::fixed().now, calls: Cell::new(0), names: Names::default() }
    }

    /// A world with the default VPC of an account and the default pool of public addresses.
    pub fn with_default_vpc() -> Self {
        let mut world = Self::empty();
        world.add_public_addresses();
        world.apply(berth_vpc::ensure_default_network(&world.snap, &world.env()));
        world
    }

    /// A world with two VPCs, the default pool of public addresses, the cluster `default`, and no host.
    pub fn with_cluster() -> Self {
        let mut world = Self::empty();
        world.add_public_addresses();
        world.names = network::names();
        world.apply(network::records());
        world.apply(berth_ecs::ensure_default_cluster(&world.snap, &world.env()));
        world
    }

    fn add_public_addresses(&mut self) {
        self.apply(berth_vpc::ensure_world(&self.snap, None, &Env::fixed()).unwrap());
    }

    /// The environment of one more call. Equal sequences of calls get equal environments.
    pub fn env(&self) -> Env {
        self.skip_calls(1);
        let fixed = Env::fixed();
        Env::new(self.now, &fixed.region, &fixed.account, fixed.caller, self.calls.get())
    }

    /// Leaves out the environments of the next `count` calls, so that a copy of a world makes other ids than the first.
    pub fn skip_calls(&self, count: u128) {
        self.calls.set(self.calls.get() + count);
    }

    /// Stores a change and gives back its reply.
    pub fn apply<T>(&mut self, change: Change<T>) -> T {
        change.writes.iter().for_each(|write| self.snap.apply(write));
        change.reply
    }

    /// Does what the server's reconciler does for NAT gateways.
    pub fn settle_nat_gateways(&mut self) {
        self.apply(berth_vpc::settle_nat_gateways(&self.snap, &self.env()));
    }

    /// Calls an operation of any service: `RunTask`, or `ecs:TagResource` where several services have the name.
    ///
    /// # Errors
    /// The rule refuses the call; the text is the code and the message, `ClientException: TaskDefinition is inactive`.
    pub fn call(&mut self, operation: &str, request: Value) -> Result<Value, String> {
        match self.decide(operation, &request, &self.env()) {
            Ok(change) => {
                let answer = self.apply(change);
                Ok(self.names.shown_in(answer))
            }
            Err(refusal) => Err(self.names.shown(&refusal.to_string())),
        }
    }

    /// The change that an operation makes, not stored; ids in the answer are not replaced by names. An operation that
    /// reads changes nothing.
    ///
    /// # Errors
    /// The rule refuses the call.
    pub fn decide(&self, operation: &str, request: &Value, env: &Env) -> Result<Change<Value>, Refusal> {
        let mut filled = |input: &mut dyn Structure| {
            fill::structure(input, request, &self.names);
            Ok(())
        };
        match door(operation).rule {
            Rule::Read(rule) => {
                let answer = rule.call(&mut filled)?.answer(&self.snap, env)?;
                Ok(Change::none(show::structure(answer.as_ref())))
            }
            Rule::Write(rule) => {
                let change = rule.call(&mut filled)?.decide(&self.snap, env)?;
                Ok(change.map(|answer| show::structure(answer.as_ref())))
            }
            Rule::Io => panic!("{operation} has effects other than records"),
        }
    }

    /// Runs the lines, and gives each line that is not a preparation with its answer or its refusal.
    ///
    /// # Panics
    /// A preparation (a line that begins with `!`) is refused, or a line is not in the language.
    pub fn transcript(&mut self, lines: &str) -> String {
        let mut out = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (is_shown, line) = line.strip_prefix('!').map_or((true, line), |rest| (false, rest.trim()));
            let answer = match self.run_line(line) {
                Ok(None) => String::new(),
                Ok(Some(answer)) if answer.is_empty() => "  nothing\n".to_owned(),
                Ok(Some(answer)) => format!("  {answer}\n"),
                Err(refusal) => {
                    assert!(is_shown, "{line}: {refusal}");
                    format!("  refused {}: {}\n", refusal.code, self.names.shown(&refusal.message))
                }
            };
            if is_shown {
                out.push_str(&format!("{line}\n{answer}"));
            }
        }
        out
    }

    /// Runs one line of a transcript and gives its answer as text; an event has an empty answer.
    ///
    /// # Errors
    /// The rule refuses the call.
    pub fn line(&mut self, line: &str) -> Result<String, Refusal> {
        Ok(self.run_line(line)?.unwrap_or_default())
    }

    /// The answer as text, with names for its new ids; `None` for an event, which has no answer.
    fn run_line(&mut self, line: &str) -> Result<Option<String>, Refusal> {
        match line::parse(line) {
            Line::Event { subject, words } => {
                self.event(subject, words);
                Ok(None)
            }
            Line::Call { operation, request, members } => {
                let change = self.decide(operation, &request, &self.env())?;
                let answer = self.apply(change);
                let answer = if members.is_empty() { answer } else { show::only(answer, &members) };
                let text = show::text(&answer);
                self.names.give(&text);
                Ok(Some(self.names.shown(&text)))
            }
        }
    }

    /// The text with ids replaced by their names.
    pub fn named(&self, text: &str) -> String {
        self.names.shown(text)
    }

    /// The text with names replaced by the ids for which they stand.
    pub fn meant(&self, text: &str) -> String {
        self.names.meant(text)
    }
}

/// The door of an operation, from whichever crate has its rule.
fn door(name: &str) -> Door {
    let of_row = |row: &Operation| {
        berth_ecs::door(row.id).or_else(|| berth_vpc::door(row.id)).or_else(|| berth_iam::door(row.id))
    };
    let (service, operation) = name.split_once(':').map_or((None, name), |(service, rest)| (Some(service), rest));
    let rows = OPERATIONS.iter().filter(|row| row.name == operation);
    let rows = rows.filter(|row| service.is_none_or(|service| row.service.facts().name == service));
    let mut doors: Vec<Door> = rows.filter_map(of_row).collect();
    assert!(doors.len() < 2, "several services have an operation {name}; write `service:{operation}`");
    doors.pop().unwrap_or_else(|| panic!("no service has an operation {name}"))
}
