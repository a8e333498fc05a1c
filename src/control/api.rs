//! The answers of the admin port: from a request to a response.
//!
//! `GET /metrics`, `/healthz`, `/readyz`, and under `/api/v1/` what [`Access`] lets through: reading the
//! queue with GET, changing it with POST, which a web page cannot do in somebody's name. Errors
//! are JSON objects, `{"error": what is wrong, "allowed": [what would be right]}`, because whoever
//! reads one has usually mistyped a URL. Paths and words of the API are an outside surface: they
//! last. Requests carry no body; one that does is refused, unread.
//!
//! Nothing here changes anything itself: the shards do. Reading the queue happens on a blocking
//! thread: a slow disk must not keep Prometheus waiting.

use super::access::{Access, Denied};
use super::gauges::Gauges;
use super::meters::Meters;
use super::query::{self, BadQuery};
use super::status::Status;
use super::view::{
    Answers, QueueChanges, QueueFilter, QueueList, QueueOperator, QueueView, ViewError,
};
use crate::event::QueueAction;
use crate::message::MessageId;
use crate::shard::operate::Operation;
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    ORIGIN, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

const JSON: &str = "application/json";
/// The exposition format that every Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PATHS: &[&str] = &[
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/queue?domain=&sender=&held=&limit=",
    "/api/v1/queue/ID",
    "POST /api/v1/queue/retry?domain=&sender=&id=&all=, also hold, release, drop",
];

/// All that answers are made of.
pub(super) struct Site {
    pub meters: Arc<Meters>,
    pub gauges: Vec<Arc<Gauges>>,
    pub status: Arc<Status>,
    /// Set once the store is open.
    pub view: OnceLock<Arc<dyn QueueView>>,
    /// Set once the shards serve.
    pub operator: OnceLock<Arc<dyn QueueOperator>>,
    pub access: Access,
}

/// What a path asks for.
enum Route<'a> {
    Metrics,
    Healthz,
    Readyz,
    QueueList,
    QueueShow(&'a str),
    QueueChange(QueueAction),
}

impl Route<'_> {
    fn of(path: &str) -> Option<Route<'_>> {
        match path {
            "/metrics" => Some(Route::Metrics),
            "/healthz" => Some(Route::Healthz),
            "/readyz" => Some(Route::Readyz),
            "/api/v1/queue" => Some(Route::QueueList),
            _ => {
                let rest = path.strip_prefix("/api/v1/queue/")?;
                // No id is as short as one of these words.
                let mut actions = QueueAction::ALL.iter();
                match actions.find(|action| action.as_str() == rest) {
                    Some(action) => Some(Route::QueueChange(*action)),
                    None if rest.is_empty() || rest.contains('/') => None,
                    None => Some(Route::QueueShow(rest)),
                }
            }
        }
    }

    fn check_method(&self, method: &Method) -> Result<(), Problem> {
        let (good, allowed, allow, words): (_, &'static [&'static str], _, _) = match self {
            Route::Metrics
            | Route::Healthz
            | Route::Readyz
            | Route::QueueList
            | Route::QueueShow(_) => (
                matches!(*method, Method::GET | Method::HEAD),
                &["GET", "HEAD"],
                "GET, HEAD",
                "this path is only read",
            ),
            Route::QueueChange(_) => {
                (*method == Method::POST, &["POST"], "POST", "this path changes the queue")
            }
        };
        if good {
            return Ok(());
        }
        Err(Problem {
            allowed,
            header: Some((ALLOW, allow)),
            ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, words)
        })
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

impl From<BadQuery> for Problem {
    fn from(bad: BadQuery) -> Problem {
        let BadQuery { error, allowed } = bad;
        Problem { allowed, ..Problem::new(StatusCode::BAD_REQUEST, error) }
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
    route.check_method(request.method())?;
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
            let filter = query::filter(uri.query().unwrap_or(""))?;
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
        Route::QueueChange(action) => {
            admit(&site, peer, request)?;
            refuse_web_pages(request)?;
            let filter = query::target(uri.query().unwrap_or(""))?;
            let changes = change(&site, Operation { action, filter }).await?;
            Ok(respond(StatusCode::OK, JSON, to_json(&changes)))
        }
    }
}

/// A browser says with every POST of a script or form whose page it is; nobody else does. A page
/// cannot read what loopback answers, but without this it could have the queue dropped.
fn refuse_web_pages(request: &Request<impl Body>) -> Result<(), Problem> {
    match request.headers().contains_key(ORIGIN) {
        false => Ok(()),
        true => Err(Problem {
            allowed: &["baton queue, curl: requests without Origin"],
            ..Problem::new(StatusCode::FORBIDDEN, "web pages may not change the queue")
        }),
    }
}

/// Has all shards do it, and adds their counts.
async fn change(site: &Site, operation: Operation) -> Result<QueueChanges, Problem> {
    let unavailable = |words: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, words);
    let operator = site.operator.get();
    let operator = operator.ok_or_else(|| unavailable("the queue is not open yet".into()))?;
    let (answers, mut told) = mpsc::unbounded_channel();
    let asked = operator.operate(&operation, Answers(answers));
    let action = operation.action.as_str().to_owned();
    let mut sum = QueueChanges { action, changed: 0, under_way: 0, damaged: 0 };
    let mut shards = 0;
    while let Some(counts) = told.recv().await {
        shards += 1;
        sum.changed += counts.changed;
        sum.under_way += counts.under_way;
        sum.damaged += counts.damaged;
    }
    match shards == asked {
        true => Ok(sum),
        false => Err(unavailable(format!(
            "{shards} of {asked} shards went through with it, with {} entries: baton stops, or too \
             many changes wait; ask again",
            sum.changed
        ))),
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
    fn paths_are_exact() {
        for path in ["/", "/metrics/", "/api/v1/queue/", "/api/v1/queue/a/b", "/api/v2/queue", "*"]
        {
            assert!(Route::of(path).is_none(), "{path}");
        }
        assert!(matches!(Route::of("/api/v1/queue/0abc"), Some(Route::QueueShow("0abc"))));
        for action in QueueAction::ALL {
            let path = format!("/api/v1/queue/{}", action.as_str());
            let route = Route::of(&path);
            assert!(matches!(route, Some(Route::QueueChange(found)) if found == *action), "{path}");
        }
    }
}
