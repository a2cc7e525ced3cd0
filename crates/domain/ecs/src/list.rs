// SPDX-License-Identifier: Apache-2.0
//! Pages of ECS lists: up to 100 items, opaque tokens.

use berth_state::{
    Refusal,
    page::{self, Page},
};

use super::refuse::invalid;

const PAGE_MAX: usize = 100;

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// Page size and token of a list request.
pub(super) struct PageRequest<'a> {
    pub max_results: Option<i32>,
    pub next_token: Option<&'a str>,
    /// Name of the operation.
    pub operation: &'static str,
}

/// The requested page of the items, each with its place in the order.
pub(super) fn page<T>(
    items: impl IntoIterator<Item = (String, T)>,
    asked: &PageRequest<'_>,
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
