//! Who may have what signed.
//!
//! A file with a line for each client: its name, the SHA-256 of its token in hexadecimal, its tenants, its hooks.
//! The token itself is with the client only; it comes as `Authorization: Bearer TOKEN`.
//!
//! ```text
//! # printf %s "$TOKEN" | sha256sum
//! acme-ci 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 acme packet:*
//! ```

use uio_verifier::certificate::{BadHook, Digest, Hook, HookPattern};

/// Who may have what signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients(Vec<Client>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Client {
    name: String,
    token: String,
    /// `None` for every tenant.
    tenants: Option<Vec<String>>,
    hooks: Vec<HookPattern>,
}

/// Why a text names no clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BadClients {
    /// Line, from 1.
    pub line: usize,
    /// Why.
    pub problem: String,
}

impl Clients {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, BadClients> {
        let mut clients = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let words: Vec<_> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let wrong = |problem: String| BadClients { line: index + 1, problem };
            let [name, token, tenants, hooks] = words[..] else {
                return Err(wrong(
                    "a line has four words: name, SHA-256 of the token, tenants, hooks".into(),
                ));
            };
            if token.len() != 64 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(wrong(format!("`{token}` is no SHA-256 of 64 hexadecimal digits")));
            }
            let hooks = hooks.split(',').map(HookPattern::parse).collect::<Result<_, BadHook>>();
            clients.push(Client {
                name: name.to_owned(),
                token: token.to_ascii_lowercase(),
                tenants: (tenants != "*").then(|| tenants.split(',').map(str::to_owned).collect()),
                hooks: hooks.map_err(|error| wrong(error.to_string()))?,
            });
        }
        Ok(Self(clients))
    }

    /// Whether the holder of `token` may have this signed.
    ///
    /// # Errors
    ///
    /// What it may not.
    pub(super) fn authorize(&self, token: Option<&str>, tenant: &str, hooks: &[Hook]) -> Result<(), Denied> {
        // What is compared is a digest, so that the time it takes says nothing about the token.
        let digest = Digest::of(token.ok_or(Denied::NoToken)?.as_bytes()).to_string();
        let client = self.0.iter().find(|client| client.token == digest).ok_or(Denied::UnknownToken)?;
        if client.tenants.as_ref().is_some_and(|tenants| !tenants.iter().any(|name| name == tenant)) {
            return Err(Denied::Tenant { client: client.name.clone(), tenant: tenant.to_owned() });
        }
        match hooks.iter().find(|hook| !client.hooks.iter().any(|pattern| pattern.contains(hook))) {
            Some(hook) => Err(Denied::Hook { client: client.name.clone(), hook: hook.to_string() }),
            None => Ok(()),
        }
    }
}

/// Why a client gets nothing signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    NoToken,
    UnknownToken,
    Tenant { client: String, tenant: String },
    Hook { client: String, hook: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `test`.
    const TEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn clients_get_what_their_line_says() {
        let text = format!("# comment\nci {TEST} acme,lab packet:*,timer:tick # and more\n");
        let clients = Clients::parse(&text).expect("a file");
        let at =
            |token, tenant, hook| clients.authorize(token, tenant, &[Hook::parse(hook).expect("a hook")]);
        assert_eq!(at(Some("test"), "acme", "packet:any"), Ok(()));
        assert_eq!(at(Some("test"), "lab", "timer:tick"), Ok(()));
        assert_eq!(at(None, "acme", "packet:any"), Err(Denied::NoToken));
        assert_eq!(at(Some("Test"), "acme", "packet:any"), Err(Denied::UnknownToken));
        assert_eq!(at(Some(TEST), "acme", "packet:any"), Err(Denied::UnknownToken));
        assert!(matches!(at(Some("test"), "else", "packet:any"), Err(Denied::Tenant { .. })));
        assert!(matches!(at(Some("test"), "acme", "timer:tock"), Err(Denied::Hook { .. })));
    }

    #[test]
    fn wrong_lines_are_named() {
        let line = |text: &str| Clients::parse(text).expect_err("wrong").line;
        assert_eq!(line("\nname"), 2);
        assert_eq!(line("name token acme *"), 1);
        assert_eq!(line(&format!("name {TEST} acme filter")), 1);
        assert_eq!(line(&format!("name {TEST} acme * more")), 1);
    }
}
