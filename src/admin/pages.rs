//! The pages of the admin address.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;

use telemetry::{Format, Metrics, Readiness, State};

/// Every page with its purpose; `/` lists them.
const PAGES: [(&str, &str); 3] = [
    ("/metrics", "metrics for Prometheus, as text or in the OpenMetrics format"),
    ("/livez", "200 while the process runs"),
    ("/readyz", "200 while requests are answered, else 503 with the reason"),
];

/// All pages.
pub(super) fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(live))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(read_metrics).with_state(metrics))
}

/// An answer that must not be cached: the next one can differ.
fn page(status: StatusCode, media_type: &'static str, body: String) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 2] = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-store")];
    (status, headers, body)
}

async fn index() -> impl IntoResponse {
    let item = |(path, what): &(&str, &str)| format!("<li><a href=\"{path}\">{path}</a>: {what}</li>\n");
    let items = PAGES.iter().map(item).collect::<Vec<_>>().concat();
    let version = env!("CARGO_PKG_VERSION");
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Proffer</title>\n\
         <h1>Proffer {version}</h1>\n<ul>\n{items}</ul>\n</html>\n"
    );
    page(StatusCode::OK, "text/html; charset=utf-8", body)
}

async fn live() -> impl IntoResponse {
    page(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

async fn ready(Shared(readiness): Shared<Readiness>) -> impl IntoResponse {
    let state = readiness.state();
    let status = match state {
        State::Ready { .. } => StatusCode::OK,
        State::Starting | State::Leaving | State::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::json!({
        "state": state.to_string(),
        "release": state.release(),
        "reason": state.reason(),
    });
    page(status, "application/json", format!("{body}\n"))
}

async fn read_metrics(Shared(metrics): Shared<Arc<Metrics>>, headers: HeaderMap) -> impl IntoResponse {
    let wanted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::of_accept(wanted);
    ([(VARY, "accept")], page(StatusCode::OK, format.media_type(), metrics.encode(format)))
}
