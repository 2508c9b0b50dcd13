//! The rows of a suite, filled in part by part.

use serde_json::{Value, json};

use super::error::BenchError;
use super::metric::{Goal, Metric};

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    metric: &'static Metric,
    goal: Option<Goal>,
    value: Option<f64>,
    method: String,
}

impl Row {
    pub(super) fn metric(&self) -> &'static Metric {
        self.metric
    }

    pub(super) fn value(&self) -> Option<f64> {
        self.value
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    pub(super) fn goal(&self) -> Option<Goal> {
        self.goal
    }

    /// Whether the goal was met; `None` without a goal or a value.
    pub(super) fn met(&self) -> Option<bool> {
        Some(self.goal?.is_met(self.value?))
    }

    pub(super) fn to_json(&self, suite: &str) -> Value {
        json!({
            "suite": suite,
            "metric": self.metric.name,
            "value": self.value.map(rounded),
            "unit": self.metric.unit,
            "goal": self.goal.map(|goal| goal.to_string()),
            "met": self.met(),
            "peer": self.metric.peer.map(|peer| peer.name),
            "peer_value": self.metric.peer.map(|peer| rounded(peer.value)),
            "method": self.method,
        })
    }
}

/// To six decimals: what floating point adds behind them says nothing.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// All rows.
#[derive(Debug)]
pub(super) struct Sheet {
    rows: Vec<Row>,
}

impl Sheet {
    pub(super) fn new(metrics: &'static [Metric]) -> Self {
        let row =
            |metric: &'static Metric| Row { metric, goal: metric.goal, value: None, method: String::new() };
        Self { rows: metrics.iter().map(row).collect() }
    }

    /// Enters a value and how it was found; without a value, why there is none.
    ///
    /// # Panics
    ///
    /// If there is no such metric: a mistake in the suite.
    pub(super) fn set(&mut self, name: &str, value: Option<f64>, method: impl Into<String>) {
        let row = self.row(name);
        row.value = value.filter(|value| value.is_finite());
        row.method = method.into();
    }

    /// Sets a goal that depends on what else was measured.
    ///
    /// # Panics
    ///
    /// If there is no such metric: a mistake in the suite.
    pub(super) fn set_goal(&mut self, name: &str, goal: Goal) {
        self.row(name).goal = Some(goal);
    }

    /// The published figure beside a row.
    pub(super) fn peer(&self, name: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.metric.name == name)?;
        row.metric.peer.map(|peer| peer.value)
    }

    fn row(&mut self, name: &str) -> &mut Row {
        let row = self.rows.iter_mut().find(|row| row.metric.name == name);
        row.unwrap_or_else(|| panic!("no metric `{name}`"))
    }

    /// Ends a part; what it has not measured says why.
    pub(super) fn close(&mut self, part: &str, error: Option<&BenchError>) -> &[Row] {
        let first = self.rows.iter().position(|row| row.metric.part == part).unwrap_or(0);
        let count = self.rows[first..].iter().take_while(|row| row.metric.part == part).count();
        for row in &mut self.rows[first..first + count] {
            if row.method.is_empty() {
                row.method = match error {
                    Some(error) => error.to_string(),
                    None => "not measured".into(),
                };
            }
        }
        &self.rows[first..first + count]
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::core::metrics::{self, METRICS};
    use super::*;

    #[test]
    fn a_part_that_fails_says_why_in_each_of_its_rows() {
        let mut sheet = Sheet::new(METRICS);
        sheet.set(metrics::ATTACH_MEDIAN, Some(101.0), "measured");
        let rows = sheet.close(metrics::ATTACH, Some(&BenchError::Missing("qemu")));
        assert!(rows.len() > 1);
        for row in rows {
            if row.metric().name == metrics::ATTACH_MEDIAN {
                assert_eq!(row.met(), Some(false));
            } else {
                assert_eq!(row.value(), None);
                assert_eq!(row.method(), "qemu is not installed");
                assert_eq!(row.met(), None);
            }
        }
    }

    #[test]
    fn rows_have_the_members_that_later_suites_keep() {
        let mut sheet = Sheet::new(METRICS);
        sheet.set(metrics::ATTACH_MEDIAN, Some(50.0), "m");
        let row = sheet.rows().iter().find(|row| row.metric().name == metrics::ATTACH_MEDIAN).unwrap();
        let value = row.to_json("core");
        let members: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let wanted = ["suite", "metric", "value", "unit", "goal", "met", "peer", "peer_value", "method"];
        assert_eq!(members, wanted);
        assert_eq!(value["met"], true);
        assert_eq!(value["goal"], "<= 100");
    }

    #[test]
    fn a_goal_may_come_from_another_measurement() {
        let mut sheet = Sheet::new(METRICS);
        sheet.set(metrics::ATTACH_MINIMUM, Some(50.0), "m");
        for (goal, met) in
            [(Goal::Below(50.0), false), (Goal::AtMost(50.0), true), (Goal::AtLeast(50.0), true)]
        {
            sheet.set_goal(metrics::ATTACH_MINIMUM, goal);
            assert_eq!(sheet.row(metrics::ATTACH_MINIMUM).met(), Some(met), "{goal}");
        }
    }

    #[test]
    fn parts_are_contiguous_and_names_unique() {
        for metrics in [METRICS, super::super::bpf::metrics::METRICS] {
            let mut parts: Vec<&str> = metrics.iter().map(|metric| metric.part).collect();
            parts.dedup();
            let mut unique = parts.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(parts.len(), unique.len());
            let mut names: Vec<&str> = metrics.iter().map(|metric| metric.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), metrics.len());
        }
    }
}
