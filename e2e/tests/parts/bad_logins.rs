//! A guesser at the door while an operator works.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use e2e::{Lab, http};

/// Wrong tokens, all from one address.
const GUESSES: usize = 1000;

/// The operator's calls until `enough`, each in full.
fn operate(address: &str, token: &str, enough: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut took = vec![];
    while !enough(took.len()) {
        let begun = Instant::now();
        let answer = http::request(address, "GET", "/v1/status", Some(token), b"");
        assert_eq!(answer.status, 200, "a valid token is always served: {answer:?}");
        took.push(begun.elapsed());
    }
    took
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[test]
fn a_thousand_bad_logins_are_slowed_down_and_the_operator_is_served_from_the_same_address() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let (address, token) = (
        controller.url().trim_start_matches("http://").to_owned(),
        controller.token(),
    );
    let before = p99(operate(&address, &token, |count| count >= 200));
    let done = AtomicBool::new(false);
    let (answers, during) = std::thread::scope(|scope| {
        let operator = scope.spawn(|| {
            operate(&address, &token, |count| {
                done.load(Ordering::Relaxed) && count >= 100
            })
        });
        let guess = |number: usize| {
            let wrong = format!("agt_{number:064x}");
            http::request(&address, "GET", "/v1/jobs", Some(&wrong), b"")
        };
        let answers: Vec<_> = (0..GUESSES).map(guess).collect();
        done.store(true, Ordering::Relaxed);
        (answers, p99(operator.join().expect("the operator was served")))
    });
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    let limited: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(refused + limited.len(), GUESSES);
    assert!(
        (1..=60).contains(&refused),
        "{refused} guesses were looked at as such"
    );
    assert!(
        limited
            .iter()
            .all(|answer| answer.header("retry-after") == Some("60"))
    );
    assert_eq!(limited[0].json()["code"], "rate_limited");
    eprintln!(
        "{GUESSES} wrong tokens: {refused} times 401, {} times 429; the operator's p99 was {before:?} before and \
         {during:?} meanwhile",
        limited.len()
    );
    // no credential at all is no guess
    let nobody = http::request(&address, "GET", "/v1/jobs", None, b"");
    assert_eq!(nobody.status, 401, "{nobody:?}");
}
