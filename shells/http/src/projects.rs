//! `GET /projects/{project}`: the projects' configs, for workers. It hands on what the port gives, and keeps nothing: a config
//! holds secrets.

use crate::answer::{Refused, with_type};
use crate::options::COME_BACK_AFTER;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use baton_core::id::ProjectName;
use baton_core::problem::Problem;
use baton_runtime::ports::{ProjectError, Projects};

/// The call that answers with a project's config, for [`crate::plain_router`].
pub fn projects<P: Projects>(projects: P) -> Router {
    Router::new().route("/projects/{project}", get(project::<P>)).with_state(projects)
}

async fn project<P: Projects>(
    State(projects): State<P>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Refused> {
    let Path(name) = name.map_err(|_| Problem::no_such_project("the name is not UTF-8"))?;
    let name: ProjectName =
        name.parse().map_err(|bad| Problem::no_such_project(format!("the name of a project {bad}")))?;
    let config = projects.fetch(&name).await.map_err(|error| match error {
        ProjectError::Unknown(why) => Problem::no_such_project(why),
        ProjectError::Unusable(why) => Problem::unusable_project(why),
        ProjectError::Unavailable(why) => Problem::unavailable(why, COME_BACK_AFTER),
    })?;
    Ok(with_type(StatusCode::OK, "application/json", config.to_json()))
}
