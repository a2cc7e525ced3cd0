// SPDX-License-Identifier: Apache-2.0
//! The bytes of a blob over as many answers as it takes: after a failure they are taken up where they broke off.

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::Response;
use reqwest::header::CONTENT_RANGE;

use super::retry::{self, Failure};
use super::source::{Source, chance, wait};
use super::transport::{Refused, Request, failed};
use crate::CopyFault;
use crate::containerd::Descriptor;

struct Download {
    source: Source,
    digest: String,
    size: u64,
    /// Bytes given on.
    offset: u64,
    answer: Option<Answer>,
    tries: u32,
}

struct Answer {
    response: Response,
    /// Bytes of it that were given on before: the registry began at the start again.
    skipped: u64,
}

impl Source {
    /// The bytes of a blob, taken up again where they broke off. Size and digest are checked where they are stored.
    pub fn blob(&self, blob: &Descriptor) -> impl Stream<Item = Result<Bytes, CopyFault>> + Send + use<> {
        stream(self.clone(), blob)
    }
}

/// Ends at the blob's size, after a byte that is too much, or with the failure that did not pass.
fn stream(source: Source, blob: &Descriptor) -> impl Stream<Item = Result<Bytes, CopyFault>> + Send + use<> {
    let size = u64::try_from(blob.size).unwrap_or_default();
    let download = Download { source, digest: blob.digest.clone(), size, offset: 0, answer: None, tries: 0 };
    stream::try_unfold(download, |mut download| async move {
        let part = download.next().await.map_err(|refused| CopyFault::Registry(refused.message))?;
        Ok(part.map(|part| (part, download)))
    })
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            let refused = match self.try_next().await {
                Ok(part) => {
                    self.offset += part.as_ref().map_or(0, |part| part.len() as u64);
                    return Ok(part);
                }
                // All of it is here; how the answer ends does not matter.
                Err(_) if self.answer.is_some() && self.offset == self.size => return Ok(None),
                Err(refused) => refused,
            };
            self.answer = None;
            self.tries += 1;
            match retry::pause(refused.failure.after_an_answer(), self.tries, chance()) {
                Some(pause) => wait(self.source.host(), self.tries, pause, &[refused]).await,
                None => return Err(refused),
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<Bytes>, Refused> {
        if self.answer.is_none() {
            self.answer = Some(self.open().await?);
        }
        let Some(answer) = &mut self.answer else { return Ok(None) };
        loop {
            let part = answer.response.chunk().await;
            match part.map_err(|fault| failed(&answer.response.url().clone(), fault))? {
                Some(mut part) => {
                    let known = usize::try_from(answer.skipped).unwrap_or(usize::MAX).min(part.len());
                    answer.skipped -= known as u64;
                    let part = part.split_off(known);
                    if !part.is_empty() {
                        return Ok(Some(part));
                    }
                }
                None if self.offset < self.size => {
                    let problem = format!("{} ends after {} of {} bytes", self.digest, self.offset, self.size);
                    return Err(Refused::new(Failure::Passing(None), problem));
                }
                None => return Ok(None),
            }
        }
    }

    async fn open(&self) -> Result<Answer, Refused> {
        let request = Request { kind: "blobs", reference: &self.digest, accept: None, from: self.offset };
        let response = self.source.transport.get(&self.source.endpoint, &request).await?;
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        match first_byte(response.status().as_u16(), range, self.offset) {
            Some(first) => Ok(Answer { response, skipped: self.offset - first }),
            None => {
                let problem = format!("{}: asked from byte {}, answered with {range:?}", self.digest, self.offset);
                Err(Refused::finally(problem))
            }
        }
    }
}

/// The first byte of an answer to a request from byte `wanted` on, if it can be used: a registry that does not know ranges
/// sends all.
fn first_byte(status: u16, content_range: Option<&str>, wanted: u64) -> Option<u64> {
    match status {
        206 => {
            let range = content_range?.trim().strip_prefix("bytes ")?;
            let first = range.split('-').next()?.trim().parse().ok()?;
            (first <= wanted).then_some(first)
        }
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_begins_where_it_says() {
        assert_eq!(first_byte(206, Some("bytes 5-9/10"), 5), Some(5));
        assert_eq!(first_byte(206, Some("bytes 3-9/10"), 5), Some(3));
        assert_eq!(first_byte(206, Some("bytes 6-9/10"), 5), None);
        assert_eq!(first_byte(206, None, 5), None);
        assert_eq!(first_byte(200, None, 5), Some(0));
    }
}
