//! Who needs which rights on Kafka (ACLs), as commands of Kafka's own tool.
//!
//! Connects to nothing. No party's right on all names that begin alike covers a name
//! of another party.

use std::fmt;

use super::topics::plan;
use crate::engine::lane::STATE_TOPIC;
use crate::policy::Loaded;
use crate::transport::commands::COMMANDS_TOPIC;
use crate::transport::kafka::KafkaSettings;

/// What a right is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Topic,
    Group,
    TransactionalId,
}

/// One right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub principal: String,
    pub operations: &'static [&'static str],
    pub resource: Resource,
    pub name: String,
    /// It is about every name that begins so.
    pub prefixed: bool,
}

/// Who has some rights, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    pub name: String,
    pub acls: Vec<Acl>,
}

impl fmt::Display for Acl {
    /// As the arguments of `kafka-acls.sh` behind `--add`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--allow-principal User:{}", self.principal)?;
        for operation in self.operations {
            write!(f, " --operation {operation}")?;
        }
        let resource = match self.resource {
            Resource::Topic => "topic",
            Resource::Group => "group",
            Resource::TransactionalId => "transactional-id",
        };
        write!(f, " --{resource} {}", self.name)?;
        if self.prefixed {
            f.write_str(" --resource-pattern-type prefixed")?;
        }
        Ok(())
    }
}

/// The one that rights are given to.
struct Principal<'a>(&'a str);

impl Principal<'_> {
    fn acl(&self, operations: &'static [&'static str], of: (Resource, String)) -> Acl {
        Acl {
            principal: self.0.to_owned(),
            operations,
            resource: of.0,
            name: of.1,
            prefixed: false,
        }
    }

    /// The same, for every name that begins so.
    fn prefixed(&self, operations: &'static [&'static str], of: (Resource, String)) -> Acl {
        Acl {
            prefixed: true,
            ..self.acl(operations, of)
        }
    }
}

/// What each party has to be allowed.
#[must_use]
pub fn parties(settings: &KafkaSettings, loaded: &Loaded) -> Vec<Party> {
    let party = |name: &str, acls: Vec<Acl>| Party {
        name: name.to_owned(),
        acls,
    };
    let mut parties = vec![
        party("zeef itself", own(settings, loaded)),
        party("who runs `zeef gates repair`", repairer(settings, loaded)),
        party(
            "operators (zeef accept, refill, keys rotate)",
            vec![operator(settings)],
        ),
        party(
            "who runs `zeef topics --apply`, `zeef lanes apply` and `zeef forget`",
            administrator(settings, loaded),
        ),
    ];
    for recipient in &loaded.policy.recipients {
        let principal = Principal(&recipient.name);
        let read = recipient.topics.names().map(|topic| {
            let of = (Resource::Topic, settings.topic(topic));
            principal.acl(&["Read", "Describe"], of)
        });
        // The dot ends the name: `ill-library` is no beginning of another's.
        let group = format!("{}{}.", settings.topic_prefix, recipient.name);
        let group = (Resource::Group, group);
        let group = principal.prefixed(&["Read"], group);
        parties.push(party(&recipient.name, read.chain([group]).collect()));
    }
    parties
}

fn own(settings: &KafkaSettings, loaded: &Loaded) -> Vec<Acl> {
    const READ: &[&str] = &["Read", "Describe", "DescribeConfigs"];
    const WRITE: &[&str] = &["Write", "Describe", "DescribeConfigs"];
    const BOTH: &[&str] = &["Read", "Write", "Describe", "DescribeConfigs"];
    let zeef = Principal("zeef");
    let planned = plan(loaded).into_iter().map(|planned| {
        let operations = match planned.role {
            "state" | "erasures" | "commands" => BOTH,
            role if role.starts_with("source") => READ,
            _ => WRITE,
        };
        let of = (Resource::Topic, settings.topic(&planned.name));
        zeef.acl(operations, of)
    });
    // What recipients have by states of lanes that the config no longer has.
    let states = (Resource::Topic, settings.topic(STATE_TOPIC));
    // Transactional ids begin as the groups do.
    let groups = settings.group("");
    let rest = [
        zeef.prefixed(&["Read", "Write", "Describe"], states),
        zeef.prefixed(&["Read"], (Resource::Group, groups.clone())),
        zeef.prefixed(&["Write", "Describe"], (Resource::TransactionalId, groups)),
    ];
    planned.chain(rest).collect()
}

/// What a repair has to be allowed: its own principal, as zeef itself never
/// writes to a source.
fn repairer(settings: &KafkaSettings, loaded: &Loaded) -> Vec<Acl> {
    let repairer = Principal("zeef-repair");
    let planned = plan(loaded).into_iter().filter(|topic| {
        let is_gate = topic.role.starts_with("source: ");
        is_gate || topic.role == "commands"
    });
    let topics = planned.map(|topic| {
        let of = (Resource::Topic, settings.topic(&topic.name));
        repairer.acl(&["Read", "Write", "Describe"], of)
    });
    let id = (Resource::TransactionalId, settings.group("repair"));
    let groups = (Resource::Group, settings.group(""));
    let rest = [
        repairer.acl(&["Write", "Describe"], id),
        repairer.prefixed(&["Read", "Describe"], groups),
    ];
    topics.chain(rest).collect()
}

fn operator(settings: &KafkaSettings) -> Acl {
    let of = (Resource::Topic, settings.topic(COMMANDS_TOPIC));
    Principal("operator").acl(&["Read", "Write", "Describe", "DescribeConfigs"], of)
}

/// What makes topics, moves recipients and forgets lanes, while nobody runs them.
fn administrator(settings: &KafkaSettings, loaded: &Loaded) -> Vec<Acl> {
    const BOTH: &[&str] = &["Read", "Write", "Describe"];
    let administrator = Principal("zeef-admin");
    let planned = plan(loaded).into_iter().map(|planned| {
        let of = (Resource::Topic, settings.topic(&planned.name));
        administrator.acl(&["Create", "Describe", "DescribeConfigs"], of)
    });
    let commands = (Resource::Topic, settings.topic(COMMANDS_TOPIC));
    let states = (Resource::Topic, settings.topic(STATE_TOPIC));
    let groups = settings.group("");
    let rest = [
        administrator.acl(BOTH, commands),
        administrator.prefixed(BOTH, states),
        administrator.prefixed(
            &["Read", "Describe", "Delete"],
            (Resource::Group, groups.clone()),
        ),
        administrator.prefixed(&["Write", "Describe"], (Resource::TransactionalId, groups)),
    ];
    planned.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::Policy;

    /// Names that are beginnings of each other, as many as there are recipients.
    const NAMES: [&str; 8] = ["a", "a-b", "a-b-c", "ab", "b", "b1", "b1-x", "zee"];

    /// The rights of the shipped config, whose recipients have these names.
    fn named(prefix: &str) -> Vec<Party> {
        let mut loaded = Policy::load(Path::new("config")).unwrap();
        for (recipient, name) in loaded.policy.recipients.iter_mut().zip(NAMES) {
            recipient.name = name.to_owned();
        }
        let settings = KafkaSettings {
            topic_prefix: prefix.to_owned(),
            ..KafkaSettings::default()
        };
        parties(&settings, &loaded)
    }

    #[test]
    fn no_right_of_a_recipient_covers_a_name_of_another() {
        for prefix in ["", "a.", "zee"] {
            let parties = named(prefix);
            let recipients = |party: &&Party| NAMES.contains(&party.name.as_str());
            let mut pairs = 0;
            for party in parties.iter().filter(recipients) {
                let others = parties.iter().filter(|other| other.name != party.name);
                let others: Vec<&Acl> = others.flat_map(|other| &other.acls).collect();
                for acl in &party.acls {
                    for other in others.iter().filter(|one| one.resource == acl.resource) {
                        let is_shared = acl.resource == Resource::Topic && acl.name == other.name;
                        let covers = match acl.prefixed {
                            true => other.name.starts_with(&acl.name),
                            // zeef itself writes what a recipient reads.
                            false => other.name == acl.name && !is_shared,
                        };
                        assert!(!covers, "{acl} of {} covers {other}", party.name);
                        pairs += 1;
                    }
                }
            }
            assert!(pairs > 100, "{pairs}");
        }
    }

    #[test]
    fn a_right_is_what_kafkas_tool_takes() {
        let group = Principal("ill-library")
            .prefixed(&["Read"], (Resource::Group, "ill-library.".to_owned()));
        assert_eq!(
            group.to_string(),
            "--allow-principal User:ill-library --operation Read --group ill-library. \
             --resource-pattern-type prefixed"
        );
    }
}
