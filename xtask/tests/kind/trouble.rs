//! What `up` says when a pod cannot work.

use std::time::{Duration, Instant};

use serde_json::Value;

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
    // The rules say so too, here and when they are asked.
    assert!(text.contains("IMAGE_UNAVAILABLE connect"), "{text}");
    assert!(text.contains("cdc-connect:is-nowhere"), "{text}");
    assert!(text.contains("[GATE_FAILED]"), "{text}");
    assert!(!text.contains("[GATE_TIMEOUT]"), "{text}");

    let told = kind.run(&["diagnose", "--output", "json"]);
    assert_eq!(told.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(told["findings"][0]["code"], "IMAGE_UNAVAILABLE", "{told:#}");
    assert_eq!(told["findings"][0]["subject"], "connect", "{told:#}");
    println!("facts took {} ms", told["took_ms"]);

    // What it says to do.
    kind.extra.retain(|set| !set.starts_with("connect.image"));
    let output = kind.run(&["up", "--yes"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    // It would ignore the change for five minutes.
    assert!(text.contains("restarted the operator"), "{text}");
    // Right after it everything begins at once, and not everything answers in time.
    let begin = Instant::now();
    let none = serde_json::json!([]);
    let sound = loop {
        let told: Value =
            serde_json::from_slice(&kind.run(&["diagnose", "--output", "json"]).stdout)
                .expect("JSON");
        assert_eq!(told["findings"], none, "{told:#}");
        if told["unknown"] == none {
            break told;
        }
        assert!(begin.elapsed() < Duration::from_secs(180), "{told:#}");
    };
    assert_eq!(sound["sound"], true, "{sound:#}");
    println!("facts took {} ms", sound["took_ms"]);
}
