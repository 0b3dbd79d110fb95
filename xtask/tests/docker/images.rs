//! The image is built once per content, and looked into before use.

use xtask::error::Code;
use xtask::image::{build, inspect};
use xtask::plan::Progress;

use crate::lab::Lab;

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn the_image_is_built_once_and_anew_when_anything_changes() {
    let mut lab = Lab::new().await;
    lab.base("cdc-test-base:good", "slf4j-api.jar").await;
    let image = lab.connect("cdc-test-base:good");
    let quiet = Progress::silent();

    let built = build::build(&lab.docker, &image, &quiet).await.unwrap();
    lab.forget(&built.reference);
    assert!(built.new);
    assert_eq!(built.reference, image.reference().unwrap());
    let again = build::build(&lab.docker, &image, &quiet).await.unwrap();
    assert!(!again.new);
    assert_eq!(again.id, built.id);
    let seen = lab.docker.inspect_image(&built.reference).await.unwrap();
    let config = seen.config.unwrap();
    assert_eq!(config.user.as_deref(), Some("1001"));
    assert_eq!(config.labels.unwrap()[build::INPUTS_LABEL], built.inputs);

    // An image that only bears the name is not taken for it.
    let fake = image.clone();
    lab.docker
        .tag_image(
            "cdc-test-base:good",
            Some(
                bollard::query_parameters::TagImageOptionsBuilder::default()
                    .repo("cdc-test-connect")
                    .tag(built.reference.rsplit(':').next().unwrap())
                    .build(),
            ),
        )
        .await
        .unwrap();
    assert!(build::build(&lab.docker, &fake, &quiet).await.unwrap().new);

    assert!(
        inspect::inspect(&lab.docker, &image, &built.id, &lab.cache(), &quiet)
            .await
            .unwrap()
    );
    assert!(
        !inspect::inspect(&lab.docker, &image, &built.id, &lab.cache(), &quiet)
            .await
            .unwrap(),
        "the second look is spared"
    );

    let dockerfile = image.source.join("Dockerfile");
    let text = std::fs::read_to_string(&dockerfile).unwrap();
    std::fs::write(&dockerfile, format!("{text}ENV CHANGED=1\n")).unwrap();
    let changed = build::build(&lab.docker, &image, &quiet).await.unwrap();
    lab.forget(&changed.reference);
    assert!(changed.new && changed.reference != built.reference && changed.id != built.id);

    std::fs::write(&dockerfile, format!("{text}COPY nothing /here\n")).unwrap();
    let error = build::build(&lab.docker, &image, &quiet).await.unwrap_err();
    assert_eq!(error.code, Code::Service);
    assert!(error.message.contains("COPY nothing /here"), "{error}");
    lab.end().await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn an_image_that_is_not_fit_is_refused_with_its_faults() {
    let mut lab = Lab::new().await;
    lab.base("cdc-test-base:reload4j", "slf4j-reload4j-1.7.36.jar")
        .await;
    let mut image = lab.connect("cdc-test-base:reload4j");
    let quiet = Progress::silent();
    let built = build::build(&lab.docker, &image, &quiet).await.unwrap();
    lab.forget(&built.reference);
    let refusal = inspect::inspect(&lab.docker, &image, &built.id, &lab.cache(), &quiet).await;
    let error = refusal.unwrap_err();
    assert_eq!(error.code, Code::GateFailed);
    assert_eq!(error.details.len(), 1, "{error}");
    assert!(
        error.details[0].contains("/opt/kafka/libs/slf4j-reload4j-1.7.36.jar"),
        "{error}"
    );

    image.plugins[0].class = "io.debezium.Other".into();
    lab.image("cdc-test-base:empty", &[("/nothing", b"x".to_vec())])
        .await;
    let id = lab
        .docker
        .inspect_image("cdc-test-base:empty")
        .await
        .unwrap()
        .id
        .unwrap();
    let refusal = inspect::inspect(&lab.docker, &image, &id, &lab.cache(), &quiet).await;
    let details = refusal.unwrap_err().details.join("\n");
    for part in [
        "kafka_connect_run.sh is missing",
        "no jar with io.debezium.Other",
    ] {
        assert!(details.contains(part), "{details}");
    }
    let left = lab
        .docker
        .list_containers(Some(
            bollard::query_parameters::ListContainersOptionsBuilder::default()
                .all(true)
                .filters(&std::collections::HashMap::from([("ancestor", vec![id])]))
                .build(),
        ))
        .await
        .unwrap();
    assert!(left.is_empty(), "the container for looking is gone");
    lab.end().await;
}

/// The name stays the same when only the base's content changes: what is not fit must not be found again.
#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn an_image_that_is_not_fit_is_built_again_once_its_base_is_repaired() {
    let mut lab = Lab::new().await;
    let base = "cdc-test-base:repaired";
    lab.base(base, "slf4j-reload4j-1.7.36.jar").await;
    let image = lab.connect(base);
    let (quiet, cache) = (Progress::silent(), lab.cache());
    let fit = async || build::fit(&lab.docker, &image, &cache, &quiet).await;
    let there = async || {
        let reference = image.reference().unwrap();
        lab.docker.inspect_image(&reference).await.is_ok()
    };
    let error = fit().await.unwrap_err();
    assert_eq!(error.code, Code::GateFailed);
    assert!(error.hint.unwrap().contains(base));
    assert!(!there().await, "it is removed");
    // One from before, of a tool that did not remove it.
    build::build(&lab.docker, &image, &quiet).await.unwrap();
    assert_eq!(fit().await.unwrap_err().code, Code::GateFailed);
    assert!(!there().await);
    build::build(&lab.docker, &image, &quiet).await.unwrap();
    lab.base(base, "slf4j-api.jar").await;
    let image = lab.connect(base);
    let built = build::fit(&lab.docker, &image, &cache, &quiet)
        .await
        .unwrap();
    lab.forget(&built.reference);
    assert!(built.new, "the one that was there is not fit");
    let again = build::fit(&lab.docker, &image, &cache, &quiet)
        .await
        .unwrap();
    assert!(!again.new);
    lab.end().await;
}
