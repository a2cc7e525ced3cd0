// SPDX-License-Identifier: Apache-2.0
//! Pages of long lists and the tokens that lead to the next one.
//!
//! A token names the last item returned, not a position, so additions and removals between two calls neither repeat nor
//! skip other items. It is bound to its operation. The checksum detects damaged and invented tokens; it is not secret,
//! because a token gives access to nothing that the caller cannot list without it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The token was not made by this operation, or was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pagination token is not valid for this operation")]
pub struct InvalidToken;

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Token of the next page; absent on the last one.
    pub next_token: Option<String>,
}

/// The page that begins after `token`, or at the start, with at most `max` items (all when `None`).
/// Each item comes with its place in the order of the list; places ascend.
pub fn page<T>(
    items: impl IntoIterator<Item = (String, T)>,
    max: Option<usize>,
    token: Option<&str>,
    operation: &str,
) -> Result<Page<T>, InvalidToken> {
    cut(items, max, token, operation, |place, last| place > last)
}

/// Like [`page`] for a list whose places descend.
pub fn page_descending<T>(
    items: impl IntoIterator<Item = (String, T)>,
    max: Option<usize>,
    token: Option<&str>,
    operation: &str,
) -> Result<Page<T>, InvalidToken> {
    cut(items, max, token, operation, |place, last| place < last)
}

fn cut<T>(
    items: impl IntoIterator<Item = (String, T)>,
    max: Option<usize>,
    token: Option<&str>,
    operation: &str,
    is_after: fn(&str, &str) -> bool,
) -> Result<Page<T>, InvalidToken> {
    let last = token.map(|token| read(token, operation)).transpose()?;
    let mut rest = items.into_iter().filter(|(place, _)| last.as_deref().is_none_or(|last| is_after(place, last)));
    let mut page = Page { items: Vec::new(), next_token: None };
    let mut end = String::new();
    for (place, item) in rest.by_ref().take(max.unwrap_or(usize::MAX)) {
        page.items.push(item);
        end = place;
    }
    if !page.items.is_empty() && rest.next().is_some() {
        page.next_token = Some(write(&end, operation));
    }
    Ok(page)
}

fn write(place: &str, operation: &str) -> String {
    let body = format!("{operation}|{place}");
    let mut bytes = checksum(&body).to_be_bytes().to_vec();
    bytes.extend_from_slice(body.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read(token: &str, operation: &str) -> Result<String, InvalidToken> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
    let (sum, body) = bytes.split_first_chunk::<8>().ok_or(InvalidToken)?;
    let body = std::str::from_utf8(body).map_err(|_| InvalidToken)?;
    if checksum(body).to_be_bytes() != *sum {
        return Err(InvalidToken);
    }
    match body.split_once('|') {
        Some((made_by, place)) if made_by == operation => Ok(place.to_owned()),
        _ => Err(InvalidToken),
    }
}

/// FNV-1a, 64 bits: detects accidental damage, and is the same in all versions.
fn checksum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn list(numbers: &[u16]) -> Vec<(String, u16)> {
        numbers.iter().map(|n| (format!("{n:05}"), *n)).collect()
    }

    #[test]
    fn a_token_is_bound_to_its_operation() {
        let token = page(list(&[1, 2, 3]), Some(1), None, "DescribeVpcs").unwrap().next_token.unwrap();
        assert_eq!(page(list(&[1, 2, 3]), None, Some(&token), "DescribeVpcs").unwrap().items, [2, 3]);
        assert_eq!(page(list(&[1, 2, 3]), None, Some(&token), "DescribeSubnets"), Err(InvalidToken));
    }

    #[test]
    fn items_that_come_and_go_are_neither_repeated_nor_skipped() {
        let first = page(list(&[10, 20, 30]), Some(2), None, "List").unwrap();
        assert_eq!(first.items, [10, 20]);
        let rest = page(list(&[5, 10, 25, 30]), Some(9), first.next_token.as_deref(), "List").unwrap();
        assert_eq!((rest.items, rest.next_token), (vec![25, 30], None));
    }

    #[test]
    fn a_descending_list_is_paged_too() {
        let first = page_descending(list(&[30, 20, 10]), Some(1), None, "List").unwrap();
        let rest = page_descending(list(&[30, 20, 10]), None, first.next_token.as_deref(), "List").unwrap();
        assert_eq!((first.items, rest.items), (vec![30], vec![20, 10]));
    }

    proptest! {
        #[test]
        fn pages_together_are_the_list(mut numbers: Vec<u16>, size in 1usize..7) {
            numbers.sort_unstable();
            numbers.dedup();
            let (mut seen, mut token) = (Vec::new(), None);
            loop {
                let one = page(list(&numbers), Some(size), token.as_deref(), "List").unwrap();
                prop_assert!(one.items.len() <= size);
                seen.extend(one.items);
                token = one.next_token;
                if token.is_none() { break }
            }
            prop_assert_eq!(seen, numbers);
        }

        #[test]
        fn forged_tokens_are_refused(token in "[A-Za-z0-9_-]{0,60}") {
            prop_assert_eq!(page(list(&[1]), None, Some(&token), "List"), Err(InvalidToken));
        }

        #[test]
        fn damaged_tokens_are_refused(place in 0usize..30, with in 0u8..64) {
            let token = page(list(&[1, 2]), Some(1), None, "List").unwrap().next_token.unwrap();
            let mut bytes = token.clone().into_bytes();
            let place = place % bytes.len();
            bytes[place] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[usize::from(with)];
            let damaged = String::from_utf8(bytes).unwrap();
            prop_assume!(damaged != token);
            prop_assert_eq!(page(list(&[1, 2]), None, Some(&damaged), "List"), Err(InvalidToken));
        }
    }
}
