//! Providers that do not answer as they should: the job ends, or waits, with a clear
//! sentence that names provider and cause, and others are not disturbed.

use std::{fs, time::Instant};

use e2e::{
    Controller, Lab, eventually,
    jobs::DIALECTS,
    model::{Reply, ScriptedModel},
    repo::SAMPLES,
};
use serde_json::Value;

use super::{super::implement::good_answers, UnderWay};

/// What the model does to a job, what is said about it, and how often the model is asked.
struct Trouble {
    name: &'static str,
    reply: fn() -> Reply,
    said: &'static [&'static str],
    asked: usize,
}

/// Of what a provider sends and of what it does not send. A refusal that may pass by
/// itself, a broken connection and a silence are tried three times.
const TROUBLES: [Trouble; 7] = [
    Trouble {
        name: "unauthorised",
        reply: || Reply::Status(401, None),
        said: &["answered 401 Unauthorized: scripted error"],
        asked: 1,
    },
    Trouble {
        name: "busy",
        reply: || Reply::Status(429, Some(1)),
        said: &["answered 429 Too Many Requests: scripted error"],
        asked: 3,
    },
    Trouble {
        name: "faulty",
        reply: || Reply::Status(500, None),
        said: &["answered 500 Internal Server Error: scripted error"],
        asked: 3,
    },
    Trouble {
        name: "mute",
        reply: || Reply::Silence,
        said: &["did not begin to answer within 1s"],
        asked: 3,
    },
    Trouble {
        name: "stalling",
        reply: || Reply::Stalled(words()),
        said: &["was silent for 1s in the middle of its answer"],
        asked: 3,
    },
    Trouble {
        name: "breaking",
        reply: || Reply::Broken(words()),
        said: &["broke the connection"],
        asked: 3,
    },
    Trouble {
        name: "endless",
        reply: || Reply::Endless(words()),
        said: &["was not done with its answer after 3s"],
        asked: 1,
    },
];

fn words() -> String {
    "and so it goes on, ".repeat(20)
}

/// One provider, model and workflow per dialect, and a provider where nobody listens.
fn config(lab: &Lab, model: &ScriptedModel, retries: u32) -> String {
    let folder = lab.path("workflows");
    fs::create_dir_all(&folder).expect("writable");
    let timeouts = "timeouts: {first_byte_s: 1, silence_s: 1, answer_s: 3}";
    let impatient = |provider: &str| format!("{}, {timeouts}}}", provider.trim_end_matches('}'));
    let down = "{kind: openai, base_url: \"http://127.0.0.1:1/v1\"}".to_owned();
    let served = DIALECTS.map(|dialect| (dialect, model.provider(dialect)));
    let (mut providers, mut models) = (String::new(), String::new());
    for (name, provider) in served.into_iter().chain([("down", down)]) {
        providers.push_str(&format!("  {name}: {}\n", impatient(&provider)));
        models.push_str(&format!(
            "  {name}: [{{provider: {name}, model: scripted, window: 65536}}]\n"
        ));
        let workflow = format!(
            "api: agentd/v1\nname: ask-{name}\ninputs: {{task: {{type: text, required: true}}}}\n\
             defaults: {{model: {name}, retry: {{max: {retries}}}}}\n\
             steps:\n  plan: {{agent: architect, with: {{task: \"{{{{ inputs.task }}}}\"}}}}\n"
        );
        fs::write(folder.join(format!("ask-{name}.yaml")), workflow).expect("writable");
    }
    format!(
        "providers:\n{providers}models:\n{models}workflows: [\"{}\"]\n",
        folder.display()
    )
}

fn submit(controller: &Controller, lab: &Lab, provider: &str, task: &str) -> u64 {
    let repo = lab.path("repo");
    let args = ["submit", "--repo", ".", &format!("ask-{provider}"), task];
    let output = controller.ctl_in(&repo, &args);
    let number = String::from_utf8_lossy(&output.stdout).trim().parse();
    number.unwrap_or_else(|_| panic!("{output:?}"))
}

fn reason(job: &Value) -> &str {
    job["reason"].as_str().unwrap_or_default()
}

#[test]
fn every_trouble_of_a_provider_ends_the_job_with_its_name_and_cause() {
    let lab = Lab::without_sandbox();
    SAMPLES[0].create(&lab.path("repo"));
    let model = ScriptedModel::listening(|call| {
        let found = TROUBLES
            .iter()
            .find(|trouble| call.text.contains(&task(trouble.name)));
        found.map_or(Reply::Status(400, None), |trouble| (trouble.reply)())
    });
    let controller = lab.controller(&config(&lab, &model, 0));
    let _workers = ["one", "two", "three"].map(|name| lab.worker(&controller, name));
    let other = UnderWay::begin(&lab, &controller);

    let down = submit(&controller, &lab, "down", "nobody listens");
    let jobs: Vec<(u64, &str, &Trouble)> = TROUBLES
        .iter()
        .flat_map(|trouble| DIALECTS.map(|dialect| (dialect, trouble)))
        .map(|(dialect, trouble)| {
            // each dialect is another question, so that they can be counted apart
            let task = format!("{} ({dialect})", task(trouble.name));
            (submit(&controller, &lab, dialect, &task), dialect, trouble)
        })
        .collect();
    let failed = |number: u64, provider: &str, said: &[&str]| {
        let ended = controller.ctl(&["wait", &number.to_string(), "--timeout", "90s"]);
        let job = controller.job(number);
        assert_eq!(ended.status.code(), Some(3), "{job}");
        for part in [
            &[
                "step plan failed",
                &format!("provider \"{provider}\" at http://127.0.0.1:"),
            ],
            said,
        ]
        .concat()
        {
            assert!(
                reason(&job).contains(part),
                "{provider}: {part:?} in {}",
                reason(&job)
            );
        }
        assert!(!reason(&job).contains("api_key"), "{job}");
    };
    failed(down, "down", &["is not reachable: Connection refused"]);
    for (number, dialect, trouble) in jobs {
        failed(number, dialect, trouble.said);
        let calls = model.calls();
        let question = format!("{} ({dialect})", task(trouble.name));
        let asked = calls.iter().filter(|(_, text)| text.contains(&question)).count();
        assert_eq!(asked, trouble.asked, "{dialect}, {}", trouble.name);
    }
    other.ends_well(&controller);
}

fn task(trouble: &str) -> String {
    format!("the {trouble} one")
}

#[test]
fn a_busy_provider_is_asked_again_no_sooner_than_it_wants() {
    let lab = Lab::without_sandbox();
    SAMPLES[0].create(&lab.path("repo"));
    let answers = good_answers(&SAMPLES[0]);
    let model = ScriptedModel::start(move |role, before| match before {
        0 => Reply::Status(429, Some(2)),
        _ => answers(role, before),
    });
    let controller = lab.controller(&config(&lab, &model, 0));
    let _worker = lab.worker(&controller, "one");
    let begun = Instant::now();
    let job = submit(&controller, &lab, "openai", "plan it").to_string();
    let ended = controller.ctl(&["wait", &job, "--timeout", "90s"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(begun.elapsed().as_secs() >= 2, "{:?}", begun.elapsed());
    assert_eq!(model.calls().len(), 2);
}

#[test]
fn a_provider_that_wants_an_hour_makes_the_job_wait_and_why_says_until_when() {
    let lab = Lab::without_sandbox();
    SAMPLES[0].create(&lab.path("repo"));
    let model = ScriptedModel::start(|_, _| Reply::Status(429, Some(3600)));
    let controller = lab.controller(&config(&lab, &model, 1));
    let _worker = lab.worker(&controller, "one");
    let job = submit(&controller, &lab, "anthropic", "plan it");
    eventually("the step to wait", || {
        (controller.job(job)["steps"][0]["state"] == "retry_wait").then_some(())
    });
    let number = job.to_string();
    let why = controller.ctl(&["why", &number]);
    let text = String::from_utf8_lossy(&why.stdout).into_owned();
    for part in [
        "will be tried again at 20",
        "provider \"anthropic\"",
        "answered 429 Too Many Requests: scripted error",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert_eq!(controller.job(job)["state"], "waiting");
    assert_eq!(model.calls().len(), 1, "it is left alone");
    assert_eq!(controller.ctl(&["cancel", &number]).status.code(), Some(0));
    assert_eq!(controller.ctl(&["wait", &number]).status.code(), Some(9));
}
