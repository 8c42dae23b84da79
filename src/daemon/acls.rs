//! The Kafka rights (ACLs) that each party needs, as commands of Kafka's own tool.
//!
//! Connects to nothing. No party's prefixed right covers a name of another party.

use std::collections::BTreeSet;
use std::fmt;

use super::intake::IntakeSetup;
use super::topics::{ACKNOWLEDGEMENTS_ROLE, PlannedTopic, TIMESTAMPS_ROLE, plan_topics};
use crate::config::LoadedConfig;
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::ledger::audit::AUDIT_TOPIC;
use crate::ledger::timestamp::TIMESTAMPS_TOPIC;
use crate::message::commands::COMMANDS_TOPIC;
use crate::transport::kafka::KafkaSettings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Topic,
    Group,
    TransactionalId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub principal: String,
    pub operations: &'static [&'static str],
    pub resource: Resource,
    pub name: String,
    /// It covers every name with this prefix.
    pub is_prefixed: bool,
}

/// Rights of one principal, and what it does with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclGrantee {
    pub name: String,
    pub acls: Vec<Acl>,
}

impl fmt::Display for Acl {
    /// The arguments of `kafka-acls.sh` after `--add`.
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
        if self.is_prefixed {
            f.write_str(" --resource-pattern-type prefixed")?;
        }
        Ok(())
    }
}

/// The principal that gets rights.
struct Principal<'a>(&'a str);

impl Principal<'_> {
    fn build_acl(&self, operations: &'static [&'static str], resource: (Resource, String)) -> Acl {
        Acl {
            principal: self.0.to_owned(),
            operations,
            resource: resource.0,
            name: resource.1,
            is_prefixed: false,
        }
    }

    /// As [`build_acl`](Self::build_acl), for every name with this prefix.
    fn build_prefixed_acl(
        &self,
        operations: &'static [&'static str],
        resource: (Resource, String),
    ) -> Acl {
        Acl { is_prefixed: true, ..self.build_acl(operations, resource) }
    }
}

/// Returns the rights of each party.
#[must_use]
pub fn plan_acls(settings: &KafkaSettings, loaded: &LoadedConfig) -> Vec<AclGrantee> {
    let party = |name: &str, acls: Vec<Acl>| AclGrantee { name: name.to_owned(), acls };
    let mut parties = vec![
        party("zeef itself", daemon_acls(settings, loaded)),
        party("who runs `zeef gates repair`", repairer_acls(settings, loaded)),
        party("operators (zeef accept, refill, keys rotate)", operator_acls(settings, loaded)),
        party(
            "who runs `zeef topics --apply`, `zeef lanes apply`, `zeef forget` and `zeef ledger forget`",
            administrator_acls(settings, loaded),
        ),
        party("who runs `zeef lanes apply --repartition`", repartition_acls(settings, loaded)),
    ];
    if loaded.daemon.ledger.is_enabled {
        let name = "who asks the ledger (zeef ledger, rights, breach, retractions)";
        parties.push(party(name, ledger_reader_acls(settings, loaded)));
        let name = "who runs `zeef ledger patron --values`, which shows what recipients have";
        parties.push(party(name, value_reader_acls(settings, loaded)));
    }
    for recipient in &loaded.policy.recipients {
        let principal = Principal(&recipient.name);
        let read = recipient.topics.names().map(|topic| {
            let of = (Resource::Topic, settings.topic_name(topic));
            principal.build_acl(&["Read", "Describe"], of)
        });
        let acknowledges = recipient.acknowledgement.iter().map(|rule| {
            let of = (Resource::Topic, settings.topic_name(&rule.topic));
            principal.build_acl(&["Write", "Describe"], of)
        });
        // The dot ends the name: `ill-library` is no prefix of another's.
        let group = format!("{}{}.", settings.topic_prefix, recipient.name);
        let group = (Resource::Group, group);
        let group = principal.build_prefixed_acl(&["Read"], group);
        let acls = read.chain(acknowledges).chain([group]).collect();
        parties.push(party(&recipient.name, acls));
    }
    parties
}

fn daemon_acls(settings: &KafkaSettings, loaded: &LoadedConfig) -> Vec<Acl> {
    const DESCRIBE: &[&str] = &["Describe", "DescribeConfigs"];
    const READ: &[&str] = &["Read", "Describe", "DescribeConfigs"];
    const WRITE: &[&str] = &["Write", "Describe", "DescribeConfigs"];
    const BOTH: &[&str] = &["Read", "Write", "Describe", "DescribeConfigs"];
    let zeef = Principal("zeef");
    let planned = plan_topics(loaded).into_iter().map(|planned| {
        let operations = match planned.role {
            "state" | "erasures" | "commands" | "ledger" | "audit" | "checkpoints" => BOTH,
            TIMESTAMPS_ROLE => DESCRIBE,
            ACKNOWLEDGEMENTS_ROLE => READ,
            role if role.starts_with("source") => READ,
            _ => WRITE,
        };
        let of = (Resource::Topic, settings.topic_name(&planned.name));
        zeef.build_acl(operations, of)
    });
    // What recipients have in states of lanes that the config no longer has.
    let states = (Resource::Topic, settings.topic_name(STATE_TOPIC_PREFIX));
    // Transactional ids begin like the groups.
    let groups = settings.group_id("");
    let rest = [
        zeef.build_prefixed_acl(&["Read", "Write", "Describe"], states),
        zeef.build_prefixed_acl(&["Read"], (Resource::Group, groups.clone())),
        zeef.build_prefixed_acl(&["Write", "Describe"], (Resource::TransactionalId, groups)),
    ];
    planned.chain(rest).chain(partner_group_acls(&zeef, settings, loaded)).collect()
}

/// Returns the rights for seeing how far the named groups of recipients have read.
fn partner_group_acls(
    principal: &Principal<'_>,
    settings: &KafkaSettings,
    loaded: &LoadedConfig,
) -> Vec<Acl> {
    let recipients = loaded.policy.recipients.iter();
    let groups = recipients.filter_map(|recipient| recipient.consumer_group.as_deref());
    groups
        .map(|group| {
            let of = (Resource::Group, settings.topic_name(group));
            principal.build_acl(&["Describe"], of)
        })
        .collect()
}

/// Returns the rights that enabled intakes need beside [`plan_acls`]: those of zeef itself, and of
/// who runs `zeef intake resync`. None without an intake.
#[must_use]
pub fn plan_intake_acls(settings: &KafkaSettings, setups: &[IntakeSetup]) -> Vec<AclGrantee> {
    const WRITE: &[&str] = &["Write", "Describe", "DescribeConfigs"];
    const BOTH: &[&str] = &["Read", "Write", "Describe"];
    if setups.is_empty() {
        return Vec::new();
    }
    let canonical = setups.iter().flat_map(|setup| &setup.kinds);
    let canonical: BTreeSet<String> =
        canonical.map(|kind| settings.topic_name(&kind.topic)).collect();
    let write = |principal: &str, operations| -> Vec<Acl> {
        let topics = canonical.iter();
        let topics = topics.map(|topic| (Resource::Topic, topic.clone()));
        topics.map(|topic| Principal(principal).build_acl(operations, topic)).collect()
    };
    let states = setups.iter().filter_map(IntakeSetup::state_topic);
    let states: Vec<String> = states.map(|topic| settings.topic_name(&topic)).collect();
    let of_states = |principal: &str, operations| -> Vec<Acl> {
        let topics = states.iter().map(|topic| (Resource::Topic, topic.clone()));
        topics.map(|topic| Principal(principal).build_acl(operations, topic)).collect()
    };
    const RESYNC: &str = "zeef-resync";
    let groups = (Resource::Group, settings.group_id(""));
    let groups = Principal(RESYNC).build_prefixed_acl(&["Read", "Describe"], groups);
    // The rows of a state are removed in a transaction.
    let rewriter = states.first().map(|_| {
        let id = (Resource::TransactionalId, settings.group_id("lanes-apply"));
        Principal(RESYNC).build_acl(&["Write", "Describe"], id)
    });
    vec![
        AclGrantee {
            name: "zeef itself, for its intakes".to_owned(),
            acls: [
                raw_topic_acls("zeef", &["Read", "Describe", "DescribeConfigs"], setups),
                write("zeef", WRITE),
                of_states("zeef", &["Read", "Write", "Describe", "DescribeConfigs"]),
            ]
            .concat(),
        },
        AclGrantee {
            name: "who runs `zeef intake resync`".to_owned(),
            acls: [
                raw_topic_acls(RESYNC, &["Describe"], setups),
                write(RESYNC, BOTH),
                of_states(RESYNC, BOTH),
                vec![groups],
                rewriter.into_iter().collect(),
            ]
            .concat(),
        },
    ]
}

/// Returns rights to the topics of library systems; of a pattern, to all that begin like it.
fn raw_topic_acls(
    principal: &str,
    operations: &'static [&'static str],
    setups: &[IntakeSetup],
) -> Vec<Acl> {
    let principal = Principal(principal);
    let topics = setups
        .iter()
        .flat_map(|setup| setup.record_topics().into_iter().chain(setup.intake.lookup_topics()));
    let topics: BTreeSet<String> = topics.collect();
    let acl = |topic: String| match topic.split_once('*') {
        None => principal.build_acl(operations, (Resource::Topic, topic)),
        // Kafka has no prefixed right without a prefix.
        Some(("", _)) => principal.build_acl(operations, (Resource::Topic, "*".to_owned())),
        Some((start, _)) => {
            principal.build_prefixed_acl(operations, (Resource::Topic, start.to_owned()))
        }
    };
    let mut acls: Vec<Acl> = topics.into_iter().map(acl).collect();
    acls.dedup();
    acls
}

/// Returns the rights of a repair: a principal of its own, as zeef itself writes to no source
/// but those of its intakes.
fn repairer_acls(settings: &KafkaSettings, loaded: &LoadedConfig) -> Vec<Acl> {
    let repairer = Principal("zeef-repair");
    let planned = plan_topics(loaded).into_iter().filter(|topic| {
        let is_gate = topic.role.starts_with("source: ");
        is_gate || topic.role == "commands"
    });
    let topics = planned.map(|topic| {
        let of = (Resource::Topic, settings.topic_name(&topic.name));
        repairer.build_acl(&["Read", "Write", "Describe"], of)
    });
    let id = (Resource::TransactionalId, settings.group_id("repair"));
    let groups = (Resource::Group, settings.group_id(""));
    let rest = [
        repairer.build_acl(&["Write", "Describe"], id),
        repairer.build_prefixed_acl(&["Read", "Describe"], groups),
    ];
    topics.chain(rest).chain(audit_acls(&repairer, settings, loaded)).collect()
}

fn operator_acls(settings: &KafkaSettings, loaded: &LoadedConfig) -> Vec<Acl> {
    let operator = Principal("operator");
    let of = (Resource::Topic, settings.topic_name(COMMANDS_TOPIC));
    let commands = operator.build_acl(&["Read", "Write", "Describe", "DescribeConfigs"], of);
    std::iter::once(commands).chain(audit_acls(&operator, settings, loaded)).collect()
}

/// Returns the rights for writing a line of the audit before a command: the line before it is
/// read, and its transactional id is the name of its topic.
fn audit_acls(
    principal: &Principal<'_>,
    settings: &KafkaSettings,
    loaded: &LoadedConfig,
) -> Vec<Acl> {
    if !loaded.daemon.ledger.is_enabled {
        return Vec::new();
    }
    chain_writer_acls(principal, settings.topic_name(AUDIT_TOPIC)).into()
}

/// Returns the rights to append to a topic whose name is also its writer's transactional id.
fn chain_writer_acls(principal: &Principal<'_>, name: String) -> [Acl; 2] {
    [
        principal.build_acl(&["Read", "Write", "Describe"], (Resource::Topic, name.clone())),
        principal.build_acl(&["Write", "Describe"], (Resource::TransactionalId, name)),
    ]
}

/// Returns the rights of who answers from the ledger: what it has, the heads of its chains, who
/// the patrons are, the timestamps that it asks for, and where retractions lie that are not acknowledged.
fn ledger_reader_acls(settings: &KafkaSettings, loaded: &LoadedConfig) -> Vec<Acl> {
    let recipients = loaded.policy.recipients.iter();
    let asked = recipients.filter(|recipient| recipient.acknowledgement.is_some());
    let outputs: BTreeSet<String> =
        asked.flat_map(|recipient| recipient.topics.names()).map(str::to_owned).collect();
    let reader = Principal("zeef-ledger");
    let mut acls = reading_acls(&reader, (settings, loaded), |topic| outputs.contains(topic));
    if loaded.daemon.ledger.checkpoints.is_enabled {
        acls.extend(chain_writer_acls(&reader, settings.topic_name(TIMESTAMPS_TOPIC)));
    }
    acls
}

/// Returns the rights of who also answers with values: all outputs, too.
fn value_reader_acls(settings: &KafkaSettings, loaded: &LoadedConfig) -> Vec<Acl> {
    reading_acls(&Principal("zeef-values"), (settings, loaded), |_| true)
}

/// Returns the rights for reading the ledger and what belongs to it, and some outputs.
fn reading_acls(
    principal: &Principal<'_>,
    (settings, loaded): (&KafkaSettings, &LoadedConfig),
    reads_output: impl Fn(&str) -> bool,
) -> Vec<Acl> {
    let is_read = |planned: &PlannedTopic| match planned.role {
        "ledger" | "register" | "checkpoints" | "state" | "source: patrons" => true,
        "output" => reads_output(&planned.name),
        role => role == ACKNOWLEDGEMENTS_ROLE,
    };
    let topics = plan_topics(loaded).into_iter().filter(is_read).map(|planned| {
        let of = (Resource::Topic, settings.topic_name(&planned.name));
        principal.build_acl(&["Read", "Describe"], of)
    });
    topics
        .chain(partner_group_acls(principal, settings, loaded))
        .chain(audit_acls(principal, settings, loaded))
        .collect()
}

/// Returns the rights for creating topics, moving recipients and forgetting lanes, while
/// nobody runs them.
fn administrator_acls(settings: &KafkaSettings, loaded: &LoadedConfig) -> Vec<Acl> {
    const BOTH: &[&str] = &["Read", "Write", "Describe"];
    let administrator = Principal("zeef-admin");
    let planned = plan_topics(loaded).into_iter().map(|planned| {
        let of = (Resource::Topic, settings.topic_name(&planned.name));
        let operations: &[&str] = match planned.role {
            // `zeef ledger forget` deletes years of it.
            "ledger" => &["Create", "Read", "Delete", "Describe", "DescribeConfigs"],
            _ => &["Create", "Describe", "DescribeConfigs"],
        };
        administrator.build_acl(operations, of)
    });
    let commands = (Resource::Topic, settings.topic_name(COMMANDS_TOPIC));
    let states = (Resource::Topic, settings.topic_name(STATE_TOPIC_PREFIX));
    let groups = settings.group_id("");
    let rest = [
        administrator.build_acl(BOTH, commands),
        administrator.build_prefixed_acl(BOTH, states),
        administrator
            .build_prefixed_acl(&["Read", "Describe", "Delete"], (Resource::Group, groups.clone())),
        administrator
            .build_prefixed_acl(&["Write", "Describe"], (Resource::TransactionalId, groups)),
    ];
    planned.chain(rest).chain(audit_acls(&administrator, settings, loaded)).collect()
}

/// Returns the rights for carrying states to sources with other partitions: a principal of its
/// own, as nobody else who changes a deployment reads sources.
fn repartition_acls(settings: &KafkaSettings, loaded: &LoadedConfig) -> Vec<Acl> {
    const COMPARE: &[&str] = &["Describe", "DescribeConfigs"];
    const READ: &[&str] = &["Read", "Describe", "DescribeConfigs"];
    const WIDEN: &[&str] = &["Read", "Write", "Alter", "Describe", "DescribeConfigs"];
    let principal = Principal("zeef-repartition");
    let planned = plan_topics(loaded).into_iter().map(|planned| {
        let operations = match planned.role {
            "state" | "erasures" => WIDEN,
            "ledger" => &["Alter", "Describe", "DescribeConfigs"],
            // It holds which misplaced records were repaired.
            "commands" => READ,
            role if role.starts_with("source") => READ,
            _ => COMPARE,
        };
        principal.build_acl(operations, (Resource::Topic, settings.topic_name(&planned.name)))
    });
    // Also states of lanes that the config no longer has.
    let states = (Resource::Topic, settings.topic_name(STATE_TOPIC_PREFIX));
    let id = (Resource::TransactionalId, settings.group_id("lanes-apply"));
    let groups = (Resource::Group, settings.group_id(""));
    let rest = [
        principal.build_prefixed_acl(WIDEN, states),
        principal.build_prefixed_acl(&["Read", "Describe"], groups),
        principal.build_acl(&["Write", "Describe"], id),
    ];
    planned.chain(rest).chain(audit_acls(&principal, settings, loaded)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::Policy;
    use crate::policy::acknowledgement::AcknowledgementRule;
    use crate::policy::form::Date;
    use crate::policy::term::Term;

    /// Names that are prefixes of each other, as many as there are recipients.
    const NAMES: [&str; 8] = ["a", "a-b", "a-b-c", "ab", "b", "b1", "b1-x", "zee"];

    /// Returns the rights of the shipped config with its recipients renamed.
    fn acls_of_renamed_recipients(prefix: &str) -> Vec<AclGrantee> {
        let mut loaded = Policy::load(Path::new("config")).unwrap();
        for (recipient, name) in loaded.policy.recipients.iter_mut().zip(NAMES) {
            recipient.name = name.to_owned();
        }
        let settings =
            KafkaSettings { topic_prefix: prefix.to_owned(), ..KafkaSettings::default() };
        plan_acls(&settings, &loaded)
    }

    #[test]
    fn recipient_acls_cover_no_name_of_another_recipient() {
        for prefix in ["", "a.", "zee"] {
            let parties = acls_of_renamed_recipients(prefix);
            let recipients = |party: &&AclGrantee| NAMES.contains(&party.name.as_str());
            let mut pairs = 0;
            for party in parties.iter().filter(recipients) {
                let others = parties.iter().filter(|other| other.name != party.name);
                let others: Vec<&Acl> = others.flat_map(|other| &other.acls).collect();
                for acl in &party.acls {
                    for other in others.iter().filter(|one| one.resource == acl.resource) {
                        let is_shared = acl.resource == Resource::Topic && acl.name == other.name;
                        let covers = match acl.is_prefixed {
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

    /// It may add partitions to zeef's own topics, write there, and read sources; no other party
    /// may change a topic.
    #[test]
    fn repartition_acls_widen_and_write_only_own_topics() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let settings = KafkaSettings { topic_prefix: "a.".to_owned(), ..KafkaSettings::default() };
        let parties = plan_acls(&settings, &loaded);
        let has = |acl: &Acl, operation: &str| acl.operations.contains(&operation);
        let party = |acl: &Acl| acl.principal == "zeef-repartition";
        let all: Vec<&Acl> = parties.iter().flat_map(|one| &one.acls).collect();
        assert!(all.iter().all(|acl| !has(acl, "Alter") || party(acl)));
        for planned in plan_topics(&loaded) {
            let name = settings.topic_name(&planned.name);
            let mut own = all.iter().filter(|acl| party(acl) && acl.name == name);
            let acl = own.next().unwrap_or_else(|| panic!("expected {name}"));
            let is_own = ["state", "erasures"].contains(&planned.role);
            let is_read =
                is_own || planned.role == "commands" || planned.role.starts_with("source");
            assert_eq!(
                ["Read", "Write", "Alter", "Describe", "Create"].map(|one| has(acl, one)),
                [is_read, is_own, is_own, true, false],
                "{name}"
            );
        }
        let rest = all.iter().filter(|acl| party(acl) && acl.resource != Resource::Topic);
        let rest: Vec<String> = rest.map(ToString::to_string).collect();
        assert_eq!(
            rest,
            [
                "--allow-principal User:zeef-repartition --operation Read --operation Describe \
                 --group a.zeef. --resource-pattern-type prefixed",
                "--allow-principal User:zeef-repartition --operation Write --operation Describe \
                 --transactional-id a.zeef.lanes-apply",
            ]
        );
    }

    /// Raw topics are only read, by their own names; sources are written by whoever makes them.
    #[test]
    fn intake_acls_read_raw_topics_and_write_sources() {
        let folder = Path::new("config");
        let mut loaded = Policy::load(folder).unwrap();
        let settings = KafkaSettings { topic_prefix: "a.".to_owned(), ..KafkaSettings::default() };
        assert_eq!(plan_intake_acls(&settings, &[]), []);
        loaded.daemon.intakes.enabled = vec!["koha-debezium".to_owned(), "folio".to_owned()];
        let setups = IntakeSetup::load_enabled(folder, &loaded, "a.").unwrap();
        let parties = plan_intake_acls(&settings, &setups);
        let lines: Vec<String> =
            parties.iter().flat_map(|party| &party.acls).map(ToString::to_string).collect();
        let zeef = "--allow-principal User:zeef --operation";
        let read = format!("{zeef} Read --operation Describe --operation DescribeConfigs --topic");
        let write =
            format!("{zeef} Write --operation Describe --operation DescribeConfigs --topic");
        for want in [
            format!("{read} koha.issues"),
            format!("{read} koha.koha_library.items"),
            format!("{read} folio. --resource-pattern-type prefixed"),
            format!("{write} a.patron"),
            format!("{write} a.loan"),
        ] {
            assert_eq!(
                lines.iter().filter(|line| **line == want).count(),
                1,
                "{want} in {lines:#?}"
            );
        }
        let writes = lines.iter().filter(|line| line.contains("--operation Write"));
        assert!(writes.clone().count() > 4);
        assert!(writes.clone().all(|line| line.contains(" --topic a.")), "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains("intake-state")), "{lines:#?}");
    }

    /// Only an intake that compares versions has a state, which a resync empties.
    #[test]
    fn intake_acls_of_a_state_are_for_zeef_and_the_resync() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let path = Path::new("tests/intake/mappings/versions.toml");
        let intake = crate::intake::load_file(path, &loaded.policy.record_kinds).unwrap();
        let settings = KafkaSettings { topic_prefix: "a.".to_owned(), ..KafkaSettings::default() };
        let parties = plan_intake_acls(&settings, &[IntakeSetup::new(intake, &loaded, "a.")]);
        let lines: Vec<String> =
            parties.iter().flat_map(|party| &party.acls).map(ToString::to_string).collect();
        let of_state = "--operation Read --operation Write --operation Describe";
        for want in [
            format!(
                "--allow-principal User:zeef {of_state} --operation DescribeConfigs --topic \
                 a.zeef.intake-state.versions"
            ),
            format!(
                "--allow-principal User:zeef-resync {of_state} --topic a.zeef.intake-state.versions"
            ),
            "--allow-principal User:zeef-resync --operation Write --operation Describe \
             --transactional-id a.zeef.lanes-apply"
                .to_owned(),
        ] {
            assert!(lines.contains(&want), "{want} in {lines:#?}");
        }
    }

    /// Who commands or asks writes the audit under its own transactional id, and only the
    /// administrator deletes from the ledger.
    #[test]
    fn ledger_acls_let_each_commander_write_the_audit_and_one_forget() {
        let mut loaded = Policy::load(Path::new("config")).unwrap();
        loaded.daemon.ledger.is_enabled = true;
        loaded.daemon.ledger.checkpoints.is_enabled = true;
        let settings = KafkaSettings { topic_prefix: "a.".to_owned(), ..KafkaSettings::default() };
        let parties = plan_acls(&settings, &loaded);
        let all: Vec<&Acl> = parties.iter().flat_map(|one| &one.acls).collect();
        let has = |principal: &str, operation: &str, of: (Resource, &str)| {
            let mut own = all.iter().filter(|acl| acl.principal == principal);
            own.any(|acl| {
                let is_named = match acl.is_prefixed {
                    true => of.1.starts_with(&acl.name),
                    false => of.1 == acl.name,
                };
                acl.resource == of.0 && is_named && acl.operations.contains(&operation)
            })
        };
        let commanders = [
            "zeef",
            "operator",
            "zeef-repair",
            "zeef-admin",
            "zeef-repartition",
            "zeef-ledger",
            "zeef-values",
        ];
        for principal in commanders {
            for operation in ["Read", "Write"] {
                let topic = (Resource::Topic, "a.zeef.audit");
                assert!(has(principal, operation, topic), "{principal} {operation}");
            }
            let id = (Resource::TransactionalId, "a.zeef.audit");
            assert!(has(principal, "Write", id), "{principal}");
            let ledger = (Resource::Topic, "a.zeef.ledger");
            assert_eq!(has(principal, "Delete", ledger), principal == "zeef-admin");
            assert_eq!(has(principal, "Write", ledger), principal == "zeef", "{principal}");
            let checkpoints = (Resource::Topic, "a.zeef.checkpoints");
            assert_eq!(has(principal, "Write", checkpoints), principal == "zeef", "{principal}");
        }
        assert!(has("zeef-ledger", "Read", (Resource::Topic, "a.zeef.checkpoints")));
        let timestamps = (Resource::Topic, "a.zeef.timestamps");
        for principal in commanders {
            let is_asker = principal == "zeef-ledger";
            assert_eq!(has(principal, "Write", timestamps), is_asker, "{principal}");
        }
        assert!(has("zeef-ledger", "Write", (Resource::TransactionalId, "a.zeef.timestamps")));
        assert!(has("zeef", "DescribeConfigs", timestamps) && !has("zeef", "Read", timestamps));
        for recipient in &loaded.policy.recipients {
            assert!(!has(&recipient.name, "Read", (Resource::Topic, "a.zeef.audit")));
        }
    }

    /// The partner writes what it acknowledges and zeef reads it, never the other way round.
    #[test]
    fn acknowledgement_acls_let_the_partner_write_and_zeef_read() {
        let mut loaded = Policy::load(Path::new("config")).unwrap();
        loaded.daemon.ledger.is_enabled = true;
        let recipient = &mut loaded.policy.recipients[0];
        let name = recipient.name.clone();
        recipient.consumer_group = Some(format!("{name}.reader"));
        recipient.acknowledgement = Some(AcknowledgementRule {
            topic: "ack.one".to_owned(),
            within: Term::parse("P7D").unwrap(),
            since: Date::parse("2026-12-01").unwrap(),
        });
        let settings = KafkaSettings { topic_prefix: "a.".to_owned(), ..KafkaSettings::default() };
        let parties = plan_acls(&settings, &loaded);
        let all = || parties.iter().flat_map(|party| &party.acls);
        let who = |operation: &str, of: &str| -> BTreeSet<&str> {
            let granted = all().filter(|acl| acl.name == of && !acl.is_prefixed);
            let granted = granted.filter(|acl| acl.operations.contains(&operation));
            granted.map(|acl| acl.principal.as_str()).collect()
        };
        assert_eq!(who("Write", "a.ack.one"), BTreeSet::from([name.as_str()]));
        let readers = BTreeSet::from(["zeef", "zeef-ledger", "zeef-values"]);
        assert_eq!(who("Read", "a.ack.one"), readers);
        let group = format!("a.{name}.reader");
        assert_eq!(who("Describe", &group), readers);
        assert_eq!(who("Read", &group), BTreeSet::new());
    }

    /// Whoever answers with names of fields reads no output but of partners that acknowledge.
    #[test]
    fn value_acls_alone_read_every_output() {
        let mut loaded = Policy::load(Path::new("config")).unwrap();
        loaded.daemon.ledger.is_enabled = true;
        let parties = plan_acls(&KafkaSettings::default(), &loaded);
        let all: Vec<&Acl> = parties.iter().flat_map(|party| &party.acls).collect();
        for recipient in &loaded.policy.recipients {
            for topic in recipient.topics.names() {
                let read = all.iter().filter(|acl| acl.name == topic);
                let read = read.filter(|acl| acl.operations.contains(&"Read"));
                let readers: BTreeSet<&str> = read.map(|acl| acl.principal.as_str()).collect();
                assert_eq!(readers, BTreeSet::from([recipient.name.as_str(), "zeef-values"]));
            }
        }
    }

    #[test]
    fn acl_displays_as_kafka_acls_arguments() {
        let group = Principal("ill-library")
            .build_prefixed_acl(&["Read"], (Resource::Group, "ill-library.".to_owned()));
        assert_eq!(
            group.to_string(),
            "--allow-principal User:ill-library --operation Read --group ill-library. \
             --resource-pattern-type prefixed"
        );
    }
}
