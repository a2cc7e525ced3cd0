// SPDX-License-Identifier: Apache-2.0
//! Challenges of registries: the header `WWW-Authenticate` of a 401. Pure.

/// What an answer without access asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of this server.
    Bearer(Bearer),
    /// A user name and a password.
    Basic,
}

/// Where a token comes from and what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bearer {
    /// URL of the token server.
    pub realm: String,
    pub service: Option<String>,
    pub scope: Option<String>,
}

/// The challenge to answer among those of a header: a token where one is offered.
pub(super) fn read(header: &str) -> Option<Challenge> {
    let all = challenges(header);
    let bearer = all.iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).and_then(|(_, parameters)| {
        let of = |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
        Some(Challenge::Bearer(Bearer { realm: of("realm")?, service: of("service"), scope: of("scope") }))
    });
    let is_basic = all.iter().any(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    bearer.or(is_basic.then_some(Challenge::Basic))
}

type Parameters = Vec<(String, String)>;

/// Schemes with their parameters, as RFC 9110 (11.3) writes them; what is not of this form ends the list.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = word(rest);
        if word.is_empty() {
            break;
        }
        let after = after.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), found.last_mut()) {
            (Some(text), Some((_, parameters))) => {
                let Some((value, after)) = value(text.trim_start_matches([' ', '\t'])) else { break };
                parameters.push((word.to_owned(), value));
                rest = after;
            }
            (Some(_), None) => break,
            (None, _) => {
                found.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found
}

fn word(text: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

/// A word, or a string in quotes, in which a backslash takes the next character as it is.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = word(text);
        return Some((word.to_owned(), rest));
    };
    let (mut read, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((read, &quoted[at + 1..])),
            '\\' => read.push(characters.next()?.1),
            c => read.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Option<Challenge> {
        let some = |text: &str| Some(text.to_owned());
        Some(Challenge::Bearer(Bearer { realm: realm.to_owned(), service: some(service), scope: some(scope) }))
    }

    #[test]
    fn a_token_is_asked_for_in_any_notation() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(read(hub), bearer("https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull,push"));
        let both = r#"Basic realm="a, b", bearer Realm = "https://x/t" , SERVICE=s,scope="say \"x\"""#;
        assert_eq!(read(both), bearer("https://x/t", "s", "say \"x\""));
    }

    #[test]
    fn a_password_or_nonsense_is_no_token() {
        assert_eq!(read(r#"Basic realm="registry""#), Some(Challenge::Basic));
        for text in
            ["", ",,", "Bearer", "Bearer service=x", r#"Bearer realm="open"#, "=", "realm=x", "\"", "Negotiate YII="]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
