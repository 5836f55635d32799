//! Answers in one shape, whoever gave them.
//!
//! Holds the reading of Prometheus' JSON and the collecting of our engine's result. It knows no
//! tolerance (see `compare`). Invariant: floats are kept to the bit, order is kept as it came.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use model::gofmt::float;
use model::{FloatHistogram, Labels, Millis, Samples};
use promql::parse::ValueType;
use promql::{
    Collect, Engine, ErrorKind, Interrupt, QueryError, QueryOptions, Queryable, SampleStats, StatsLevel,
};
use serde_json::{Value, json};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The expression.
    pub expr: String,
    /// The time, or the first of a range.
    pub start: Millis,
    /// The last time and the step of a range; `None` for an instant query.
    pub range: Option<(Millis, Millis)>,
    /// Lookback, where it is not the default.
    pub lookback: Option<Millis>,
    /// Whether samples are to be counted.
    pub stats: bool,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The result, or the type and text of the error.
    pub outcome: Result<Data, (String, String)>,
    /// Warnings in order of their texts.
    pub warnings: Vec<String>,
    /// Infos in order of their texts.
    pub infos: Vec<String>,
    /// Samples, where they were counted.
    pub stats: Option<SampleStats>,
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// `vector`, `matrix`, `scalar` or `string`.
    pub kind: String,
    /// The value of a string.
    pub text: String,
    /// The series in order; a scalar is one without labels.
    pub series: Vec<(LabelSet, Vec<(Millis, Point)>)>,
}

/// Names and values of labels.
pub type LabelSet = BTreeMap<String, String>;

/// A value at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// A float.
    Float(f64),
    /// A histogram as the API shows it.
    Histogram {
        /// Count and sum.
        totals: [f64; 2],
        /// Kind of boundaries, lower bound, upper bound, count of each populated bucket.
        buckets: Vec<(u8, [f64; 3])>,
    },
}

impl Answer {
    /// Whether there is a result that holds nothing.
    pub fn is_empty(&self) -> bool {
        matches!(&self.outcome, Ok(data) if data.kind != "string" && data.series.is_empty())
    }

    /// The same answer with its series in order of labels.
    pub fn sorted(&self) -> Answer {
        let mut sorted = self.clone();
        if let Ok(data) = &mut sorted.outcome {
            data.series.sort_by(|a, b| a.0.cmp(&b.0));
        }
        sorted
    }

    /// The same answer without the warnings that contain `text`.
    pub fn without(&self, text: &str) -> Answer {
        let mut answer = self.clone();
        answer.warnings.retain(|w| !w.contains(text));
        answer
    }

    /// Reads the body of Prometheus' query API.
    ///
    /// # Errors
    /// When it is no answer.
    pub fn of_json(body: &Value) -> anyhow::Result<Answer> {
        let texts = |key: &str| {
            let list = body[key].as_array().into_iter().flatten();
            let mut texts: Vec<String> = list.filter_map(|t| t.as_str().map(str::to_owned)).collect();
            texts.sort();
            texts
        };
        let outcome = match body["status"].as_str() {
            Some("success") => Ok(data(&body["data"])?),
            Some("error") => {
                let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
                let error = text("error");
                let error = error.strip_prefix("invalid parameter \"query\": ").unwrap_or(&error);
                Err((text("errorType"), error.to_owned()))
            }
            _ => bail!("no answer: {body}"),
        };
        let stats = Some(&body["data"]["stats"]["samples"]).filter(|s| s.is_object()).map(counted);
        Ok(Answer { outcome, warnings: texts("warnings"), infos: texts("infos"), stats })
    }

    /// Asks the engine.
    pub fn of_engine(engine: &Engine, store: &dyn Queryable, request: &Request) -> Answer {
        let fail = |e: &QueryError| {
            let kind: ErrorKind = e.kind();
            let outcome = Err((kind.as_str().to_owned(), e.to_string()));
            Answer { outcome, warnings: Vec::new(), infos: Vec::new(), stats: None }
        };
        let options = QueryOptions {
            lookback: request.lookback.unwrap_or(0),
            interrupt: Interrupt::at(std::time::Instant::now() + std::time::Duration::from_secs(60)),
            stats: if request.stats { StatsLevel::PerStep } else { StatsLevel::None },
            ..QueryOptions::default()
        };
        let query = match request.range {
            None => engine.instant(&request.expr, request.start, options),
            Some((end, step)) => engine.range(&request.expr, request.start, end, step, options),
        };
        let query = match query {
            Ok(query) => query,
            Err(e) => return fail(&e),
        };
        let mut sink = Collect::default();
        let outcome = match query.run(store, &mut sink) {
            Ok(outcome) => outcome,
            Err(e) => return fail(&e),
        };
        let (mut warnings, mut infos) = outcome.annotations.render(&request.expr, 10, 10);
        warnings.sort();
        infos.sort();
        let stats = outcome.stats.samples;
        Answer { outcome: Ok(collected(query.result_type(), sink)), warnings, infos, stats }
    }
}

fn collected(of: ValueType, sink: Collect) -> Data {
    let series = |(labels, samples): (Labels, Samples)| {
        let labels = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let point = |i: usize| match samples.histogram(i) {
            Some(h) => (samples.ts[i], histogram(h)),
            None => (samples.ts[i], Point::Float(samples.values[i])),
        };
        (labels, (0..samples.len()).map(point).collect())
    };
    let mut data = Data {
        kind: of.as_str().to_owned(),
        text: String::new(),
        series: sink.series.into_iter().map(series).collect(),
    };
    if let Some((t, v)) = sink.scalar {
        data.series.push((BTreeMap::new(), vec![(t, Point::Float(v))]));
    }
    if let Some((_, text)) = sink.string {
        data.text = String::from_utf8_lossy(&text).into_owned();
    }
    data
}

fn histogram(h: &FloatHistogram) -> Point {
    let custom = h.uses_custom_buckets();
    let shown = |b: &model::histogram::Bucket| {
        let zero = !custom && b.lower == -h.zero_threshold && b.upper == h.zero_threshold;
        let (lower, upper) = if zero {
            (true, true)
        } else if custom {
            // The lowest custom bucket is closed below as well.
            (b.index == 0, true)
        } else {
            (b.lower < 0.0, b.upper > 0.0)
        };
        let boundaries = match (lower, upper) {
            (true, true) => 3,
            (true, false) => 1,
            (false, true) => 0,
            (false, false) => 2,
        };
        (boundaries, [b.lower, b.upper, b.count])
    };
    let buckets = h.all_buckets().iter().filter(|b| b.count != 0.0).map(shown).collect();
    Point::Histogram { totals: [h.count, h.sum], buckets }
}

fn data(of: &Value) -> anyhow::Result<Data> {
    let kind = of["resultType"].as_str().context("resultType")?.to_owned();
    let result = &of["result"];
    let mut data = Data { kind, text: String::new(), series: Vec::new() };
    match data.kind.as_str() {
        "string" => result[1].as_str().unwrap_or_default().clone_into(&mut data.text),
        "scalar" => data.series.push((BTreeMap::new(), vec![float_point(result)?])),
        _ => {
            for series in result.as_array().context("result")? {
                let mut points = Vec::new();
                for key in ["value", "values"] {
                    match &series[key] {
                        Value::Null => {}
                        one if key == "value" => points.push(float_point(one)?),
                        many => {
                            for p in many.as_array().context("values")? {
                                points.push(float_point(p)?);
                            }
                        }
                    }
                }
                for key in ["histogram", "histograms"] {
                    match &series[key] {
                        Value::Null => {}
                        one if key == "histogram" => points.push(histogram_point(one)?),
                        many => {
                            for p in many.as_array().context("histograms")? {
                                points.push(histogram_point(p)?);
                            }
                        }
                    }
                }
                points.sort_by_key(|p| p.0);
                let labels = series["metric"].as_object().context("metric")?;
                let labels = labels.iter().map(|(n, v)| (n.clone(), v.as_str().unwrap_or("").to_owned()));
                data.series.push((labels.collect(), points));
            }
        }
    }
    Ok(data)
}

fn counted(of: &Value) -> SampleStats {
    let number = |key: &str| of[key].as_i64().unwrap_or(0);
    let step = |pair: &Value| (time(&pair[0]).unwrap_or(0), pair[1].as_i64().unwrap_or(0));
    let steps = |key: &str| of[key].as_array().map(|list| list.iter().map(step).collect());
    SampleStats {
        total: number("totalQueryableSamples"),
        peak: number("peakSamples") as usize,
        read: number("samplesRead"),
        total_per_step: steps("totalQueryableSamplesPerStep"),
        read_per_step: steps("samplesReadPerStep"),
    }
}

fn number(text: &Value) -> anyhow::Result<f64> {
    let text = text.as_str().with_context(|| format!("no number: {text}"))?;
    text.parse().with_context(|| format!("no number: {text}"))
}

fn time(of: &Value) -> anyhow::Result<Millis> {
    Ok((of.as_f64().context("no time")? * 1000.0).round() as Millis)
}

fn float_point(pair: &Value) -> anyhow::Result<(Millis, Point)> {
    Ok((time(&pair[0])?, Point::Float(number(&pair[1])?)))
}

fn histogram_point(pair: &Value) -> anyhow::Result<(Millis, Point)> {
    let h = &pair[1];
    let bucket = |b: &Value| -> anyhow::Result<(u8, [f64; 3])> {
        let boundaries = b[0].as_u64().context("boundaries")? as u8;
        Ok((boundaries, [number(&b[1])?, number(&b[2])?, number(&b[3])?]))
    };
    let buckets = h["buckets"].as_array().into_iter().flatten().map(bucket).collect::<anyhow::Result<_>>()?;
    Ok((time(&pair[0])?, Point::Histogram { totals: [number(&h["count"])?, number(&h["sum"])?], buckets }))
}

impl Request {
    /// The parameters of Prometheus' query API.
    pub fn params(&self) -> (&'static str, Vec<(String, String)>) {
        let seconds = |t: Millis| float(t as f64 / 1000.0);
        let mut params = vec![("query".to_owned(), self.expr.clone())];
        let mut add = |key: &str, value: String| params.push((key.to_owned(), value));
        if let Some(lookback) = self.lookback {
            add("lookback_delta", seconds(lookback));
        }
        if self.stats {
            add("stats", "all".to_owned());
        }
        match self.range {
            None => {
                add("time", seconds(self.start));
                ("query", params)
            }
            Some((end, step)) => {
                add("start", seconds(self.start));
                add("end", seconds(end));
                add("step", seconds(step));
                ("query_range", params)
            }
        }
    }

    /// As a line of recorded answers holds it.
    pub fn to_json(&self) -> Value {
        json!({"expr": self.expr, "start": self.start, "range": self.range.map(|(e, s)| [e, s]),
            "lookback": self.lookback, "stats": self.stats})
    }

    /// Back from [`Request::to_json`].
    ///
    /// # Errors
    /// When it is another thing.
    pub fn of_json(of: &Value) -> anyhow::Result<Request> {
        let range = match &of["range"] {
            Value::Null => None,
            r => Some((r[0].as_i64().context("end")?, r[1].as_i64().context("step")?)),
        };
        Ok(Request {
            expr: of["expr"].as_str().context("expr")?.to_owned(),
            start: of["start"].as_i64().context("start")?,
            range,
            lookback: of["lookback"].as_i64(),
            stats: of["stats"].as_bool().unwrap_or(false),
        })
    }
}
