use std::{
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
};

use protocol::{
    message::CancelReason,
    step::{ErrorClass, StepError},
};

use super::*;

fn env() -> Environment {
    [("PATH", std::env::var("PATH").expect("a PATH"))]
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn sh(script: &str) -> Exec {
    Exec::new(["/bin/sh", "-c", script], "/").environment(env())
}

async fn run(exec: Exec) -> ExecResult {
    exec.run(&LogSink::discard(), &Stop::default())
        .await
        .expect("it starts")
}

type Recorded = Arc<Mutex<Vec<(Stream, String)>>>;

/// A sink and the lines that it got.
fn recorder() -> (LogSink, Recorded) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let copy = Arc::clone(&lines);
    let sink = LogSink::new(move |stream, text| copy.lock().unwrap().push((stream, text.to_owned())));
    (sink, lines)
}

fn seconds(count: u64) -> Limits {
    Limits::default().time(Duration::from_secs(count))
}

async fn is_gone(pid: &str) -> bool {
    for _ in 0..200 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn exit_codes_signals_and_streams_are_told_apart() {
    let result = run(sh("echo out; echo err >&2; exit 3")).await;
    assert_eq!(
        (result.exit, result.signal, result.end),
        (Some(3), None, End::Itself)
    );
    assert_eq!(result.stdout.text(), "out\n");
    assert_eq!(result.stderr.text(), "err\n");
    assert!(!result.success());
    let result = run(sh("kill -9 $$")).await;
    assert_eq!((result.exit, result.signal), (None, Some(9)));
    assert_eq!(result.ending(), "was ended by signal 9");
}

#[tokio::test]
async fn merged_output_keeps_its_order() {
    let script = "echo a; echo b >&2; echo c; echo d >&2";
    let result = run(sh(script).output(Output::Merged)).await;
    assert_eq!(result.stdout.text(), "a\nb\nc\nd\n");
}

#[tokio::test]
async fn nothing_is_inherited_but_what_was_given() {
    let result = run(Exec::new(["env"], "/").environment(env())).await;
    let mut names: Vec<String> = result
        .stdout
        .text()
        .lines()
        .map(|line| line.split('=').next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["AGENTD_EXEC", "PATH"]);
    let result = run(sh("read line; echo got:$line; ls /proc/self/fd | wc -l")).await;
    assert_eq!(result.stdout.text().lines().next(), Some("got:"));
}

#[tokio::test]
async fn the_log_gets_lines_and_long_output_is_cut_in_the_middle() {
    let (sink, lines) = recorder();
    let limits = Limits {
        output: 1000,
        ..Limits::default()
    };
    let exec =
        sh("echo first; echo; for i in $(seq 1 200000); do echo line $i; done; printf last").limits(limits);
    let result = exec.run(&sink, &Stop::default()).await.unwrap();
    assert!(result.success());
    let lines = lines.lock().unwrap();
    assert_eq!(lines[0], (Stream::Out, "first".to_owned()));
    assert_eq!(lines[1], (Stream::Out, String::new()));
    assert_eq!(lines.last(), Some(&(Stream::Out, "last".to_owned())));
    assert!(
        lines
            .iter()
            .any(|(stream, text)| *stream == Stream::Info && text.contains("left out"))
    );
    assert!(lines.len() < 10_000, "{}", lines.len());
}

#[tokio::test]
async fn a_line_of_100_mb_is_cut_and_memory_stays_bounded() {
    let (sink, lines) = recorder();
    let exec = Exec::new(["head", "-c", "100000000", "/dev/zero"], "/").environment(env());
    let limits = Limits {
        output: 200_000_000,
        ..Limits::default()
    };
    let result = exec.limits(limits).run(&sink, &Stop::default()).await.unwrap();
    assert_eq!(result.stdout.total(), 100_000_000);
    assert!(result.stdout.bytes().len() < 2_000_000);
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].1.len() < 20_000);
    assert!(lines[0].1.contains("bytes more in this line"));
}

#[tokio::test]
async fn a_hang_is_ended_by_its_limit_even_when_sigterm_is_ignored() {
    let started = Instant::now();
    let limits = Limits::default().time(Duration::from_millis(300));
    let result = run(sh("trap '' TERM; sleep 100 & wait; sleep 100").limits(limits)).await;
    assert_eq!(result.end, End::TimedOut);
    assert!(!result.success());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_stop_ends_the_tree_after_the_given_grace() {
    let stop = Stop::default();
    let ask = stop.clone();
    let (sink, lines) = recorder();
    let running = tokio::spawn(async move {
        let exec = sh("trap 'echo politely; exit 7' TERM; echo $$; while :; do sleep 0.05; done")
            .limits(seconds(60));
        exec.run(&sink, &stop).await.unwrap()
    });
    while lines.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ask.request(CancelReason::User, Duration::from_secs(5));
    let result = running.await.unwrap();
    assert_eq!((result.end, result.exit), (End::Stopped, Some(7)));
    assert!(result.stdout.text().contains("politely"));
}

#[tokio::test]
async fn what_detached_itself_is_found_and_killed() {
    // leaves the group and the session, its parents end at once, and it ignores SIGTERM
    let script = "setsid sh -c '(trap \"\" TERM; exec sh -c \"echo \\$\\$; exec sleep 100\") &' & sleep 0.3; echo done";
    let result = run(sh(script).limits(seconds(20))).await;
    assert!(result.success(), "{result:?}");
    let text = result.stdout.text();
    let pid = text.lines().find(|line| *line != "done").expect("a pid");
    assert!(is_gone(pid).await, "process {pid} outlived its step");
    assert!(result.took < Duration::from_secs(10));
}

#[tokio::test]
async fn a_child_that_holds_the_pipe_open_does_not_hang_the_call() {
    let result = run(sh("sleep 100 & echo $!").limits(seconds(60))).await;
    assert!(result.success());
    assert!(result.took < Duration::from_secs(5));
    assert!(is_gone(&result.stdout.text()).await);
}

#[tokio::test]
async fn giving_up_the_call_kills_the_tree() {
    let (sink, lines) = recorder();
    let call = async { sh("sleep 100 & echo $!; wait").run(&sink, &Stop::default()).await };
    let seen = async {
        while lines.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = call => panic!("it cannot end"),
        () = seen => {}
    }
    let pid = lines.lock().unwrap()[0].1.clone();
    assert!(is_gone(&pid).await);
}

#[tokio::test]
async fn too_many_processes_and_too_much_memory_end_the_tree() {
    let limits = Limits {
        processes: 20,
        ..seconds(30)
    };
    let result = run(sh("for i in $(seq 1 60); do sleep 100 & done; wait").limits(limits)).await;
    assert_eq!(result.end, End::Processes, "{result:?}");
    let limits = Limits {
        memory: 64 << 20,
        ..seconds(30)
    };
    let hungry = Exec::new(
        ["python3", "-c", "a = bytearray(300_000_000); print(len(a))"],
        "/",
    );
    let result = run(hungry.environment(env()).limits(limits)).await;
    assert!(
        !result.success() && !result.stdout.text().contains("300000000"),
        "{result:?}"
    );
}

#[tokio::test]
async fn output_can_go_to_a_file_and_input_come_from_one() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::write(&from, b"\0binary\xff").unwrap();
    let exec = Exec::new(["cat"], "/")
        .environment(env())
        .input(File::open(&from).unwrap())
        .output(Output::File(File::create(&to).unwrap()));
    assert!(run(exec).await.success());
    let mut bytes = Vec::new();
    File::open(&to).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"\0binary\xff");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |exec: Exec| {
        exec.run(&LogSink::discard(), &Stop::default())
            .await
            .expect_err("no start")
    };
    let error = start(Exec::new(["no-such-program"], "/").environment(env())).await;
    assert!(
        error
            .to_string()
            .starts_with("`no-such-program` is not on this worker")
    );
    assert_eq!(StepError::from(error).class, ErrorClass::Missing);
    let error = start(Exec::new(Vec::<String>::new(), "/")).await;
    assert_eq!(StepError::from(error).class, ErrorClass::Spec);
    let error = start(Exec::new(["true"], folder.path().join("gone"))).await;
    assert!(error.to_string().contains("does not exist"));
    let script = folder.path().join("x");
    std::fs::write(&script, "no shebang\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = start(Exec::new(["./x"], folder.path()).environment(env())).await;
    assert!(error.to_string().contains("`./x` did not start"), "{error}");
}

#[tokio::test]
async fn a_short_command_costs_little() {
    let mut times = Vec::new();
    for _ in 0..40 {
        let result = run(Exec::new(["/bin/true"], "/").environment(env())).await;
        times.push(result.took);
    }
    times.sort();
    // a few ms on a quiet machine; the bound only catches a walk over all processes or a sleep
    assert!(times[5] < Duration::from_millis(25), "{times:?}");
}
