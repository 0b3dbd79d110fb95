//! One holder of a lease at a time, and the next one after it has gone, with a word or without.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use xtask::error::Code;
use xtask::platform::kubernetes::Cluster;
use xtask::platform::kubernetes::lease::{Claim, HOLDS, Held, Wanted};

use crate::server::{admin, cluster};

const SPACE: &str = "default";

async fn ours(wanted: &mut Wanted) -> Box<Held> {
    match wanted.claim().await.unwrap() {
        Claim::Ours(held) => held,
        Claim::Theirs { holder, .. } => panic!("{holder} has it"),
    }
}

async fn theirs(wanted: &mut Wanted) -> (String, bool) {
    match wanted.claim().await.unwrap() {
        Claim::Ours(_) => panic!("somebody has it"),
        Claim::Theirs { holder, fresh } => (holder, fresh),
    }
}

async fn lease(cluster: &Cluster, name: &str) -> Lease {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), SPACE);
    api.get(name).await.unwrap()
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_lease_has_one_holder_and_is_given_back() {
    let admin = admin().await;
    let want = |holder: &str| Wanted::new(&admin, SPACE, "given", holder);
    let (mut a, mut b) = (want("a"), want("b"));
    let held = ours(&mut a).await;
    assert!(held.holds());
    assert_eq!(theirs(&mut b).await, ("a".into(), true));
    // It is renewed while it is held.
    let before = lease(&admin, "given").await.spec.unwrap().renew_time;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_ne!(
        lease(&admin, "given").await.spec.unwrap().renew_time,
        before
    );
    assert!(held.holds());
    held.release().await;
    let next = ours(&mut b).await;
    let spec = lease(&admin, "given").await.spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("b"));
    assert_eq!(spec.lease_transitions, Some(1));
    next.release().await;
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_holder_that_went_without_a_word_is_followed_and_learns_it() {
    let admin = admin().await;
    let want = |holder: &str| Wanted::new(&admin, SPACE, "taken", holder);
    let (mut a, mut b, mut c) = (want("a"), want("b"), want("c"));
    // Dropped as by a kill: nothing is renewed, nothing given back.
    drop(ours(&mut a).await);
    let begin = Instant::now();
    let held = loop {
        match b.claim().await.unwrap() {
            Claim::Ours(held) => break held,
            Claim::Theirs { holder, .. } => assert_eq!(holder, "a"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(begin.elapsed() >= HOLDS, "{:?}", begin.elapsed());
    // The one who has just begun to look knows of no pause yet, whatever the clocks say.
    assert_eq!(theirs(&mut c).await.0, "b");

    // Somebody else wrote itself into it: who held it stops.
    let api: Api<Lease> = Api::namespaced(admin.client.clone(), SPACE);
    let mut stolen = lease(&admin, "taken").await;
    stolen.spec.as_mut().unwrap().holder_identity = Some("thief".into());
    api.replace("taken", &Default::default(), &stolen)
        .await
        .unwrap();
    let begin = Instant::now();
    while held.holds() {
        assert!(begin.elapsed() < HOLDS, "it does not notice");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What is another's is not given back.
    held.release().await;
    let holder = lease(&admin, "taken").await.spec.unwrap().holder_identity;
    assert_eq!(holder.as_deref(), Some("thief"));
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn of_many_who_try_at_once_one_gets_the_lease() {
    let admin = admin().await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut wanted = Wanted::new(&admin, SPACE, "raced", &format!("n{number}"));
        tries.spawn(async move { wanted.claim().await.unwrap() });
    }
    let claims = tries.join_all().await;
    let held = claims
        .iter()
        .filter(|claim| matches!(claim, Claim::Ours(_)));
    assert_eq!(held.count(), 1);
}

#[tokio::test]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn a_missing_permission_is_named() {
    admin().await;
    let limited = cluster("limited").await;
    let mut wanted = Wanted::new(&limited, SPACE, "forbidden", "a");
    let error = wanted.claim().await.err().unwrap();
    assert_eq!(error.code, Code::Platform);
    let text = error.to_string();
    assert!(
        text.contains("Lease default/forbidden: not permitted"),
        "{text}"
    );
    assert!(text.contains("leases.coordination.k8s.io"), "{text}");
}
