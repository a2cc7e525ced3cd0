// SPDX-License-Identifier: Apache-2.0
//! Requests to registries: redirects, token challenges and the check of every address that is connected to.
//!
//! Each hop is judged on its own, literal addresses here and names by the resolver of the client, whose answer is what the
//! connection uses. Not here: what is asked (`registry`), and how often (`retry`).

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::challenge::{self, Bearer, Challenge};
use super::reach::{Reach, Region};
use super::retry::{self, Failure};
use crate::images::recent::Recent;

/// Time for a connection to a registry.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Time without a byte from a registry.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// Redirects of one request.
const HOPS_MAX: usize = 10;
/// Longest answer of a token server, and longest body of a refusal that is read for its words.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Longest text of a registry that becomes part of a message, in characters.
const WORDS_MAX: usize = 256;
/// Tokens kept, each of one registry and repository.
const TOKENS_MAX: usize = 256;
/// Life of a token that does not name its own, and the longest that is believed.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(3600);
/// A token is not used this shortly before its end.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// Connections kept open to one host.
const IDLE_MAX: usize = 4;
/// Name under which the node makes requests.
const USER_AGENT: &str = concat!("berth/", env!("CARGO_PKG_VERSION"));

/// Why a registry did not give what was asked.
#[derive(Debug)]
pub(super) struct Refused {
    pub message: String,
    pub failure: Failure,
    /// The registry answered that it does not have it.
    pub is_absent: bool,
}

impl Refused {
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self { message: message.into(), failure, is_absent: false }
    }

    pub fn finally(message: impl Into<String>) -> Self {
        Self::new(Failure::Final, message)
    }
}

/// A repository of a registry, and what the connection to it may reach.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub base: Url,
    pub reach: Reach,
    pub repository: String,
    /// The registry a mirror is asked for.
    pub namespace: Option<String>,
}

impl Endpoint {
    /// `kind` is `manifests` or `blobs`, `reference` a tag or a digest.
    fn url(&self, kind: &str, reference: &str) -> Result<Url, Refused> {
        let mut url = self
            .base
            .join(&format!("/v2/{}/{kind}/{reference}", self.repository))
            .map_err(|cause| Refused::finally(format!("{}: {cause}", self.base)))?;
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }
}

/// A request to an endpoint.
pub(super) struct Request<'a> {
    pub kind: &'static str,
    pub reference: &'a str,
    pub accept: Option<String>,
    /// The first byte wanted.
    pub from: u64,
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

/// Connections and tokens.
pub(super) struct Transport {
    line: Line,
    proxies: Arc<Proxies>,
    clients: Mutex<HashMap<Reach, Client>>,
    /// By origin and repository.
    tokens: Mutex<Recent<(String, String), Token>>,
}

impl Transport {
    pub fn new(runtime: Option<Handle>) -> Self {
        // A process has one default TLS provider; an error means that it was installed before.
        rustls::crypto::ring::default_provider().install_default().ok();
        Self {
            line: Line(runtime),
            proxies: Arc::new(Proxies::of_environment()),
            clients: Mutex::default(),
            tokens: Mutex::new(Recent::new(TOKENS_MAX)),
        }
    }

    /// Asks an endpoint, follows its redirects and answers its challenges; the answer is a 200 or 206.
    pub async fn get(&self, endpoint: &Endpoint, request: &Request<'_>) -> Result<Response, Refused> {
        let mut url = endpoint.url(request.kind, request.reference)?;
        let mut region = None;
        let mut answered = HashSet::new();
        for _ in 0..HOPS_MAX {
            let response = self.hop(endpoint, &url, region, request.headers(self.token(endpoint, &url))).await?;
            // The first answer is the registry's own: what it leads to may be where it is itself.
            let region = *region.get_or_insert_with(|| self.region(&url, &response));
            match response.status().as_u16() {
                200 | 206 => return Ok(response),
                301 | 302 | 303 | 307 | 308 => url = target(&url, &response)?,
                401 if answered.insert(url.origin()) => self.answer(endpoint, &url, region, response).await?,
                _ => return Err(refusal(response).await),
            }
        }
        Err(Refused::finally(format!("{}: more than {HOPS_MAX} redirects", shown(&url))))
    }

    /// One request. `region` is where the registry is, once it has answered.
    async fn hop(
        &self,
        endpoint: &Endpoint,
        url: &Url,
        region: Option<Region>,
        headers: HeaderMap,
    ) -> Result<Response, Refused> {
        let reach = match region {
            Some(region) if url.origin() != endpoint.base.origin() => Reach::Referred(region),
            _ => endpoint.reach,
        };
        let host = url.host_str().unwrap_or_default();
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            judge(reach, host, address).map_err(|fault| led(endpoint, url, &fault))?;
        }
        let request = self.client(reach)?.get(url.clone()).headers(headers);
        let sent = self.line.run(async move { request.send().await }).await.ok_or_else(|| {
            Refused::new(Failure::Unreached, format!("failed to do request: GET {}: the node is ending", shown(url)))
        })?;
        sent.map_err(|fault| match not_admitted(&fault) {
            Some(fault) => led(endpoint, url, fault),
            None => failed(url, fault),
        })
    }

    fn client(&self, reach: Reach) -> Result<Client, Refused> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&reach) {
            return Ok(client.clone());
        }
        let built = Client::builder()
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Judge::new(reach, self.proxies.clone())))
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .pool_max_idle_per_host(IDLE_MAX)
            .user_agent(USER_AGENT)
            .http1_only()
            .build();
        let client = built.map_err(|fault| Refused::finally(chain(&fault)))?;
        clients.insert(reach, client.clone());
        Ok(client)
    }

    /// Where an answer comes from. What a proxy reaches is not known, so it is taken for the internet.
    fn region(&self, url: &Url, response: &Response) -> Region {
        match response.remote_addr() {
            Some(address) if !self.proxies.are_asked_for(url) => Region::of(address.ip()),
            _ => Region::Public,
        }
    }

    fn token(&self, endpoint: &Endpoint, url: &Url) -> Option<HeaderValue> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(&token_key(endpoint, url))?;
        (token.until > Instant::now()).then(|| token.header.clone())
    }

    /// Gets the token that a 401 asks for.
    async fn answer(&self, endpoint: &Endpoint, url: &Url, region: Region, refused: Response) -> Result<(), Refused> {
        let headers = refused.headers().get_all(WWW_AUTHENTICATE);
        let headers: Vec<&str> = headers.iter().filter_map(|value| value.to_str().ok()).collect();
        match challenge::read(&headers.join(", ")) {
            Some(Challenge::Bearer(bearer)) => {
                let token = self.fetch_token(endpoint, url, region, &bearer).await?;
                let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.insert(token_key(endpoint, url), token);
                Ok(())
            }
            Some(Challenge::Basic) => Err(denied("authorization failed: no basic auth credentials")),
            None => Err(refusal(refused).await),
        }
    }

    async fn fetch_token(
        &self,
        endpoint: &Endpoint,
        from: &Url,
        region: Region,
        bearer: &Bearer,
    ) -> Result<Token, Refused> {
        let mut url = referred(from, &bearer.realm)?;
        let scope = bearer.scope.clone().unwrap_or_else(|| format!("repository:{}:pull", endpoint.repository));
        url.query_pairs_mut().extend_pairs(bearer.service.iter().map(|service| ("service", service)));
        url.query_pairs_mut().append_pair("scope", &scope);
        for _ in 0..HOPS_MAX {
            let response = self.hop(endpoint, &url, Some(region), HeaderMap::new()).await?;
            match response.status().as_u16() {
                200 => {
                    let body = body_at_most(response, ANSWER_BYTES_MAX).await?;
                    return read_token(&body)
                        .ok_or_else(|| Refused::finally(format!("{}: the answer holds no token", shown(&url))));
                }
                301 | 302 | 303 | 307 | 308 => url = target(&url, &response)?,
                _ => return Err(refusal(response).await),
            }
        }
        Err(Refused::finally(format!("{}: more than {HOPS_MAX} redirects", shown(&url))))
    }
}

impl Request<'_> {
    fn headers(&self, token: Option<HeaderValue>) -> HeaderMap {
        let accept = self.accept.as_ref().and_then(|types| HeaderValue::from_str(types).ok());
        let range = (self.from > 0).then(|| HeaderValue::from_str(&format!("bytes={}-", self.from)).ok()).flatten();
        let headers = [(ACCEPT, accept), (RANGE, range), (AUTHORIZATION, token)];
        headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn token_key(endpoint: &Endpoint, url: &Url) -> (String, String) {
    (url.origin().ascii_serialization(), endpoint.repository.clone())
}

fn read_token(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    let life = answer.expires_in.map_or(TOKEN_LIFE, Duration::from_secs).clamp(TOKEN_LIFE, TOKEN_LIFE_MAX);
    Some(Token { header, until: Instant::now() + life - TOKEN_MARGIN })
}

/// Where a redirect leads.
fn target(from: &Url, response: &Response) -> Result<Url, Refused> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| Refused::finally(format!("{}: a redirect to nowhere", shown(from))))?;
    referred(from, location)
}

/// A URL that an answer from `from` names. What came over TLS does not lead to places without.
fn referred(from: &Url, text: &str) -> Result<Url, Refused> {
    let wrong = |why: &str| Refused::finally(format!("{} refers to {:?}: {why}", shown(from), words(text)));
    let url = from.join(text).map_err(|cause| wrong(&cause.to_string()))?;
    match (from.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => Ok(url),
        ("https", "http") => Err(wrong("a registry with TLS refers only to places with TLS")),
        _ => Err(wrong("neither http nor https")),
    }
}

/// A URL for messages: without its query, which may hold a signature.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_username("").ok();
    url.set_password(None).ok();
    words(url.as_str())
}

/// Text of a registry, fit for a message.
fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
}

fn denied(why: &str) -> Refused {
    let message = "pull access denied, repository does not exist or may require authorization: server message";
    Refused::finally(format!("{message}: {why}"))
}

/// Reads an answer that says no.
async fn refusal(response: Response) -> Refused {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Problem>,
    }
    #[derive(Deserialize)]
    struct Problem {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let (url, status) = (shown(response.url()), response.status());
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let failure = retry::of_status(status.as_u16(), retry_after, SystemTime::now());
    let body = body_at_most(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
    let problem = serde_json::from_slice::<Body>(&body).ok().and_then(|body| body.errors.into_iter().next());
    let said = problem.map(|problem| words(&format!("{}: {}", problem.code.to_lowercase(), problem.message)));
    match status.as_u16() {
        401 | 403 => denied(&said.unwrap_or_else(|| format!("{status} from {url}"))),
        code => Refused {
            message: match said {
                Some(said) => format!("unexpected status from GET request to {url}: {status}: {said}"),
                None => format!("unexpected status from GET request to {url}: {status}"),
            },
            failure,
            is_absent: code == 404,
        },
    }
}

/// A whole body, of at most `limit` bytes.
pub(super) async fn body_at_most(mut response: Response, limit: usize) -> Result<Vec<u8>, Refused> {
    let url = response.url().clone();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|fault| failed(&url, fault))? {
        if part.len() > limit - body.len() {
            let problem = berth_shim::read::too_large(limit);
            return Err(Refused::finally(format!("the answer to GET {} is {problem}", shown(&url))));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// A request or an answer that broke.
pub(super) fn failed(url: &Url, fault: reqwest::Error) -> Refused {
    let failure = match fault.is_connect() && !fault.is_timeout() {
        true => Failure::Unreached,
        false => Failure::Passing(None),
    };
    Refused::new(failure, format!("failed to do request: GET {}: {}", shown(url), chain(&fault.without_url())))
}

/// The text of an error and of what caused it, without repetition.
fn chain(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(under) = cause {
        let more = under.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = under.source();
    }
    text
}

/// An address that a connection may not go to.
#[derive(Debug, thiserror::Error)]
#[error("{host} has the address {address}, which is {region}; {}", reach.rule())]
struct NotAdmitted {
    host: String,
    address: IpAddr,
    region: Region,
    reach: Reach,
}

fn judge(reach: Reach, host: &str, address: IpAddr) -> Result<(), NotAdmitted> {
    let region = Region::of(address);
    match reach.admits(region) {
        true => Ok(()),
        false => Err(NotAdmitted { host: host.to_owned(), address, region, reach }),
    }
}

fn not_admitted(fault: &reqwest::Error) -> Option<&NotAdmitted> {
    let mut cause = std::error::Error::source(fault);
    while let Some(under) = cause {
        if let Some(found) = under.downcast_ref() {
            return Some(found);
        }
        cause = under.source();
    }
    None
}

fn led(endpoint: &Endpoint, url: &Url, fault: &NotAdmitted) -> Refused {
    let by = match url.origin() == endpoint.base.origin() {
        true => String::new(),
        false => format!("{} refers to {}: ", shown(&endpoint.base), shown(url)),
    };
    Refused::finally(format!("{by}{fault}"))
}

/// Looks names up, and answers only with addresses that the connection may go to.
pub(super) struct Judge {
    reach: Reach,
    proxies: Arc<Proxies>,
}

impl Judge {
    pub fn new(reach: Reach, proxies: Arc<Proxies>) -> Self {
        Self { reach, proxies }
    }
}

impl Resolve for Judge {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, is_proxy) = (self.reach, self.proxies.hosts.iter().any(|host| host == name.as_str()));
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let verdict = |address: &SocketAddr| match is_proxy {
                true => Ok(*address),
                false => judge(reach, name.as_str(), address.ip()).map(|()| *address),
            };
            let (admitted, refused): (Vec<_>, Vec<_>) = found.iter().map(verdict).partition(Result::is_ok);
            match (admitted.is_empty(), refused.into_iter().find_map(Result::err)) {
                (true, Some(fault)) => Err(fault.into()),
                _ => Ok(Box::new(admitted.into_iter().filter_map(Result::ok)) as Addrs),
            }
        })
    }
}

/// Proxies of the process's environment (`HTTPS_PROXY` and its like), as `reqwest` reads them. They are the operator's, so
/// their addresses are not judged.
pub(super) struct Proxies {
    matcher: Matcher,
    hosts: Vec<String>,
}

impl Proxies {
    pub fn of_environment() -> Self {
        let matcher = Matcher::from_env();
        let of = |scheme: &str| {
            let uri = format!("{scheme}://registry.invalid").parse().ok()?;
            matcher.intercept(&uri)?.uri().host().map(str::to_owned)
        };
        let hosts = ["http", "https"].into_iter().filter_map(of).collect();
        Self { matcher, hosts }
    }

    fn are_asked_for(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|uri| self.matcher.intercept(&uri).is_some())
    }
}

/// Where requests are sent from: another runtime, or the one that asks.
struct Line(Option<Handle>);

impl Line {
    /// Everything a request opens (connections, look-ups of names) is opened by the threads of the line. Nothing is
    /// answered when that runtime ends.
    async fn run<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> Option<T> {
        match &self.0 {
            None => Some(request.await),
            Some(runtime) => AbortOnDropHandle::new(runtime.spawn(request)).await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reference_never_leaves_tls() {
        let from = |text: &str| Url::parse(text).unwrap();
        let to = |base: &str, text: &str| referred(&from(base), text).map(|url| url.to_string());
        assert_eq!(to("https://a/v2/x", "/y?z=1").unwrap(), "https://a/y?z=1");
        assert_eq!(to("http://a/", "https://b/y").unwrap(), "https://b/y");
        assert_eq!(to("http://a/", "http://b/").unwrap(), "http://b/");
        for (base, text) in [("https://a/", "http://b/"), ("http://a/", "file:///etc/passwd"), ("http://a/", "http://")]
        {
            assert!(to(base, text).is_err(), "{base} {text}");
        }
    }

    #[test]
    fn a_message_holds_no_signature_and_no_line_break() {
        let url = Url::parse("https://user:word@s3.example/blob?X-Amz-Signature=1#x").unwrap();
        assert_eq!(shown(&url), "https://s3.example/blob");
        assert_eq!(words("a\nb"), "a b");
        assert_eq!(words(&"x".repeat(1000)).len(), WORDS_MAX);
    }

    #[test]
    fn a_token_is_read_under_both_of_its_names() {
        let header = |body: &str| read_token(body.as_bytes()).map(|token| token.header);
        assert_eq!(header(r#"{"token":"t","expires_in":300}"#).unwrap(), "Bearer t");
        assert_eq!(header(r#"{"access_token":"a"}"#).unwrap(), "Bearer a");
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":1}"#] {
            assert!(header(body).is_none(), "{body}");
        }
    }
}
