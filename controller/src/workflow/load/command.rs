//! The `run` of a step: a list of arguments, an expression that gives the list,
//! or a constant script.

use crate::workflow::{
    model::CommandDef,
    read::{Field, Mistakes, Section},
    template::{has_template, single_expression},
    yaml::Yaml,
};

/// Shells that take a script by `-c`.
pub(super) const SHELLS: [(&str, &str); 4] =
    [("sh", "sh"), ("bash", "bash"), ("dash", "dash"), ("zsh", "zsh")];

/// What cannot be read counts as the empty command, so that the rest is checked all the same.
pub(super) fn read(field: &Field<'_>, section: &Section<'_>, mistakes: &mut Mistakes) -> CommandDef {
    let shell = section.get("shell");
    let command = match &field.node.value {
        Yaml::List(_) => read_argv(field, mistakes),
        Yaml::Text(text) => match single_expression(text) {
            Some(expression) if shell.is_none() => CommandDef::ArgvFrom(expression.to_owned()),
            _ => return read_script(field, text, shell, mistakes),
        },
        _ => {
            let hint = "write the command as a list: [cargo, test]".to_owned();
            mistakes.add(
                &field.path,
                "expected a list of arguments or a script",
                Some(hint),
            );
            CommandDef::Argv(vec![])
        }
    };
    if let Some(shell) = shell {
        let hint = "leave out `shell`, or write `run` as text".to_owned();
        mistakes.add(
            &shell.path,
            "a list of arguments is run without a shell",
            Some(hint),
        );
    }
    command
}

fn read_argv(field: &Field<'_>, mistakes: &mut Mistakes) -> CommandDef {
    let items = field.items("a list of arguments", mistakes).unwrap_or_default();
    CommandDef::Argv(items.iter().filter_map(|item| item.plain(mistakes)).collect())
}

fn read_script(
    field: &Field<'_>,
    text: &str,
    shell: Option<&Field<'_>>,
    mistakes: &mut Mistakes,
) -> CommandDef {
    if has_template(text) {
        let hint = "pass data by `env` and read it as \"$NAME\", or write the command as a list".to_owned();
        mistakes.add(&field.path, "a script cannot hold a template", Some(hint));
    }
    if text.trim().is_empty() {
        mistakes.add(&field.path, "the script is empty", None);
    }
    let Some(shell) = shell else {
        let hint = "add `shell: bash`, or write the command as a list: [cargo, test]".to_owned();
        mistakes.add(&field.path, "a script needs `shell`", Some(hint));
        return CommandDef::Argv(vec![]);
    };
    let shell = shell.one_of(&SHELLS, mistakes).unwrap_or("sh");
    CommandDef::Script {
        shell: shell.to_owned(),
        text: text.to_owned(),
    }
}
