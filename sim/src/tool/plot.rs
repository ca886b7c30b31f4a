//! Pictures of a run, as SVG: phi over time, the share of hosts that hold a write, and who lacks how much.

use chinwag_base::{Key, Moment, Value};
use chinwag_crdt::{Clock, What};
use chinwag_sim::observation::{Fact, Host, Observation};
use chinwag_sim::plan::{Action, Plan};
use chinwag_sim::world::World;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SIZE: (u32, u32) = (900, 480);
/// Looks in one run.
const SAMPLES: u32 = 240;
/// Writes whose way is drawn.
const WRITES_MAX: usize = 200;
/// Lines in one picture.
const LINES_MAX: usize = 8;
/// Rows of the heat map.
const ROWS_MAX: usize = 50;
/// A phi above this is drawn as this.
const PHI_MAX: f64 = 10.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Takes notes while a run goes on, and draws them.
pub(crate) struct Pictures {
    every: Duration,
    next: Moment,
    /// Whose phi is drawn.
    subject: Host,
    phi: BTreeMap<Host, Vec<(f64, f64)>>,
    /// Of so many writes one is followed.
    one_in: usize,
    writes: usize,
    ways: BTreeMap<(Key, Value), (Moment, Vec<f64>)>,
    /// Entries that were written, over all.
    written: u64,
    rows: Vec<Host>,
    /// By look: seconds, and what each row lacks.
    lacking: Vec<(f64, Vec<Option<u64>>)>,
    hosts: u32,
    healed: Option<f64>,
}

impl Pictures {
    pub(crate) fn new(plan: &Plan) -> Self {
        let troubled = plan.steps.iter().find_map(|step| match &step.action {
            Action::Kill { host } | Action::PowerCut { host } | Action::Pause { host } => Some(*host),
            Action::Cut { to, .. } => Some(*to),
            Action::Partition { side } => side.last().copied(),
            _ => None,
        });
        let writes = plan.steps.iter().filter(|step| matches!(step.action, Action::Write { .. })).count();
        let one_row_in = (plan.hosts as usize).div_ceil(ROWS_MAX).max(1);
        Pictures {
            every: (plan.heal() + Duration::from_secs(20)) / SAMPLES,
            next: Moment::ZERO,
            subject: troubled.unwrap_or(Host(plan.hosts.saturating_sub(1).min(1))),
            phi: BTreeMap::new(),
            one_in: writes.div_ceil(WRITES_MAX).max(1),
            writes: 0,
            ways: BTreeMap::new(),
            written: 0,
            rows: (0..plan.hosts).step_by(one_row_in).map(Host).collect(),
            lacking: Vec::new(),
            hosts: plan.hosts,
            healed: None,
        }
    }

    /// Looks at the world, if it is time, and at all that was observed.
    pub(crate) fn look(&mut self, world: &World, seen: &[Observation]) {
        for observation in seen {
            self.observe(observation);
        }
        if world.now() >= self.next {
            self.next = world.now() + self.every;
            self.sample(world);
        }
    }

    fn observe(&mut self, observation: &Observation) {
        match &observation.fact {
            Fact::Healed => self.healed = Some(seconds(observation.at)),
            Fact::Applied { key, what, local, .. } => {
                self.written += u64::from(*local);
                let (What::Set { value, .. } | What::Added { element: value }) = what else { return };
                let name = (key.clone(), value.clone());
                if *local {
                    self.writes += 1;
                    if self.writes.is_multiple_of(self.one_in) {
                        self.ways.insert(name, (observation.at, Vec::new()));
                    }
                } else if let Some((began, arrived)) = self.ways.get_mut(&name) {
                    arrived.push(observation.at.since(*began).as_secs_f64() * 1e3);
                }
            }
            _ => {}
        }
    }

    fn sample(&mut self, world: &World) {
        let at = seconds(world.now());
        let subject = world.id_of(self.subject);
        for host in world.running() {
            let Some(node) = world.node(host) else { continue };
            let phi = node.membership().member(world.moment_of(host), &subject).map_or(0.0, |m| m.phi);
            if phi > 0.0 && host != self.subject {
                self.phi.entry(host).or_default().push((at, phi.min(PHI_MAX)));
            }
        }
        let nothing = Clock::new();
        let lacks = |host: &Host| {
            let held = world.node(*host)?.gossip().replica().clock().count_minus(&nothing);
            Some(self.written.saturating_sub(held))
        };
        let row = self.rows.iter().map(lacks).collect();
        self.lacking.push((at, row));
    }

    /// Draws all pictures into a folder, which is made. What was drawn.
    pub(crate) fn draw(&self, dir: &Path) -> Result<Vec<PathBuf>, String> {
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut drawn = Vec::new();
        type Draw = fn(&Pictures, &Area<'_>) -> Result<(), Box<dyn std::error::Error>>;
        let all: [(&str, Draw); 3] = [
            ("phi.svg", Self::draw_phi),
            ("spread.svg", Self::draw_spread),
            ("lacking.svg", Self::draw_lacking),
        ];
        for (name, draw) in all {
            let path = dir.join(name);
            let area = SVGBackend::new(&path, SIZE).into_drawing_area();
            let done = area.fill(&WHITE).map_err(|e| e.to_string());
            done.and_then(|()| draw(self, &area).map_err(|e| e.to_string()))
                .and_then(|()| area.present().map_err(|e| e.to_string()))
                .map_err(|e| format!("{}: {e}", path.display()))?;
            drop(area);
            drawn.push(path);
        }
        Ok(drawn)
    }

    /// How unlikely the silence of one host is, as those who observe it find.
    fn draw_phi(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let end = self.lacking.last().map_or(1.0, |(at, _)| *at);
        let mut chart = ChartBuilder::on(area)
            .caption(format!("phi of {}, as its observers find it", self.subject), ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..end, 0.0..PHI_MAX)?;
        chart.configure_mesh().x_desc("virtual seconds").y_desc("phi").light_line_style(WHITE).draw()?;
        for (phi, name) in [(1.0, "suspect"), (8.0, "down")] {
            chart.draw_series(LineSeries::new([(0.0, phi), (end, phi)], BLACK.mix(0.4)))?;
            chart.draw_series([Text::new(name, (end * 0.005, phi + 0.5), ("sans-serif", 13))])?;
        }
        let mut observers: Vec<_> = self.phi.iter().collect();
        observers.sort_by_key(|(host, points)| (std::cmp::Reverse(points.len()), **host));
        for (n, (host, points)) in observers.into_iter().take(LINES_MAX).enumerate() {
            let colour = Palette99::pick(n).mix(0.9);
            // A gap in time is a gap in the line.
            let gap = self.every.as_secs_f64() * 3.0;
            for part in points.chunk_by(|a, b| b.0 - a.0 < gap) {
                chart.draw_series(LineSeries::new(part.iter().copied(), colour.stroke_width(2)))?;
            }
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            chart
                .draw_series(LineSeries::new(points.iter().take(1).copied(), colour))?
                .label(format!("{host} observes"))
                .legend(legend);
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .draw()?;
        Ok(())
    }

    /// How a write reaches everybody.
    fn draw_spread(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let all = self.ways.values().flat_map(|(_, arrived)| arrived).copied();
        let longest = all.clone().fold(10.0, f64::max) * 1.2;
        let mut chart = ChartBuilder::on(area)
            .caption(format!("hosts that hold a write, of {}", self.hosts), ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d((1.0..longest).log_scale(), 0.0..100.0)?;
        chart
            .configure_mesh()
            .x_desc("milliseconds after the write, logarithmic")
            .y_desc("per cent")
            .light_line_style(WHITE)
            .x_label_formatter(&|ms| format!("{ms:.0}"))
            .draw()?;
        let share = |n: usize| (n + 1) as f64 * 100.0 / f64::from(self.hosts.max(1));
        for (_, arrived) in self.ways.values() {
            let mut sorted = arrived.clone();
            sorted.sort_by(f64::total_cmp);
            let line = sorted.iter().enumerate().map(|(n, ms)| (ms.max(1.0), share(n + 1)));
            let from = std::iter::once((1.0, share(0)));
            chart.draw_series(LineSeries::new(from.chain(line), BLUE.mix(0.18)))?;
        }
        Ok(())
    }

    /// Who lacks how much of what was written, over time.
    fn draw_lacking(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let end = self.lacking.last().map_or(1.0, |(at, _)| *at);
        let most =
            self.lacking.iter().flat_map(|(_, row)| row.iter().flatten()).copied().max().unwrap_or(0).max(1);
        let rows = self.rows.len() as f64;
        let caption =
            format!("entries that a host lacks: none (green) to {most} (red), grey while it is off");
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..end, 0.0..rows)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("virtual seconds")
            .y_label_formatter(&|row| self.rows.get(*row as usize).map_or_else(String::new, Host::to_string))
            .draw()?;
        for row in 0..self.rows.len() {
            let cells: Vec<(f64, Option<u64>)> =
                self.lacking.iter().map(|(at, all)| (*at, all[row])).collect();
            let mut at = 0;
            // One rectangle for as long as the colour stays.
            for part in cells.chunk_by(|a, b| a.1 == b.1) {
                let next = at + part.len();
                let until = cells.get(next).map_or(end, |(until, _)| *until);
                let corners = [(part[0].0, row as f64), (until, row as f64 + 0.94)];
                chart.draw_series([Rectangle::new(corners, shade(part[0].1, most).filled())])?;
                at = next;
            }
        }
        if let Some(healed) = self.healed {
            chart.draw_series(LineSeries::new([(healed, 0.0), (healed, rows)], BLACK.stroke_width(2)))?;
            chart.draw_series([Text::new(
                "all mended",
                (healed - end * 0.1, rows * 0.97),
                ("sans-serif", 13),
            )])?;
        }
        Ok(())
    }
}

/// From green over yellow to red, by the logarithm, because a few entries matter as well.
fn shade(lacks: Option<u64>, most: u64) -> RGBColor {
    let Some(lacks) = lacks else { return RGBColor(200, 200, 200) };
    if lacks == 0 {
        return RGBColor(198, 232, 198);
    }
    let share = ((lacks + 1) as f64).ln() / ((most + 1) as f64).ln();
    RGBColor(235, (225.0 - 175.0 * share) as u8, (120.0 - 80.0 * share) as u8)
}

fn seconds(at: Moment) -> f64 {
    at.as_nanos() as f64 / 1e9
}
