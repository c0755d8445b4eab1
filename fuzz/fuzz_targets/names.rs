//! Names, topics, URLs and tokens that others wrote.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{
    artifact::check_name,
    http::join::JoinToken,
    topic::{Topic, covers, is_valid_filter, is_valid_topic},
    worker::check_worker_name,
};
use worker::tools::git::RemoteUrl;

fuzz_target!(|text: &str| {
    if check_name(text).is_ok() {
        let normal = |part| matches!(part, std::path::Component::Normal(_));
        assert!(std::path::Path::new(text).components().all(normal));
    }
    if let Ok(topic) = text.parse::<Topic>() {
        assert!(!is_valid_topic(text) || covers("#", &topic.to_string()));
    }
    let (one, two) = text.split_at(text.floor_char_boundary(text.len() / 2));
    if is_valid_filter(one) && covers(one, two) {
        assert!(covers("#", two));
    }
    for file_allowed in [false, true] {
        if let Ok(url) = RemoteUrl::parse(text, file_allowed) {
            assert!(!url.as_str().starts_with('-'));
        }
    }
    if let Ok(token) = JoinToken::decode(text) {
        let _ = JoinToken::id_of(&token.proof());
    }
    let _ = check_worker_name(text);
});
