//! What a run costs: CPU and memory of this process and of servers on this machine, and how busy the machine was besides. From
//! `/proc`, so on Linux alone; elsewhere, and where the system does not permit it, figures are absent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;

use crate::proof::bench_report::{Machine, ServerUsage, Usage};

/// Linux counts CPU time for programs in hundredths of a second, whatever its own clock.
const TICKS_PER_S: f64 = 100.0;

/// Processes of a server, by the server's name.
pub type Servers = BTreeMap<&'static str, BTreeSet<u32>>;

/// The processes of this machine that listen where the addresses (`host:port`) say. Others' may be hidden.
pub fn listeners(addresses: &[String]) -> BTreeSet<u32> {
    let resolved = addresses.iter().filter_map(|address| address.to_socket_addrs().ok());
    let ports: BTreeSet<u16> = resolved
        .flatten()
        .filter(is_local)
        .map(|address| address.port())
        .collect();
    let sockets = listening_sockets(&ports);
    if sockets.is_empty() {
        return BTreeSet::new();
    }
    processes().filter(|process| holds_any(*process, &sockets)).collect()
}

/// Only an address of this machine can be bound.
fn is_local(address: &SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

/// Names of the listening sockets on these ports, as they stand in `/proc/PID/fd`.
fn listening_sockets(ports: &BTreeSet<u16>) -> BTreeSet<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines.filter_map(|line| listening_socket(line, ports)).collect()
}

/// A line of `/proc/net/tcp`: number, local address, remote address, state (0A listens), four more, inode.
fn listening_socket(line: &str, ports: &BTreeSet<u16>) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let listens = *fields.get(3)? == "0A" && ports.contains(&port);
    listens.then(|| format!("socket:[{}]", fields.get(9).copied().unwrap_or_default()))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds_any(process: u32, sockets: &BTreeSet<String>) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets
        .into_iter()
        .any(|target| target.to_str().is_some_and(|target| sockets.contains(target)))
}

/// A reading of all counters.
struct Sample {
    own_s: Option<f64>,
    servers_s: BTreeMap<&'static str, f64>,
    /// CPU time of all cores: used, and in all.
    machine_s: Option<(f64, f64)>,
}

impl Sample {
    fn take(servers: &Servers) -> Sample {
        let of_server = |processes: &BTreeSet<u32>| {
            let each = processes.iter().map(|process| cpu_s(&process.to_string()));
            each.sum::<Option<f64>>()
        };
        let servers_s = servers.iter().filter(|(_, processes)| !processes.is_empty());
        Sample {
            own_s: cpu_s("self"),
            servers_s: servers_s
                .filter_map(|(name, processes)| Some((*name, of_server(processes)?)))
                .collect(),
            machine_s: fs::read_to_string("/proc/stat").ok().as_deref().and_then(machine_s),
        }
    }
}

/// Measures from its start to [`Meter::stop`].
pub struct Meter<'s> {
    servers: &'s Servers,
    began: Sample,
    memory_before_bytes: Option<u64>,
}

impl<'s> Meter<'s> {
    pub fn start(servers: &'s Servers) -> Meter<'s> {
        // Makes what is in memory now the peak. Not permitted everywhere: the peak is the process's then.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Meter {
            servers,
            memory_before_bytes: memory_bytes("self", "VmRSS:"),
            began: Sample::take(servers),
        }
    }

    /// What was used since the start, for so many readings.
    pub fn stop(&self, readings: u64) -> Usage {
        let (began, ended) = (&self.began, Sample::take(self.servers));
        let cpu_s = ended.own_s.zip(began.own_s).map(|(ended, began)| ended - began);
        let mut servers = BTreeMap::new();
        for (name, ended_s) in &ended.servers_s {
            // A server that was restarted meanwhile counts from nothing.
            let began_s = began.servers_s.get(name).copied().unwrap_or(0.0);
            let memory = self.servers[name]
                .iter()
                .map(|it| memory_bytes(&it.to_string(), "VmRSS:"));
            let usage = ServerUsage {
                cpu_s: (ended_s - began_s).max(0.0),
                memory_bytes: memory.sum::<Option<u64>>().unwrap_or(0),
            };
            servers.insert((*name).to_owned(), usage);
        }
        let ours_s = cpu_s.map(|own| own + servers.values().map(|server| server.cpu_s).sum::<f64>());
        let machine_s = ended.machine_s.zip(began.machine_s);
        let other_work = machine_s.zip(ours_s).map(|((ended, began), ours)| {
            let (used, all) = (ended.0 - began.0, ended.1 - began.1);
            ((used - ours) / all.max(1.0 / TICKS_PER_S)).clamp(0.0, 1.0)
        });
        Usage {
            cpu_s,
            cpu_us_per_reading: cpu_s.filter(|_| readings > 0).map(|cpu| cpu * 1e6 / readings as f64),
            memory_peak_bytes: memory_bytes("self", "VmHWM:"),
            memory_before_bytes: self.memory_before_bytes,
            servers,
            other_work,
        }
    }
}

/// User and system time of a process (a number, or `self`) since it began, threads that ended included.
fn cpu_s(process: &str) -> Option<f64> {
    process_cpu_s(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Of the text of `/proc/PID/stat`: the name in parentheses may hold anything, 12 fields after it comes the user's time.
fn process_cpu_s(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_S)
}

/// A line of `/proc/PID/status`, in bytes.
fn memory_bytes(process: &str, line: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string(format!("/proc/{process}/status")).ok()?, line)
}

/// The value of a line such as `VmRSS:  1234 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Of the first line of `/proc/stat`: user, nice, system, idle, waiting for I/O (idle too), interrupts, soft interrupts,
/// stolen by other machines on the same host. Time of guests is in user already.
fn machine_s(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    let all: f64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(((all - idle) / TICKS_PER_S, all / TICKS_PER_S))
}

/// What it runs on.
pub fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(Path::new("/proc").join(path)).ok();
    let model = read("cpuinfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    Machine {
        cores: std::thread::available_parallelism().ok().map(usize::from),
        model,
        memory_bytes: read("meminfo").and_then(|text| kibibytes(&text, "MemTotal:")),
        kernel: read("sys/kernel/osrelease").map(|text| text.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_texts_of_the_system_are_read() {
        let stat = "42 (a) name) S 1 1 1 0 -1 4194560 10 20 0 0 150 50 7 8 20 0 5 0 100";
        assert_eq!(process_cpu_s(stat), Some(2.0));
        assert_eq!(process_cpu_s("nonsense"), None);
        let cpu = "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 1 1";
        assert_eq!(machine_s(cpu), Some((2.0, 10.0)));
        assert_eq!(kibibytes("VmPeak: 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
        let line = "  0: 0100007F:71A4 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 987 1 0";
        let socket = |port| listening_socket(line, &BTreeSet::from([port]));
        assert_eq!(socket(0x71A4), Some("socket:[987]".to_owned()));
        assert_eq!(socket(1), None);
        assert_eq!(
            listening_socket(&line.replace(" 0A ", " 01 "), &BTreeSet::from([0x71A4])),
            None
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_is_measured_and_a_listener_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(listeners(&[address]), BTreeSet::from([std::process::id()]));
        let servers = Servers::new();
        let meter = Meter::start(&servers);
        let began = Instant::now();
        let mut sum = 0_u64;
        while began.elapsed() < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let usage = meter.stop(1000);
        assert!(usage.cpu_s.is_some_and(|cpu_s| cpu_s > 0.0), "{usage:?}");
        assert!(
            usage.memory_peak_bytes >= usage.memory_before_bytes.map(|bytes| bytes / 2),
            "{usage:?}"
        );
        assert!(
            usage.other_work.is_some_and(|share| (0.0..=1.0).contains(&share)),
            "{usage:?}"
        );
    }
}
