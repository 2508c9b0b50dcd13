//! What each path answers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uio_verifier::certificate::{Digest, Hook};

use super::Shared;
use super::connection::RequestLine;
use super::error::ApiError;
use super::jobs::{JobId, Phase, Refused};
use crate::base64::encode;
use crate::duration;
use crate::engine::Engines;
use crate::issue::{Terms, describe, issue};
use crate::worker::{Job, Outcome};

/// Longest time that a request waits for its job; then it gets the job's id.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Seconds after which to try again when the queue is full.
const RETRY_AFTER_S: u32 = 1;

/// Bytes of an object's name.
const NAME_BYTES_MAX: usize = 64;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn json(status: u16, value: &Value) -> Self {
        let mut body = value.to_string().into_bytes();
        body.push(b'\n');
        Self { status, content_type: "application/json", headers: Vec::new(), body }
    }

    fn text(content_type: &'static str, text: String) -> Self {
        Self { status: 200, content_type, headers: Vec::new(), body: text.into_bytes() }
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        let mut answer = Self::json(error.status, &error.body());
        match error.status {
            401 => answer.headers.push(("WWW-Authenticate", "Bearer".into())),
            503 => answer.headers.push(("Retry-After", RETRY_AFTER_S.to_string())),
            _ => {}
        }
        answer
    }
}

impl Shared {
    /// Answers a request. Also names the route, for the metrics.
    pub(super) fn answer(&self, line: &RequestLine, body: Vec<u8>) -> (&'static str, Answer) {
        let get = line.method == "GET";
        let post = line.method == "POST";
        let (route, result) = match line.path.as_str() {
            "/health" => ("/health", if get { Ok(self.health()) } else { Err(method("GET")) }),
            "/metrics" => ("/metrics", if get { Ok(self.numbers()) } else { Err(method("GET")) }),
            "/v1/verify" => ("/v1/verify", if post { self.verify(line, body) } else { Err(method("POST")) }),
            "/v1/sign" => ("/v1/sign", if post { self.sign(line, body) } else { Err(method("POST")) }),
            path => match path.strip_prefix("/v1/jobs/") {
                Some(id) => ("/v1/jobs", if get { self.job(id) } else { Err(method("GET")) }),
                None => {
                    let message = format!("there is nothing at {path}");
                    ("other", Err(ApiError::new(404, "no_such_path", message)))
                }
            },
        };
        (route, result.unwrap_or_else(Answer::from))
    }

    fn health(&self) -> Answer {
        let levels = self.jobs.levels();
        let value = json!({
            "status": if self.is_stopping() { "stopping" } else { "ok" },
            "queued": levels.queued,
            "running": levels.running,
            "engines": self.config.engines.names().iter().map(|name| {
                json!({ "name": name.name(), "version": name.engine().version() })
            }).collect::<Vec<_>>(),
            "key": self.key.as_ref().map(|key| crate::key::id(key).to_string()),
        });
        Answer::json(200, &value)
    }

    fn numbers(&self) -> Answer {
        Answer::text("text/plain; version=0.0.4", self.metrics.render(self.jobs.levels()))
    }

    fn verify(&self, line: &RequestLine, body: Vec<u8>) -> Result<Answer, ApiError> {
        let query = Query::parse(&line.query, &["name", "engines", "unbounded", "states", "wait"])?;
        let job = self.job_of(&query, body)?;
        let (id, cached) = self.submit(job)?;
        match self.jobs.wait(id, query.wait()?) {
            Some(phase) => self.show(id, &phase, Some(cached)),
            None => Err(forgotten(id)),
        }
    }

    fn job(&self, id: &str) -> Result<Answer, ApiError> {
        let id =
            parse_id(id).ok_or_else(|| ApiError::new(404, "no_such_job", format!("`{id}` is no job")))?;
        match self.jobs.look(id) {
            Some(phase) => self.show(id, &phase, None),
            None => Err(forgotten(id)),
        }
    }

    fn show(&self, id: JobId, phase: &Phase, cached: Option<bool>) -> Result<Answer, ApiError> {
        let state = |state: &str| Ok(Answer::json(202, &json!({ "job": id.to_string(), "state": state })));
        match phase {
            Phase::Queued => state("queued"),
            Phase::Running => state("running"),
            Phase::Done(outcome) => match outcome.as_ref() {
                Ok(verification) => {
                    let mut value = json!({ "job": id.to_string(), "state": "done" });
                    if let Some(cached) = cached {
                        value["cached"] = cached.into();
                    }
                    value["report"] = to_json(&verification.report)?;
                    Ok(Answer::json(200, &value))
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    fn sign(&self, line: &RequestLine, body: Vec<u8>) -> Result<Answer, ApiError> {
        let Some(key) = &self.key else {
            return Err(ApiError::new(403, "no_key", "this service has no key to sign with"));
        };
        let known = ["name", "hook", "tenant", "valid", "generation", "fuel", "run_time"];
        let query = Query::parse(&line.query, &known)?;
        let terms = query.terms()?;
        if let Some(clients) = &self.config.clients {
            clients.authorize(line.token.as_deref(), &terms.tenant, &terms.hooks)?;
        }
        let job = self.job_of(&query, body)?;
        let (id, _) = self.submit(job)?;
        let outcome = match self.jobs.wait(id, WAIT_MAX) {
            Some(Phase::Done(outcome)) => outcome,
            Some(Phase::Queued | Phase::Running) => {
                let message = "verification takes longer than a request may; ask again, it goes on";
                return Err(ApiError::new(503, "not_yet", message).with(json!({ "job": id.to_string() })));
            }
            None => return Err(forgotten(id)),
        };
        let verification = match outcome.as_ref() {
            Outcome::Ok(verification) => verification,
            Outcome::Err(error) => return Err(error.into()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let issued = match issue(verification, &terms, key, now) {
            Ok(issued) => issued,
            Err(error) => {
                let report = to_json(&verification.report)?;
                return Err(ApiError::from(error).with(json!({ "report": report })));
            }
        };
        self.metrics.sign();
        let value = json!({
            "certificate": encode(&issued.certificate),
            "package": encode(&issued.package),
            "claims": describe(&issued.claims, issued.key),
            "report": to_json(&verification.report)?,
        });
        Ok(Answer::json(200, &value))
    }

    fn submit(&self, job: Job) -> Result<(JobId, bool), ApiError> {
        let submitted = self.jobs.submit(job);
        match submitted {
            Ok((_, hit)) => self.metrics.lookup(hit),
            Err(Refused::Full) => self.metrics.refuse("queue"),
            Err(Refused::Stopping) => self.metrics.refuse("stopping"),
        }
        submitted.map_err(|refused| match refused {
            Refused::Full => ApiError::new(503, "queue_full", "too many jobs wait; try again later"),
            Refused::Stopping => ApiError::new(503, "stopping", "the service stops"),
        })
    }

    fn job_of(&self, query: &Query, file: Vec<u8>) -> Result<Job, ApiError> {
        if file.is_empty() {
            return Err(ApiError::new(400, "no_object", "the request's body has to be an object file"));
        }
        let engines = match query.one("engines") {
            Some(text) => {
                text.parse::<Engines>().map_err(|error| bad_parameter("engines", &error.to_string()))?
            }
            None => self.config.engines.clone(),
        };
        let limits = &self.config.limits;
        Ok(Job {
            name: query.name()?,
            file,
            engines: engines.to_string(),
            max_steps: limits.job_steps,
            fuel: query.flag("unbounded", true)?,
            states: query.flag("states", false)?,
            memory_bytes: limits.job_memory_bytes,
            // Whole seconds, and never none.
            seconds: limits.job_time.as_secs() + 1,
        })
    }
}

/// The parameters of a request.
struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    fn parse(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        let mut parameters = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let message = format!("no parameter `{name}`: there are {}", known.join(", "));
                return Err(ApiError::new(400, "no_such_parameter", message));
            }
            parameters.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        if let Some(name) = parameters.iter().find(|(name, values)| *name != "hook" && values.len() > 1) {
            return Err(bad_parameter(name.0, "it stands twice"));
        }
        Ok(Self(parameters))
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.one(name).ok_or_else(|| bad_parameter(name, "it is missing"))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.one(name) {
            None => Ok(default),
            Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(_) => Err(bad_parameter(name, "yes or no")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.one(name).map(|text| text.parse().map_err(|_| bad_parameter(name, "a number"))).transpose()
    }

    /// The object's name. It is part of what is signed.
    fn name(&self) -> Result<String, ApiError> {
        let name = self.required("name")?;
        let fine = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if fine {
            Ok(name.to_owned())
        } else {
            Err(bad_parameter("name", "1 to 64 printable ASCII characters without space and slash"))
        }
    }

    fn wait(&self) -> Result<Duration, ApiError> {
        let asked = match self.one("wait") {
            None => return Ok(WAIT_MAX),
            Some(text) => duration::parse(text).map_err(|error| bad_parameter("wait", &error.to_string()))?,
        };
        Ok(asked.min(WAIT_MAX))
    }

    fn terms(&self) -> Result<Terms, ApiError> {
        let time = |name: &str, text: &str| {
            duration::parse(text).map_err(|error| bad_parameter(name, &error.to_string()))
        };
        let hooks = self.0.get("hook").map(Vec::as_slice).unwrap_or_default();
        Ok(Terms {
            hooks: hooks
                .iter()
                .map(|hook| Hook::parse(hook).map_err(|error| bad_parameter("hook", &error.to_string())))
                .collect::<Result<_, _>>()?,
            tenant: self.required("tenant")?.to_owned(),
            valid: time("valid", self.required("valid")?)?,
            generation: self.number("generation")?,
            fuel: self.number("fuel")?,
            run_time: self.one("run_time").map(|text| time("run_time", text)).transpose()?,
        })
    }
}

fn bad_parameter(name: &str, why: &str) -> ApiError {
    ApiError::new(400, "bad_parameter", format!("parameter `{name}`: {why}"))
        .with(json!({ "parameter": name }))
}

fn method(allowed: &str) -> ApiError {
    ApiError::new(405, "wrong_method", format!("only {allowed} works here"))
        .with(json!({ "allowed": allowed }))
}

fn forgotten(id: JobId) -> ApiError {
    ApiError::new(
        404,
        "no_such_job",
        format!("job {id} is not known, or its result was forgotten; submit it again"),
    )
}

fn parse_id(text: &str) -> Option<JobId> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(Digest(bytes))
}

fn to_json(report: &crate::report::Report) -> Result<Value, ApiError> {
    serde_json::to_value(report).map_err(|error| ApiError::new(500, "unprintable", error.to_string()))
}
