//! The authorization that a registry asks for: the password itself, or a token that another server issues for
//! it (Docker's "Token Authentication Specification").

use super::auth::Login;
use super::client::{Endpoint, Right};
use super::failure::{Attempt, Failure};
use super::http::{Answer, Call, host};
use base64::Engine;
use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The largest answer of a token server in bytes.
const TOKEN_MOST: u64 = 1 << 20;
/// The validity of a token in seconds where the server does not say, as in the specification.
const SERVES: u64 = 60;
/// Seconds before its end at which a token is renewed.
const EARLY: u64 = 10;

/// The issued tokens, by permission.
#[derive(Default)]
pub struct Tokens(RefCell<Vec<(Right, Option<HeaderValue>, Instant)>>);

/// The answer of a token server.
#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    /// Nothing.
    None,
    /// Name and password.
    Basic,
    /// A token of the server `realm`.
    Bearer { realm: String, service: Option<String> },
}

/// The challenge that is answered; a token is preferred because it reveals less than a password.
fn challenge(values: impl Iterator<Item = impl AsRef<str>>) -> Challenge {
    let mut found = Challenge::None;
    for value in values {
        for one in ChallengeParser::new(value.as_ref()).map_while(std::result::Result::ok) {
            let parameter = |name: &str| {
                let found = one.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if one.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameter("realm")
            {
                return Challenge::Bearer { realm, service: parameter("service") };
            }
            if one.scheme.eq_ignore_ascii_case("basic") {
                found = Challenge::Basic;
            }
        }
    }
    found
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

impl Endpoint {
    /// The authorization header for this permission, if one is needed; `anew`: the last one was refused.
    pub async fn authorization(&self, right: Right, anew: bool) -> Attempt<Option<HeaderValue>> {
        {
            let mut kept = self.tokens.0.borrow_mut();
            kept.retain(|(r, _, end)| !(anew && *r == right) && *end > Instant::now());
            if let Some((_, header, _)) = kept.iter().find(|(r, _, _)| *r == right) {
                return Ok(header.clone());
            }
        }
        let (text, serves) = self.ask(right).await?;
        let header = text.map(|text| {
            let mut header = HeaderValue::from_str(&text).map_err(|_| {
                Failure::Lasting(
                    self.error("the login, or the registry's token for it, contains control characters"),
                )
            })?;
            header.set_sensitive(true);
            Ok::<_, Failure>(header)
        });
        let header = header.transpose()?;
        let end = Instant::now() + serves;
        self.tokens.0.borrow_mut().push((right, header.clone(), end));
        Ok(header)
    }

    /// Asks the registry what it needs, and obtains that.
    async fn ask(&self, right: Right) -> Attempt<(Option<String>, Duration)> {
        let long = Duration::from_secs(3600);
        if let Login::Bearer(token) = &self.login {
            return Ok((Some(format!("Bearer {token}")), long));
        }
        let url = self.base.join("v2/").map_err(|e| self.error(e.to_string()))?;
        let call = Call::new("its greeting", Method::GET, url);
        let answer = self.http.send(&call, None, None).await?;
        let values = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        match challenge(values) {
            Challenge::None => Ok((None, long)),
            Challenge::Basic => Ok((
                match &self.login {
                    Login::Basic(user, password) => Some(basic(user, password)),
                    _ => None,
                },
                long,
            )),
            Challenge::Bearer { realm, service } => self.token(right, &realm, service.as_deref()).await,
        }
    }

    async fn token(
        &self,
        right: Right,
        realm: &str,
        service: Option<&str>,
    ) -> Attempt<(Option<String>, Duration)> {
        let wrong = || Failure::Lasting(self.error("the registry names no valid address of a token server"));
        let mut url: Url = realm.parse().map_err(|_| wrong())?;
        let actions = match right {
            Right::Pull => "pull",
            Right::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.reference.repository());
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("scope", &scope);
            if let Some(service) = service {
                query.append_pair("service", service);
            }
        }
        let what = format!("the token of {}", host(&url));
        let login = match &self.login {
            Login::Basic(user, password) => {
                let mut header =
                    HeaderValue::from_str(&basic(user, password)).map_err(|e| self.error(e.to_string()))?;
                header.set_sensitive(true);
                Some(header)
            }
            _ => None,
        };
        let call = Call::new(&what, Method::GET, url);
        let answer = self.http.send(&call, Some(&self.base), login.as_ref()).await?;
        match answer.status() {
            StatusCode::OK => self.given(&what, answer).await,
            StatusCode::BAD_REQUEST => Err(Failure::Lasting(self.not_allowed(&what))),
            _ => Err(match self.refusal(&what, answer).await {
                // A missing token server does not mean that the image does not exist.
                Failure::Absent(e) => Failure::Lasting(e),
                other => other,
            }),
        }
    }

    async fn given(&self, what: &str, mut answer: Answer<'_>) -> Attempt<(Option<String>, Duration)> {
        let bytes = answer.small(TOKEN_MOST).await?;
        let given: Option<Given> = serde_json::from_slice(&bytes).ok();
        let serves = given.as_ref().and_then(|g| g.expires_in).unwrap_or(SERVES).clamp(SERVES, 3600);
        let token = given.and_then(|g| g.token.or(g.access_token)).filter(|t| !t.is_empty());
        let token = token
            .ok_or_else(|| Failure::Lasting(self.error(format!("{what}: the answer contains no token"))))?;
        Ok((Some(format!("Bearer {token}")), Duration::from_secs(serves - EARLY)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let of = |values: &[&str]| challenge(values.iter());
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(String::from),
        };
        let hub = r#"Bearer realm="https://auth.example/token",service="registry.example""#;
        assert_eq!(of(&[hub]), bearer("https://auth.example/token", Some("registry.example")));
        assert_eq!(of(&["Basic realm=\"x\""]), Challenge::Basic);
        assert_eq!(of(&["Basic realm=\"x\", Bearer realm=\"y\""]), bearer("y", None));
        assert_eq!(of(&["Basic realm=\"x\"", "bearer realm=\"y\""]), bearer("y", None));
        assert_eq!(of(&["Bearer service=\"s\""]), Challenge::None);
        assert_eq!(of(&["Negotiate", ""]), Challenge::None);
    }
}
