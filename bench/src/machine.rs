//! The machine that figures are from.

use crate::cost;
use serde::Serialize;
use std::fs;

/// The machine, and how busy it was when the measurement began.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// Their model.
    pub cpu: String,
    /// The kernel's release.
    pub kernel: String,
    /// Processes that wanted to run, on average over the last minute. Above zero, others were working too.
    pub load_1m: f64,
    /// Whether the program was compiled with optimisation; figures without are worth nothing.
    pub optimised: bool,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(':')).map_or("unknown", |(_, model)| model.trim());
        let load = read("/proc/loadavg");
        Machine {
            cores: cost::cores(),
            cpu: model.to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            load_1m: load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            optimised: !cfg!(debug_assertions),
        }
    }

    /// The same in a line.
    pub fn line(&self) -> String {
        let Machine { cores, cpu, kernel, load_1m, optimised } = self;
        let debug = if *optimised { "" } else { "; NOT OPTIMISED, use --release" };
        format!("{cores} x {cpu}, Linux {kernel}, load {load_1m:.1} at the start{debug}")
    }
}
