//! What the platform `kubernetes` needs of this machine: a context that is named, and its cluster's
//! answer.

use super::Cluster;
use crate::error::Result;
use crate::host::prerequisites::{Check, Status};

/// What was seen of the cluster.
#[derive(Debug)]
pub struct Observed {
    /// The context that was named.
    pub context: Option<String>,
    /// The contexts that there are.
    pub known: Vec<String>,
    /// The server's address and version, or why there is none.
    pub server: Option<Result<(String, String)>>,
}

/// Asks the cluster. Changes nothing.
pub async fn observe(context: Option<&str>) -> Observed {
    let server = match context {
        None => None,
        Some(context) => Some(
            async {
                let cluster = Cluster::connect(context).await?;
                Ok((cluster.server.clone(), cluster.version().await?))
            }
            .await,
        ),
    };
    Observed {
        context: context.map(str::to_owned),
        known: Cluster::contexts().unwrap_or_default(),
        server,
    }
}

/// Decides on what was seen.
pub fn evaluate(seen: &Observed) -> Check {
    let name = "context";
    let check = Check::new(name, name, "the cluster that components run on");
    let known = match seen.known.as_slice() {
        [] => "KUBECONFIG and ~/.kube/config name no context".to_owned(),
        names => format!("--context NAME; there are: {}", names.join(", ")),
    };
    match (&seen.context, &seen.server) {
        (Some(context), Some(Ok((server, version)))) => check
            .message(format!("{context}, {server}"))
            .version(version),
        (_, Some(Err(error))) => check
            .status(Status::Unusable)
            .message(&error.message)
            .hint(error.hint.clone().unwrap_or(known)),
        _ => check
            .status(Status::Missing)
            .message("none is named")
            .hint(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Error};

    #[test]
    fn a_context_is_named_and_answers() {
        let seen = |context: Option<&str>, server| Observed {
            context: context.map(str::to_owned),
            known: vec!["kind-a".into(), "prod".into()],
            server,
        };
        let none = evaluate(&seen(None, None));
        assert_eq!(none.status, Status::Missing);
        assert!(none.hint.is_some_and(|hint| hint.contains("kind-a, prod")));
        let silent = Error::new(Code::Platform, "no API server answers").hint("is it running?");
        let silent = evaluate(&seen(Some("prod"), Some(Err(silent))));
        assert_eq!(silent.status, Status::Unusable);
        assert_eq!(silent.hint.as_deref(), Some("is it running?"));
        let there = ("https://prod:6443".to_owned(), "v1.34.1".to_owned());
        let there = evaluate(&seen(Some("prod"), Some(Ok(there))));
        assert_eq!(there.status, Status::Ok);
        assert_eq!(there.version.as_deref(), Some("v1.34.1"));
    }
}
