//! A finished run as a page: one bar per node on a time axis.
//!
//! The page is one file that loads nothing, so that it can be kept with a CI run or mailed. This
//! file computes what is to be seen; `timeline.html` says how it looks. Handlebars escapes every
//! text on its way into the page.

use std::time::Duration;

use handlebars::Handlebars;
use serde::Serialize;

use super::verdict::Verdict;
use super::{longest_path, summary, text};
use crate::error::{Code, Error, Result};
use crate::plan::run::{Ended, RunReport};
use crate::plan::{Kind, Outcome};

const PAGE: &str = include_str!("timeline.html");
/// The most ticks on the axis, without the one at zero.
const TICKS: u128 = 10;
/// A bar that ends beyond this percentage of the axis has no room for its label on its right.
const LABEL_TURNS_AT: f64 = 80.0;

/// The page of a run. `date` is printed as it is.
///
/// # Errors
/// The template does not fit what it is given, which is a bug.
pub fn page(report: &RunReport, title: &str, date: &str) -> Result<String> {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    engine
        .render_template(PAGE, &Page::new(report, title, date))
        .map_err(|error| Error::new(Code::Template, format!("the timeline page: {error}")))
}

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    date: &'a str,
    wall: String,
    longest: String,
    ratio: Option<String>,
    total: String,
    counts: Vec<Count>,
    failures: Vec<Failure<'a>>,
    skips: bool,
    /// Columns of the names beside the chart.
    label_width: usize,
    ticks: Vec<Tick>,
    row_count: usize,
    links: String,
    rows: Vec<Row<'a>>,
    path: Vec<Stage<'a>>,
}

#[derive(Serialize)]
struct Count {
    word: &'static str,
    count: usize,
}

#[derive(Serialize)]
struct Failure<'a> {
    id: &'a str,
    message: String,
}

/// A mark on the time axis.
#[derive(Debug, PartialEq, Serialize)]
struct Tick {
    left: String,
    label: String,
}

/// A node in the chart and in the table of all nodes.
#[derive(Serialize)]
struct Row<'a> {
    node: usize,
    id: &'a str,
    title: &'a str,
    kind: Kind,
    classes: String,
    mark: &'static str,
    verdict: &'static str,
    message: String,
    started: String,
    took: String,
    ended: String,
    needs: String,
    /// The numbers of the nodes that this one needs and that need it.
    near: String,
    /// Missing if the node did not run.
    bar: Option<Bar>,
}

/// A bar's place, in percent of the time axis.
#[derive(Serialize)]
struct Bar {
    left: String,
    width: String,
    /// The label's place, as CSS.
    label: String,
    failed: bool,
}

/// A node of the longest path in its table.
#[derive(Serialize)]
struct Stage<'a> {
    position: usize,
    id: &'a str,
    title: &'a str,
    kind: Kind,
    started: String,
    took: String,
    percent: u32,
}

impl<'a> Page<'a> {
    fn new(report: &'a RunReport, title: &'a str, date: &'a str) -> Self {
        let chart = Chart::new(report);
        let counts = summary::counts(report).into_iter();
        let ids = report
            .graph
            .nodes()
            .iter()
            .map(|node| node.id.chars().count());
        Page {
            title,
            date,
            wall: text::duration(report.wall),
            longest: text::duration(report.critical_time()),
            ratio: summary::ratio(report).map(|ratio| format!("{ratio:.2}")),
            total: total(report),
            counts: counts
                .map(|(verdict, count)| Count {
                    word: verdict.word(),
                    count,
                })
                .collect(),
            failures: failures(report),
            skips: (0..report.nodes.len()).any(|node| !chart.ran(node)),
            label_width: ids.max().unwrap_or_default().clamp(12, 34) + 5,
            ticks: ticks(chart.span),
            row_count: chart.order.len(),
            links: chart.links(),
            rows: (0..chart.order.len()).map(|at| chart.row(at)).collect(),
            path: stages(report),
        }
    }
}

/// Where everything stands in the chart.
struct Chart<'a> {
    report: &'a RunReport,
    /// The nodes from top to bottom: by start, and at the end those that did not run.
    order: Vec<usize>,
    path: Vec<usize>,
    /// The axis's length; never zero.
    span: Duration,
}

impl<'a> Chart<'a> {
    fn new(report: &'a RunReport) -> Self {
        let mut order = report.graph.order().to_vec();
        order.sort_by_key(|&node| {
            let skipped = Verdict::of(report, node) == Verdict::Skipped;
            (skipped, report.nodes[node].started)
        });
        let ends = report.nodes.iter().map(|node| node.started + node.took);
        Chart {
            report,
            order,
            path: longest_path(report),
            span: ends
                .chain([report.wall, Duration::from_millis(1)])
                .max()
                .unwrap_or_default(),
        }
    }

    fn ran(&self, node: usize) -> bool {
        Verdict::of(self.report, node) != Verdict::Skipped
    }

    /// A moment on the axis, in percent.
    fn percent(&self, at: Duration) -> f64 {
        text::fraction(at, self.span) * 100.0
    }

    fn row(&self, at: usize) -> Row<'a> {
        let node = self.order[at];
        let (graph, run) = (&self.report.graph, &self.report.nodes[node]);
        let spec = &graph.nodes()[node];
        let verdict = Verdict::of(self.report, node);
        let ran = self.ran(node);
        let time = |time| {
            if ran {
                text::duration(time)
            } else {
                "–".into()
            }
        };
        let near = graph.needs(node).iter().chain(graph.dependents(node));
        Row {
            node,
            id: &spec.id,
            title: &spec.title,
            kind: spec.kind,
            classes: self.classes(at),
            mark: self.mark(node),
            verdict: verdict.word(),
            message: message(self.report, node),
            started: time(run.started),
            took: time(run.took),
            ended: time(run.started + run.took),
            needs: spec.needs.join(", "),
            near: near.map(usize::to_string).collect::<Vec<_>>().join(" "),
            bar: ran.then(|| self.bar(node)),
        }
    }

    /// CSS classes. The tips of `late` rows open upwards and those of `far` bars on the right, so
    /// that they stay on the page and near the bar.
    fn classes(&self, at: usize) -> String {
        let node = self.order[at];
        let kind = match self.report.graph.nodes()[node].kind {
            Kind::Step => "step",
            Kind::Gate => "gate",
        };
        let mut classes = vec![kind, Verdict::of(self.report, node).word()];
        if self.path.contains(&node) {
            classes.push("critical");
        }
        if at >= 6 && at + 5 > self.order.len() {
            classes.push("late");
        }
        if self.percent(self.report.nodes[node].started) > 50.0 {
            classes.push("far");
        }
        classes.join(" ")
    }

    fn mark(&self, node: usize) -> &'static str {
        match (
            Verdict::of(self.report, node),
            self.report.graph.nodes()[node].kind,
        ) {
            (Verdict::Failed, _) => "✗",
            (Verdict::Skipped, _) => "–",
            _ if self.path.contains(&node) => "▶",
            (_, Kind::Step) => "●",
            (_, Kind::Gate) => "◇",
        }
    }

    fn bar(&self, node: usize) -> Bar {
        let run = &self.report.nodes[node];
        let left = self.percent(run.started);
        let right = self.percent(run.started + run.took);
        let label = if right <= LABEL_TURNS_AT {
            format!("left:{right:.3}%")
        } else if left >= 100.0 - LABEL_TURNS_AT {
            format!("right:{:.3}%", 100.0 - left)
        } else {
            // There is room on neither side: the label stands on the bar's end.
            format!("right:{:.3}%", 100.0 - right)
        };
        Bar {
            left: format!("{left:.3}"),
            width: format!("{:.3}", right - left),
            label,
            failed: Verdict::of(self.report, node) == Verdict::Failed,
        }
    }

    /// The lines that join the bars of the longest path: SVG path data in which a unit is a
    /// percent across and a row down.
    fn links(&self) -> String {
        let row = |node| self.order.iter().position(|&other| other == node);
        let mut links = String::new();
        for pair in self.path.windows(2) {
            let (Some(above), Some(below)) = (row(pair[0]), row(pair[1])) else {
                continue;
            };
            let run = &self.report.nodes[pair[0]];
            let end = self.percent(run.started + run.took);
            let start = self.percent(self.report.nodes[pair[1]].started);
            let (above, below) = (above as f64 + 0.5, below as f64 + 0.5);
            links.push_str(&format!("M{end:.3} {above}V{below}H{start:.3}"));
        }
        links
    }
}

/// What a node did, found, or ran into.
fn message(report: &RunReport, node: usize) -> String {
    match &report.nodes[node].ended {
        Ended::Done(Outcome::Changed(message) | Outcome::Unchanged(message))
        | Ended::Failed(message) => text::without_escapes(message),
        Ended::Skipped(because) => {
            format!("because {} failed", report.graph.nodes()[*because].id)
        }
    }
}

fn failures(report: &RunReport) -> Vec<Failure<'_>> {
    let nodes = report.graph.nodes().iter().enumerate();
    nodes
        .filter(|(node, _)| Verdict::of(report, *node) == Verdict::Failed)
        .map(|(node, spec)| Failure {
            id: &spec.id,
            message: message(report, node),
        })
        .collect()
}

/// `14 steps, 11 gates`
fn total(report: &RunReport) -> String {
    let nodes = report.graph.nodes();
    let gates = nodes.iter().filter(|node| node.kind == Kind::Gate).count();
    format!(
        "{}, {}",
        text::count(nodes.len() - gates, "step"),
        text::count(gates, "gate")
    )
}

fn stages(report: &RunReport) -> Vec<Stage<'_>> {
    let whole = report.critical_time();
    let path = longest_path(report).into_iter().zip(1..);
    path.map(|(node, position)| {
        let (spec, run) = (&report.graph.nodes()[node], &report.nodes[node]);
        Stage {
            position,
            id: &spec.id,
            title: &spec.title,
            kind: spec.kind,
            started: text::duration(run.started),
            took: text::duration(run.took),
            percent: text::percent(run.took, whole),
        }
    })
    .collect()
}

/// Ticks at round times, from zero to the end of the axis.
fn ticks(span: Duration) -> Vec<Tick> {
    let step = tick_step(span.as_millis());
    (0..)
        .map(|number| number * step)
        .take_while(|&ms| ms <= span.as_millis())
        .map(|ms| Tick {
            left: format!("{:.3}", ms as f64 / span.as_millis() as f64 * 100.0),
            label: tick_label(ms),
        })
        .collect()
}

/// The smallest round number of milliseconds that gives few enough ticks.
fn tick_step(span: u128) -> u128 {
    const ROUND: [u128; 6] = [1, 2, 5, 10, 20, 50];
    const SECONDS: [u128; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
    let below_a_second = ROUND.into_iter().chain([100, 200, 500]);
    let seconds = SECONDS.into_iter().map(|seconds| seconds * 1000);
    below_a_second
        .chain(seconds)
        .find(|step| span / step <= TICKS)
        // Beyond ten hours, whole hours.
        .unwrap_or_else(|| span.div_ceil(TICKS * 3_600_000) * 3_600_000)
}

fn tick_label(ms: u128) -> String {
    let (seconds, rest) = (ms / 1000, ms % 1000);
    match ms {
        0 => "0".into(),
        _ if rest == 0 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if rest == 0 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ if rest == 0 && seconds < 60 => format!("{seconds} s"),
        _ if rest == 0 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ if rest.is_multiple_of(100) => format!("{seconds}.{} s", rest / 100),
        _ => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{bad, changed, good, run};
    use super::*;

    fn rendered(report: &RunReport) -> String {
        page(report, "up host", "2026-11-21 06:54:15 UTC").expect("a page")
    }

    #[test]
    fn bars_stand_where_the_time_says() {
        let page = rendered(&good());
        // kafka/ready: 0.9 s to 2.9 s of 4 s.
        assert!(page.contains(r#"class="bar" style="left:22.500%;width:50.000%""#));
        // Its link goes from the end of kafka/start, in the second row, to the fourth.
        assert!(page.contains(r#"<path d="M22.500 1.5V3.5H22.500M72.500 3.5V4.5H73.750"/>"#));
        assert!(page.contains(r#"<li class="row gate passed critical" id="n3" data-near="2 4""#));
        assert!(page.contains("1.03×"));
    }

    #[test]
    fn failed_and_skipped_nodes_are_visible() {
        let page = rendered(&bad());
        assert!(page.contains("✗ failed, 0.9 s"));
        assert!(page.contains(r#"<span class="note">skipped because kafka/start failed</span>"#));
        assert!(page.contains(r#"<li class="row step failed critical""#));
        assert!(page.contains("<dd>port &lt;9092&gt; is &quot;taken&quot;</dd>"));
    }

    #[test]
    fn no_text_becomes_markup() {
        const EVIL: &str = "\"'><script>alert(1)</script>{{title}}&amp;\u{1b}[31m";
        let report = run(vec![
            (EVIL, Kind::Step, EVIL, &[], 0, 10, changed(EVIL)),
            (
                "b",
                Kind::Gate,
                EVIL,
                &[EVIL],
                10,
                10,
                Ended::Failed(EVIL.into()),
            ),
            ("c", Kind::Gate, EVIL, &["b"], 0, 0, Ended::Skipped(1)),
        ]);
        let page = page(&report, EVIL, EVIL).expect("a page");
        assert!(!page.contains("<script>alert"));
        assert!(!page.contains("\"'>"));
        assert!(page.contains("&amp;amp;"));
        // A template within a text is text.
        assert!(page.contains("{{title}}"));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = rendered(&good());
        for outside in [
            "http:", "https:", "//cdn", "src=", "url(", "@import", "<link",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn an_empty_run_is_a_page() {
        assert!(rendered(&run(Vec::new())).contains("0 steps, 0 gates"));
    }

    #[test]
    fn ticks_are_round_and_few() {
        let labels = |ms| -> Vec<String> {
            let ticks = ticks(Duration::from_millis(ms));
            ticks.into_iter().map(|tick| tick.label).collect()
        };
        assert_eq!(labels(3), ["0", "1 ms", "2 ms", "3 ms"]);
        assert_eq!(labels(1200)[..3], ["0", "0.2 s", "0.4 s"]);
        assert_eq!(labels(12_400)[..3], ["0", "2 s", "4 s"]);
        assert_eq!(
            labels(125_000)[..6],
            ["0", "15 s", "30 s", "45 s", "1 min", "1:15 min"]
        );
        for ms in [1, 999, 61_000, 3_600_000, 36_000_000, 400_000_000] {
            assert!((1..=11).contains(&labels(ms).len()), "{ms}");
        }
    }

    #[test]
    fn a_label_turns_before_the_edge() {
        let report = run(vec![
            ("a", Kind::Step, "", &[], 0, 9500, changed("")),
            ("b", Kind::Step, "", &["a"], 9500, 500, changed("")),
            ("c", Kind::Step, "", &[], 0, 1000, changed("")),
        ]);
        let chart = Chart::new(&report);
        let labels = [0, 1, 2].map(|node| chart.bar(node).label);
        assert_eq!(labels, ["right:5.000%", "right:5.000%", "left:10.000%"]);
    }
}
