//! Transcripts of EC2 calls: what is asked, and what is answered.
//!
//! A line is an operation and its members: `CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24`. Ids are written in the
//! order in which they appeared (`vpc-1`, `subnet-2`). Short forms: `filter:vpc-id=a,b`, `tag:vpc:Name=web`,
//! `rule=tcp:80-80:0.0.0.0/0`. A line that begins with `!` prepares: it must succeed and its answer is not shown.
#![allow(clippy::unwrap_used)]

mod defaults;
mod explain;
mod filters;
mod gateways;
mod groups;
mod interfaces;
mod laws;
mod networks;
mod rules;
mod seats;
mod subnets;
mod tables;
mod tagging;

use std::cell::Cell;
use std::collections::BTreeMap;

use berth_shapes::{Input, Slot, Structure, View};
use expect_test::Expect;

use crate::{Change, Env, Refusal, Snapshot, Write};

/// Runs the calls in a world with nothing but what they make.
#[track_caller]
pub(super) fn check(calls: &str, expected: Expect) {
    expected.assert_eq(&World::default().transcript(calls));
}

/// Runs the calls in a world with the default VPC.
#[track_caller]
pub(super) fn check_with_default_vpc(calls: &str, expected: Expect) {
    let mut world = World::default();
    let change = super::ensure_default_network(&world.snap, &world.env());
    world.apply(change.writes);
    expected.assert_eq(&world.transcript(calls));
}

/// The records, and what the ids are called.
#[derive(Default)]
pub(super) struct World {
    pub snap: Snapshot,
    calls: Cell<u128>,
    names: BTreeMap<String, String>,
    counts: BTreeMap<String, u32>,
}

impl World {
    /// A fresh environment, the same in every run.
    pub fn env(&self) -> Env {
        self.calls.set(self.calls.get() + 1);
        let fixed = Env::fixed();
        Env::new(fixed.now, &fixed.region, &fixed.account, &fixed.caller, self.calls.get())
    }

    pub fn apply(&mut self, writes: Vec<Write>) {
        writes.iter().for_each(|write| self.snap.apply(write));
    }

    pub fn transcript(&mut self, calls: &str) -> String {
        let mut out = String::new();
        for line in calls.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (is_shown, line) = line.strip_prefix('!').map_or((true, line), |rest| (false, rest.trim()));
            let answer = self.call(line);
            match answer {
                Ok(answer) if is_shown && answer.is_empty() => out.push_str(&format!("{line}\n  nothing\n")),
                Ok(answer) if is_shown => out.push_str(&format!("{line}\n  {answer}\n")),
                Ok(_) => {}
                Err(refusal) => {
                    assert!(is_shown, "{line}: {refusal}");
                    let message = self.named(&refusal.message, false);
                    out.push_str(&format!("{line}\n  refused {}: {message}\n", refusal.code));
                }
            }
        }
        out
    }

    /// One call; the answer as text.
    pub fn call(&mut self, line: &str) -> Result<String, Refusal> {
        let (operation, members) = parse(&self.meant(line));
        let (writes, answer) = run(&self.snap, &operation, &members, &self.env())?;
        self.apply(writes);
        Ok(self.named(&answer, true))
    }

    /// The text with ids by their names; new ids get one.
    pub fn named(&mut self, text: &str, is_new_named: bool) -> String {
        words(text)
            .map(|word| match word.rsplit_once('-') {
                Some((prefix, hex)) if is_id(prefix, hex) => {
                    if !self.names.contains_key(word) && is_new_named {
                        let count = self.counts.entry(prefix.to_owned()).or_default();
                        *count += 1;
                        self.names.insert(word.to_owned(), format!("{prefix}-{count}"));
                    }
                    self.names.get(word).cloned().unwrap_or_else(|| word.to_owned())
                }
                _ => word.to_owned(),
            })
            .collect()
    }

    /// The text with names replaced by the ids they stand for.
    pub fn meant(&self, text: &str) -> String {
        words(text)
            .map(|word| self.names.iter().find(|(_, name)| *name == word).map_or(word, |(id, _)| id.as_str()))
            .collect()
    }
}

fn is_id(prefix: &str, hex: &str) -> bool {
    !prefix.is_empty() && hex.len() == 17 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Runs of characters an id can have, and what stands between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_id_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let inside = is_id_char(first);
        let end = rest.find(|c| is_id_char(c) != inside).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

/// Members of a request as a tree.
#[derive(Debug, Default)]
struct Tree {
    text: Option<String>,
    children: Vec<(String, Tree)>,
}

impl Tree {
    fn set(&mut self, path: &str, value: &str) {
        match path.split_once('.') {
            None if path.is_empty() => self.text = Some(value.to_owned()),
            None => self.child(path).set("", value),
            Some((first, rest)) => self.child(first).set(rest, value),
        }
    }

    fn child(&mut self, name: &str) -> &mut Tree {
        let index = self.children.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.children.push((name.to_owned(), Tree::default()));
            self.children.len() - 1
        });
        &mut self.children[index].1
    }

    fn count(&self, name: &str) -> usize {
        self.children.iter().find(|(other, _)| other == name).map_or(0, |(_, tree)| tree.children.len())
    }
}

fn parse(line: &str) -> (String, Tree) {
    let mut tree = Tree::default();
    let mut parts = split(line).into_iter();
    let operation = parts.next().unwrap();
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or_else(|| panic!("{part}: no value"));
        if let Some(name) = key.strip_prefix("filter:") {
            let n = tree.count("Filters") + 1;
            tree.set(&format!("Filters.{n}.Name"), name);
            for (m, value) in value.split(',').enumerate() {
                tree.set(&format!("Filters.{n}.Values.{}", m + 1), value);
            }
        } else if let Some((kind, key)) = key.strip_prefix("tag:").and_then(|rest| rest.split_once(':')) {
            let n = tree.count("TagSpecifications") + 1;
            tree.set(&format!("TagSpecifications.{n}.ResourceType"), kind);
            tree.set(&format!("TagSpecifications.{n}.Tags.1.Key"), key);
            tree.set(&format!("TagSpecifications.{n}.Tags.1.Value"), value);
        } else if key == "rule" {
            set_rule(&mut tree, value);
        } else {
            tree.set(key, value);
        }
    }
    (operation, tree)
}

/// `tcp:80-80:0.0.0.0/0`, `-1::sg-1`, `icmp:8--1:10.0.0.0/8`.
fn set_rule(tree: &mut Tree, text: &str) {
    let n = tree.count("IpPermissions") + 1;
    let mut parts = text.splitn(3, ':');
    let mut next = || parts.next().unwrap().to_owned();
    let (protocol, ports, peer) = (next(), next(), next());
    tree.set(&format!("IpPermissions.{n}.IpProtocol"), &protocol);
    // The first number may be negative.
    if let Some((dash, _)) = ports.char_indices().skip(1).find(|(_, c)| *c == '-') {
        tree.set(&format!("IpPermissions.{n}.FromPort"), &ports[..dash]);
        tree.set(&format!("IpPermissions.{n}.ToPort"), &ports[dash + 1..]);
    }
    let member = match peer.as_str() {
        peer if peer.starts_with("sg-") => "UserIdGroupPairs.1.GroupId",
        peer if peer.starts_with("pl-") => "PrefixListIds.1.PrefixListId",
        peer if peer.contains("::") => "Ipv6Ranges.1.CidrIpv6",
        _ => "IpRanges.1.CidrIp",
    };
    tree.set(&format!("IpPermissions.{n}.{member}"), &peer);
}

/// Splits at spaces outside double quotes.
fn split(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => parts.push(String::new()),
            c => parts.last_mut().unwrap().push(c),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn fill(structure: &mut dyn Structure, tree: &Tree) {
    let shape = structure.shape();
    for (name, child) in &tree.children {
        let index = shape.members.iter().position(|member| member.name == *name);
        let index = index.unwrap_or_else(|| panic!("{} has no member {name}", shape.name));
        fill_slot(structure.slot(index).unwrap(), child);
    }
}

fn fill_slot(slot: Slot<'_>, tree: &Tree) {
    let text = tree.text.clone().unwrap_or_default();
    match slot {
        Slot::Text(place) => *place = text,
        Slot::Integer(place) => *place = text.parse().unwrap(),
        Slot::Boolean(place) => *place = text.parse().unwrap(),
        Slot::Structure(inner) => fill(inner, tree),
        Slot::List(list) => tree.children.iter().for_each(|(_, child)| fill_slot(list.push(), child)),
        Slot::Long(_) | Slot::Double(_) | Slot::Timestamp(_) | Slot::Blob(_) | Slot::Map(_) => {
            panic!("no EC2 request used here has such a member")
        }
    }
}

fn show(view: &View<'_>) -> String {
    match view {
        View::Text(text) if text.contains(' ') || text.is_empty() => format!("{text:?}"),
        View::Text(text) => (*text).to_owned(),
        View::Integer(number) => number.to_string(),
        View::Boolean(yes) => yes.to_string(),
        View::Timestamp(at) => at.0.to_string(),
        View::Structure(structure) => format!("{{{}}}", members(*structure)),
        View::List(list) => {
            let items: Vec<String> = (0..list.len()).filter_map(|n| list.item(n)).map(|item| show(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        View::Long(_) | View::Double(_) | View::Blob(_) | View::Map(_) => panic!("no EC2 answer used here has these"),
    }
}

fn members(structure: &dyn Structure) -> String {
    let shape = structure.shape();
    let shown = shape.members.iter().enumerate().filter_map(|(index, member)| {
        let view = structure.member(index)?;
        let is_empty_list = matches!(&view, View::List(list) if list.is_empty());
        // The account is the same everywhere.
        (!is_empty_list && member.name != "OwnerId").then(|| format!("{}={}", member.name, show(&view)))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// What a rule answers, writes apart.
trait Answer<O> {
    fn parts(self) -> (Vec<Write>, O);
}

impl<T> Answer<T> for T {
    fn parts(self) -> (Vec<Write>, T) {
        (Vec::new(), self)
    }
}

impl<T> Answer<T> for Change<T> {
    fn parts(self) -> (Vec<Write>, T) {
        (self.writes, self.reply)
    }
}

macro_rules! dispatch {
    ($(($id:ident, $service:ident, $request:ident, $room:ident :: $handler:ident))*) => {
        fn run(snap: &Snapshot, operation: &str, tree: &Tree, env: &Env) -> Result<(Vec<Write>, String), Refusal> {
            $(one!($service, $request, $handler, snap, operation, tree, env);)*
            panic!("{operation} is not an operation of EC2")
        }
    };
}

macro_rules! one {
    (ec2, $request:ident, $handler:ident, $snap:ident, $operation:ident, $tree:ident, $env:ident) => {
        if concat!(stringify!($request)).strip_suffix("Request") == Some($operation) {
            let mut request = berth_shapes::ec2::$request::default();
            fill(&mut request, $tree);
            let answer = crate::vpc::$handler($snap, &request, $env)?;
            let (writes, output) = Answer::<<berth_shapes::ec2::$request as Input>::Output>::parts(answer);
            return Ok((writes, members(&output)));
        }
    };
    ($other:ident, $request:ident, $handler:ident, $snap:ident, $operation:ident, $tree:ident, $env:ident) => {};
}

berth_shapes::for_each_operation!(dispatch);
