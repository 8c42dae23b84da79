//! `[schema_registry]`: where the schemas are that framed values name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::http_server::{ServerLogin, ServerUrl, read_timeout};
use super::{read_secret_of_key, read_section};
use crate::config::document::TomlTable;

/// Where schemas are, and how they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRegistrySettings {
    pub place: SchemaPlace,
    pub login: Option<ServerLogin>,
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
            ServerLogin::Basic { password: secret, .. } | ServerLogin::Bearer(secret) => {
                secret.permission_warning()
            }
        }
    }
}

/// Where schemas are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaPlace {
    /// A registry with Confluent's interface.
    Registry(ServerUrl),
    /// A folder with a file `ID.avsc` for each.
    Folder(PathBuf),
}

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
        let timeout = read_timeout(table);
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
            timeout,
        });
    })
}

fn read_place(table: &TomlTable<'_>, folder: &Path) -> Option<SchemaPlace> {
    let url = table.string("url", EXPECTED_URL);
    let named = table.string("folder", EXPECTED_FOLDER);
    match (url, named) {
        (Some(at), None) => {
            let url = ServerUrl::parse(&at.value);
            if url.is_none() {
                // Not quoted: it may hold a password.
                let expected = format!("{EXPECTED_URL}, without a login or a query");
                table.report_mistake(at.line, "`url`, which is no such address", expected);
            }
            url.map(|url| SchemaPlace::Registry(url.without_trailing_slash()))
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

fn read_login(table: &TomlTable<'_>, folder: &Path) -> Option<ServerLogin> {
    let user = table.string("user", "who asks the registry, by a password");
    let [password, token] = ["password", "token"].map(|key| read_secret_of_key(table, key, folder));
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
        (Some(user), Some(password), _) => Some(ServerLogin::Basic { user: user.value, password }),
        (_, _, Some(token)) => Some(ServerLogin::Bearer(token)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::read_toml;
    use crate::config::settings::SecretSource;

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
        assert_eq!(settings.login, Some(ServerLogin::Basic { user: "zeef".to_owned(), password }));
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
