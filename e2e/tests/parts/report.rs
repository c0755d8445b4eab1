//! `agentctl report --html`: a page that may be opened by anybody, whatever a job has said.

use e2e::Lab;

const EVIL: &str = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>";

#[test]
fn a_hostile_job_makes_a_harmless_page() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let script = format!("printf '%s\\n' '{EVIL}'; printf '\\033[31m%s\\n' 'red'; exit 3");
    let run = controller.ctl(&["run", "--title", EVIL, "run", "--", "/bin/sh", "-c", &script]);
    assert_eq!(run.status.code(), Some(3), "{run:?}");

    let page = controller.ctl(&["report", "@last", "--html"]);
    assert_eq!(page.status.code(), Some(0), "{page:?}");
    let page = String::from_utf8(page.stdout).expect("UTF-8");
    for tag in ["<script", "<img", "\u{1b}", " src=x onerror=alert(2)>\n"] {
        assert!(!page.contains(tag), "{tag:?} in {page}");
    }
    let policy =
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-";
    assert!(page.contains(policy), "{page}");
    // title, command and log, each as text
    let shown = page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count();
    assert!(shown >= 4, "{shown}: {page}");
    for part in [
        "The job has delivered none.",
        "exit: the command exited with 3",
        "<summary>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}
