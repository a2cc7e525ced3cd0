// SPDX-License-Identifier: Apache-2.0
//! SigV4: verifies signatures of requests, and signs requests.
//!
//! Both forms are verified, the `Authorization` header and the presigned query string. The body enters only as its
//! hash; unsigned payloads exist only for S3. Signatures and session tokens are compared in constant time. The caller
//! passes the time; there is no clock here. Not here: authorisation of the key's owner (IAM), and SigV4a, which no
//! service here accepts.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, header};
use subtle::ConstantTimeEq;

pub use crate::auth_error::AuthError;
use crate::canonical::{QueryForm, canonical_request, push_hex, signature};
use crate::instant;
use crate::request::RequestParts;
pub use crate::scope::Credential;
use crate::scope::{ALGORITHM, field, query_value};

/// The largest difference between the signature's time and now.
const SKEW_MS: i64 = 5 * 60 * 1000;
/// The longest life of a presigned request.
const EXPIRES_MAX_S: i64 = 604_800;

const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The secret half of an access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The secret access key.
    pub secret_access_key: String,
    /// Present for temporary credentials.
    pub session: Option<Session>,
}

/// The additional part of temporary credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The session token, which the client must send.
    pub token: String,
    /// The end of the session, in milliseconds since the epoch.
    pub expires_ms: i64,
}

impl std::fmt::Debug for Secret {
    /// Secrets are not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("is_session", &self.session.is_some()).finish_non_exhaustive()
    }
}

/// The scope a request must be signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The region.
    pub region: &'a str,
    /// The service's name in scopes.
    pub service: &'a str,
}

/// Verifies the signature; returns the access key id that signed.
pub fn verify(
    parts: &RequestParts<'_>,
    lookup_secret: &dyn Fn(&str) -> Option<Secret>,
    now_ms: i64,
    endpoint: Endpoint<'_>,
) -> Result<String, AuthError> {
    let claim = Claim::read(parts)?;
    let secret = claim.check_head(parts, lookup_secret, now_ms, endpoint)?;
    for form in [QueryForm::Normalised, QueryForm::AsSent] {
        let request = canonical_request(parts, &claim.signed_headers, form).ok_or(AuthError::WrongSignature)?;
        let right = signature(&secret.secret_access_key, &claim.credential, &claim.amz_date, &request);
        let mut hex = String::with_capacity(64);
        push_hex(&right, &mut hex);
        if bool::from(hex.as_bytes().ct_eq(claim.signature.as_bytes())) {
            return Ok(claim.credential.access_key_id);
        }
        // Without a query string both forms are equal.
        if parts.uri.query().is_none() {
            break;
        }
    }
    Err(AuthError::WrongSignature)
}

/// Checks everything in the head, for the service it names: time, region, day, key and session. Only the body shows
/// whether the signature is right.
pub fn check_head(
    parts: &RequestParts<'_>,
    lookup_secret: &dyn Fn(&str) -> Option<Secret>,
    now_ms: i64,
    region: &str,
) -> Result<(), AuthError> {
    let claim = Claim::read(parts)?;
    let endpoint = Endpoint { region, service: &claim.credential.service };
    claim.check_head(parts, lookup_secret, now_ms, endpoint).map(drop)
}

/// The signature's data in a request.
struct Claim<'a> {
    credential: Credential,
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
    /// The time as in the string to sign.
    amz_date: String,
    signed_at_ms: i64,
    /// Present for presigned requests.
    expires_s: Option<i64>,
    token: Option<Cow<'a, str>>,
    date_header: &'static str,
}

impl<'a> Claim<'a> {
    fn read(parts: &RequestParts<'a>) -> Result<Claim<'a>, AuthError> {
        if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
            let text = value.to_str().map_err(|_| incomplete("Authorization header is not printable ASCII."))?;
            return Claim::from_header(parts, text);
        }
        match query_value(parts, "X-Amz-Algorithm") {
            Some(algorithm) => Claim::from_query(parts, &algorithm),
            None => Err(AuthError::Missing),
        }
    }

    fn from_header(parts: &RequestParts<'a>, authorization: &'a str) -> Result<Claim<'a>, AuthError> {
        let (algorithm, fields) = authorization.trim().split_once(' ').unwrap_or((authorization, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete("Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is accepted."));
        }
        let credential = field(fields, "Credential");
        let signed_headers = field(fields, "SignedHeaders");
        let signature = field(fields, "Signature");
        let (Some(credential), Some(signed_headers), Some(signature)) = (credential, signed_headers, signature) else {
            let missing = [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed_headers)];
            let words = missing.iter().filter(|(_, found)| found.is_none());
            let words = words.map(|(name, _)| format!("Authorization header requires '{name}' parameter."));
            return Err(AuthError::Incomplete(words.collect::<Vec<_>>().join(" ")));
        };
        let (amz_date, signed_at_ms, date_header) = header_date(parts)?;
        Ok(Claim {
            credential: credential_of(credential)?,
            signed_headers: signed_headers.into(),
            signature: signature.into(),
            amz_date,
            signed_at_ms,
            expires_s: None,
            token: parts.header(SECURITY_TOKEN.as_str()).map(Cow::Borrowed),
            date_header,
        })
    }

    fn from_query(parts: &RequestParts<'a>, algorithm: &str) -> Result<Claim<'a>, AuthError> {
        if algorithm != ALGORITHM {
            return Err(incomplete("Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is accepted."));
        }
        let needed = |name: &str| {
            query_value(parts, name)
                .ok_or_else(|| AuthError::Incomplete(format!("AWS query-string parameters must include '{name}'.")))
        };
        let amz_date = needed("X-Amz-Date")?;
        let expires = needed("X-Amz-Expires")?;
        let expires_s = expires.parse().ok().filter(|seconds| (1..=EXPIRES_MAX_S).contains(seconds));
        Ok(Claim {
            credential: credential_of(&needed("X-Amz-Credential")?)?,
            signed_headers: needed("X-Amz-SignedHeaders")?,
            signature: needed("X-Amz-Signature")?,
            signed_at_ms: instant::parse_basic(&amz_date).ok_or_else(bad_date)?,
            amz_date: amz_date.into_owned(),
            expires_s: Some(
                expires_s.ok_or_else(|| incomplete("X-Amz-Expires must be between 1 and 604800 seconds."))?,
            ),
            token: query_value(parts, "X-Amz-Security-Token"),
            date_header: "",
        })
    }

    /// The secret for the verification, when nothing else in the head is wrong.
    fn check_head(
        &self,
        parts: &RequestParts<'_>,
        lookup_secret: &dyn Fn(&str) -> Option<Secret>,
        now_ms: i64,
        endpoint: Endpoint<'_>,
    ) -> Result<Secret, AuthError> {
        self.check_time(now_ms)?;
        self.check_scope(endpoint)?;
        self.check_signed_headers(parts)?;
        let secret = lookup_secret(&self.credential.access_key_id).ok_or(AuthError::UnknownKey)?;
        self.check_session(&secret, now_ms)?;
        Ok(secret)
    }

    fn check_time(&self, now_ms: i64) -> Result<(), AuthError> {
        let life_ms = self.expires_s.map_or(SKEW_MS, |seconds| seconds * 1000);
        let (signed, now) = (&self.amz_date, instant::basic(now_ms));
        if now_ms - self.signed_at_ms > life_ms {
            let limit = instant::basic(now_ms - life_ms);
            let allowed = self.expires_s.map_or("5 min.".to_owned(), |seconds| format!("{seconds} s"));
            return Err(AuthError::WrongTime(format!(
                "Signature expired: {signed} is now earlier than {limit} ({now} - {allowed})"
            )));
        }
        if self.signed_at_ms - now_ms > SKEW_MS {
            let limit = instant::basic(now_ms + SKEW_MS);
            return Err(AuthError::WrongTime(format!(
                "Signature not yet current: {signed} is still later than {limit} ({now} + 5 min.)"
            )));
        }
        Ok(())
    }

    fn check_scope(&self, endpoint: Endpoint<'_>) -> Result<(), AuthError> {
        let Credential { date, region, service, .. } = &self.credential;
        let mut words = Vec::new();
        // The global endpoint of STS is in us-east-1, and clients configured for it sign for that region.
        let is_global = endpoint.service == "sts" && region == "us-east-1";
        if region != endpoint.region && !is_global {
            words.push("Credential should be scoped to a valid region.".to_owned());
        }
        if service != endpoint.service {
            words.push(format!("Credential should be scoped to correct service: '{}'.", endpoint.service));
        }
        let moment = instant::basic(self.signed_at_ms);
        let day = moment.get(..8).unwrap_or_default();
        if day != date {
            words.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{date}' != '{day}', from '{moment}'."
            ));
        }
        if words.is_empty() { Ok(()) } else { Err(AuthError::WrongScope(words.join(" "))) }
    }

    /// An unsigned part could be changed in transit: the host, the operation and the time must be signed.
    fn check_signed_headers(&self, parts: &RequestParts<'_>) -> Result<(), AuthError> {
        let is_signed = |name: &str| self.signed_headers.split(';').any(|signed| signed == name);
        if !is_signed("host") {
            return Err(AuthError::WrongScope(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
            ));
        }
        let unsigned = parts.headers.keys().map(HeaderName::as_str).find(|name| {
            let must = name.starts_with("x-amz-") && !UNSIGNED_HEADERS.contains(name);
            (must || *name == self.date_header) && !is_signed(name)
        });
        match unsigned {
            Some(name) => {
                Err(AuthError::WrongScope(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
            }
            None => Ok(()),
        }
    }

    fn check_session(&self, secret: &Secret, now_ms: i64) -> Result<(), AuthError> {
        match (&secret.session, &self.token) {
            (None, None) => Ok(()),
            (Some(session), Some(token)) if bool::from(session.token.as_bytes().ct_eq(token.as_bytes())) => {
                if now_ms < session.expires_ms { Ok(()) } else { Err(AuthError::ExpiredSession) }
            }
            (None, Some(_)) | (Some(_), None | Some(_)) => Err(AuthError::WrongSessionToken),
        }
    }
}

/// Headers that need no signature: the token is compared with the session's, the others have no effect.
const UNSIGNED_HEADERS: &[&str] =
    &["x-amz-security-token", "x-amz-user-agent", "x-amz-content-sha256", "x-amz-signature"];

/// The time of a request signed in its header: as signed, in milliseconds, and the name of its header.
fn header_date(parts: &RequestParts<'_>) -> Result<(String, i64, &'static str), AuthError> {
    if let Some(text) = parts.header(AMZ_DATE.as_str()) {
        let ms = instant::parse_basic(text).ok_or_else(bad_date)?;
        return Ok((text.to_owned(), ms, "x-amz-date"));
    }
    let Some(text) = parts.header("date") else {
        return Err(incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."));
    };
    let ms = instant::parse_basic(text).or_else(|| instant::parse_http_date(text)).ok_or_else(bad_date)?;
    Ok((instant::basic(ms), ms, "date"))
}

fn credential_of(text: &str) -> Result<Credential, AuthError> {
    Credential::parse(text).ok_or_else(|| {
        AuthError::Incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.".to_owned(),
        )
    })
}

fn bad_date() -> AuthError {
    incomplete("Date must be in ISO-8601 'basic format', such as 20261123T082458Z.")
}

fn incomplete(words: &str) -> AuthError {
    AuthError::Incomplete(words.to_owned())
}

/// An access key as a client holds it.
#[derive(Clone)]
pub struct SigningKey {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

/// A request could not be signed because a part of it is not a valid header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed: its host, a signed header or a credential is absent or not printable ASCII")]
pub struct Unsignable;

/// Signs a request in its headers. Adds `X-Amz-Date`, `X-Amz-Security-Token` and `Authorization`; the request must
/// have a `Host` header, and every header it has is signed.
pub fn sign<B: AsRef<[u8]>>(
    request: &mut http::Request<B>,
    key: &SigningKey,
    endpoint: Endpoint<'_>,
    now_ms: i64,
) -> Result<(), Unsignable> {
    let amz_date = instant::basic(now_ms);
    let headers = request.headers_mut();
    headers.remove(header::AUTHORIZATION);
    headers.insert(AMZ_DATE, HeaderValue::from_str(&amz_date).map_err(|_| Unsignable)?);
    if let Some(token) = &key.session_token {
        headers.insert(SECURITY_TOKEN, HeaderValue::from_str(token).map_err(|_| Unsignable)?);
    }
    let credential = Credential {
        access_key_id: key.access_key_id.clone(),
        date: amz_date[..8].to_owned(),
        region: endpoint.region.to_owned(),
        service: endpoint.service.to_owned(),
    };
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    if !names.contains(&"host") {
        return Err(Unsignable);
    }
    let signed_headers = names.join(";");
    let canonical = canonical_request(&RequestParts::of(request), &signed_headers, QueryForm::Normalised);
    let signed = signature(&key.secret_access_key, &credential, &amz_date, &canonical.ok_or(Unsignable)?);
    let mut authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={signed_headers}, Signature=",
        credential.access_key_id,
        credential.scope()
    );
    push_hex(&signed, &mut authorization);
    let value = HeaderValue::from_str(&authorization).map_err(|_| Unsignable)?;
    request.headers_mut().insert(header::AUTHORIZATION, value);
    Ok(())
}
