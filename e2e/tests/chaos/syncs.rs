//! Syncs that fail: what the disk did not confirm is not acknowledged.

use crate::{say, scene::Scene, size, start, strace};

#[test]
fn a_sync_that_fails_is_never_acknowledged() {
    if !strace::is_here("failing syncs") {
        return;
    }
    let mut scene = Scene::new("");
    let storm = scene.storm(false);
    for _ in 0..size(2, 40) {
        scene.controller.kill();
        let (first, step) = (2 + scene.dice.below(20), 2 + scene.dice.below(8));
        let fault = format!("error=EIO:when={first}+{step}");
        strace::inject(&mut scene.controller, "fsync,fdatasync", &fault);
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
