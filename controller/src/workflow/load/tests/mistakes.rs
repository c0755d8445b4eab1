//! Every mistake with its line, field, message and hint.

use super::*;

/// All mistakes of a text, one a line, hints in brackets.
fn mistakes(text: &str) -> Vec<String> {
    let errors = load(text, &Prompts::builtin()).expect_err("a mistake");
    let shown = errors.iter().map(|error| match &error.hint {
        Some(hint) => format!("{error} [{hint}]"),
        None => error.to_string(),
    });
    shown.collect()
}

/// The one mistake of a workflow with these steps, which begin in line 3.
fn in_steps(steps: &str) -> String {
    let found = mistakes(&format!("name: w\nsteps:\n{steps}\n"));
    assert_eq!(found.len(), 1, "{steps}: {found:#?}");
    found.into_iter().next().expect("one")
}

/// The one mistake of a workflow with this head before its steps, from line 2.
fn in_head(head: &str) -> String {
    let found = mistakes(&format!("name: w\n{head}\nsteps:\n  a: {{run: [ls]}}\n"));
    assert_eq!(found.len(), 1, "{head}: {found:#?}");
    found.into_iter().next().expect("one")
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_text() {
    let text =
        "api: agentd/v2\nname: W!\nsteps:\n  a: {agent: architekt, timout: 3m}\n  b: {needs: [c], run: ls}\n";
    assert_eq!(
        mistakes(text),
        [
            "line 1, api: `agentd/v2` is not known here [write `api: agentd/v1`]",
            "line 2, name: `W!` cannot name a workflow: a small letter first, then at most 39 small letters, digits, _ and -",
            "line 4, steps.a.timout: unknown key `timout` [did you mean `timeout`?]",
            "line 4, steps.a.agent: there is no role `architekt` [did you mean `architect`?]",
            "line 5, steps.b.run: a script needs `shell` [add `shell: bash`, or write the command as a list: [cargo, test]]",
            "line 5, steps.b.needs[0]: there is no step `c` [known: a]",
        ]
    );
}

#[test]
fn a_workflow_has_a_name_and_steps() {
    assert_eq!(
        mistakes("- a\n"),
        ["line 1: expected a workflow: a map with `name` and `steps`, found a list"]
    );
    assert_eq!(
        mistakes("{}"),
        ["line 1: `name` is missing", "line 1: `steps` is missing"]
    );
    assert_eq!(
        mistakes("name: w\nsteps:\n"),
        ["line 2, steps: expected steps by name, found nothing"]
    );
    assert_eq!(
        mistakes("name: w\nsteps: {}\n"),
        ["line 2, steps: there is no step"]
    );
    assert_eq!(
        mistakes("name: w\nsteps:\n  a: {run: [ls]}\nname: v\n"),
        ["line 4, name: `name` is given twice"]
    );
}

#[test]
fn the_head_is_checked() {
    for (head, expected) in [
        (
            "stepz: 3",
            "line 2, stepz: unknown key `stepz` [did you mean `steps`?]",
        ),
        (
            "timeout: 3",
            "line 2, timeout: expected a duration, found a number [write a number and a unit, such as 90s, 10m or 2h]",
        ),
        (
            "timeout: 3 weeks",
            "line 2, timeout: \"3 weeks\" is not a duration: write a number and a unit, such as 500ms, 90s, 10m, 2h or 1d",
        ),
        ("timeout: 0s", "line 2, timeout: 0s is no time at all"),
        ("timeout: 99d", "line 2, timeout: 99d is longer than 30d"),
        (
            "priority: high",
            "line 2, priority: expected a whole number, found text",
        ),
        (
            "priority: 1000",
            "line 2, priority: 1000 is not between -100 and 100",
        ),
        (
            "budget: {}",
            "line 2, budget: a budget needs `usd`, `tokens` or both",
        ),
        ("budget: {usd: 0}", "line 2, budget.usd: 0 is not above 0"),
        (
            "budget: {tokens: lots}",
            "line 2, budget.tokens: `lots` is no number of tokens [such as 600k or 2M]",
        ),
        (
            "budget: {usd: 1, on_exceed: prak}",
            "line 2, budget.on_exceed: `prak` is not one of park, fail [did you mean `park`?]",
        ),
        ("concurrency: {max: 1}", "line 2, concurrency: `group` is missing"),
        (
            "concurrency: {group: \"{{ steps.a.ok }}\"}",
            "line 2, concurrency.group: there is no step `a`",
        ),
        (
            "defaults: {matrix: [a]}",
            "line 2, defaults.matrix: `matrix` is not supported yet in this version",
        ),
        (
            "defaults: {retries: 3}",
            "line 2, defaults.retries: unknown key `retries` [did you mean `retry`?]",
        ),
        (
            "defaults: {retry: {max: 99}}",
            "line 2, defaults.retry.max: 99 is not between 0 and 20",
        ),
    ] {
        assert_eq!(in_head(head), expected);
    }
}

#[test]
fn inputs_are_checked() {
    for (input, expected) in [
        ("{}", "line 2, inputs.x: `type` is missing"),
        (
            "text",
            "line 2, inputs.x: expected an input: {type: text, required: true}, found text",
        ),
        (
            "{type: txt}",
            "line 2, inputs.x.type: `txt` is not one of text, int, number, bool, list, enum [did you mean `text`?]",
        ),
        (
            "{type: text, max: 2GiB}",
            "line 2, inputs.x.max: this is no size [write bytes as a number, or such as 64KiB, at most 1MiB]",
        ),
        (
            "{type: bool, max: 3}",
            "line 2, inputs.x.max: `max` does not fit this type",
        ),
        (
            "{type: int, min: 3, max: 2}",
            "line 2, inputs.x.min: min 3 is above max 2",
        ),
        (
            "{type: int, max: 2, default: 3}",
            "line 2, inputs.x.default: the default is 3, not between -9223372036854775808 and 2",
        ),
        (
            "{enum: []}",
            "line 2, inputs.x.enum: an enum needs at least one word",
        ),
        (
            "{enum: [a], default: b}",
            "line 2, inputs.x.default: the default is not one of a",
        ),
        (
            "{type: text, required: true, default: b}",
            "line 2, inputs.x: a required input cannot have a default [leave out `required` or `default`]",
        ),
        (
            "{type: text, required: maybe}",
            "line 2, inputs.x.required: expected true or false, found text",
        ),
    ] {
        assert_eq!(in_head(&format!("inputs: {{x: {input}}}")), expected);
    }
    assert_eq!(
        in_head("inputs: {X: {type: text}}"),
        "line 2, inputs.X: `X` cannot name an input: a small letter first, then at most 39 small letters, digits, _ and -"
    );
}

#[test]
fn a_step_has_exactly_one_kind_and_the_keys_of_that_kind() {
    for (step, expected) in [
        (
            "[ls]",
            "line 3, steps.a: expected a step: a map with `agent`, `run`, `use`, `approval` or `steps`, found a list",
        ),
        (
            "{needs: []}",
            "line 3, steps.a: a step needs one of agent, run, use, approval, steps",
        ),
        (
            "{run: [ls], use: check}",
            "line 3, steps.a: a step has exactly one of agent, run, use, approval, steps, not run and use [make two steps of it]",
        ),
        (
            "{use: chek}",
            "line 3, steps.a.use: `chek` is not one of prepare, check, verify, deliver [did you mean `check`?]",
        ),
        (
            "{agent: Codegen}",
            "line 3, steps.a.agent: there is no role `Codegen` [did you mean `codegen`?]",
        ),
        (
            "{run: [ls], model: large}",
            "line 3, steps.a.model: `model` has no meaning with `run`",
        ),
        (
            "{run: [ls], with: {x: 1}}",
            "line 3, steps.a.with: `with` has no meaning with `run` [a command gets its data by `run` and `env`]",
        ),
        (
            "{agent: review, writes: true}",
            "line 3, steps.a.writes: the role review never changes files",
        ),
        (
            "{use: check, env: {A: b}}",
            "line 3, steps.a.env: `env` has no meaning with `use`",
        ),
        (
            "{steps: {b: {run: [ls]}}, timeout: 3m}",
            "line 3, steps.a.timeout: `timeout` has no meaning with `steps`",
        ),
        (
            "{run: [ls], allow_failure: perhaps}",
            "line 3, steps.a.allow_failure: expected true or false, found text",
        ),
        (
            "{run: [ls], effect: inner}",
            "line 3, steps.a.effect: `inner` is not one of external",
        ),
    ] {
        assert_eq!(in_steps(&format!("  a: {step}")), expected);
    }
}

#[test]
fn what_a_step_asks_of_its_worker_is_checked() {
    for (step, expected) in [
        (
            "{run: [ls], sandbox: string}",
            "line 3, steps.a.sandbox: `string` is not one of none, basic, strong [did you mean `strong`?]",
        ),
        (
            "{run: [ls], network: [packages, \"https://x.org\"]}",
            "line 3, steps.a.network[1]: `https://x.org` names no host: a host is named without scheme and path, such as crates.example.org",
        ),
        (
            "{steps: {b: {run: [ls]}}, network: [x.org]}",
            "line 3, steps.a.network: `network` has no meaning with `steps`",
        ),
        (
            "{run: [ls], needs: b}",
            "line 3, steps.a.needs: expected a list of steps, found text [write a list: [a, b]]",
        ),
        (
            "{run: [ls], env: {1A: b}}",
            "line 3, steps.a.env.1A: `1A` cannot name an environment variable",
        ),
        (
            "{run: [ls], env: {A: 1.10}}",
            "line 3, steps.a.env.A: expected text, found a number [put the value into quotes]",
        ),
        (
            "{run: [ls], retry: {on: [exit, crash]}}",
            "line 3, steps.a.retry.on[1]: `crash` is not one of exit, check, model_output, rate_limited, quota, provider, auth, bad_request, too_long, replay, budget, timeout, workspace, spec, infra, killed, missing",
        ),
        (
            "{run: [ls], retry: {backoff: 5m..2s}}",
            "line 3, steps.a.retry.backoff: 5m is longer than 2s",
        ),
    ] {
        assert_eq!(in_steps(&format!("  a: {step}")), expected);
    }
    assert!(in_steps("  A: {run: [ls]}").starts_with("line 3, steps.A: `A` cannot name a step: "));
}

#[test]
fn what_becomes_of_a_lost_step_fits_its_kind() {
    for (step, expected) in [
        (
            "{agent: review, on_lost: again}",
            "line 3, steps.a.on_lost: `again` is not one of resume, retry, park",
        ),
        (
            "{run: [ls], on_lost: resume}",
            "line 3, steps.a.on_lost: only an agent can be resumed, not `run` [a lost step of another kind is run again; `park` leaves it to a person]",
        ),
        (
            "{run: [ls], effect: external, on_lost: retry}",
            "line 3, steps.a.on_lost: a step with `effect: external` parks when it is lost",
        ),
    ] {
        assert_eq!(in_steps(&format!("  a: {step}")), expected);
    }
}

#[test]
fn what_comes_later_says_so() {
    for key in ["fan_out", "matrix", "attempts"] {
        assert_eq!(
            in_steps(&format!("  a: {{run: [ls], {key}: x}}")),
            format!("line 3, steps.a.{key}: `{key}` is not supported yet in this version")
        );
    }
    for key in ["webhook", "workflow", "external"] {
        assert_eq!(
            in_steps(&format!("  a:\n    {key}: x")),
            format!("line 4, steps.a.{key}: `{key}` is not supported yet in this version")
        );
    }
}

#[test]
fn no_template_reaches_a_shell() {
    for (step, expected) in [
        (
            "{run: \"ls {{ job.title }}\", shell: bash}",
            "line 3, steps.a.run: a script cannot hold a template [pass data by `env` and read it as \"$NAME\", or write the command as a list]",
        ),
        (
            "{run: \"{{ job.title }}\", shell: bash}",
            "line 3, steps.a.run: a script cannot hold a template [pass data by `env` and read it as \"$NAME\", or write the command as a list]",
        ),
        (
            "{run: \"ls {# x #}\", shell: bash}",
            "line 3, steps.a.run: a script cannot hold a template [pass data by `env` and read it as \"$NAME\", or write the command as a list]",
        ),
        (
            "{run: ls, shell: fish}",
            "line 3, steps.a.shell: `fish` is not one of sh, bash, dash, zsh",
        ),
        (
            "{run: \" \", shell: sh}",
            "line 3, steps.a.run: the script is empty",
        ),
        (
            "{run: [ls], shell: sh}",
            "line 3, steps.a.shell: a list of arguments is run without a shell [leave out `shell`, or write `run` as text]",
        ),
        (
            "{run: 3}",
            "line 3, steps.a.run: expected a list of arguments or a script [write the command as a list: [cargo, test]]",
        ),
        (
            "{run: [ls, [a]]}",
            "line 3, steps.a.run[1]: expected text, found a list [put the value into quotes]",
        ),
    ] {
        assert_eq!(in_steps(&format!("  a: {step}")), expected);
    }
}

#[test]
fn outputs_have_known_types() {
    for (step, expected) in [
        (
            "{agent: review, outputs: {x: Verdikt}}",
            "line 3, steps.a.outputs.x: `Verdikt` is no type [did you mean `Verdict`?]",
        ),
        (
            "{agent: review, outputs: {x: [string, number]}}",
            "line 3, steps.a.outputs.x: a list has exactly one type: [string]",
        ),
        (
            "{agent: review, outputs: {x: {enum: []}}}",
            "line 3, steps.a.outputs.x.enum: an enum needs at least one word",
        ),
        (
            "{agent: review, outputs: {x: 3}}",
            "line 3, steps.a.outputs.x: expected a type, such as string, [object] or {enum: [a, b]}, found a number",
        ),
        (
            "{agent: review, outputs: {x: {junit: a.xml}}}",
            "line 3, steps.a.outputs.x: only a command leaves a report [such as {junit: target/junit.xml} with `run`]",
        ),
        (
            "{run: [ls], outputs: {x: string}}",
            "line 3, steps.a.outputs.x: a command puts out only reports [such as {junit: target/junit.xml} with `run`]",
        ),
    ] {
        assert_eq!(in_steps(&format!("  a: {step}")), expected);
    }
}

#[test]
fn loops_have_an_end() {
    let with_loop = |text: &str| in_steps(&format!("  a: {{loop: {text}, steps: {{b: {{run: [ls]}}}}}}"));
    for (text, expected) in [
        ("{until: steps.b.ok}", "line 3, steps.a.loop: `max` is missing"),
        ("{max: 3}", "line 3, steps.a.loop: `until` is missing"),
        (
            "{max: 51, until: steps.b.ok}",
            "line 3, steps.a.loop.max: 51 is not between 1 and 50",
        ),
        (
            "{max: three, until: steps.b.ok}",
            "line 3, steps.a.loop.max: expected a whole number, found text",
        ),
        (
            "{max: 3, until: steps.b.ok, as: steps}",
            "line 3, steps.a.loop.as: `steps` cannot name a loop",
        ),
        (
            "{max: 3, until: steps.b.ok, on_exhausted: stop}",
            "line 3, steps.a.loop.on_exhausted: `stop` is not one of fail, park, succeed",
        ),
        (
            "{max: 3, until: steps.c.ok}",
            "line 3, steps.a.loop.until: there is no step `c` [known: a, b]",
        ),
        (
            "{max: \"{{ inputs.n }}\", until: steps.b.ok}",
            "line 3, steps.a.loop.max: there is no input `n`",
        ),
    ] {
        assert_eq!(with_loop(text), expected);
    }
    let deep = "  a: {steps: {b: {steps: {c: {steps: {d: {steps: {e: {run: [ls]}}}}}}}}}";
    assert_eq!(
        in_steps(deep),
        "line 3, steps.a.steps.b.steps.c.steps.d.steps: blocks are nested deeper than 3"
    );
}

#[test]
fn needs_name_steps_of_the_same_block_in_an_order() {
    for (steps, expected) in [
        (
            "  a: {run: [ls]}\n  b: {run: [ls], needs: [a, a]}",
            "line 4, steps.b.needs[1]: `a` is named twice",
        ),
        (
            "  plan: {run: [ls]}\n  b: {run: [ls], needs: [plam]}",
            "line 4, steps.b.needs[0]: there is no step `plam` [did you mean `plan`?]",
        ),
        (
            "  a: {run: [ls], needs: [b]}\n  b: {run: [ls], needs: [a]}",
            "line 3, steps.a.needs: these steps need each other: a → b → a",
        ),
        (
            "  a: {run: [ls], needs: [a]}",
            "line 3, steps.a.needs: these steps need each other: a → a",
        ),
        (
            "  a: {steps: {b: {run: [ls]}}}\n  c: {run: [ls], needs: [b]}",
            "line 4, steps.c.needs[0]: `b` is a step of another block [`needs` names steps of the same block; the whole block is `a`]",
        ),
        (
            "  a: {run: [ls], needs: [f]}\nfinally:\n  f: {run: [ls]}",
            "line 3, steps.a.needs[0]: `f` is a step of `finally`, which runs when all others have ended",
        ),
        (
            "  a: {run: [ls]}\nfinally:\n  f: {run: [ls], needs: [a]}",
            "line 5, finally.f.needs[0]: `a` is no step of `finally` [leave it out: `finally` runs when all steps have ended]",
        ),
        (
            "  a: {run: [ls]}\nfinally:\n  a: {run: [ls]}",
            "line 5, finally.a: `a` already names a step of `steps`",
        ),
    ] {
        assert_eq!(in_steps(steps), expected);
    }
}

#[test]
fn a_step_starts_from_the_files_of_one_other() {
    let fork = "  a: {agent: codegen}\n  b: {run: [x], writes: true}\n  c: {needs: [a, b], use: check}";
    assert_eq!(
        in_steps(fork),
        "line 5, steps.c.needs: it would start from the files of both a and b [let b need a, or the other way round]"
    );
    let block = "  a:\n    steps:\n      b: {agent: codegen}\n      c: {agent: codegen}";
    assert_eq!(
        in_steps(block),
        "line 4, steps.a.steps: the block would end with the files of both b and c [let c need b, or the other way round]"
    );
}

#[test]
fn places_name_other_steps() {
    for (place, expected) in [
        (
            "{not_with: [b.x]}",
            "line 4, steps.c.place.not_with[0]: there is no step `b.x` [did you mean `b.a`?]",
        ),
        (
            "{not_with: [b]}",
            "line 4, steps.c.place.not_with[0]: `b` is a block [name one of its steps: b.NAME]",
        ),
        (
            "{not_with: [c]}",
            "line 4, steps.c.place.not_with[0]: a step cannot avoid its own worker",
        ),
        (
            "{with: [c]}",
            "line 4, steps.c.place.with: unknown key `with` [known: not_with]",
        ),
    ] {
        let found = mistakes(&format!(
            "name: w\nsteps:\n  b: {{steps: {{a: {{run: [ls]}}}}}}\n  c: {{run: [ls], place: {place}}}\n"
        ));
        assert_eq!(found[0], expected);
    }
}

#[test]
fn expressions_name_what_is_known_at_their_place() {
    for (steps, expected) in [
        (
            "  a: {run: [ls], if: steps.a.ok and}",
            "line 3, steps.a.if: \"steps.a.ok and\" cannot be read: unexpected end of input, expected expression",
        ),
        (
            "  a: {run: [ls], if: inputs.x}",
            "line 3, steps.a.if: there is no input `x`",
        ),
        (
            "  a: {run: [ls], if: job.nmber == 1}",
            "line 3, steps.a.if: there is no field of the job `nmber` [did you mean `number`?]",
        ),
        (
            "  a: {run: [ls], if: job.state}",
            "line 3, steps.a.if: there is no field of the job `state` [known: number, id, title, repo]",
        ),
        (
            "  a: {run: [ls], if: input.x}",
            "line 3, steps.a.if: `input` is not known here [did you mean `inputs`?]",
        ),
        (
            "  a: {run: [ls], if: always() and true}",
            "line 3, steps.a.if: `always()` stands alone: `if: always()`",
        ),
        (
            "  a: {run: [\"{{ job.title | shout }}\"]}",
            "line 3, steps.a.run[0]: \"job.title | shout\" cannot be evaluated: filter shout is unknown",
        ),
        (
            "  a: {run: [\"x {{ job.\"]}",
            "line 3, steps.a.run[0]: \"x {{ job.\" cannot be read: unexpected end of input, expected identifier or integer",
        ),
        (
            "  a: {agent: review, with: {x: [{y: \"{{ steps.b.ok }}\"}]}}",
            "line 3, steps.a.with.x[0].y: there is no step `b` [known: a]",
        ),
        (
            "  a: {run: [ls]}\n  b: {run: [ls], env: {A: \"{{ steps.a.ok }}\"}}",
            "line 4, steps.b.env.A: the step `a` is read, but need not have ended here [add `a` to `needs`]",
        ),
        (
            "  a: {run: [ls]}\n  b: {run: [ls], needs: [a], if: steps.a.output}",
            "line 4, steps.b.if: there is no field of a step `output` [did you mean `outputs`?]",
        ),
        (
            "  a: {steps: {c: {run: [ls]}}}\n  b: {run: [ls], needs: [a], if: steps.a.outputs.d.exit}",
            "line 4, steps.b.if: there is no step of that block `d` [known: c]",
        ),
    ] {
        assert_eq!(in_steps(steps), expected);
    }
}

#[test]
fn rounds_are_known_within_their_block_only() {
    let looped = |inner: &str, outer: &str| {
        in_steps(&format!(
            "  a:\n    loop: {{max: 3, until: steps.c.ok}}\n    steps:\n      b: {{agent: review, with: {{x: \"{{{{ {inner} }}}}\"}}}}\n      c: {{run: [ls], needs: [b]}}\n  d: {{needs: [a], run: [ls], if: {outer}}}"
        ))
    };
    for (inner, outer, expected) in [
        (
            "steps.c.ok",
            "true",
            "line 6, steps.a.steps.b.with.x: the step `c` is read, but need not have ended here [add `c` to `needs`, or read the last round's as `round.prev.c`]",
        ),
        (
            "round.prev.d.ok",
            "true",
            "line 6, steps.a.steps.b.with.x: there is no step of this block `d` [known: b, c]",
        ),
        (
            "round.prev.c.oki",
            "true",
            "line 6, steps.a.steps.b.with.x: there is no field of a step `oki` [did you mean `ok`?]",
        ),
        (
            "round.next",
            "true",
            "line 6, steps.a.steps.b.with.x: there is no field of a round `next` [known: n, prev]",
        ),
        (
            "round.n",
            "round.n == 1",
            "line 8, steps.d.if: `round` is not known here [known: inputs, job, steps]",
        ),
        (
            "round.n",
            "steps.c.ok",
            "line 8, steps.d.if: there is no step `c` [known: a, d]",
        ),
    ] {
        assert_eq!(looped(inner, outer), expected);
    }
}

#[test]
fn a_workflow_is_not_endless() {
    let steps: Vec<String> = (0..201).map(|n| format!("  s{n}: {{run: [ls]}}")).collect();
    assert_eq!(
        in_steps(&steps.join("\n")),
        "line 2, steps: 201 steps are more than 200"
    );
}

#[test]
fn every_mistake_of_an_approval_is_reported() {
    for (step, expected) in [
        (
            "{approval: yes}",
            "line 4, steps.b.approval: expected an approval: {timeout: 24h, on_timeout: reject, show: [plan]}, found text",
        ),
        (
            "{approval: {show: [a]}}",
            "line 4, steps.b.approval.show[0]: the step `a` is read, but need not have ended here [add `a` to `needs`]",
        ),
        (
            "{approval: {timeout: 31d}}",
            "line 4, steps.b.approval.timeout: 31d is longer than 30d",
        ),
        (
            "{approval: {}, timeout: 1h}",
            "line 4, steps.b.timeout: `timeout` has no meaning with `approval` [write it inside: `approval: {timeout: 24h}`]",
        ),
        (
            "{approval: {}, requires: {os: linux}}",
            "line 4, steps.b.requires: `requires` has no meaning with `approval`",
        ),
        (
            "{run: [ls], approval: {}}",
            "line 4, steps.b: a step has exactly one of agent, run, use, approval, steps, not run and approval [make two steps of it]",
        ),
    ] {
        let found = in_steps(&format!("  a: {{run: [ls]}}\n  b: {step}"));
        assert_eq!(found, expected, "{step}");
    }
    let several = "  b: {approval: {timeout: never, on_timeout: accept, show: [c], shows: []}}";
    let found = mistakes(&format!("name: w\nsteps:\n{several}\n"));
    assert_eq!(found.len(), 4, "{found:#?}");
    let closing = "  a: {run: [ls]}\nfinally:\n  b: {approval: {}}";
    assert_eq!(
        in_steps(closing),
        "line 5, finally.b.approval: a step of `finally` cannot wait for a person [ask in `steps`, before the job ends]"
    );
    assert_eq!(
        in_steps("  a: {approval: {}}\n  b: {run: [ls], place: {not_with: [a]}}"),
        "line 4, steps.b.place.not_with[0]: `a` is an approval: it runs on no worker"
    );
}
