//! The rows as a table for people.

use super::sheet::Row;
use crate::render::style::Style;
use crate::render::table::{Align, Table};

/// The table, then how it came about where that is not plain: what was missed and what is not measured.
pub(super) fn render(rows: &[Row], style: Style) -> String {
    let mut table = Table::new(&[
        ("METRIC", Align::Left),
        ("MEASURED", Align::Right),
        ("UNIT", Align::Left),
        ("GOAL", Align::Left),
        ("MET", Align::Left),
        ("PUBLISHED", Align::Right),
        ("BY", Align::Left),
    ]);
    for row in rows {
        let metric = row.metric();
        table.row([
            metric.name.to_owned(),
            row.value().map_or_else(|| "-".to_owned(), number),
            metric.unit.to_owned(),
            row.goal().map(|goal| goal.to_string()).unwrap_or_default(),
            match row.met() {
                Some(true) => "yes".into(),
                Some(false) => "NO".into(),
                None => String::new(),
            },
            metric.peer.map(|peer| number(peer.value)).unwrap_or_default(),
            metric.peer.map(|peer| peer.name.to_owned()).unwrap_or_default(),
        ]);
    }
    let mut text = table.render(style);
    let notable: Vec<&Row> =
        rows.iter().filter(|row| row.met() == Some(false) || row.value().is_none()).collect();
    // Rows with one reason share one paragraph.
    for same in notable.chunk_by(|a, b| a.method() == b.method()) {
        let what = if same[0].value().is_none() { "not measured" } else { "goal missed" };
        let names: Vec<String> = same.iter().map(|row| style.bold(row.metric().name)).collect();
        text.push_str(&format!("\n{}: {what}. {}\n", names.join("; "), same[0].method()));
    }
    text.push_str(&style.dim("\n`--json` says how each was measured; docs/benchmarks.md says why so.\n"));
    text
}

/// Four digits, or all of a larger number, in groups of three.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value.fract() == 0.0 || magnitude >= 1000.0 {
        return grouped(value.round());
    }
    let decimals = match magnitude {
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::core::metrics::{self, METRICS};
    use super::super::sheet::Sheet;
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.0799, "0.080"),
            (54.321, "54.32"),
            (422.26, "422.3"),
            (2_500.0, "2,500"),
            (4_172_133.0, "4,172,133"),
            (-1234.5, "-1,235"),
            (100.0, "100"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn what_is_missed_or_not_measured_is_explained() {
        let mut sheet = Sheet::new(METRICS);
        sheet.set(metrics::ATTACH_MEDIAN, Some(250.0), "the median of 21");
        sheet.set(metrics::ATTACH_MINIMUM, Some(90.0), "the minimum of 21");
        sheet.set(metrics::GATE_SEPARATE, None, "no protection keys here");
        let text = render(sheet.rows(), Style::PLAIN);
        assert!(text.contains("attach to first prompt, median: goal missed. the median of 21\n"));
        sheet.set(metrics::GATE_ENTER, None, "no protection keys here");
        let text = render(sheet.rows(), Style::PLAIN);
        let both = "gate, there and back, stack switched; enter a domain and return: not measured. no protection keys here\n";
        assert!(text.contains(both));
        assert!(!text.contains("the minimum of 21"));
        let line = text.lines().find(|line| line.starts_with("attach to first prompt, median ")).unwrap();
        let cells: Vec<&str> = line.split_whitespace().skip(5).collect();
        assert_eq!(cells, ["250", "ms", "<=", "100", "NO"]);
    }
}
