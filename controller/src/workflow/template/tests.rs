use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scope() -> Value {
    json!({
        "inputs": {"task": "say {{ hi }} <b>", "max_fix": 3, "nothing": null},
        "job": {"number": 42, "id": "0190", "title": "t", "repo": null},
        "steps": {
            "plan": {"ok": true, "state": "succeeded", "outputs": {"plan": {"items": [{"id": "1"}]}, "risk": 0.5}},
            "check": {"ok": false, "state": "failed", "outputs": {}},
        },
        "round": {"n": 1, "prev": {}},
    })
}

#[test]
fn one_expression_keeps_its_type() {
    let template = json!({
        "number": "{{ inputs.max_fix + 1 }}",
        "object": "{{ steps.plan.outputs.plan }}",
        "list": ["{{ steps.plan.outputs.plan['items'] }}", 7, true, null, "plain"],
        "text": "agentd/{{ job.number }}",
        "two": "{{ job.number }}{{ job.number }}",
        "braces": "{{ '}} and {{' }}",
    });
    let expected = json!({
        "number": 4,
        "object": {"items": [{"id": "1"}]},
        "list": [[{"id": "1"}], 7, true, null, "plain"],
        "text": "agentd/42",
        "two": "4242",
        "braces": "}} and {{",
    });
    assert_eq!(render(&template, &scope()), Ok(expected));
}

#[test]
fn undefined_values_are_null_and_may_be_chained() {
    let template = json!({"a": "{{ round.prev.check.outputs.report }}", "b": "{{ nobody.knows.this[3].x }}"});
    assert_eq!(render(&template, &scope()), Ok(json!({"a": null, "b": null})));
    assert_eq!(is_true("steps.nobody.ok", &scope()), Ok(false));
    let first_round = json!({"round": {"n": 1, "prev": null}});
    assert_eq!(
        evaluate("round.prev.check.outputs.report", &first_round),
        Ok(Value::Null)
    );
    assert_eq!(
        render_text("<{{ steps.nobody.ok }}{{ inputs.nothing }}>", &scope()).expect("text"),
        "<>"
    );
}

#[test]
fn conditions_read_steps() {
    for (expression, expected) in [
        ("steps.plan.ok and not steps.check.ok", true),
        (
            "steps.check.ok and steps.review.outputs.decision == 'approve'",
            false,
        ),
        ("steps.plan.outputs.risk >= 0.7", false),
        ("steps.plan.outputs.plan['items'] | length == 1", true),
        ("steps.plan.outputs.plan.items[0].id == '1'", true),
        ("round.n == 1", true),
    ] {
        assert_eq!(is_true(expression, &scope()), Ok(expected), "{expression}");
    }
}

#[test]
fn text_is_not_escaped_not_rendered_twice_and_keeps_its_last_newline() {
    assert_eq!(
        render_text("{{ inputs.task }}\n", &scope()).expect("text"),
        "say {{ hi }} <b>\n"
    );
    assert_eq!(
        render_text(
            "{{ steps.plan.outputs.plan }} {{ steps.plan.ok }} {{ steps.plan.outputs.risk }}",
            &scope()
        )
        .expect("text"),
        r#"{"items":[{"id":"1"}]} true 0.5"#
    );
}

#[test]
fn evaluation_is_bounded() {
    for expression in [
        "'x' * 100000000",
        "[range(100000)] * 1000",
        "range(100000) | list | join('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx')",
    ] {
        let result = evaluate(expression, &scope());
        assert!(
            matches!(result, Err(TemplateError::TooMuch { .. })),
            "{expression}: {result:?}"
        );
    }
    let loops = "{% for a in range(1000) %}{% for b in range(1000) %}{{ a }}{% endfor %}{% endfor %}";
    let result = render_text(loops, &scope());
    assert!(matches!(result, Err(TemplateError::TooMuch { .. })), "{result:?}");
}

#[test]
fn no_other_file_can_be_read() {
    for template in ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}"] {
        assert!(
            matches!(render_text(template, &scope()), Err(TemplateError::Syntax { .. })),
            "{template}"
        );
    }
}

#[test]
fn errors_name_the_text_and_the_reason() {
    let error = evaluate("steps.plan.ok and", &scope()).expect_err("half an expression");
    assert!(
        error
            .to_string()
            .starts_with("\"steps.plan.ok and\" cannot be read: "),
        "{error}"
    );
    let error = evaluate("inputs.task | shout", &scope()).expect_err("no such filter");
    assert!(error.to_string().contains("shout"), "{error}");
    assert!(matches!(error, TemplateError::UnknownName { .. }));
    let error = evaluate("inputs.task / 2", &scope()).expect_err("text is no number");
    assert!(matches!(error, TemplateError::Evaluation { .. }), "{error}");
}

#[test]
fn names_are_found_without_evaluation() {
    let names =
        names_in_expression("steps.plan.ok and range(inputs.n)[0] == 1 or steps['x']").expect("valid");
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        ["inputs.n", "steps", "steps.plan.ok"]
    );
    let names =
        names_in_template("a {{ round.prev.check }} {% for x in steps.plan.items %}{{ x.y }}{% endfor %}");
    assert_eq!(
        names.expect("valid").into_iter().collect::<Vec<_>>(),
        ["round.prev.check", "steps.plan.items"]
    );
}

proptest! {
    #[test]
    fn any_text_renders_or_fails_without_a_panic(text in "[ -~\\n]{0,60}") {
        let _ = render_text(&text, &scope());
        let _ = evaluate(&text, &scope());
    }

    #[test]
    fn a_text_without_braces_stays(text in "[^{}]{0,60}") {
        prop_assert_eq!(render(&json!(text.clone()), &scope()), Ok(json!(text)));
    }
}
