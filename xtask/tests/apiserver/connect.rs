use xtask::error::{Code, Exit};
use xtask::platform::kubernetes::Cluster;

use crate::server::{admin, kubeconfig};

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_named_context_is_connected_and_the_current_one_never() {
    let cluster = admin().await;
    assert_eq!(cluster.context, "admin");
    assert!(
        cluster.server.starts_with("https://127.0.0.1:"),
        "{}",
        cluster.server
    );
    assert!(cluster.version().await.unwrap().starts_with('v'));
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn an_unknown_context_names_the_nearest_and_all() {
    let error = Cluster::of(kubeconfig(), "limted").await.err().unwrap();
    assert_eq!(
        (error.code, error.code.exit()),
        (Code::Platform, Exit::Precondition)
    );
    let text = error.to_string();
    assert!(text.contains("there is no context `limted`"), "{text}");
    assert!(
        text.contains("there are: admin, limited, nobody, reader, nowhere"),
        "{text}"
    );
    assert!(text.contains("`--context limited`"), "{text}");
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_server_that_is_not_there_is_named_at_once() {
    let begin = std::time::Instant::now();
    let error = Cluster::of(kubeconfig(), "nowhere").await.err().unwrap();
    assert_eq!(error.code, Code::Platform);
    let text = error.to_string();
    assert!(
        text.contains("no API server answers at https://127.0.0.1:1: "),
        "{text}"
    );
    assert!(text.contains("context nowhere"), "{text}");
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn refused_credentials_are_said_to_be_refused() {
    admin().await;
    let error = Cluster::of(kubeconfig(), "nobody").await.err().unwrap();
    assert_eq!(error.code, Code::Platform);
    let text = error.to_string();
    assert!(
        text.contains("refuses the credentials of context nobody"),
        "{text}"
    );
}
