//! The parameters of requests, with Thanos' syntax and error texts.
//!
//! Holds times, durations, booleans and limits as `pkg/api/query/v1.go` reads them. It knows no
//! endpoint. Invariant: no input panics or overflows; what is out of range is an error or saturates as
//! in Go.

use component::http::Request;
use futures::future::BoxFuture;
use model::gofmt::parse_float;
use model::{Matcher, Millis};
use promql::parse;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Failure;

/// A moment in nanoseconds since the epoch: more than Go's `time.Time` is asked for here.
pub type Nanos = i128;

/// Go's first and last moment of the metadata API, in milliseconds.
pub const ALL_TIME: (Millis, Millis) = (-9_223_309_901_257_974_000, 9_223_309_901_257_974_999);

/// The parameters of one request, those of a form before those of the URL.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads query string and form.
    ///
    /// # Errors
    /// A malformed escape, or a form that is too large or breaks off.
    pub fn of(request: Request) -> BoxFuture<'static, Result<Self, Failure>> {
        Box::pin(async move {
            let pairs = component::http::form(request).await;
            pairs.map(Params).map_err(|e| Failure::bad_data(format!("parse form: {e}")))
        })
    }

    /// From pairs, for tests.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        Params(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    /// The first value of `name`, or the empty string.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// All values of `name`.
    pub fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A boolean; `default` where it is not given.
    ///
    /// # Errors
    /// Anything but Go's words for true and false.
    pub fn bool(&self, name: &str, default: bool) -> Result<bool, Failure> {
        match self.get(name) {
            "" => Ok(default),
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            other => Err(Failure::bad_data(format!(
                "'{name}' parameter: strconv.ParseBool: parsing {}: invalid syntax",
                model::gofmt::quote(other)
            ))),
        }
    }

    /// A time that has a default, in nanoseconds.
    ///
    /// # Errors
    /// No timestamp.
    pub fn time_or(&self, name: &str, default: Nanos) -> Result<Nanos, Failure> {
        match self.get(name) {
            "" => Ok(default),
            text => parse_time(text)
                .map_err(|e| Failure::bad_data(format!("Invalid time value for '{name}': {}", e.text))),
        }
    }

    /// A length of time in nanoseconds; `None` where it is not given.
    ///
    /// # Errors
    /// No duration.
    pub fn duration(&self, name: &str) -> Result<Option<i64>, Failure> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_duration(text)
                .map(Some)
                .map_err(|e| Failure::bad_data(format!("'{name}' parameter: {}", e.text))),
        }
    }

    /// The start and end of a metadata request, in milliseconds. `window` is the default length, zero
    /// for all time.
    ///
    /// # Errors
    /// No timestamps, or the end before the start.
    pub fn metadata_range(&self, now: Millis, window: Millis) -> Result<(Millis, Millis), Failure> {
        let (start, end) = match window {
            0 => ALL_TIME,
            _ => (now.saturating_sub(window), now),
        };
        let start = self.time_or("start", Nanos::from(start) * 1_000_000)?;
        let end = self.time_or("end", Nanos::from(end) * 1_000_000)?;
        if end < start {
            // Upstream wraps one API error in another here.
            return Err(Failure::bad_data("bad_data: end timestamp must not be before start time"));
        }
        Ok((millis(start), millis(end)))
    }

    /// The most results; zero for any number.
    ///
    /// # Errors
    /// No number, or a negative one.
    pub fn limit(&self) -> Result<usize, Failure> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(0);
        }
        let number: i64 = text.parse().map_err(|_| {
            Failure::bad_data(format!("cannot parse {} to a valid limit", model::gofmt::quote(text)))
        })?;
        usize::try_from(number).map_err(|_| Failure::bad_data("limit must be non-negative"))
    }

    /// The selectors under `name`, compiled.
    ///
    /// # Errors
    /// The parser's text.
    pub fn selectors(&self, name: &str, syntax: &parse::Options) -> Result<Vec<Vec<Matcher>>, Failure> {
        let parsed = self.all(name).map(|text| syntax.parse_metric_selector(text));
        parsed.map(|m| m.map_err(|e| Failure::bad_data(e.to_string()))).collect()
    }
}

/// The milliseconds of a moment, rounded down, saturated.
pub fn millis(at: Nanos) -> Millis {
    let millis = at.div_euclid(1_000_000);
    Millis::try_from(millis).unwrap_or(if millis < 0 { Millis::MIN } else { Millis::MAX })
}

/// Seconds with a fraction, or RFC 3339.
///
/// # Errors
/// Neither.
pub fn parse_time(text: &str) -> Result<Nanos, Failure> {
    if let Ok(seconds) = parse_float(text) {
        let whole = seconds.trunc();
        // Milliseconds are kept, as Go's parser does it.
        let fraction = ((seconds - whole) * 1000.0).round() / 1000.0;
        return Ok(Nanos::from(whole as i64) * 1_000_000_000 + Nanos::from((fraction * 1e9) as i64));
    }
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(at) => Ok(at.unix_timestamp_nanos()),
        Err(_) => {
            Err(Failure::bad_data(format!("cannot parse {} to a valid timestamp", model::gofmt::quote(text))))
        }
    }
}

/// Seconds with a fraction, or Prometheus' duration, in nanoseconds.
///
/// # Errors
/// Neither, or more than 2^63 nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, Failure> {
    let shown = || model::gofmt::quote(text);
    if let Ok(seconds) = parse_float(text) {
        let nanos = seconds * 1e9;
        if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
            return Err(Failure::bad_data(format!(
                "cannot parse {} to a valid duration. It overflows int64",
                shown()
            )));
        }
        return Ok(nanos as i64);
    }
    model::time::parse_duration(text)
        .map_err(|_| Failure::bad_data(format!("cannot parse {} to a valid duration", shown())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        let ms = |text: &str| millis(parse_time(text).unwrap());
        assert_eq!(ms("1792713600"), 1_792_713_600_000);
        assert_eq!(ms("1793650168.5"), 1_793_650_168_500);
        assert_eq!((ms("0.0004"), ms("-1.5"), ms("1e3")), (0, -1500, 1_000_000));
        assert_eq!(ms("2026-10-22T00:00:00.25Z"), 1_792_627_200_250);
        assert_eq!(ms("2026-10-22T02:00:00+02:00"), 1_792_627_200_000);
        assert_eq!((ms("1e300"), ms("-Inf")), (i64::MAX, i64::MIN));
        assert_eq!((ms("0x1p4"), ms("1_000")), (16_000, 1_000_000));
        for bad in ["", "abc", "1m", "2026-10-22", "0x10"] {
            let want = format!("cannot parse \"{bad}\" to a valid timestamp");
            assert_eq!(parse_time(bad).unwrap_err().text, want);
        }
    }

    #[test]
    fn durations_are_seconds_or_prometheus_syntax() {
        let ns = |text: &str| parse_duration(text).unwrap();
        assert_eq!((ns("15"), ns("0.5"), ns("-5")), (15_000_000_000, 500_000_000, -5_000_000_000));
        assert_eq!((ns("1h30m"), ns("7d")), (5_400_000_000_000, 604_800_000_000_000));
        let text = |t: &str| parse_duration(t).unwrap_err().text;
        assert_eq!(text("7q"), "cannot parse \"7q\" to a valid duration");
        assert_eq!(text("1e300"), "cannot parse \"1e300\" to a valid duration. It overflows int64");
    }

    #[test]
    fn booleans_limits_and_ranges_have_go_texts() {
        let p = Params::from_pairs(&[("dedup", "maybe"), ("limit", "-1"), ("start", "5"), ("end", "4")]);
        assert_eq!(
            p.bool("dedup", true).unwrap_err().text,
            "'dedup' parameter: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert_eq!(p.limit().unwrap_err().text, "limit must be non-negative");
        assert!(p.metadata_range(0, 0).is_err());
        assert_eq!(Params::default().metadata_range(10_000, 0).unwrap(), ALL_TIME);
        assert_eq!(Params::default().metadata_range(10_000, 4000).unwrap(), (6000, 10_000));
    }
}
