//! A push to a real registry.

use xtask::image::{build, push};
use xtask::plan::Progress;

use crate::lab::Lab;

#[tokio::test]
#[ignore = "needs CDC_TEST_REGISTRY=host:port"]
async fn a_push_is_confirmed_by_the_registrys_own_digest() {
    let registry = std::env::var("CDC_TEST_REGISTRY").expect("CDC_TEST_REGISTRY");
    let mut lab = Lab::new().await;
    lab.base("cdc-test-base:push", "slf4j-api.jar").await;
    let mut image = lab.connect("cdc-test-base:push");
    image.repository = format!("{registry}/team/cdc-test");
    let quiet = Progress::silent();
    let built = build::build(&lab.docker, &image, &quiet).await.unwrap();
    lab.forget(&built.reference);
    let pushed = push::push(&lab.docker, &built.reference, &quiet)
        .await
        .unwrap();
    assert!(pushed.digest.starts_with("sha256:"), "{pushed:?}");
    // What the engine knows the image by afterwards is what a pod's imageID will say.
    let seen = lab.docker.inspect_image(&built.reference).await.unwrap();
    let digests = seen.repo_digests.unwrap();
    assert!(
        digests.contains(&format!("{}@{}", image.repository, pushed.digest)),
        "{digests:?}"
    );
    let again = push::push(&lab.docker, &built.reference, &quiet)
        .await
        .unwrap();
    assert_eq!(again, pushed);

    let refused = push::push(&lab.docker, "127.0.0.1:1/cdc-test:none", &quiet).await;
    let error = refused.unwrap_err();
    assert!(error.message.contains("127.0.0.1:1"), "{error}");
    assert!(error.hint.unwrap().contains("docker login"));
    lab.end().await;
}
