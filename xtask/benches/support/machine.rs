//! What every benchmark asks and says first: whether it is wanted, and on what machine it runs.

use std::time::Duration;

/// Whether this is a benchmark's run: `cargo test --benches` only wants to know that it builds.
pub fn is_wanted() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Prints what figures cannot be read without.
pub fn print() {
    println!("machine: {}", machine());
    println!("load:    {}", load());
    println!("date:    {}\n", xtask::clock::utc(xtask::clock::now_ms()));
}

/// How many processes want to run, over the last minute.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The processor time of this process, and that of the processes that it has waited for and of
/// theirs: `utime` and `stime`, `cutime` and `cstime` of proc(5).
pub fn processor() -> (Duration, Duration) {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name before, in brackets, may have blanks.
    let fields = text.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: Vec<u64> = fields
        .skip(11)
        .take(4)
        .filter_map(|it| it.parse().ok())
        .collect();
    let time = |ticks: &[u64]| {
        let ticks: u64 = ticks.iter().sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    };
    let (own, children) = ticks.split_at(ticks.len() / 2);
    (time(own), time(children))
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes >> 20);
    format!("{model}, {cores} cores, {gigabytes} GiB")
}
