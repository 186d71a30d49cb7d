//! The projects' configs: from a file, or over HTTP. Errors are sentences for a task's owner, and hold no secret.

use baton_core::id::ProjectName;
use baton_core::project::{BadProject, Project};
use baton_runtime::ports::{ProjectError, Projects};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// How long one answer may take in all, and the connection of it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The longest config, in bytes.
const MAX_CONFIG: usize = 1024 * 1024;

/// The configured source can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unconfigured {
    /// The file can't be read, or holds no projects.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why, with line and column where there are any.
        why: String,
    },
    /// The URL is none.
    #[error("{0:?} is no URL of a project API: {1}")]
    Url(String, String),
}

/// Wherever the configs come from.
#[derive(Clone)]
pub enum ConfiguredProjects {
    /// A file.
    File(FileProjects),
    /// An API.
    Http(HttpProjects),
}

impl Projects for ConfiguredProjects {
    async fn fetch(&self, project: &ProjectName) -> Result<Project, ProjectError> {
        match self {
            Self::File(file) => file.get(project),
            Self::Http(http) => http.fetch(project).await,
        }
    }
}

/// Projects from a file: an object of name to config, in JSON, or in TOML if its name ends so. Read again when it changes.
#[derive(Clone)]
pub struct FileProjects {
    path: PathBuf,
    read: Arc<Mutex<ReadFile>>,
}

struct ReadFile {
    stamp: Option<(SystemTime, u64)>,
    projects: Result<Map<String, Value>, String>,
}

impl FileProjects {
    /// Reads the file; an error says what is wrong, and where.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Unconfigured> {
        let path = path.into();
        let read = read_file(&path);
        if let Err(why) = &read.projects {
            return Err(Unconfigured::File { path, why: why.clone() });
        }
        Ok(Self { path, read: Arc::new(Mutex::new(read)) })
    }

    /// The config of one project.
    pub fn get(&self, project: &ProjectName) -> Result<Project, ProjectError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp(&self.path) != read.stamp {
            *read = read_file(&self.path);
        }
        let path = self.path.display();
        let projects = read.projects.as_ref().map_err(|why| ProjectError::Unusable(format!("{path}: {why}")))?;
        let Some(config) = projects.get(project.as_str()) else {
            let known: Vec<&str> = projects.keys().map(String::as_str).collect();
            let why = format!("the project \"{project}\" is not in {path}; there are: {}", known.join(", "));
            return Err(ProjectError::Unknown(why));
        };
        Project::from_value(config.clone())
            .map_err(|bad| ProjectError::Unusable(format!("the project \"{project}\" in {path}: {bad}")))
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read_file(path: &Path) -> ReadFile {
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let read = || {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let projects: Value = if is_toml {
            toml::from_str(&text).map_err(|error| without_its_line(&text, &error))?
        } else {
            serde_json::from_str(&text).map_err(|error| error.to_string())?
        };
        let Value::Object(projects) = projects else {
            return Err("must be an object of project name to config".to_owned());
        };
        for (name, config) in &projects {
            name.parse::<ProjectName>().map_err(|bad| format!("the project name {name:?} {bad}"))?;
            Project::from_value(config.clone()).map_err(|bad: BadProject| format!("the project {name:?}: {bad}"))?;
        }
        Ok(projects)
    };
    ReadFile { stamp: stamp(path), projects: read() }
}

/// What is wrong with the file and where, without the line itself: it may hold a secret.
fn without_its_line(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else { return error.message().to_owned() };
    let before = &text[..text.floor_char_boundary(span.start)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
    format!("line {line}, column {column}: {}", error.message())
}

/// Projects from an API: `GET {base}/projects/{project}`.
#[derive(Clone)]
pub struct HttpProjects {
    base: reqwest::Url,
    client: Arc<OnceLock<reqwest::Client>>,
}

impl HttpProjects {
    /// Asks at this URL. The process must have a default provider of TLS, if the URL is an `https` one.
    pub fn new(base: &str) -> Result<Self, Unconfigured> {
        let bad = |why: String| Unconfigured::Url(base.to_owned(), why);
        let mut url = reqwest::Url::parse(base).map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad("it must begin with http:// or https:// and name a host".into()));
        }
        url.path_segments_mut().map_err(|()| bad("it can't have a path".into()))?.pop_if_empty().push("projects");
        Ok(Self { base: url, client: Arc::default() })
    }

    /// Made when first needed: it reads the system's certificates.
    fn client(&self) -> &reqwest::Client {
        self.client.get_or_init(|| {
            let client = reqwest::Client::builder()
                .connect_timeout(CONNECT_WITHIN)
                .timeout(ANSWER_WITHIN)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")));
            client.build().expect("the options are constant, and the binary installs a provider of TLS at its start")
        })
    }

    /// Where, without credentials.
    fn shown(&self) -> String {
        let mut url = self.base.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.to_string()
    }
}

impl Projects for HttpProjects {
    async fn fetch(&self, project: &ProjectName) -> Result<Project, ProjectError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(project.as_str());
        }
        let at = format!("the config of the project \"{project}\" at {}", self.shown());
        let unavailable = |error: &reqwest::Error| ProjectError::Unavailable(format!("{at}: {}", cause_of(error)));
        let mut answer = self.client().get(url).send().await.map_err(|e| unavailable(&e.without_url()))?;
        let status = answer.status();
        match status.as_u16() {
            200 => {}
            404 => {
                return Err(ProjectError::Unknown(format!("the project \"{project}\" is unknown to {}", self.shown())));
            }
            408 | 425 | 429 | 500..=599 => {
                return Err(ProjectError::Unavailable(format!("{at}: it answered {status}")));
            }
            _ => return Err(ProjectError::Unusable(format!("{at}: it answered {status}"))),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| unavailable(&e.without_url()))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_CONFIG {
                return Err(ProjectError::Unusable(format!("{at}: it is longer than {MAX_CONFIG} bytes")));
            }
        }
        Project::from_json(&body).map_err(|bad| ProjectError::Unusable(format!("{at}: {bad}")))
    }
}

/// What lies at the root of an error: `connection refused`, and not that a request failed.
fn cause_of(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {ANSWER_WITHIN:?}");
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, text: &str) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let refused = FileProjects::open(&path).err().expect("it is broken").to_string();
        refused.strip_prefix(&format!("{}: ", path.display())).expect("it names the file").to_owned()
    }

    #[test]
    fn a_broken_file_says_where_and_never_what_stands_there() {
        for (name, text, place) in [
            ("p.toml", "[default.env]\nA = 1\nKEY = \"s3cret\n", "line 3, column "),
            ("p.toml", "[default.env]\nKEY = s3cret\n", "line 2, column 7: "),
            ("p.toml", "[default.env]\nKEY = \"s3cret\" \"s3cret\"\n", "line 2, column "),
            ("p.toml", "[default]\ndb_conn = \"s3cret\"\ndb_conn = \"s3cret\"\n", "line 3, column 1: "),
            (
                "p.toml",
                "default = \"s3cret\"",
                "the project \"default\": the config is not a JSON object: it is a string",
            ),
            ("p.json", "{\"default\": {\"env\": {\"KEY\": \"s3cret}}}", "EOF while parsing a string at line 1 column "),
            ("p.json", "{\"default\": {\"db_conn\": s3cret}}", "expected value at line 1 column 25"),
            ("p.json", "\"s3cret\"", "must be an object of project name to config"),
            (
                "p.json",
                "{\"default\": [\"s3cret\"]}",
                "the project \"default\": the config is not a JSON object: it is an array",
            ),
        ] {
            let refused = refusal(name, text);
            assert!(refused.starts_with(place) && !refused.contains("s3cret"), "{text}: {refused}");
        }
    }
}
