//! Tests of `info`.

use super::*;

fn labels(text: &str) -> Labels {
    crate::parse::Options::all().parse_metric(text).unwrap()
}

fn matchers(text: &str) -> Vec<Matcher> {
    crate::parse::Options::all().parse_metric_selector(text).unwrap()
}

/// A row; `_` is an absent step.
fn row(metric: &str, values: &str) -> (Labels, Column) {
    let values: Vec<&str> = values.split(' ').collect();
    let mut column = Column::default();
    column.reset(values.len());
    for (i, v) in values.iter().enumerate() {
        if let Ok(v) = v.parse() {
            column.set(i, v);
        }
    }
    (labels(metric), column)
}

fn join(info: &Info, base: &[(Labels, Column)], infos: &[(Labels, Column)]) -> Result<Vec<String>, String> {
    let rows = info.join(base.to_vec(), infos)?;
    let show = |r: &Enriched| {
        let value = |i| if r.column.has(i) { r.column.values[i].to_string() } else { "_".to_owned() };
        let values: Vec<String> = (0..r.column.len()).map(value).collect();
        format!("{} {} {}", r.base, r.labels, values.join(" "))
    };
    Ok(rows.iter().map(show).collect())
}

#[test]
fn selection_names_identities_and_info_metrics() {
    let base =
        [labels(r#"m{instance="a.b",job="1"}"#), labels(r#"m{job="2"}"#), labels(r#"target_info{job="3"}"#)];
    let shown = |info: Info| {
        info.matchers(&base).map(|ms| ms.iter().map(|m| m.to_string()).collect::<Vec<_>>().join(","))
    };
    assert_eq!(shown(Info::new(None)).unwrap(), r#"instance=~"a\\.b",job=~"1|2",__name__="target_info""#);
    assert_eq!(
        shown(Info::new(Some(&matchers(r#"{x="y",__name__!="z_info"}"#)))).unwrap(),
        r#"instance=~"a\\.b",job=~"1|2",x="y",__name__=~".+_info",__name__!="z_info""#
    );
    assert!(Info::new(None).matchers(&[labels("m")]).is_none());
}

#[test]
fn labels_are_added_where_the_identity_agrees() {
    let base = [row(r#"m{instance="a",job="1",keep="base"}"#, "1 2 3"), row(r#"m{job="1"}"#, "4 5 6")];
    let infos = [row(r#"target_info{instance="a",job="1",keep="info",data="x"}"#, "0 0 _")];
    assert_eq!(
        join(&Info::new(None), &base, &infos).unwrap(),
        [
            r#"0 {__name__="m", data="x", instance="a", job="1", keep="base"} 1 2 _"#,
            r#"0 {__name__="m", instance="a", job="1", keep="base"} _ _ 3"#,
            r#"1 {__name__="m", job="1"} 4 5 6"#,
        ]
    );
    let wanted = Info::new(Some(&matchers(r#"{data=~".+"}"#)));
    assert_eq!(
        join(&wanted, &base, &infos).unwrap(),
        [r#"0 {__name__="m", data="x", instance="a", job="1", keep="base"} 1 2 _"#]
    );
}

#[test]
fn the_newest_info_sample_counts_and_equal_times_are_refused() {
    let base = [row(r#"m{job="1"}"#, "1 1")];
    let infos =
        [row(r#"target_info{job="1",v="old"}"#, "0 60"), row(r#"target_info{job="1",v="new"}"#, "5 _")];
    assert_eq!(
        join(&Info::new(None), &base, &infos).unwrap(),
        [r#"0 {__name__="m", job="1", v="new"} 1 _"#, r#"0 {__name__="m", job="1", v="old"} _ 1"#]
    );
    let clash = [row(r#"target_info{job="1",v="a"}"#, "7 _"), row(r#"target_info{job="1",v="b"}"#, "7 _")];
    assert_eq!(
        join(&Info::new(None), &base, &clash).unwrap_err(),
        r#"found duplicate series for info metric: existing {__name__="target_info", job="1", v="a"} @ 7, new {__name__="target_info", job="1", v="b"} @ 7"#
    );
    assert!(join(&Info::new(None), &[row(r#"m{job="1"}"#, "_ 1")], &clash).is_ok());
}

#[test]
fn info_metrics_that_contradict_each_other_are_refused() {
    let base = [row(r#"m{job="1"}"#, "1")];
    let both = Info::new(Some(&matchers(r#"{__name__=~".+_info"}"#)));
    let infos = [row(r#"a_info{job="1",v="a"}"#, "0"), row(r#"b_info{job="1",v="b"}"#, "0")];
    assert_eq!(join(&both, &base, &infos).unwrap_err(), "conflicting label: v");
    let agreeing = [row(r#"a_info{job="1",v="a"}"#, "0"), row(r#"b_info{job="1",w="b"}"#, "0")];
    assert_eq!(join(&both, &base, &agreeing).unwrap(), [r#"0 {__name__="m", job="1", v="a", w="b"} 1"#]);
}
