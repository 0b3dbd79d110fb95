//! Where a replica set answers, as its users write it: `a:27017,b:27017`, `mongodb://a:27017,b:27017/?options` or
//! `mongodb+srv://name/?options` (MongoDB's manual, "Connection Strings"). Pure.

use std::fmt;

/// The two schemes.
const SRV: &str = "mongodb+srv://";
const PLAIN: &str = "mongodb://";

/// Options that are decided elsewhere, by what they begin with, and the setting that decides them; none where it
/// cannot be had.
const OWNED: [(&str, Option<&str>); 7] = [
    ("replicaset", Some("replica_set")),
    ("tlscafile", Some("sslrootcert")),
    ("tls", Some("sslmode")),
    ("ssl", Some("sslmode")),
    ("authmechanism", None),
    ("directconnection", None),
    ("loadbalanced", None),
];

/// The servers of a replica set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// Whether the name service knows them, by the one name in `hosts`.
    pub srv: bool,
    /// Each with its port.
    pub hosts: Vec<String>,
    /// What stands behind `?`.
    options: String,
}

/// Why a text names no servers. It never repeats the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong.
    pub what: String,
    /// What to do; `{path}` stands for where the component's keys are.
    pub hint: String,
}

fn unusable<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable {
        what: what.into(),
        hint: hint.into(),
    })
}

impl Servers {
    /// Reads what a profile says.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let (srv, rest) = match (text.strip_prefix(SRV), text.strip_prefix(PLAIN)) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) if text.contains("://") => {
                return unusable(
                    "no address of MongoDB begins so",
                    "`host:port`, several of them with commas between, `mongodb+srv://name` or `mongodb://host:port`",
                );
            }
            (None, None) => (false, text),
        };
        if rest.contains('@') {
            return unusable(
                "a user and a password do not belong into an address",
                "leave out what stands before the `@`: the user is {path}.user, and `--set {path}.password=@-` asks for the password",
            );
        }
        let (hosts, options) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts: Vec<String> = hosts
            .trim_end_matches('/')
            .split(',')
            .map(str::to_owned)
            .collect();
        for host in &hosts {
            check_host(srv, host)?;
        }
        if srv && hosts.len() > 1 {
            return unusable(
                "`mongodb+srv` takes one name",
                "the name service knows the others; or leave `+srv` out and name each with its port",
            );
        }
        check_options(options)?;
        Ok(Servers {
            srv,
            hosts,
            options: options.to_owned(),
        })
    }

    /// One member, at `host:port`.
    pub fn member(address: String) -> Self {
        Servers {
            srv: false,
            hosts: vec![address],
            options: String::new(),
        }
    }

    /// Whether it is one member, which is named itself.
    pub fn is_one(&self) -> bool {
        !self.srv && self.hosts.len() == 1
    }

    /// The database that has the users.
    pub fn auth_source(&self) -> &str {
        let source = self.options.split('&').find_map(|it| {
            let (key, value) = it.split_once('=')?;
            key.eq_ignore_ascii_case("authSource").then_some(value)
        });
        source.unwrap_or("admin")
    }

    /// As drivers take it. The name service has the set's own name; without `tls` these servers would be asked
    /// with it.
    pub fn connection_string(&self, set: &str, encrypted: bool) -> String {
        let own = match (self.srv, encrypted) {
            (true, true) => String::new(),
            (true, false) => "tls=false".into(),
            (false, _) if set.is_empty() => String::new(),
            (false, _) => format!("replicaSet={set}"),
        };
        let options: Vec<&str> = [own.as_str(), &self.options]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
        let scheme = if self.srv { SRV } else { PLAIN };
        let mark = if options.is_empty() { "" } else { "?" };
        format!(
            "{scheme}{}/{mark}{}",
            self.hosts.join(","),
            options.join("&")
        )
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.srv { SRV } else { "" };
        write!(f, "{scheme}{}", self.hosts.join(","))
    }
}

fn check_host(srv: bool, host: &str) -> Result<(), Unusable> {
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_name = !name.is_empty()
        && !name.starts_with(['.', '-'])
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !is_name {
        return unusable(
            format!("{name:?} is no host"),
            "a host name or an IPv4 address",
        );
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match port {
        Some(_) if srv => unusable(
            format!("`mongodb+srv` takes a name without a port, not {host}"),
            format!("{SRV}{name}"),
        ),
        Some(port) if !is_port(port) => unusable(
            format!("{port:?} is no port of {name}"),
            "a number from 1 to 65535",
        ),
        None if !srv => unusable(
            format!("{name} has no port"),
            format!("{name}:27017, if it has MongoDB's usual one"),
        ),
        _ => Ok(()),
    }
}

fn check_options(options: &str) -> Result<(), Unusable> {
    let pairs = options.split('&').filter(|it| !it.is_empty());
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            return unusable("an option of the address has no value", "`name=value`");
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%:,$".contains(c);
        if !key.chars().all(|c| c.is_ascii_alphanumeric()) || !value.chars().all(is_plain) {
            return unusable(
                "an option of the address is malformed",
                "write other characters than letters and digits as %XX",
            );
        }
        let lower = key.to_ascii_lowercase();
        match OWNED.iter().find(|(name, _)| lower.starts_with(name)) {
            Some((_, Some(setting))) => {
                return unusable(
                    format!("the option {key} does not belong into an address"),
                    format!("leave it out, and set {{path}}.{setting}"),
                );
            }
            Some((_, None)) => {
                return unusable(
                    format!("the option {key} is not supported"),
                    "leave it out: users log in with SCRAM at the set's primary",
                );
            }
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_what_a_driver_takes() {
        for (text, wants) in [
            ("db:27017", "mongodb://db:27017/?replicaSet=shop"),
            (
                "a:1,b.example:2,10.0.0.3:3",
                "mongodb://a:1,b.example:2,10.0.0.3:3/?replicaSet=shop",
            ),
            (
                "mongodb://a:1,b:2/?authSource=users&w=majority",
                "mongodb://a:1,b:2/?replicaSet=shop&authSource=users&w=majority",
            ),
            ("mongodb://a:1", "mongodb://a:1/?replicaSet=shop"),
            (
                "mongodb+srv://shop.example.net",
                "mongodb+srv://shop.example.net/",
            ),
            (
                "mongodb+srv://shop.example.net/?retryWrites=true&w=majority&appName=Shop%201",
                "mongodb+srv://shop.example.net/?retryWrites=true&w=majority&appName=Shop%201",
            ),
        ] {
            let servers = Servers::parse(text).expect("servers");
            assert_eq!(servers.connection_string("shop", true), wants);
        }
        let srv = Servers::parse("mongodb+srv://shop.example.net").expect("servers");
        assert_eq!(
            srv.connection_string("shop", false),
            "mongodb+srv://shop.example.net/?tls=false"
        );
        assert_eq!(srv.auth_source(), "admin");
        let other = Servers::parse("mongodb://a:1/?w=1&authsource=users").expect("servers");
        assert_eq!(other.auth_source(), "users");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_a_password() {
        for (text, what) in [
            ("mongodb://cdc:geheim@a:1", "a user and a password"),
            (
                "mongodb+srv://cdc:ge/he?im@a.example",
                "a user and a password",
            ),
            ("cdc:geheim@a:1", "a user and a password"),
            ("https://a:1", "no address of MongoDB"),
            ("a", "a has no port"),
            ("a:1,b", "b has no port"),
            ("a:1,", "is no host"),
            ("a:0", "is no port"),
            ("a:x", "is no port"),
            ("a b:1", "is no host"),
            ("mongodb+srv://a.example:27017", "without a port"),
            ("mongodb+srv://a.example,b.example", "one name"),
            ("mongodb://a:1/shop", "is no port"),
            ("mongodb://a:1/?replicaSet=x", "replicaSet does not belong"),
            ("mongodb://a:1/?ssl=true", "ssl does not belong"),
            ("mongodb://a:1/?tlsCAFile=x", "tlsCAFile does not belong"),
            ("mongodb://a:1/?authMechanism=X", "not supported"),
            ("mongodb://a:1/?w", "no value"),
            ("mongodb://a:1/?w=\"", "malformed"),
        ] {
            let error = Servers::parse(text).expect_err(text);
            assert!(error.what.contains(what), "{text}: {error:?}");
            assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
            assert!(!error.hint.is_empty());
        }
        let owned = Servers::parse("mongodb://a:1/?tlsCAFile=x").expect_err("owned");
        assert!(owned.hint.ends_with("{path}.sslrootcert"), "{owned:?}");
    }
}
