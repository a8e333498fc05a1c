//! The answers of the admin port: from a request to a response.
//!
//! `GET /metrics`, `/healthz`, `/readyz`, and under `/api/v1/` what [`Access`] lets through. Errors
//! are JSON objects, `{"error": what is wrong, "allowed": [what would be right]}`, because whoever
//! reads one has usually mistyped a URL. Paths and words of the API are an outside surface: they
//! last. Requests carry no body; one that does is refused, unread.
//!
//! Never changes anything. Reading the queue happens on a blocking thread: a slow disk must not
//! keep Prometheus waiting.

use super::access::{Access, Denied};
use super::gauges::Gauges;
use super::meters::Meters;
use super::status::Status;
use super::view::{QueueFilter, QueueList, QueueView, ROWS_DEFAULT, ROWS_MAX, ViewError};
use crate::message::MessageId;
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

const JSON: &str = "application/json";
/// The exposition format that every Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PATHS: &[&str] = &[
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/queue?domain=&sender=&limit=",
    "/api/v1/queue/ID",
];
const PARAMETERS: &[&str] = &["domain", "sender", "limit"];

/// All that answers are made of.
pub(super) struct Site {
    pub meters: Arc<Meters>,
    pub gauges: Vec<Arc<Gauges>>,
    pub status: Arc<Status>,
    /// Set once the store is open.
    pub view: OnceLock<Arc<dyn QueueView>>,
    pub access: Access,
}

/// What a path asks for.
enum Route<'a> {
    Metrics,
    Healthz,
    Readyz,
    QueueList,
    QueueShow(&'a str),
}

impl Route<'_> {
    fn of(path: &str) -> Option<Route<'_>> {
        match path {
            "/metrics" => Some(Route::Metrics),
            "/healthz" => Some(Route::Healthz),
            "/readyz" => Some(Route::Readyz),
            "/api/v1/queue" => Some(Route::QueueList),
            _ => {
                let id = path.strip_prefix("/api/v1/queue/")?;
                (!id.is_empty() && !id.contains('/')).then_some(Route::QueueShow(id))
            }
        }
    }
}

/// Why a request has no answer.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    error: String,
    allowed: &'static [&'static str],
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Problem { status, error: error.into(), allowed: &[], header: None }
    }

    fn response(self) -> Response<Full<Bytes>> {
        #[derive(Serialize)]
        struct Told<'a> {
            error: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            allowed: &'a [&'a str],
        }
        let told = Told { error: &self.error, allowed: self.allowed };
        let mut response = respond(self.status, JSON, to_json(&told));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        match denied {
            Denied::Token => Problem {
                allowed: &["Authorization: Bearer <the content of admin.token_file>"],
                header: Some((WWW_AUTHENTICATE, "Bearer")),
                ..Problem::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong")
            },
            Denied::NotLocal => Problem {
                allowed: &[
                    "requests over loopback to a loopback admin.address",
                    "admin.token_file",
                ],
                ..Problem::new(
                    StatusCode::FORBIDDEN,
                    "without admin.token_file the API answers on a loopback admin.address only",
                )
            },
        }
    }
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

/// Answers one request of `peer`.
pub(super) async fn answer(
    site: Arc<Site>,
    peer: SocketAddr,
    request: Request<impl Body>,
) -> Response<Full<Bytes>> {
    match route(site, peer, &request).await {
        Ok(response) => response,
        Err(problem) => problem.response(),
    }
}

async fn route(
    site: Arc<Site>,
    peer: SocketAddr,
    request: &Request<impl Body>,
) -> Result<Response<Full<Bytes>>, Problem> {
    let uri = request.uri();
    let route = Route::of(uri.path()).ok_or_else(|| Problem {
        allowed: PATHS,
        ..Problem::new(StatusCode::NOT_FOUND, "no such path")
    })?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem {
            allowed: &["GET", "HEAD"],
            header: Some((ALLOW, "GET, HEAD")),
            ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path is only read")
        });
    }
    if !request.body().is_end_stream() {
        return Err(Problem {
            allowed: &["a request without a body"],
            header: Some((CONNECTION, "close")),
            ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "no body is taken")
        });
    }
    match route {
        Route::Metrics => {
            let text = site.meters.scrape(&site.gauges);
            Ok(respond(StatusCode::OK, METRICS, text.into()))
        }
        Route::Healthz => Ok(condition("healthy", site.status.health())),
        Route::Readyz => Ok(condition("ready", site.status.readiness())),
        Route::QueueList => {
            admit(&site, peer, request)?;
            let filter = parse_filter(uri.query().unwrap_or(""))?;
            let list = read(&site, move |view| list(view, filter)).await?;
            Ok(respond(StatusCode::OK, JSON, to_json(&list)))
        }
        Route::QueueShow(id) => {
            admit(&site, peer, request)?;
            let id: MessageId = (id.parse())
                .map_err(|bad| Problem::new(StatusCode::BAD_REQUEST, format!("{id}: {bad}")))?;
            let detail = read(&site, move |view| view.show(id)).await?.ok_or_else(|| {
                Problem::new(StatusCode::NOT_FOUND, format!("message {id} is not in the queue"))
            })?;
            Ok(respond(StatusCode::OK, JSON, to_json(&detail)))
        }
    }
}

fn admit(site: &Site, peer: SocketAddr, request: &Request<impl Body>) -> Result<(), Denied> {
    let field = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    site.access.check(peer, field(HOST), field(AUTHORIZATION))
}

/// Asks the view on a thread that may block.
async fn read<T: Send + 'static>(
    site: &Site,
    question: impl FnOnce(&dyn QueueView) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, Problem> {
    let starting = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the queue is not open yet");
    let view = Arc::clone(site.view.get().ok_or_else(starting)?);
    match tokio::task::spawn_blocking(move || question(&*view)).await {
        Ok(found) => found.map_err(Problem::from),
        Err(panicked) => {
            let words = format!("reading the queue failed: {panicked}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, words))
        }
    }
}

fn list(view: &dyn QueueView, filter: QueueFilter) -> Result<QueueList, ViewError> {
    let limit = filter.limit;
    // One more than was asked for tells whether there is more.
    let mut entries = view.list(&QueueFilter { limit: limit + 1, ..filter })?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(QueueList { entries, more })
}

fn parse_filter(query: &str) -> Result<QueueFilter, Problem> {
    let bad = |error: String, allowed| Problem {
        allowed,
        ..Problem::new(StatusCode::BAD_REQUEST, error)
    };
    let (mut domain, mut sender, mut limit) = (None, None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = match &*name {
            "domain" => &mut domain,
            "sender" => &mut sender,
            "limit" => &mut limit,
            _ => return Err(bad(format!("unknown parameter {name}"), PARAMETERS)),
        };
        if value.is_empty() || place.is_some() {
            return Err(bad(format!("{name} is empty or there twice"), PARAMETERS));
        }
        *place = Some(value.into_owned());
    }
    let limit = match limit {
        None => ROWS_DEFAULT,
        Some(text) => match text.parse() {
            Ok(limit) if (1..=ROWS_MAX).contains(&limit) => limit,
            Ok(_) | Err(_) => return Err(bad(format!("limit={text}"), &["limit=1 to 10000"])),
        },
    };
    let domain = domain.map(|domain| domain.to_lowercase().into());
    Ok(QueueFilter { domain, sender: sender.map(Into::into), limit })
}

const _: () = assert!(ROWS_MAX == 10_000, "the text above names it");

/// `{"ready":true}`, or 503 and why not.
fn condition(name: &str, found: Result<(), String>) -> Response<Full<Bytes>> {
    let (status, body) = match found {
        Ok(()) => (StatusCode::OK, serde_json::json!({ name: true })),
        Err(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ name: false, "why": why }))
        }
    };
    respond(status, JSON, to_json(&body))
}

fn to_json(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("texts, numbers and lists are JSON");
    // A person with curl wants the prompt on a line of its own.
    text.push(b'\n');
    text.into()
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_or_refused_with_what_is_allowed() {
        let filter = |domain: Option<&str>, sender: Option<&str>, limit| QueueFilter {
            domain: domain.map(Into::into),
            sender: sender.map(Into::into),
            limit,
        };
        let good = [
            ("", filter(None, None, 100)),
            ("domain=X.Test", filter(Some("x.test"), None, 100)),
            (
                "sender=acme%7Cx-authuser%7Cjoe%2Bme&limit=7",
                filter(None, Some("acme|x-authuser|joe+me"), 7),
            ),
            ("limit=10000", filter(None, None, 10_000)),
        ];
        for (query, expected) in good {
            assert_eq!(parse_filter(query).unwrap(), expected, "{query}");
        }
        let bad = [
            "limit=0",
            "limit=10001",
            "limit=x",
            "limit=-1",
            "domain=",
            "who=me",
            "limit=1&limit=2",
        ];
        for query in bad {
            let problem = parse_filter(query).unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{query}");
            assert!(!problem.allowed.is_empty(), "{query}");
        }
    }

    #[test]
    fn paths_are_exact() {
        for path in ["/", "/metrics/", "/api/v1/queue/", "/api/v1/queue/a/b", "/api/v2/queue", "*"]
        {
            assert!(Route::of(path).is_none(), "{path}");
        }
        assert!(matches!(Route::of("/api/v1/queue/0abc"), Some(Route::QueueShow("0abc"))));
    }
}
