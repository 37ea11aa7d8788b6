//! What a run has seen, for people as a table and for programs as one line of JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::histogram::Histogram;
use super::schedule::{Nanos, SECOND};
use super::tally::{Amount, Tally};

const QUANTILES: [(&str, u64); 4] = [
    ("p50", 500_000),
    ("p90", 900_000),
    ("p99", 990_000),
    ("p99.9", 999_000),
];
const MICROSECOND: Nanos = 1_000;

#[derive(Debug)]
pub(super) struct Report {
    mode: &'static str,
    seconds: f64,
    facts: Vec<(&'static str, Value)>,
    rates: Vec<(&'static str, &'static str, f64)>,
    counts: Vec<(&'static str, Amount)>,
    /// Each for people and for programs.
    latencies: Vec<(&'static str, &'static str, Histogram)>,
    n_unanswered: u64,
    n_missing: u64,
}

impl Report {
    pub(super) fn new(mode: &'static str, tally: &Tally) -> Self {
        let seconds = tally.window().length() as f64 / SECOND as f64;
        Self {
            mode,
            seconds,
            facts: Vec::new(),
            rates: Vec::new(),
            counts: vec![("counted", tally.counted), ("total", tally.total)],
            latencies: Vec::new(),
            n_unanswered: tally.n_unanswered,
            n_missing: 0,
        }
    }

    /// How long it really took, where that is not known before.
    pub(super) fn took(mut self, nanos: Nanos) -> Self {
        self.seconds = nanos.max(1) as f64 / SECOND as f64;
        self
    }

    /// A circumstance.
    pub(super) fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((name, value.into()));
        self
    }

    /// So much a second.
    pub(super) fn rate(mut self, unit: &'static str, key: &'static str, n: f64) -> Self {
        self.rates.push((unit, key, n / self.seconds));
        self
    }

    /// Bytes, records and requests.
    pub(super) fn throughput(self, amount: Amount) -> Self {
        self.rate("MB/s", "mb_per_s", amount.bytes as f64 / 1e6)
            .rate("records/s", "records_per_s", amount.records as f64)
            .rate("requests/s", "requests_per_s", amount.requests as f64)
    }

    /// Left out if nothing was measured.
    pub(super) fn latency(
        mut self,
        what: &'static str,
        key: &'static str,
        seen: &Histogram,
    ) -> Self {
        if seen.len() > 0 {
            self.latencies.push((what, key, seen.clone()));
        }
        self
    }

    /// Records that were sent and did not come.
    pub(super) fn missing(mut self, n: u64) -> Self {
        self.n_missing = n;
        self
    }

    /// Whether the broker did not keep up: a sentence.
    pub(super) fn shortfall(&self) -> Option<String> {
        let (unanswered, missing) = (self.n_unanswered, self.n_missing);
        (unanswered + missing > 0).then(|| {
            format!("the broker did not keep up: {unanswered} requests have no answer, {missing} records did not come")
        })
    }

    pub(super) fn json(&self) -> Value {
        let mut all = Map::new();
        all.insert("mode".to_owned(), json!(self.mode));
        all.insert("seconds".to_owned(), json!(self.seconds));
        for (name, value) in &self.facts {
            all.insert((*name).to_owned(), value.clone());
        }
        for (_, key, rate) in &self.rates {
            all.insert((*key).to_owned(), json!(rate));
        }
        for (name, amount) in &self.counts {
            let value = json!({
                "requests": amount.requests,
                "records": amount.records,
                "bytes": amount.bytes,
                "value_bytes": amount.value_bytes,
            });
            all.insert((*name).to_owned(), value);
        }
        for (_, key, seen) in &self.latencies {
            let mut of = Map::new();
            for (name, millionths) in QUANTILES {
                of.insert(name.to_owned(), json!(micros(seen.quantile(millionths))));
            }
            of.insert("max".to_owned(), json!(micros(seen.max())));
            of.insert("mean".to_owned(), json!(micros(seen.mean())));
            of.insert("n".to_owned(), json!(seen.len()));
            all.insert((*key).to_owned(), Value::Object(of));
        }
        all.insert("unanswered".to_owned(), json!(self.n_unanswered));
        Value::Object(all)
    }

    pub(super) fn table(&self) -> String {
        let mut out = format!("{}: {:.1} s", self.mode, self.seconds);
        for (name, value) in &self.facts {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(out, ", {} {value}", name.replace('_', " "));
        }
        out.push('\n');
        for (unit, _, rate) in &self.rates {
            let _ = writeln!(out, "{rate:>14.1} {unit}");
        }
        if !self.latencies.is_empty() {
            let _ = write!(out, "{:24}", "microseconds");
            for (name, _) in QUANTILES {
                let _ = write!(out, "{name:>11}");
            }
            let _ = writeln!(out, "{:>11}{:>11}{:>11}", "max", "mean", "n");
        }
        for (what, _, seen) in &self.latencies {
            let _ = write!(out, "{what:24}");
            for (_, millionths) in QUANTILES {
                let _ = write!(out, "{:>11.1}", micros(seen.quantile(millionths)));
            }
            let (max, mean) = (micros(seen.max()), micros(seen.mean()));
            let _ = writeln!(out, "{max:>11.1}{mean:>11.1}{:>11}", seen.len());
        }
        for (name, amount) in &self.counts {
            let Amount {
                requests,
                records,
                bytes,
                ..
            } = amount;
            let _ = writeln!(
                out,
                "{name}: {requests} requests, {records} records, {bytes} bytes"
            );
        }
        out.truncate(out.trim_end().len());
        out
    }
}

/// To a tenth, as exact as anything here is.
fn micros(nanos: Nanos) -> f64 {
    (nanos as f64 * 10.0 / MICROSECOND as f64).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Window;
    use super::*;
    use expect_test::expect;

    fn report() -> Report {
        let window = Window {
            start: 0,
            from: 0,
            until: 2 * SECOND,
            give_up: 3 * SECOND,
        };
        let mut tally = Tally::new(window);
        for n in 1..=1000 {
            let amount = Amount {
                requests: 1,
                records: 10,
                bytes: 1_000_000,
                value_bytes: 900_000,
            };
            tally.done(n * MICROSECOND, amount);
            tally.answered(0, n * MICROSECOND);
        }
        tally.unanswered(0, 2 * SECOND);
        Report::new("produce", &tally)
            .fact("connections", 4)
            .fact("acks", "all")
            .throughput(tally.counted)
            .latency("acknowledged", "latency_us", &tally.latency)
            .latency("sent late", "late_us", &tally.late)
    }

    #[test]
    fn people_see_a_table() {
        expect![[r#"
            produce: 2.0 s, connections 4, acks all
                     500.0 MB/s
                    5000.0 records/s
                     500.0 requests/s
            microseconds                    p50        p90        p99      p99.9        max       mean          n
            acknowledged                  501.8      901.1      991.2     1001.5  2000000.0     2498.0       1001
            counted: 1000 requests, 10000 records, 1000000000 bytes
            total: 1000 requests, 10000 records, 1000000000 bytes"#]].assert_eq(&report().table());
    }

    #[test]
    fn programs_see_one_line() {
        expect![[r#"{"acks":"all","connections":4,"counted":{"bytes":1000000000,"records":10000,"requests":1000,"value_bytes":900000000},"latency_us":{"max":2000000.0,"mean":2498.0,"n":1001,"p50":501.8,"p90":901.1,"p99":991.2,"p99.9":1001.5},"mb_per_s":500.0,"mode":"produce","records_per_s":5000.0,"requests_per_s":500.0,"seconds":2.0,"total":{"bytes":1000000000,"records":10000,"requests":1000,"value_bytes":900000000},"unanswered":1}"#]].assert_eq(&report().json().to_string());
    }
}
