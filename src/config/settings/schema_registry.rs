//! `[schema_registry]`: where the schemas are that framed values name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Number, SecretSource, read_section, set_integer};
use crate::config::document::TomlTable;
use crate::config::secret::{EXPECTED_SECRET_SOURCE, read_secret_source};

/// Where schemas are, and how they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRegistrySettings {
    pub place: SchemaPlace,
    pub login: Option<RegistryLogin>,
    /// Certificates that the registry's is checked by; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl SchemaRegistrySettings {
    /// Returns a warning if the login has a secret file that others may read.
    #[must_use]
    pub fn permission_warning(&self) -> Option<String> {
        match self.login.as_ref()? {
            RegistryLogin::Basic { password: secret, .. } | RegistryLogin::Bearer(secret) => {
                secret.permission_warning()
            }
        }
    }
}

/// Where schemas are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaPlace {
    /// A registry with Confluent's interface.
    Registry(RegistryUrl),
    /// A folder with a file `ID.avsc` for each.
    Folder(PathBuf),
}

/// The address of a registry; without a login, so that it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryUrl {
    pub is_https: bool,
    /// Without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    /// What stands before each path, as `/apis/ccompat/v7`; may be empty.
    pub path: String,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryLogin {
    Basic { user: String, password: SecretSource },
    Bearer(SecretSource),
}

impl RegistryUrl {
    /// Reads `http://HOST:PORT/PATH` or `https://...`; `None` if it is none, or has more in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<RegistryUrl> {
        let (is_https, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        if rest.contains(['?', '#', '@']) || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let default_port = if is_https { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        let path = path.trim_end_matches('/').to_owned();
        (!host.is_empty()).then(|| RegistryUrl { is_https, host: host.to_owned(), port, path })
    }

    /// The host and port, as a request names them.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const EXPECTED_URL: &str = "the registry's address, as \"https://registry.example.org:8081\"";
const EXPECTED_FOLDER: &str = "a folder with a file `ID.avsc` for each schema";

pub(super) fn read_schema_registry(
    root: &TomlTable<'_>,
    folder: &Path,
) -> Option<SchemaRegistrySettings> {
    const TITLE: &str = "where the schemas are that framed values name: `url` or `folder`";
    read_section(root, "schema_registry", TITLE, |table, settings| {
        let place = read_place(table, folder);
        let login = read_login(table, folder);
        let ca_file =
            table.string("ca_file", "a file with the certificates that sign the registry's");
        let mut seconds = DEFAULT_TIMEOUT.as_secs();
        let number = Number("timeout_seconds", 1..=60, "how long an answer may take");
        set_integer(table, number, &mut seconds);
        for key in ["user", "password", "token", "ca_file", "timeout_seconds"] {
            if matches!(place, Some(SchemaPlace::Folder(_))) && table.contains_key(key) {
                let found = format!("`{key}` beside `folder`");
                table.report_mistake(table.line_of_key(key), found, "it beside `url` alone");
            }
        }
        *settings = place.map(|place| SchemaRegistrySettings {
            place,
            login,
            ca_file: ca_file.map(|file| folder.join(file.value)),
            timeout: Duration::from_secs(seconds),
        });
    })
}

fn read_place(table: &TomlTable<'_>, folder: &Path) -> Option<SchemaPlace> {
    let url = table.string("url", EXPECTED_URL);
    let named = table.string("folder", EXPECTED_FOLDER);
    match (url, named) {
        (Some(at), None) => {
            let url = RegistryUrl::parse(&at.value);
            if url.is_none() {
                // Not quoted: it may hold a password.
                let expected = format!("{EXPECTED_URL}, without a login or a query");
                table.report_mistake(at.line, "`url`, which is no such address", expected);
            }
            url.map(SchemaPlace::Registry)
        }
        (None, Some(named)) => Some(SchemaPlace::Folder(folder.join(named.value))),
        (both, _) => {
            // A key with a wrong value was told of.
            if both.is_some() || !(table.contains_key("url") || table.contains_key("folder")) {
                let found = if both.is_some() { "both" } else { "neither" };
                let found = format!("{found} of `url` and `folder`");
                table.report_mistake(table.line(), found, "one of them");
            }
            None
        }
    }
}

fn read_login(table: &TomlTable<'_>, folder: &Path) -> Option<RegistryLogin> {
    let user = table.string("user", "who asks the registry, by a password");
    let secret = |key| {
        let inner = table.table(key, EXPECTED_SECRET_SOURCE)?;
        read_secret_source(&inner, key, folder)
    };
    let (password, token) = (secret("password"), secret("token"));
    let has = |key| table.contains_key(key);
    if has("user") != has("password") {
        let key = if has("user") { "user" } else { "password" };
        let found = format!("`{key}` alone");
        table.report_mistake(table.line_of_key(key), found, "`user` and `password`");
    }
    if has("token") && has("user") {
        let line = table.line_of_key("token");
        table.report_mistake(line, "`token` beside `user`", "one way to log in");
    }
    match (user, password, token) {
        (Some(user), Some(password), _) => {
            Some(RegistryLogin::Basic { user: user.value, password })
        }
        (_, _, Some(token)) => Some(RegistryLogin::Bearer(token)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::read_toml;

    #[track_caller]
    fn check_url(text: &str, want: Option<&str>) {
        let found = RegistryUrl::parse(text).map(|url| url.to_string());
        assert_eq!(found.as_deref(), want, "{text}");
    }

    #[test]
    fn registry_url_has_scheme_host_and_path_alone() {
        check_url("http://127.0.0.1:8081", Some("http://127.0.0.1:8081"));
        check_url("https://registry.example.org/", Some("https://registry.example.org:443"));
        check_url("http://[::1]:8081/apis/v7", Some("http://[::1]:8081/apis/v7"));
        check_url("http://registry.example.org", Some("http://registry.example.org:80"));
        for wrong in [
            "registry.example.org:8081",
            "ftp://registry.example.org",
            "http://user:word@registry.example.org",
            "http://registry.example.org?x=1",
            "http://registry.example.org:port",
            "http://:8081",
            "http://[registry]:8081",
            "http://registry example.org",
        ] {
            check_url(wrong, None);
        }
    }

    fn read(text: &str) -> (Option<SchemaRegistrySettings>, Vec<String>) {
        let mut mistakes = Vec::new();
        let folder = Path::new("config");
        let settings =
            read_toml("zeef.toml", text, &mut mistakes, |root| read_schema_registry(root, folder));
        (settings.flatten(), mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn schema_registry_settings_have_a_place_and_a_login() {
        let (settings, mistakes) = read(
            "[schema_registry]\nurl = \"https://registry.example.org\"\nuser = \"zeef\"\n\
             password = { file = \"password\" }\nca_file = \"ca.pem\"\ntimeout_seconds = 3",
        );
        assert_eq!(mistakes, Vec::<String>::new());
        let settings = settings.unwrap();
        let password = SecretSource::File("config/password".into());
        assert_eq!(
            settings.login,
            Some(RegistryLogin::Basic { user: "zeef".to_owned(), password })
        );
        assert_eq!(settings.ca_file, Some("config/ca.pem".into()));
        assert_eq!(settings.timeout, Duration::from_secs(3));
        let (settings, _) = read("[schema_registry]\nfolder = \"schemas\"");
        let place = settings.unwrap().place;
        assert_eq!(place, SchemaPlace::Folder("config/schemas".into()));
        assert_eq!(read(""), (None, Vec::new()));
    }

    #[track_caller]
    fn check_mistake(lines: &str, want: &[&str]) {
        let (_, mistakes) = read(&format!("[schema_registry]\n{lines}"));
        assert_eq!(mistakes, want, "{lines}");
    }

    #[test]
    fn schema_registry_mistakes_name_lines_and_no_secret() {
        const NO_URL: &str = "zeef.toml:2: `url`, which is no such address, expected the registry's \
            address, as \"https://registry.example.org:8081\", without a login or a query";
        check_mistake("url = \"http://zeef:secret@registry.example.org\"", &[NO_URL]);
        check_mistake("", &["zeef.toml:1: neither of `url` and `folder`, expected one of them"]);
        check_mistake(
            "url = \"http://a\"\nfolder = \"b\"",
            &["zeef.toml:1: both of `url` and `folder`, expected one of them"],
        );
        check_mistake(
            "url = \"http://a\"\nuser = \"zeef\"",
            &["zeef.toml:3: `user` alone, expected `user` and `password`"],
        );
        check_mistake(
            "folder = \"a\"\ntoken = { env = \"TOKEN\" }",
            &["zeef.toml:3: `token` beside `folder`, expected it beside `url` alone"],
        );
        check_mistake(
            "url = \"http://a\"\ntokn = { env = \"TOKEN\" }",
            &["zeef.toml:3: unknown key `tokn`: did you mean `token`?"],
        );
    }
}
