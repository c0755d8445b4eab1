//! Which remotes may be talked to: `https`, `ssh` (also as `user@host:path`),
//! and `file` by leave.

use reqwest::Url;

/// A URL that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    text: String,
    protocol: &'static str,
}

/// What is wrong with a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the repository URL {url:?} cannot be used: {problem}")]
pub struct InvalidUrl {
    /// As it came, without a password.
    pub url: String,
    /// What is wrong and what would be right.
    pub problem: &'static str,
}

impl RemoteUrl {
    /// Checks a URL; `file` URLs need the leave of the worker's owner.
    pub fn parse(text: &str, file_allowed: bool) -> Result<Self, InvalidUrl> {
        let invalid = |problem| {
            Err(InvalidUrl {
                url: without_password(text),
                problem,
            })
        };
        if text.is_empty() || text.len() > 2048 || text.starts_with('-') {
            return invalid("it must have 1 to 2,048 characters and not begin with `-`");
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return invalid("it contains white space or control characters");
        }
        let protocol = if is_scp_form(text) {
            "ssh"
        } else {
            let Ok(url) = Url::parse(text) else {
                return invalid("it is neither a URL nor `user@host:path`");
            };
            let host = url.host_str().unwrap_or_default();
            match url.scheme() {
                "https" | "ssh" if host.is_empty() || host.starts_with('-') => {
                    return invalid("it names no host");
                }
                "https" | "ssh" if url.password().is_some() => {
                    return invalid(
                        "it carries a password, which logs would show; use ssh or a credential of the worker",
                    );
                }
                "ssh" if url.username().starts_with('-') => return invalid("its user begins with `-`"),
                "https" => "https",
                "ssh" => "ssh",
                "file" if file_allowed => "file",
                "file" => {
                    return invalid(
                        "this worker does not clone from its own disk: send the repository with --repo PATH, or \
                         set `allow_file_urls: true` in the worker's configuration",
                    );
                }
                _ => return invalid("only https and ssh are allowed"),
            }
        };
        Ok(Self {
            text: text.to_owned(),
            protocol,
        })
    }

    /// The text for git's command line, behind `--`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `https`, `ssh` or `file`.
    pub const fn protocol(&self) -> &'static str {
        self.protocol
    }
}

/// `user@host:path`, as ssh understands it.
fn is_scp_form(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let Some((login, path)) = text.split_once(':') else {
        return false;
    };
    let Some((user, host)) = login.split_once('@') else {
        return false;
    };
    plain(user) && plain(host) && !path.is_empty() && !path.starts_with(['-', ':']) && !path.starts_with("//")
}

fn without_password(text: &str) -> String {
    let shown: String = text.chars().take(200).collect();
    match Url::parse(&shown) {
        Ok(mut url) if url.password().is_some() => {
            let _ = url.set_password(Some("***"));
            url.to_string()
        }
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of URLs, good and bad.
    fn pieces() -> impl Strategy<Value = String> {
        prop_oneof![
            "(https|ssh|file|ext|http)(://|::|:)",
            "[a-z-]{0,6}(:[a-z]{0,4})?@",
            "[a-zA-Z0-9.\\[\\]:-]{0,12}",
            "(/|//|\\\\|%2e|\\.\\.|-|--upload-pack=x)",
            "\\PC{0,3}",
        ]
    }

    proptest! {
        #[test]
        fn what_passes_is_one_word_that_is_no_option(parts in proptest::collection::vec(pieces(), 0..6)) {
            let text = parts.concat();
            if let Ok(url) = RemoteUrl::parse(&text, false) {
                prop_assert!(!url.as_str().starts_with('-'));
                prop_assert!(!url.as_str().chars().any(|c| c.is_whitespace() || c.is_control()));
                prop_assert!(["https", "ssh"].contains(&url.protocol()));
                // git takes `transport::address` as the call of a program
                prop_assert!(!text.contains("::") || text.starts_with("https://") || text.starts_with("ssh://"));
            }
        }
    }

    #[test]
    fn good_urls_have_a_protocol() {
        for (url, protocol) in [
            ("https://example.org/a.git", "https"),
            ("https://me@example.org/a.git", "https"),
            ("ssh://git@example.org:2222/a", "ssh"),
            ("git@example.org:team/a.git", "ssh"),
            ("file:///srv/a.git", "file"),
        ] {
            assert_eq!(RemoteUrl::parse(url, true).expect(url).protocol(), protocol);
        }
    }

    #[test]
    fn bad_urls_are_refused_with_a_reason() {
        for url in [
            "",
            "-uevil",
            "--upload-pack=evil",
            "http://example.org/a",
            "git://example.org/a",
            "ext::sh -c evil",
            "ext::evil",
            "file:///srv/a.git",
            "/srv/a.git",
            "../a",
            "ssh://-oProxyCommand=evil/a",
            "git@-oProxyCommand=evil:a",
            "https://me:pw@example.org/a",
            "https://example.org/a\nb",
        ] {
            let error = RemoteUrl::parse(url, false).expect_err(url);
            assert!(!error.to_string().contains("pw@"));
        }
    }
}
