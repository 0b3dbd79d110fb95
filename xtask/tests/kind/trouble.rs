//! What `up` says when a pod cannot work.

use crate::cluster::Kind;

/// The operator would wait five minutes for such a pod, and its resource says nothing meanwhile: the
/// gate fails as soon as it looks, and does not wait for its own time to end.
#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn an_image_that_is_nowhere_is_named_at_once() {
    let mut kind = Kind::new("noimage");
    kind.extra
        .push("connect.image=cdc-connect:is-nowhere".into());
    let (_, text) = kind.fails(&["up", "--yes"]);
    assert!(text.contains("cdc-connect:is-nowhere"), "{text}");
    assert!(text.contains("[GATE_FAILED]"), "{text}");
    assert!(!text.contains("[GATE_TIMEOUT]"), "{text}");
}
