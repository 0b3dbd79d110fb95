//! Where the engine is, by the rules of the `docker` command: `DOCKER_HOST`, then the context,
//! then the system's socket, then the sockets of engines without root and of desktop products.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

const SYSTEM: &str = "/var/run/docker.sock";
const PIPE: &str = "npipe:////./pipe/docker_engine";

/// An engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `unix://`, `tcp://`, `npipe://` and so on.
    pub url: String,
    /// What decided.
    pub origin: String,
}

/// What decides on the address.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`, else `currentContext` of the Docker config.
    pub context: Option<(String, String)>,
    /// The address that the context stands for.
    pub context_host: Option<String>,
    /// Candidate sockets that exist, in order of preference.
    pub sockets: Vec<PathBuf>,
    /// Whether this is Windows.
    pub windows: bool,
}

impl Address {
    /// The address that the surroundings mean.
    pub fn choose(here: &Surroundings) -> Self {
        let from = |url: &str, origin: &str| Address {
            url: url.to_owned(),
            origin: origin.to_owned(),
        };
        if let Some(host) = &here.host {
            return from(host, "DOCKER_HOST");
        }
        if let (Some((name, origin)), Some(host)) = (&here.context, &here.context_host) {
            return from(host, &format!("context {name} of {origin}"));
        }
        if here.windows {
            return from(PIPE, "the system's default");
        }
        match here.sockets.first() {
            Some(socket) => from(
                &format!("unix://{}", socket.display()),
                "the first socket found",
            ),
            None => from(&format!("unix://{SYSTEM}"), "the system's default"),
        }
    }
}

impl Surroundings {
    /// This machine and user.
    pub fn here() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = std::env::home_dir().unwrap_or_default();
        let config = config_dir();
        let context = variable("DOCKER_CONTEXT")
            .map(|name| (name, "DOCKER_CONTEXT".to_owned()))
            .or_else(|| {
                let text = std::fs::read_to_string(config.join("config.json")).ok()?;
                let config: serde_json::Value = serde_json::from_str(&text).ok()?;
                let name = config["currentContext"].as_str()?.to_owned();
                Some((name, "the Docker config".to_owned()))
            })
            .filter(|(name, _)| name != "default");
        let context_host = context
            .as_ref()
            .and_then(|(name, _)| context_host(&config, name));
        let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        let candidates = [
            Some(PathBuf::from(SYSTEM)),
            runtime.map(|dir| dir.join("docker.sock")),
            Some(home.join(".docker/run/docker.sock")),
            Some(home.join(".docker/desktop/docker.sock")),
        ];
        Surroundings {
            host: variable("DOCKER_HOST"),
            context,
            context_host,
            sockets: candidates
                .into_iter()
                .flatten()
                .filter(|socket| socket.exists())
                .collect(),
            windows: cfg!(windows),
        }
    }
}

/// The directory of the Docker command's own configuration.
pub fn config_dir() -> PathBuf {
    match std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => std::env::home_dir().unwrap_or_default().join(".docker"),
    }
}

/// The engine of a context, from its file, which is named by the digest of the context's name.
fn context_host(config: &Path, name: &str) -> Option<String> {
    let digest = crate::files::hex(&Sha256::digest(name.as_bytes()));
    let file = config.join("contexts/meta").join(digest).join("meta.json");
    let text = std::fs::read_to_string(file).ok()?;
    let meta: serde_json::Value = serde_json::from_str(&text).ok()?;
    meta["Endpoints"]["docker"]["Host"]
        .as_str()
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(here: &Surroundings) -> (String, String) {
        let address = Address::choose(here);
        (address.url, address.origin)
    }

    #[test]
    fn the_variable_wins_then_the_context_then_what_is_there() {
        let mut here = Surroundings {
            host: Some("tcp://10.0.0.1:2376".into()),
            context: Some(("colima".into(), "the Docker config".into())),
            context_host: Some("unix:///c.sock".into()),
            sockets: vec!["/run/user/1000/docker.sock".into()],
            windows: false,
        };
        assert_eq!(chosen(&here).0, "tcp://10.0.0.1:2376");
        here.host = None;
        let (url, origin) = chosen(&here);
        assert_eq!(url, "unix:///c.sock");
        assert!(origin.contains("colima"), "{origin}");
        here.context = None;
        assert_eq!(chosen(&here).0, "unix:///run/user/1000/docker.sock");
        here.sockets.clear();
        assert_eq!(chosen(&here).0, "unix:///var/run/docker.sock");
        here.windows = true;
        assert_eq!(chosen(&here).0, PIPE);
    }

    #[test]
    fn a_context_is_read_from_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        // sha256 of "colima", as `printf colima | sha256sum` prints it.
        let meta = dir
            .path()
            .join("contexts/meta/f24fd3749c1368328e2b149bec149cb6795619f244c5b584e844961215dadd16");
        std::fs::create_dir_all(&meta).expect("made");
        let text = r#"{"Name":"colima","Endpoints":{"docker":{"Host":"unix:///home/x/.colima/docker.sock"}}}"#;
        std::fs::write(meta.join("meta.json"), text).expect("written");
        assert_eq!(
            context_host(dir.path(), "colima").as_deref(),
            Some("unix:///home/x/.colima/docker.sock")
        );
        assert_eq!(context_host(dir.path(), "other"), None);
    }
}
