//! Finds outputs, by the marks of all states, that nobody serves: also of lanes, recipients
//! and topics that the config no longer has. A start is refused until the config says what
//! becomes of them: unknown outputs are never corrected and never erased.

use std::collections::{BTreeMap, BTreeSet};

use super::lane_moves::serving_lane;
use crate::config::LoadedConfig;
use crate::message::continuity::{ContinuityMark, Fingerprinter};
use crate::policy::former_recipient::{
    self, FormerAction, TOPIC_SEPARATOR, recipient_of_state_name,
};
use crate::policy::recipient::Recipient;

/// What recipients have, by the marks of one lane's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneOutputs {
    pub lane: String,
    /// By recipient and topic.
    output_counts: BTreeMap<String, BTreeMap<String, u64>>,
    /// The kinds of records, by recipient.
    record_kinds: BTreeMap<String, BTreeSet<String>>,
    /// How often recipients were moved to or from the lane.
    pub lane_moves: u64,
    /// The next offset of commands, of the partition that has carried out most.
    pub commands_done_offset: i64,
    /// Its state has marks, readable or not.
    has_marks: bool,
    /// The recipients and the output topics that its marks name.
    known_names: BTreeSet<String>,
}

impl LaneOutputs {
    /// Sums the newest marks of a lane's partitions. Skips unreadable ones: the lane itself
    /// reports them, and a state under another key belongs to another deployment.
    #[must_use]
    pub fn sum_marks<'a>(
        lane: &str,
        marks: impl Iterator<Item = &'a [u8]>,
        fingerprinter: &Fingerprinter,
    ) -> LaneOutputs {
        let mut held = LaneOutputs { lane: lane.to_owned(), ..LaneOutputs::default() };
        for value in marks {
            held.has_marks = true;
            match ContinuityMark::decode(fingerprinter, value) {
                Ok(mark) => held.add_mark(&mark),
                Err(error) => tracing::warn!(lane, %error, "a mark that cannot be read"),
            }
        }
        held
    }

    fn add_mark(&mut self, mark: &ContinuityMark) {
        self.lane_moves = self.lane_moves.max(mark.lane_moves);
        self.commands_done_offset = self.commands_done_offset.max(mark.commands);
        let topics = mark.outputs.keys().chain(mark.has.values().flat_map(BTreeMap::keys));
        self.known_names.extend(topics.chain(&mark.recipients).cloned());
        for (name, topics) in &mark.has {
            for (topic, count) in topics.iter().filter(|(_, count)| **count > 0) {
                let topics = self.output_counts.entry(name.clone()).or_default();
                *topics.entry(topic.clone()).or_default() += count;
            }
        }
        for (name, kinds) in &mark.kinds {
            let kinds = kinds.iter().filter(|(_, count)| **count > 0);
            let known = self.record_kinds.entry(name.clone()).or_default();
            known.extend(kinds.map(|(kind, _)| kind.clone()));
        }
    }
}

/// Who is served, and where, according to the config.
struct ServedRecipients<'a>(&'a LoadedConfig);

impl ServedRecipients<'_> {
    fn has_lane(&self, lane: &str) -> bool {
        self.0.daemon.lanes.iter().any(|one| one.name == lane)
    }

    fn recipient(&self, name: &str) -> Option<&Recipient> {
        self.0.policy.recipient(name)
    }

    /// Returns the topics whose outputs the config assigns to a former recipient.
    fn former_topics(&self, recipient: &str) -> BTreeSet<&str> {
        self.0.policy.former_topics(recipient).collect()
    }

    /// Returns the topics on which the config serves what a recipient has.
    fn served_topics(&self, outputs: &LaneOutputs, name: &str) -> BTreeSet<&str> {
        let served = self.recipient(recipient_of_state_name(name)).filter(|one| {
            let kind = &self.0.policy.record_kinds[one.source_kind_index].name;
            let mut kinds = outputs.record_kinds.get(name).into_iter().flatten();
            !name.contains(TOPIC_SEPARATOR) && kinds.all(|known| known == kind)
        });
        served.iter().flat_map(|one| one.topics.names()).collect()
    }

    /// Returns the topics on which nobody would know of what a recipient has.
    fn unserved_topics<'t>(&self, outputs: &'t LaneOutputs, name: &str) -> BTreeMap<&'t str, u64> {
        let own = self.served_topics(outputs, name);
        let former = self.former_topics(recipient_of_state_name(name));
        let has = outputs.output_counts.get(name).into_iter().flatten();
        has.filter(|(topic, _)| !own.contains(topic.as_str()) && !former.contains(topic.as_str()))
            .map(|(topic, count)| (topic.as_str(), *count))
            .collect()
    }

    /// Returns why outputs cannot be kept: their lane would miss erasures.
    fn missed_erasures_refusal(&self, outputs: &LaneOutputs) -> Option<String> {
        let mut lanes = self.0.daemon.lanes.iter();
        let lane = lanes.find(|lane| lane.name == outputs.lane)?;
        let keyed = |name: &String| {
            let recipient = self.recipient(name)?;
            Some(self.0.policy.record_kinds[recipient.source_kind_index].is_keyed_by_patron)
        };
        let hears =
            lane.recipients.is_empty() || lane.recipients.iter().any(|r| keyed(r) == Some(true));
        let kept = self.0.policy.former_recipients.iter().find(|former| {
            let has = outputs
                .output_counts
                .keys()
                .any(|name| recipient_of_state_name(name) == former.recipient);
            has && former.action == FormerAction::Keep
                && self.0.lane_of(&former.recipient).is_none()
        });
        let recipient = kept.filter(|_| !hears).map(|former| &former.recipient)?;
        Some(format!(
            "recipient `{recipient}`: lane `{}` reads no patrons, so that what is kept would stay \
             also after an erasure: say `what = \"retract\"` for it",
            outputs.lane
        ))
    }

    /// Returns why a recipient is not served as before.
    fn why_unserved(&self, recipient: &str) -> &'static str {
        let is_off = |one: &Recipient| one.name == recipient;
        if self.recipient(recipient).is_some() {
            "is served on another topic now, or from another kind of records"
        } else if self.0.policy.disabled_recipients.iter().any(is_off) {
            "is switched off"
        } else {
            "is none of the recipients"
        }
    }
}

/// Returns the reasons to refuse a start: outputs that nobody would know of.
#[must_use]
pub fn start_refusals(loaded: &LoadedConfig, lane_outputs: &[LaneOutputs]) -> Vec<String> {
    let served = ServedRecipients(loaded);
    let mut refusals = Vec::new();
    for one in lane_outputs {
        let names = one.output_counts.keys().map(String::as_str);
        let moved_names =
            names.clone().filter(|name| match served.0.lane_of(recipient_of_state_name(name)) {
                Some(lane) => lane != one.lane,
                None => !served.has_lane(&one.lane),
            });
        let moved_names: BTreeSet<&str> = moved_names.collect();
        let moved = moved_names.iter().map(|name| moved_lane_refusal(&served, (one, name)));
        refusals.extend(moved);
        refusals.extend(served.missed_erasures_refusal(one));
        let mut unknown = BTreeMap::<&str, BTreeMap<&str, u64>>::new();
        for name in names {
            let recipient = recipient_of_state_name(name);
            // A moved recipient is known in its new lane, except for other topics.
            for (topic, count) in served.unserved_topics(one, name) {
                *unknown.entry(recipient).or_default().entry(topic).or_default() += count;
            }
        }
        refusals.extend(
            unknown
                .iter()
                .map(|(recipient, topics)| unserved_refusal(&served, one, (recipient, topics))),
        );
    }
    refusals
}

/// Returns the reasons to refuse a start on Kafka alone: what is taken back from a former recipient
/// would be taken back from the recipient that another lane serves on that topic. There both are
/// one message, and only within a lane the state tells whose it is.
#[must_use]
pub fn shared_topic_refusals(loaded: &LoadedConfig, lane_outputs: &[LaneOutputs]) -> Vec<String> {
    let mut refusals = Vec::new();
    for held in lane_outputs {
        let names = held.output_counts.iter();
        for (name, topics) in names.filter(|(name, _)| is_former(loaded, name)) {
            let topics = topics.iter().map(|(topic, count)| (topic.as_str(), *count));
            let refused =
                topics.filter_map(|topic| shared_topic_refusal(loaded, held, (name, topic)));
            refusals.extend(refused);
        }
    }
    refusals
}

/// Returns whether the config declares what a name of a state has as a former recipient's.
fn is_former(loaded: &LoadedConfig, name: &str) -> bool {
    let recipient = recipient_of_state_name(name);
    let is_at_topic = name != recipient;
    (is_at_topic || loaded.policy.recipient(recipient).is_none())
        && loaded.policy.former_topics(recipient).next().is_some()
}

/// Another lane serves a topic on which a former recipient has outputs.
fn shared_topic_refusal(
    loaded: &LoadedConfig,
    held: &LaneOutputs,
    (name, (topic, count)): (&str, (&str, u64)),
) -> Option<String> {
    let former = recipient_of_state_name(name);
    let serving = loaded.policy.recipient_on_topic(topic)?;
    let lane = loaded.lane_of(&serving.name)?;
    if lane == held.lane || serving.name == former {
        return None;
    }
    let advice = match serving_lane(loaded, &held.lane, name) {
        Some(home) if home == lane => "stop all processes and run `zeef lanes apply`".to_owned(),
        _ => format!("move `{}` to lane `{}`", serving.name, held.lane),
    };
    Some(format!(
        "former recipient `{former}` has {count} outputs on `{topic}` by the state of lane \
         `{}`, and lane `{lane}` serves `{}` there: what is taken back from the one could be what \
         the other has now; {advice}",
        held.lane, serving.name
    ))
}

/// A recipient is in another lane than what it has.
fn moved_lane_refusal(served: &ServedRecipients<'_>, (held, name): (&LaneOutputs, &str)) -> String {
    let count: u64 = held.output_counts.get(name).into_iter().flatten().map(|(_, n)| n).sum();
    let lane = &held.lane;
    match served.0.lane_of(recipient_of_state_name(name)) {
        Some(now) => format!(
            "recipient `{name}` has {count} outputs by the state of lane `{lane}`, and is in lane \
             `{now}` now: stop all processes and run `zeef lanes apply`"
        ),
        None => format!(
            "recipient `{name}` has {count} outputs by the state of lane `{lane}`, which is not in \
             the config: add `[lanes.{lane}]`, or stop all processes and run `zeef lanes apply`"
        ),
    }
}

/// Returns the topics of former recipients, and whether the state of some lane knows of each.
fn former_topics<'a>(
    loaded: &'a LoadedConfig,
    lane_outputs: &[LaneOutputs],
) -> impl Iterator<Item = (&'a String, bool)> {
    let is_known = |name: &String| lane_outputs.iter().any(|one| one.known_names.contains(name));
    let former = loaded.policy.former_recipients.iter();
    former.flat_map(move |former| {
        let topics = former.topics.iter();
        topics.map(move |topic| (topic, is_known(topic) || is_known(&former.recipient)))
    })
}

/// Returns the topics that only former recipients have, and that the state of some lane
/// knows of.
#[must_use]
pub fn known_former_topics(
    loaded: &LoadedConfig,
    lane_outputs: &[LaneOutputs],
) -> BTreeSet<String> {
    let recipients = loaded.policy.recipients.iter();
    let served: BTreeSet<&str> = recipients.flat_map(|one| one.topics.names()).collect();
    let known = former_topics(loaded, lane_outputs).filter(|(_, is_known)| *is_known);
    let topics = known.map(|(topic, _)| topic);
    topics.filter(|topic| !served.contains(topic.as_str())).cloned().collect()
}

/// Returns the lanes that are there for former recipients alone and, by the marks, never
/// ran. Returns none while a topic of a former recipient is in no state: the state that knew
/// of it may be lost.
#[must_use]
pub fn unused_lanes<'a>(loaded: &'a LoadedConfig, lane_outputs: &[LaneOutputs]) -> Vec<&'a str> {
    if !former_topics(loaded, lane_outputs).all(|(_, is_known)| is_known) {
        return Vec::new();
    }
    let has_run = |lane: &str| lane_outputs.iter().any(|one| one.lane == lane && one.has_marks);
    let lanes = loaded.daemon.lanes.iter();
    let idle = lanes.filter(|lane| lane.recipients.is_empty() && !has_run(&lane.name));
    idle.map(|lane| &*lane.name).collect()
}

/// A recipient has outputs that are no longer served.
fn unserved_refusal(
    served: &ServedRecipients<'_>,
    outputs: &LaneOutputs,
    (recipient, topics): (&str, &BTreeMap<&str, u64>),
) -> String {
    let counts: Vec<String> =
        topics.iter().map(|(topic, count)| format!("{count} outputs on `{topic}`")).collect();
    let known = served.former_topics(recipient);
    let topics: BTreeSet<&str> = topics.keys().copied().chain(known.iter().copied()).collect();
    let how = match known.is_empty() {
        true => "add to zeef.toml",
        false => "have it in zeef.toml as",
    };
    format!(
        "recipient `{recipient}` {}, and has {} by the state of lane `{}`: nobody would correct or \
         erase them; say whether they are taken back, or stay: {how}\n{}",
        served.why_unserved(recipient),
        counts.join(" and "),
        outputs.lane,
        former_recipient::config_snippet(recipient, topics.into_iter())
    )
}

/// Returns the former recipients that have nothing any more, which the config need not
/// name.
#[must_use]
pub fn settled_former_recipients<'a>(
    loaded: &'a LoadedConfig,
    lane_outputs: &[LaneOutputs],
) -> Vec<&'a str> {
    let served = ServedRecipients(loaded);
    let has = |recipient: &str, topic: &str| {
        lane_outputs.iter().any(|one| {
            let names = one.output_counts.iter();
            let mut names = names.filter(|(name, _)| recipient_of_state_name(name) == recipient);
            names.any(|(name, topics)| {
                topics.contains_key(topic) && !served.served_topics(one, name).contains(topic)
            })
        })
    };
    let former = loaded.policy.former_recipients.iter();
    let done = former.filter(|one| !one.topics.iter().any(|topic| has(&one.recipient, topic)));
    done.map(|one| one.recipient.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::policy::Policy;

    fn load_config(zeef: &str, change: impl Fn(&Path)) -> LoadedConfig {
        let folder = tempfile::tempdir().unwrap();
        for part in ["detectors", "records", "recipients"] {
            fs::create_dir(folder.path().join(part)).unwrap();
            for entry in fs::read_dir(Path::new("config").join(part)).unwrap() {
                let path = entry.unwrap().path();
                let to = folder.path().join(part).join(path.file_name().unwrap());
                fs::copy(&path, to).unwrap();
            }
        }
        let lane = "[lanes.statistics]\nrecipients = [\"statistics\"]\n";
        fs::write(folder.path().join("zeef.toml"), format!("{lane}{zeef}")).unwrap();
        change(folder.path());
        Policy::load(folder.path()).unwrap()
    }

    fn lane_outputs(lane: &str, name: &str, topic: &str, kind: &str) -> LaneOutputs {
        let mut held = LaneOutputs { lane: lane.to_owned(), ..LaneOutputs::default() };
        let of = |key: &str, count: u64| BTreeMap::from([(key.to_owned(), count)]);
        held.add_mark(&ContinuityMark {
            has: BTreeMap::from([(name.to_owned(), of(topic, 12))]),
            kinds: BTreeMap::from([(name.to_owned(), of(kind, 12))]),
            ..ContinuityMark::default()
        });
        held
    }

    #[track_caller]
    fn check_refusal(loaded: &LoadedConfig, held: LaneOutputs, wanted: &[&str]) {
        let refusals = start_refusals(loaded, &[held]);
        if wanted.is_empty() {
            assert_eq!(refusals, [""; 0]);
            return;
        }
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        for text in wanted {
            assert!(refusals[0].contains(text), "{} lacks {text}", refusals[0]);
        }
    }

    const RECIPIENT: &str = "reservation-slip";
    const TOPIC: &str = "out.reservation-slip";

    #[test]
    fn start_is_not_refused_for_outputs_served_as_before() {
        let config = load_config("", |_| {});
        check_refusal(&config, lane_outputs("main", RECIPIENT, TOPIC, "reservation"), &[]);
    }

    #[test]
    fn start_is_refused_while_config_forgets_a_recipients_outputs() {
        let slip = || lane_outputs("main", RECIPIENT, TOPIC, "reservation");
        let line = "[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\nwhat = ";
        let path = |folder: &Path| folder.join("recipients/reservation-slip.toml");
        let deleted = |folder: &Path| fs::remove_file(path(folder)).unwrap();
        let replaced = |from: &'static str, to: &'static str| {
            move |folder: &Path| {
                let text = fs::read_to_string(path(folder)).unwrap();
                assert!(text.contains(from), "{text}");
                fs::write(path(folder), text.replacen(from, to, 1)).unwrap();
            }
        };
        check_refusal(&load_config("", deleted), slip(), &["12 outputs", line, "none of the"]);
        let off = replaced("name ", "enabled = false\nname ");
        check_refusal(&load_config("", off), slip(), &["12 outputs", line, "switched off"]);
        let topic = replaced("\"out.reservation-slip\"", "\"out.slips\"");
        check_refusal(&load_config("", topic), slip(), &["12 outputs", line, "another topic"]);
        let other = lane_outputs("main", RECIPIENT, TOPIC, "booking");
        check_refusal(&load_config("", |_| {}), other, &["12 outputs", line, "another kind"]);
        let former = "[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\n\
                      what = \"keep\"\n";
        check_refusal(&load_config(former, deleted), slip(), &[]);
        check_refusal(&load_config(former, topic), slip(), &[]);
        let other = "[former.reservation-slip]\ntopics = [\"out.x\"]\nwhat = \"keep\"\n";
        let both = "topics = [\"out.reservation-slip\", \"out.x\"]";
        check_refusal(&load_config(other, deleted), slip(), &["have it in zeef.toml as", both]);
        let at = lane_outputs("main", "reservation-slip@out.old", "out.old", "reservation");
        check_refusal(&load_config("", |_| {}), at, &["12 outputs on `out.old`"]);
    }

    #[test]
    fn start_is_refused_until_outputs_are_in_the_recipients_lane() {
        let config = load_config("[lanes.pickup]\nrecipients = [\"reservation-slip\"]\n", |_| {});
        let slip = |lane: &str| lane_outputs(lane, RECIPIENT, TOPIC, "reservation");
        check_refusal(&config, slip("pickup"), &[]);
        check_refusal(&config, slip("main"), &["`zeef lanes apply`", "`pickup` now"]);
        check_refusal(&load_config("", |_| {}), slip("pickup"), &["`zeef lanes apply`"]);
    }

    #[test]
    fn start_on_kafka_is_refused_while_another_lane_serves_a_former_topic() {
        let renamed = |folder: &Path| {
            let file = |name: &str| folder.join(format!("recipients/{name}.toml"));
            let text = fs::read_to_string(file(RECIPIENT)).unwrap();
            let text = text.replacen("\"reservation-slip\"", "\"pickup-slip\"", 1);
            fs::write(file("pickup-slip"), text).unwrap();
            fs::remove_file(file(RECIPIENT)).unwrap();
        };
        let check = |lanes: &str, held: &LaneOutputs, wanted: &[&str]| {
            for what in ["retract", "keep"] {
                let former = format!(
                    "{lanes}[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\n\
                     what = \"{what}\"\n"
                );
                let config = load_config(&former, renamed);
                let refusals = shared_topic_refusals(&config, std::slice::from_ref(held));
                assert_eq!(refusals.len(), usize::from(!wanted.is_empty()), "{refusals:?}");
                for text in wanted {
                    assert!(refusals[0].contains(text), "{} lacks {text}", refusals[0]);
                }
            }
        };
        let pickup = "[lanes.pickup]\nrecipients = [\"pickup-slip\"]\n";
        let held = |lane: &str| lane_outputs(lane, RECIPIENT, TOPIC, "reservation");
        check("", &held("main"), &[]);
        check(pickup, &held("pickup"), &[]);
        let apply = "12 outputs on `out.reservation-slip` by the state of lane `main`, and lane \
                     `pickup` serves `pickup-slip` there";
        check(pickup, &held("main"), &[apply, "run `zeef lanes apply`"]);
        check("", &held("pickup"), &["lane `main` serves `pickup-slip`", "run `zeef lanes apply`"]);
        let at_topic = format!("{RECIPIENT}@{TOPIC}");
        check(pickup, &lane_outputs("main", &at_topic, TOPIC, "reservation"), &[apply]);
        // A topic that nobody has now, and one that its own recipient still has.
        check(pickup, &lane_outputs("main", RECIPIENT, "out.old", "reservation"), &[]);
        let config = load_config("[lanes.pickup]\nrecipients = [\"reservation-slip\"]\n", |_| {});
        assert_eq!(shared_topic_refusals(&config, &[held("main")]), [""; 0]);
    }

    /// Topics of one former recipient that two lanes serve now: its rows cannot be in both.
    #[test]
    fn start_on_kafka_says_which_recipient_has_to_move_if_rows_cannot() {
        let lanes = "[lanes.pickup]\nrecipients = [\"reservation-slip\"]\n\
                     [former.old]\ntopics = [\"out.reservation-slip\", \"out.service-message\"]\n\
                     what = \"keep\"\n";
        let config = load_config(lanes, |_| {});
        let held = lane_outputs("pickup", "old", "out.service-message", "loan");
        let refusals = shared_topic_refusals(&config, &[held]);
        assert!(refusals[0].ends_with("; move `service-message` to lane `pickup`"), "{refusals:?}");
    }

    #[test]
    fn lane_without_recipients_is_unused_unless_it_ran_or_a_state_is_lost() {
        let lanes = "[lanes.pickup]\nrecipients = [\"reservation-slip\"]\n\
                     [former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\n\
                     what = \"retract\"\n";
        let off = |folder: &Path| {
            let path = folder.join("recipients/reservation-slip.toml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replacen("name ", "enabled = false\nname ", 1)).unwrap();
        };
        let config = load_config(lanes, off);
        let known = |lane: &str| lane_outputs(lane, RECIPIENT, TOPIC, "reservation");
        let marked = LaneOutputs { has_marks: true, ..known("pickup") };
        let retracted = [LaneOutputs { output_counts: BTreeMap::new(), ..known("main") }];
        assert_eq!(unused_lanes(&config, &[known("main")]), ["pickup"]);
        assert_eq!(unused_lanes(&config, &retracted), ["pickup"]);
        assert_eq!(unused_lanes(&config, &[marked]), [""; 0]);
        assert_eq!(unused_lanes(&config, &[]), [""; 0]);
        assert_eq!(known_former_topics(&config, &retracted).len(), 1);
        assert_eq!(known_former_topics(&config, &[]).len(), 0);
        let served = load_config(lanes, |_| {});
        assert_eq!(known_former_topics(&served, &retracted).len(), 0);
    }

    #[test]
    fn former_entry_is_settled_once_its_outputs_are_gone() {
        let former = "[former.reservation-slip]\ntopics = [\"out.old\"]\nwhat = \"retract\"\n";
        let config = load_config(former, |_| {});
        let own = lane_outputs("main", RECIPIENT, TOPIC, "reservation");
        assert_eq!(settled_former_recipients(&config, &[own]), [RECIPIENT]);
        let old = lane_outputs("main", "reservation-slip@out.old", "out.old", "reservation");
        assert_eq!(settled_former_recipients(&config, &[old]), [""; 0]);
        let former = "[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\n\
                      what = \"retract\"\n";
        let config = load_config(former, |_| {});
        let other = lane_outputs("main", RECIPIENT, TOPIC, "booking");
        assert_eq!(settled_former_recipients(&config, &[other]), [""; 0]);
    }
}
