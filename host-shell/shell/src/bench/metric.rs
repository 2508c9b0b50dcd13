//! What a row is before it is measured.

use std::fmt;

/// A goal, in the unit of its metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// This much or less.
    AtMost(f64),
    /// Less than this.
    Below(f64),
    /// This much or more.
    AtLeast(f64),
}

impl Goal {
    pub(super) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::Below(limit) => value < limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Limits that were measured have more digits than mean anything.
        let short = |limit: f64| (limit * 1e3).round() / 1e3;
        match *self {
            Self::AtMost(limit) => write!(out, "<= {}", short(limit)),
            Self::Below(limit) => write!(out, "< {}", short(limit)),
            Self::AtLeast(limit) => write!(out, ">= {}", short(limit)),
        }
    }
}

/// One row before it is measured.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) part: &'static str,
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) goal: Option<Goal>,
    pub(super) peer: Option<Peer>,
}

/// A figure of somebody else, in the unit of the row that it stands in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Peer {
    /// Whose, and under which conditions.
    pub(super) name: &'static str,
    /// Their figure.
    pub(super) value: f64,
}
