//! Syncs that fail: what the disk did not confirm is not acknowledged.

use crate::{say, scene::Scene, size, start};

#[test]
fn a_sync_that_fails_is_never_acknowledged() {
    if !e2e::repo::has("strace") {
        e2e::skip("strace is not installed: failing syncs were not tested");
        return;
    }
    let mut scene = Scene::new("");
    let storm = scene.storm(false);
    for _ in 0..size(2, 40) {
        scene.controller.kill();
        let (first, step) = (2 + scene.dice.below(20), 2 + scene.dice.below(8));
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={first}+{step}");
        let trace = "trace=fsync,fdatasync";
        scene.controller.run_through(&[
            "strace",
            "-D",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            trace,
            "-e",
            &inject,
        ]);
        // its very start may be refused, and that is right
        scene.controller.spawn();
        scene.dice.pause(1500, 2500);
    }
    scene.controller.kill();
    scene.controller.run_through(&[]);
    start(&mut scene.controller);
    let refused = scene
        .history
        .told()
        .refused
        .iter()
        .filter(|(status, _)| **status >= 500)
        .map(|(_, count)| count)
        .sum::<u64>();
    let verdict = scene.end(storm);
    say(&format!("failing syncs, {refused} answers of 5xx: {verdict}"));
    assert!(refused > 0, "no sync failed");
}
