//! Pages of ECS lists: up to 100 items, opaque tokens.

use super::refuse::invalid;
use crate::Refusal;
use crate::page::{self, Page};

const PAGE_MAX: usize = 100;

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// What a list operation was asked: page size and token.
pub(super) struct Asked<'a> {
    pub max_results: Option<i32>,
    pub next_token: Option<&'a str>,
    /// Name of the operation.
    pub operation: &'static str,
}

/// The page asked for of items with their places.
pub(super) fn page<T>(
    items: impl IntoIterator<Item = (String, T)>,
    asked: &Asked<'_>,
    order: Order,
) -> Result<Page<T>, Refusal> {
    let max = match asked.max_results {
        None => PAGE_MAX,
        Some(max) => usize::try_from(max)
            .ok()
            .filter(|max| (1..=PAGE_MAX).contains(max))
            .ok_or_else(|| invalid(format!("maxResults must be between 1 and {PAGE_MAX}.")))?,
    };
    match order {
        Order::Ascending => page::page(items, Some(max), asked.next_token, asked.operation),
        Order::Descending => page::page_descending(items, Some(max), asked.next_token, asked.operation),
    }
    .map_err(|_| invalid("Invalid token"))
}
