// SPDX-License-Identifier: Apache-2.0
//! The credential that a request claims: `AKID/20261123/us-west-2/ecs/aws4_request`.

use std::borrow::Cow;

use crate::percent;
use crate::request::RequestParts;

/// The algorithm word of SigV4.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last part of every scope.
pub(crate) const TERMINATOR: &str = "aws4_request";

/// Key id and scope, as claimed. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The access key id.
    pub access_key_id: String,
    /// The day, `YYYYMMDD`.
    pub date: String,
    /// The region.
    pub region: String,
    /// The service.
    pub service: String,
}

impl Credential {
    /// The claim of the request in its `Authorization` header or its query string.
    pub fn claimed(parts: &RequestParts<'_>) -> Option<Credential> {
        match parts.header("authorization") {
            Some(header) => {
                let fields = header.strip_prefix(ALGORITHM)?;
                Credential::parse(field(fields, "Credential")?)
            }
            None => Credential::parse(&query_value(parts, "X-Amz-Credential")?),
        }
    }

    /// Reads `AKID/date/region/service/aws4_request`.
    pub(crate) fn parse(text: &str) -> Option<Credential> {
        let mut words = text.rsplitn(5, '/');
        let terminator = words.next()?;
        let (service, region, date, access_key_id) = (words.next()?, words.next()?, words.next()?, words.next()?);
        if terminator != TERMINATOR || access_key_id.is_empty() {
            return None;
        }
        Some(Credential {
            access_key_id: access_key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }

    /// `date/region/service/aws4_request`
    pub(crate) fn scope(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }
}

/// A field of the `Authorization` header, after the algorithm.
pub(crate) fn field<'h>(fields: &'h str, name: &str) -> Option<&'h str> {
    fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The decoded value of the first query parameter with this name.
pub(crate) fn query_value<'a>(parts: &RequestParts<'a>, name: &str) -> Option<Cow<'a, str>> {
    let query = parts.uri.query()?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        if percent::decode(key)? == name { percent::decode(value) } else { None }
    })
}
