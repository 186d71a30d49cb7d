//! The web page: files of `shells/ui/dist`, in the binary. It must load nothing from anywhere else.
//!
//! A build without Node has no such files; then a page without scripts says how to get the real one.

use crate::answer::{Refused, put, with_type};
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use baton_core::problem::Problem;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../ui/dist"]
#[allow_missing = true]
struct Files;

const WITHOUT: &str = include_str!("index.html");

/// Scripts, styles and calls of this server alone; and no text ever becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const POLICY_WITHOUT: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether a person asks: whoever navigates to a call in a browser is shown the page.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("text/html")
    })
}

/// The page, whatever it will show: its script reads that from its address.
pub async fn page() -> Response {
    let html = "text/html; charset=utf-8";
    let (mut page, policy) = match Files::get("index.html") {
        Some(file) => (with_type(StatusCode::OK, html, file.data.into_owned()), POLICY),
        None => (with_type(StatusCode::OK, html, WITHOUT), POLICY_WITHOUT),
    };
    put(&mut page, header::CONTENT_SECURITY_POLICY, policy);
    put(&mut page, header::VARY, "accept");
    page
}

/// A file that the page loads. Its name changes whenever it does, so it is kept for ever.
pub async fn asset(
    file: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let missing = || Refused::from(Problem::no_such_path(uri.path()));
    let Path(name) = file.map_err(|_| missing())?;
    let media_type = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => return Err(missing()),
    };
    let (path, packed) = (format!("assets/{name}"), format!("assets/{name}.gz"));
    let unpacks = takes_gzip(&headers);
    let file = unpacks.then(|| Files::get(&packed)).flatten();
    let is_packed = file.is_some();
    let file = file.or_else(|| Files::get(&path)).ok_or_else(missing)?;
    let mut response = with_type(StatusCode::OK, media_type, file.data.into_owned());
    if is_packed {
        put(&mut response, header::CONTENT_ENCODING, "gzip");
    }
    put(&mut response, header::VARY, "accept-encoding");
    put(&mut response, header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    Ok(response)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}
