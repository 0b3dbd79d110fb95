//! What the system knows about a process.

/// A process that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it started, in a form that no other process of the same pid ever shares.
    pub start: String,
    /// Ended but not yet collected by its parent: as good as gone.
    pub zombie: bool,
    /// Suspended by a signal.
    pub suspended: bool,
    /// Memory in use, in bytes.
    pub resident: u64,
}

/// Looks a process up.
#[cfg(target_os = "linux")]
pub fn look(pid: u32) -> Option<Seen> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name, may hold spaces and parentheses; the rest follows its last `)`.
    let rest = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // proc(5): state is field 3, starttime 22 (clock ticks since boot), rss 24 (pages).
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let pages: u64 = fields.get(21)?.parse().ok()?;
    Some(Seen {
        start: format!("{}@{}", fields.get(19)?, boot.trim()),
        zombie: matches!(*fields.first()?, "Z" | "X"),
        suspended: matches!(*fields.first()?, "T" | "t"),
        resident: pages * rustix::param::page_size() as u64,
    })
}

/// Looks a process up.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn look(pid: u32) -> Option<Seen> {
    let pid = pid.to_string();
    let args = ["-o", "stat=,rss=,lstart=", "-p", &pid];
    let text = crate::process::read(&crate::process::Job::new("ps", args)).ok()?;
    let mut fields = text.split_whitespace();
    let state = fields.next()?;
    let kilobytes: u64 = fields.next()?.parse().ok()?;
    Some(Seen {
        start: fields.collect::<Vec<_>>().join(" "),
        zombie: state.starts_with('Z'),
        suspended: state.starts_with('T'),
        resident: kilobytes * 1024,
    })
}

/// The processes whose working directory is this one or below it.
#[cfg(target_os = "linux")]
pub fn working_in(dir: &std::path::Path) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let at = std::fs::read_link(entry.path().join("cwd")).ok()?;
            at.starts_with(dir).then_some(pid)
        })
        .collect()
}

/// The memory of the other processes that work in a directory, without what they share.
#[cfg(target_os = "linux")]
pub fn children_resident(dir: &std::path::Path, leader: u32) -> u64 {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    working_in(&dir)
        .into_iter()
        .filter(|pid| *pid != leader)
        .filter_map(|pid| {
            // proc(5), statm: size, resident, shared, ... in pages.
            let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            let mut pages = statm.split_whitespace().skip(1);
            let resident: u64 = pages.next()?.parse().ok()?;
            let shared: u64 = pages.next()?.parse().ok()?;
            Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
        })
        .sum()
}

/// The memory of the other processes that work in a directory; not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn children_resident(_dir: &std::path::Path, _leader: u32) -> u64 {
    0
}

/// The processes that work in a directory; not to be had without help on this system.
#[cfg(not(target_os = "linux"))]
pub fn working_in(_dir: &std::path::Path) -> Vec<u32> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_itself_and_not_a_stranger() {
        let me = look(std::process::id()).expect("this process is there");
        assert!(!me.zombie && me.resident > 0 && !me.start.is_empty());
        assert_eq!(
            look(std::process::id()).map(|seen| seen.start),
            Some(me.start)
        );
        assert_eq!(look(u32::MAX), None);
    }
}
