//! `count_values`: one group for each value a sample has.
//!
//! Holds counts by label set. It knows no other aggregation. Invariant: groups leave in the order in which
//! their first sample came (Prometheus' own order is random). Reference: Prometheus `promql/engine.go`
//! (`aggregationCountValues`).

use std::collections::HashMap;
use std::sync::Arc;

use model::{Labels, LabelsBuilder};

use super::Grouping;
use crate::column::{Column, Steps};
use crate::error::QueryError;
use crate::exec::op::{Cx, Op, Row};

/// Counts equal values.
pub(crate) struct CountValues {
    grouping: Grouping,
    label: String,
    steps: Steps,
    what: Arc<str>,
    index: HashMap<Labels, usize>,
    groups: Vec<(Labels, Column)>,
    charged: u64,
}

impl CountValues {
    /// Counts into groups with `label` set to the value; `what` names it in refusals of memory.
    pub(crate) fn new(grouping: &[String], without: bool, label: &str, steps: Steps, what: Arc<str>) -> Self {
        let mut names = grouping.to_vec();
        if !without {
            names.push(label.to_owned());
        }
        CountValues {
            grouping: Grouping::new(&names, without),
            label: label.to_owned(),
            steps,
            what,
            index: HashMap::new(),
            groups: Vec::new(),
            charged: 0,
        }
    }

    fn group(&mut self, labels: &Labels, text: &str, cx: &mut Cx<'_>) -> Result<usize, QueryError> {
        let mut labels = LabelsBuilder::new(labels);
        labels.set(&self.label, text);
        let labels = self.grouping.of(&labels.labels());
        if let Some(at) = self.index.get(&labels) {
            return Ok(*at);
        }
        let bytes = (2 * labels.byte_len() + 320 + 9 * self.steps.count) as u64;
        cx.env.meter.charge(bytes, &self.what)?;
        self.charged += bytes;
        let mut column = Column::default();
        column.reset(self.steps.count);
        self.index.insert(labels.clone(), self.groups.len());
        self.groups.push((labels, column));
        Ok(self.groups.len() - 1)
    }
}

impl Op for CountValues {
    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        // The group of each value this row has had: floats by their bits.
        let mut floats: HashMap<u64, usize> = HashMap::new();
        let column = std::mem::take(&mut row.column);
        let mut hists = column.hists.iter().peekable();
        for i in column.steps() {
            let at = match hists.next_if(|h| h.index as usize == i) {
                Some(h) => self.group(&row.labels, &h.histogram.text(), cx)?,
                None => {
                    let value = column.values[i];
                    match floats.get(&value.to_bits()) {
                        Some(at) => *at,
                        None => {
                            let at = self.group(&row.labels, &model::gofmt::float(value), cx)?;
                            floats.insert(value.to_bits(), at);
                            at
                        }
                    }
                }
            };
            let counts = &mut self.groups[at].1;
            counts.set(i, counts.values[i] + 1.0);
        }
        row.column = column;
        Ok(false)
    }

    fn finish(&mut self, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.index = HashMap::new();
        let groups = std::mem::take(&mut self.groups);
        more.extend(groups.into_iter().map(|(labels, column)| Row { labels, drop_name: false, column }));
        cx.env.meter.release(self.charged);
        Ok(())
    }
}
