// SPDX-License-Identifier: Apache-2.0
//! Placement constraints, which every instance must meet, and strategies, which choose the best instance. Only launch
//! type EC2 has them.

use berth_shapes::ecs::{PlacementConstraint, PlacementStrategy};
use berth_state::Refusal;
use berth_state::ecs::Resource;

use super::expression::{self, Expression};
use super::refuse::{at_most, invalid};

const CONSTRAINTS_MAX: usize = 10;
const STRATEGIES_MAX: usize = 5;

/// Parsed constraints and strategies.
#[derive(Clone, Debug, Default)]
pub(super) struct Placement {
    pub constraints: Vec<Constraint>,
    pub strategies: Vec<Strategy>,
}

/// Constraint on an instance.
#[derive(Clone, Debug)]
pub(super) enum Constraint {
    /// It runs no other task of the group.
    DistinctInstance,
    /// The expression holds for it.
    MemberOf(Expression),
}

/// Criterion by which the best instance is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Strategy {
    /// Any instance.
    Random,
    /// The instance with the least of a resource free.
    Binpack(Resource),
    /// An instance of the kind with the fewest tasks of the group.
    Spread(Field),
}

/// Field that distinguishes kinds of instances.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field {
    /// Each instance is of its own kind.
    Instance,
    /// Instances with the same value are of one kind.
    Attribute(String),
}

impl Placement {
    /// Reads the constraints and strategies of a request.
    pub fn read(
        constraints: Option<&[PlacementConstraint]>,
        strategies: Option<&[PlacementStrategy]>,
    ) -> Result<Self, Refusal> {
        at_most(constraints, CONSTRAINTS_MAX, "placementConstraints")?;
        let strategies = strategies.unwrap_or_default();
        if strategies.len() > STRATEGIES_MAX {
            return Err(invalid(format!("Maximum number of strategies is {STRATEGIES_MAX}")));
        }
        Ok(Self {
            constraints: constraints.unwrap_or_default().iter().map(constraint).collect::<Result<_, _>>()?,
            strategies: strategies.iter().map(strategy).collect::<Result<_, _>>()?,
        })
    }
}

/// Reads the expression of a constraint.
pub(super) fn member_of(text: Option<&str>) -> Result<Expression, Refusal> {
    let text = text.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| invalid("memberOf expression should be specified"))?;
    expression::read(text).map_err(|why| invalid(format!("Invalid expression: {why}.")))
}

fn constraint(asked: &PlacementConstraint) -> Result<Constraint, Refusal> {
    match asked.r#type.as_deref().unwrap_or_default() {
        "distinctInstance" if asked.expression.as_ref().is_some_and(|text| !text.is_empty()) => {
            Err(invalid("distinctInstance expression should not be specified"))
        }
        "distinctInstance" => Ok(Constraint::DistinctInstance),
        "memberOf" => member_of(asked.expression.as_deref()).map(Constraint::MemberOf),
        other => Err(invalid(format!("'{other}' is not a valid value for placementConstraints.type."))),
    }
}

fn strategy(asked: &PlacementStrategy) -> Result<Strategy, Refusal> {
    let field = asked.field.as_deref().filter(|field| !field.is_empty());
    match (asked.r#type.as_deref().unwrap_or_default(), field) {
        ("random", None) => Ok(Strategy::Random),
        ("random", Some(_)) => Err(invalid("random field should not be specified")),
        ("binpack", Some(field)) if field.eq_ignore_ascii_case("cpu") => Ok(Strategy::Binpack(Resource::Cpu)),
        ("binpack", Some(field)) if field.eq_ignore_ascii_case("memory") => Ok(Strategy::Binpack(Resource::Memory)),
        ("spread", Some("instanceId" | "host")) => Ok(Strategy::Spread(Field::Instance)),
        ("spread", Some(field)) => match field.strip_prefix("attribute:").filter(|name| !name.is_empty()) {
            Some(name) => Ok(Strategy::Spread(Field::Attribute(name.to_owned()))),
            None => Err(invalid(format!("spread field '{field}' is invalid"))),
        },
        (kind @ ("binpack" | "spread"), field) => {
            Err(invalid(format!("{kind} field '{}' is invalid", field.unwrap_or_default())))
        }
        (other, _) => Err(invalid(format!("'{other}' is not a valid value for placementStrategy.type."))),
    }
}
