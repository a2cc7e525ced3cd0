// SPDX-License-Identifier: Apache-2.0
//! Doors: how a caller that knows only the identity of an operation reaches its rule.
//!
//! `cargo xtask gen` makes a function `door` in each crate of rules from `operations/SERVICE.toml`. The server, tests and
//! later CloudFormation call any rule through it. The types of input and output stay inside: a call fills its input
//! through [`Structure`], and gives its output back as one.

use std::marker::PhantomData;

use berth_shapes::{Input, Structure};

use crate::{Change, Env, Refusal, Snapshot};

/// The rule of an operation, and the resources on which its permission is decided.
pub struct Door {
    /// The rule.
    pub rule: Rule,
    on: &'static [Resources],
}

/// The ARNs of one kind of resources that a request names; with `*` for those that it does not name.
pub type Resources = fn(&Snapshot, &dyn Structure, &Env) -> Vec<String>;

/// How an operation is answered.
pub enum Rule {
    /// From a snapshot.
    Read(Box<dyn ReadRule>),
    /// By a change of records, through the commit loop.
    Write(Box<dyn WriteRule>),
    /// By a function of the server: it has effects other than records.
    Io,
}

/// Fills an input with the members of a request.
pub type Fill<'a> = &'a mut dyn FnMut(&mut dyn Structure) -> Result<(), Refusal>;

/// A rule that answers from a snapshot.
pub trait ReadRule: Send + Sync {
    /// A call of the rule.
    ///
    /// # Errors
    /// `fill` refuses the request.
    fn call(&self, fill: Fill<'_>) -> Result<Box<dyn ReadCall>, Refusal>;
}

/// A call of a rule that answers from a snapshot.
pub trait ReadCall: Send + Sync {
    /// The input.
    fn input(&self) -> &dyn Structure;
    /// The output.
    ///
    /// # Errors
    /// The rule refuses the call.
    fn answer(&self, snap: &Snapshot, env: &Env) -> Result<Box<dyn Structure + Send>, Refusal>;
}

/// A rule that changes records.
pub trait WriteRule: Send + Sync {
    /// A call of the rule.
    ///
    /// # Errors
    /// `fill` refuses the request.
    fn call(&self, fill: Fill<'_>) -> Result<Box<dyn WriteCall>, Refusal>;
}

/// A call of a rule that changes records.
pub trait WriteCall: Send + Sync {
    /// The input.
    fn input(&self) -> &dyn Structure;
    /// The change, with the output as its reply. May be called again, on another snapshot.
    ///
    /// # Errors
    /// The rule refuses the call.
    fn decide(&self, snap: &Snapshot, env: &Env) -> Result<Change<Box<dyn Structure + Send>>, Refusal>;
}

impl Door {
    /// The door of an operation that reads.
    pub fn read<F, I, O>(rule: F, on: &'static [Resources]) -> Self
    where
        F: Fn(&Snapshot, &I, &Env) -> Result<O, Refusal> + Copy + Send + Sync + 'static,
        I: Input + Send + Sync + 'static,
        O: Structure + Send + 'static,
    {
        Self { rule: Rule::Read(Box::new(Typed::new(rule))), on }
    }

    /// The door of an operation that writes.
    pub fn write<F, I, O>(rule: F, on: &'static [Resources]) -> Self
    where
        F: Fn(&Snapshot, &I, &Env) -> Result<Change<O>, Refusal> + Copy + Send + Sync + 'static,
        I: Input + Send + Sync + 'static,
        O: Structure + Send + 'static,
    {
        Self { rule: Rule::Write(Box::new(Typed::new(rule))), on }
    }

    /// The door of an operation with effects other than records.
    pub fn io(on: &'static [Resources]) -> Self {
        Self { rule: Rule::Io, on }
    }

    /// The ARNs on which the permission of a call is decided; `*` for an operation that is not about resources.
    pub fn resources(&self, snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
        if self.on.is_empty() {
            return vec!["*".to_owned()];
        }
        self.on.iter().flat_map(|kind| kind(snap, input, env)).collect()
    }
}

/// A rule with its types. A function is a type without size, so that the box around it allocates nothing.
struct Typed<F, I, O> {
    rule: F,
    types: PhantomData<fn(&I) -> O>,
}

/// An input with the rule it is for.
struct Call<F, I, O> {
    rule: F,
    input: I,
    output: PhantomData<fn() -> O>,
}

impl<F: Copy, I: Default, O> Typed<F, I, O> {
    fn new(rule: F) -> Self {
        Self { rule, types: PhantomData }
    }

    fn fill(&self, fill: Fill<'_>) -> Result<Call<F, I, O>, Refusal>
    where
        I: Structure,
    {
        let mut input = I::default();
        fill(&mut input)?;
        Ok(Call { rule: self.rule, input, output: PhantomData })
    }
}

impl<F, I, O> ReadRule for Typed<F, I, O>
where
    F: Fn(&Snapshot, &I, &Env) -> Result<O, Refusal> + Copy + Send + Sync + 'static,
    I: Input + Send + Sync + 'static,
    O: Structure + Send + 'static,
{
    fn call(&self, fill: Fill<'_>) -> Result<Box<dyn ReadCall>, Refusal> {
        Ok(Box::new(self.fill(fill)?))
    }
}

impl<F, I, O> ReadCall for Call<F, I, O>
where
    F: Fn(&Snapshot, &I, &Env) -> Result<O, Refusal> + Send + Sync + 'static,
    I: Input + Send + Sync + 'static,
    O: Structure + Send + 'static,
{
    fn input(&self) -> &dyn Structure {
        &self.input
    }

    fn answer(&self, snap: &Snapshot, env: &Env) -> Result<Box<dyn Structure + Send>, Refusal> {
        Ok(Box::new((self.rule)(snap, &self.input, env)?))
    }
}

impl<F, I, O> WriteRule for Typed<F, I, O>
where
    F: Fn(&Snapshot, &I, &Env) -> Result<Change<O>, Refusal> + Copy + Send + Sync + 'static,
    I: Input + Send + Sync + 'static,
    O: Structure + Send + 'static,
{
    fn call(&self, fill: Fill<'_>) -> Result<Box<dyn WriteCall>, Refusal> {
        Ok(Box::new(self.fill(fill)?))
    }
}

impl<F, I, O> WriteCall for Call<F, I, O>
where
    F: Fn(&Snapshot, &I, &Env) -> Result<Change<O>, Refusal> + Send + Sync + 'static,
    I: Input + Send + Sync + 'static,
    O: Structure + Send + 'static,
{
    fn input(&self) -> &dyn Structure {
        &self.input
    }

    fn decide(&self, snap: &Snapshot, env: &Env) -> Result<Change<Box<dyn Structure + Send>>, Refusal> {
        let change = (self.rule)(snap, &self.input, env)?;
        Ok(change.map(|output| Box::new(output) as Box<dyn Structure + Send>))
    }
}
