//! What every benchmark asks and says first: whether it is wanted, and on what machine it runs.

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
