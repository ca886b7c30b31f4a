//! Network namespaces: a machine's network each, made and removed by `ip`. They need root.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A network of its own, which nothing leads into. It is removed when this is dropped, also by a test that panics.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one, with a loopback interface that works. Its name has the process's id, so that runs do not meet.
    pub(crate) fn new(purpose: &str) -> Result<Self, String> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cw{}-{number}-{purpose}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Namespace { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in here.
    pub(crate) fn ip(&self, args: &[&str]) -> Result<(), String> {
        ip(&[&["-n", &self.name], args].concat())
    }

    /// What stands before a program and its arguments to have it run in here. It becomes that program, so its process
    /// id is the program's.
    pub(crate) fn program(&self) -> [&str; 4] {
        [ip_program(), "netns", "exec", &self.name]
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip_program() -> &'static str {
    let places = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"];
    places.into_iter().find(|place| Path::new(place).exists()).unwrap_or("ip")
}

/// Runs `ip` where this process is.
pub(crate) fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new(ip_program()).args(args).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
    }
}
