//! Why a request is not served: a status, a reason in plain text that names what offends, and what to do about it.

use std::fmt;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use godown_core::message::{ClusterRefusal, Failure, Refusal as Reason};

/// An answer other than what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
    /// The methods that would do, for 405.
    allow: Option<&'static str>,
    /// Whether the connection cannot be used any further: the rest of a body may still be on its way.
    is_last: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), allow: None, is_last: false }
    }

    /// 400: the client must ask otherwise.
    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 404.
    pub(super) fn absent(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason)
    }

    /// 409: the request is understood, and does not go together with how things stand.
    pub(super) fn conflict(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, reason)
    }

    /// Its status.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// 405, with the methods that would do.
    pub(super) fn method(allow: &'static str) -> Self {
        let reason = format!("this path takes {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, reason) }
    }

    /// 503: the same request may do better later.
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// The same, and the connection ends with it.
    pub(super) fn and_hang_up(self) -> Self {
        Self { is_last: true, ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let reason = failure.to_string();
        match &failure {
            Failure::Refused { last: Reason::TooManySiblings { .. }, .. }
            | Failure::NotTaken(Reason::TooManySiblings { .. }) => Self::new(
                StatusCode::CONFLICT,
                format!("{reason}: read the key, and write one value back with the clock that comes along"),
            ),
            Failure::Timeout { .. } | Failure::Refused { .. } => {
                Self::unavailable(format!("{reason} (a write that fails so may still surface)"))
            }
            Failure::NotTaken(Reason::NotAMember) => {
                Self::unavailable("this node is no member of a cluster, or not any more: ask one that is")
            }
            Failure::Overloaded { .. } | Failure::NotTaken(_) => Self::unavailable(reason),
            Failure::Cluster(refusal) => match **refusal {
                ClusterRefusal::NoCluster | ClusterRefusal::NoMajority { .. } => Self::unavailable(reason),
                _ => Self::conflict(reason),
            },
            Failure::ValueTooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, reason),
            Failure::KeyEmpty
            | Failure::KeyTooLong { .. }
            | Failure::ContentTypeTooLong { .. }
            | Failure::BadQuorum { .. }
            | Failure::BadTimeout { .. }
            | Failure::BadTtl { .. } => Self::bad(reason),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(format!("{}\n", self.reason)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.is_last {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
