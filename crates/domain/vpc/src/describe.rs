// SPDX-License-Identifier: Apache-2.0
//! The common part of all describe calls: named ids or filters, then one page.

use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::ec2::Filter;
use berth_state::{
    Refusal,
    page::{Page, page},
};
use imbl::OrdMap;

use super::filter::Filters;
use super::request::invalid;

/// Bounds of MaxResults.
const MAX_RESULTS: std::ops::RangeInclusive<i32> = 5..=1000;

/// The members of a describe request that all kinds of resources share.
pub(super) struct Selection<'a> {
    /// Name of the operation; tokens are bound to it.
    pub operation: &'static str,
    /// Name of the parameter with the ids, for refusals.
    pub ids_parameter: &'static str,
    /// Ids asked for.
    pub ids: &'a Option<Vec<String>>,
    /// Filters asked for.
    pub filters: &'a Option<Vec<Filter>>,
    /// Length of the page asked for.
    pub max_results: Option<i32>,
    /// Token of the page.
    pub next_token: &'a Option<String>,
}

impl<'a> Selection<'a> {
    /// The records the request names, or all. `find` refuses an unknown id.
    pub fn records<'s, K: Ord + Clone, R>(
        &self,
        all: &'s OrdMap<K, Arc<R>>,
        find: impl Fn(&str) -> Result<&'s Arc<R>, Refusal>,
    ) -> Result<Vec<&'s Arc<R>>, Refusal> {
        match self.ids() {
            None => Ok(all.values().collect()),
            Some(ids) => {
                let mut found: Vec<&Arc<R>> = Vec::with_capacity(ids.len());
                for id in ids {
                    let record = find(id)?;
                    if !found.iter().any(|other| Arc::ptr_eq(other, record)) {
                        found.push(record);
                    }
                }
                Ok(found)
            }
        }
    }

    /// The ids asked for; an empty list asks for all.
    pub fn ids(&self) -> Option<&'a [String]> {
        self.ids.as_deref().filter(|ids| !ids.is_empty())
    }

    /// The page asked for of the answers that pass the filters. Each answer comes with its id; ids ascend.
    pub fn page<T>(
        &self,
        filters: &Filters<T>,
        answers: impl IntoIterator<Item = (String, T)>,
    ) -> Result<Page<T>, Refusal> {
        let max = self.max()?;
        let conditions = filters.understand(self.filters)?;
        let selected = answers.into_iter().filter(|(_, answer)| conditions.admit(answer));
        page(selected, max, self.next_token.as_deref(), self.operation).map_err(|_| {
            Refusal::new(Code::InvalidPaginationToken, "The specified pagination token is not valid or is expired.")
        })
    }

    fn max(&self) -> Result<Option<usize>, Refusal> {
        let paged = [(self.max_results.is_some(), "maxResults"), (self.next_token.is_some(), "nextToken")];
        if let (Some(_), Some((_, parameter))) = (self.ids(), paged.iter().find(|(given, _)| *given)) {
            let words = format!("The parameter {} cannot be used with the parameter {parameter}", self.ids_parameter);
            return Err(Refusal::new(Code::InvalidParameterCombination, words));
        }
        let Some(max) = self.max_results else { return Ok(None) };
        if max < *MAX_RESULTS.start() {
            return Err(too("greater", max, *MAX_RESULTS.start()));
        }
        if max > *MAX_RESULTS.end() {
            return Err(too("less", max, *MAX_RESULTS.end()));
        }
        Ok(usize::try_from(max).ok())
    }
}

fn too(than: &str, max: i32, bound: i32) -> Refusal {
    invalid(format!(
        "Value ( {max} ) for parameter maxResults is invalid. Expecting a value {than} than or equal to {bound}."
    ))
}
