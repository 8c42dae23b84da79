//! Who has something, by the marks of all states: also of lanes, recipients and
//! topics that the config no longer has. A start is refused until the config says
//! what becomes of it: what nobody knows of is never corrected and never erased.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::Loaded;
use crate::policy::former::{self, AT, What, recipient_of};
use crate::policy::recipient::Recipient;
use crate::transport::continuity::{Fingerprinter, Mark};

/// What recipients have, by the marks of one lane's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub lane: String,
    /// By name and topic.
    has: BTreeMap<String, BTreeMap<String, u64>>,
    /// By name: the kinds of the records.
    kinds: BTreeMap<String, BTreeSet<String>>,
}

impl Held {
    /// Adds up the newest marks of a lane's partitions. One that cannot be read is
    /// left out: the lane itself says why, and a state under another key is none of
    /// this deployment.
    #[must_use]
    pub fn read<'a>(
        lane: &str,
        marks: impl Iterator<Item = &'a [u8]>,
        prints: &Fingerprinter,
    ) -> Held {
        let mut held = Held {
            lane: lane.to_owned(),
            ..Held::default()
        };
        for value in marks {
            match Mark::read(prints, value) {
                Ok(mark) => held.add(&mark),
                Err(error) => tracing::warn!(lane, %error, "a mark that cannot be read"),
            }
        }
        held
    }

    fn add(&mut self, mark: &Mark) {
        for (name, topics) in &mark.has {
            for (topic, count) in topics.iter().filter(|(_, count)| **count > 0) {
                let topics = self.has.entry(name.clone()).or_default();
                *topics.entry(topic.clone()).or_default() += count;
            }
        }
        for (name, kinds) in &mark.kinds {
            let kinds = kinds.iter().filter(|(_, count)| **count > 0);
            let known = self.kinds.entry(name.clone()).or_default();
            known.extend(kinds.map(|(kind, _)| kind.clone()));
        }
    }
}

/// The config, as far as it says who is served, and where.
struct Served<'a>(&'a Loaded);

impl Served<'_> {
    fn lane_of(&self, recipient: &str) -> Option<&str> {
        let mut lanes = self.0.daemon.lanes.iter();
        let lane = lanes.find(|lane| lane.recipients.iter().any(|one| one == recipient))?;
        Some(&lane.name)
    }

    fn has_lane(&self, lane: &str) -> bool {
        self.0.daemon.lanes.iter().any(|one| one.name == lane)
    }

    fn recipient(&self, name: &str) -> Option<&Recipient> {
        self.0.policy.recipient(name)
    }

    /// The topics on which the config says what becomes of what it has.
    fn former(&self, recipient: &str) -> BTreeSet<&str> {
        let former = self.0.policy.former.iter();
        let of = former.filter(|one| one.recipient == recipient);
        of.flat_map(|one| one.topics.iter().map(String::as_str))
            .collect()
    }

    /// The topics on which a name has what the config serves it.
    fn own(&self, held: &Held, name: &str) -> BTreeSet<&str> {
        let served = self.recipient(recipient_of(name)).filter(|one| {
            let kind = &self.0.policy.kinds[one.source].name;
            let mut kinds = held.kinds.get(name).into_iter().flatten();
            !name.contains(AT) && kinds.all(|known| known == kind)
        });
        served.iter().flat_map(|one| one.topics.names()).collect()
    }

    /// The topics on which nobody would know of what a name has.
    fn unknown<'t>(&self, held: &'t Held, name: &str) -> BTreeMap<&'t str, u64> {
        let own = self.own(held, name);
        let former = self.former(recipient_of(name));
        let has = held.has.get(name).into_iter().flatten();
        has.filter(|(topic, _)| !own.contains(topic.as_str()) && !former.contains(topic.as_str()))
            .map(|(topic, count)| (topic.as_str(), *count))
            .collect()
    }

    /// Why what is kept cannot be kept: its lane would not hear of erasures.
    fn deaf(&self, held: &Held) -> Option<String> {
        let mut lanes = self.0.daemon.lanes.iter();
        let lane = lanes.find(|lane| lane.name == held.lane)?;
        let keyed = |name: &String| {
            let recipient = self.recipient(name)?;
            Some(self.0.policy.kinds[recipient.source].keyed)
        };
        let hears =
            lane.recipients.is_empty() || lane.recipients.iter().any(|r| keyed(r) == Some(true));
        let kept = self.0.policy.former.iter().find(|former| {
            let has = held
                .has
                .keys()
                .any(|name| recipient_of(name) == former.recipient);
            has && former.what == What::Keep && self.lane_of(&former.recipient).is_none()
        });
        let recipient = kept.filter(|_| !hears).map(|former| &former.recipient)?;
        Some(format!(
            "recipient `{recipient}`: lane `{}` reads no patrons, so that what is kept would stay \
             also after an erasure: say `what = \"retract\"` for it",
            held.lane
        ))
    }

    /// Why a recipient is not served as it was.
    fn why(&self, recipient: &str) -> &'static str {
        let is_off = |one: &Recipient| one.name == recipient;
        if self.recipient(recipient).is_some() {
            "is served on another topic now, or from another kind of records"
        } else if self.0.policy.disabled.iter().any(is_off) {
            "is switched off"
        } else {
            "is none of the recipients"
        }
    }
}

/// Returns why a start is refused: what recipients have that nobody would know of.
#[must_use]
pub fn refusals(loaded: &Loaded, held: &[Held]) -> Vec<String> {
    let served = Served(loaded);
    let mut refusals = Vec::new();
    for one in held {
        let names = one.has.keys().map(String::as_str);
        let strays = names
            .clone()
            .filter(|name| match served.lane_of(recipient_of(name)) {
                Some(lane) => lane != one.lane,
                None => !served.has_lane(&one.lane),
            });
        let strays: BTreeSet<&str> = strays.collect();
        let moved = strays.iter().map(|name| moved(&served, (one, name)));
        refusals.extend(moved);
        refusals.extend(served.deaf(one));
        let mut unknown = BTreeMap::<&str, BTreeMap<&str, u64>>::new();
        for name in names {
            let recipient = recipient_of(name);
            // What is moved is known where it comes to, but for other topics.
            for (topic, count) in served.unknown(one, name) {
                *unknown
                    .entry(recipient)
                    .or_default()
                    .entry(topic)
                    .or_default() += count;
            }
        }
        refusals.extend(
            unknown
                .iter()
                .map(|(recipient, topics)| left(&served, one, (recipient, topics))),
        );
    }
    refusals
}

/// A recipient is in another lane than what it has.
fn moved(served: &Served<'_>, (held, name): (&Held, &str)) -> String {
    let count: u64 = held
        .has
        .get(name)
        .into_iter()
        .flatten()
        .map(|(_, n)| n)
        .sum();
    let lane = &held.lane;
    match served.lane_of(recipient_of(name)) {
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

/// A recipient has something that is served no longer.
fn left(
    served: &Served<'_>,
    held: &Held,
    (recipient, topics): (&str, &BTreeMap<&str, u64>),
) -> String {
    let counts: Vec<String> = topics
        .iter()
        .map(|(topic, count)| format!("{count} outputs on `{topic}`"))
        .collect();
    let known = served.former(recipient);
    let topics: BTreeSet<&str> = topics
        .keys()
        .copied()
        .chain(known.iter().copied())
        .collect();
    let how = match known.is_empty() {
        true => "add to zeef.toml",
        false => "have it in zeef.toml as",
    };
    format!(
        "recipient `{recipient}` {}, and has {} by the state of lane `{}`: nobody would correct or \
         erase them; say whether they are taken back, or stay: {how}\n{}",
        served.why(recipient),
        counts.join(" and "),
        held.lane,
        former::lines(recipient, topics.into_iter())
    )
}

/// Returns which former recipients have nothing any more, so that the config need
/// not name them.
#[must_use]
pub fn done<'a>(loaded: &'a Loaded, held: &[Held]) -> Vec<&'a str> {
    let served = Served(loaded);
    let has = |recipient: &str, topic: &str| {
        held.iter().any(|one| {
            let names = one.has.iter();
            let mut names = names.filter(|(name, _)| recipient_of(name) == recipient);
            names.any(|(name, topics)| {
                topics.contains_key(topic) && !served.own(one, name).contains(topic)
            })
        })
    };
    let former = loaded.policy.former.iter();
    let done = former.filter(|one| !one.topics.iter().any(|topic| has(&one.recipient, topic)));
    done.map(|one| one.recipient.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::policy::Policy;

    fn loaded(zeef: &str, change: impl Fn(&Path)) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        for part in ["records", "recipients"] {
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

    fn held(lane: &str, name: &str, topic: &str, kind: &str) -> Held {
        let mut held = Held {
            lane: lane.to_owned(),
            ..Held::default()
        };
        let of = |key: &str, count: u64| BTreeMap::from([(key.to_owned(), count)]);
        held.add(&Mark {
            has: BTreeMap::from([(name.to_owned(), of(topic, 12))]),
            kinds: BTreeMap::from([(name.to_owned(), of(kind, 12))]),
            ..Mark::default()
        });
        held
    }

    #[track_caller]
    fn check(loaded: &Loaded, held: Held, wanted: &[&str]) {
        let refusals = refusals(loaded, &[held]);
        if wanted.is_empty() {
            assert_eq!(refusals, [""; 0]);
            return;
        }
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        for text in wanted {
            assert!(refusals[0].contains(text), "{} lacks {text}", refusals[0]);
        }
    }

    const SLIP: &str = "reservation-slip";
    const TOPIC: &str = "out.reservation-slip";

    #[test]
    fn what_is_served_as_it_was_is_no_refusal() {
        let config = loaded("", |_| {});
        check(&config, held("main", SLIP, TOPIC, "reservation"), &[]);
    }

    #[test]
    fn who_has_something_is_never_forgotten() {
        let slip = || held("main", SLIP, TOPIC, "reservation");
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
        check(
            &loaded("", deleted),
            slip(),
            &["12 outputs", line, "none of the"],
        );
        let off = replaced("name ", "enabled = false\nname ");
        check(
            &loaded("", off),
            slip(),
            &["12 outputs", line, "switched off"],
        );
        let topic = replaced("\"out.reservation-slip\"", "\"out.slips\"");
        check(
            &loaded("", topic),
            slip(),
            &["12 outputs", line, "another topic"],
        );
        let other = held("main", SLIP, TOPIC, "booking");
        check(
            &loaded("", |_| {}),
            other,
            &["12 outputs", line, "another kind"],
        );
        let former = "[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\n\
                      what = \"keep\"\n";
        check(&loaded(former, deleted), slip(), &[]);
        check(&loaded(former, topic), slip(), &[]);
        let other = "[former.reservation-slip]\ntopics = [\"out.x\"]\nwhat = \"keep\"\n";
        let both = "topics = [\"out.reservation-slip\", \"out.x\"]";
        check(
            &loaded(other, deleted),
            slip(),
            &["have it in zeef.toml as", both],
        );
        let at = held("main", "reservation-slip@out.old", "out.old", "reservation");
        check(&loaded("", |_| {}), at, &["12 outputs on `out.old`"]);
    }

    #[test]
    fn who_is_in_another_lane_is_moved_first() {
        let config = loaded(
            "[lanes.pickup]\nrecipients = [\"reservation-slip\"]\n",
            |_| {},
        );
        let slip = |lane: &str| held(lane, SLIP, TOPIC, "reservation");
        check(&config, slip("pickup"), &[]);
        check(
            &config,
            slip("main"),
            &["`zeef lanes apply`", "`pickup` now"],
        );
        check(&loaded("", |_| {}), slip("pickup"), &["`zeef lanes apply`"]);
    }

    #[test]
    fn a_line_is_done_when_nobody_has_anything_of_it() {
        let former = "[former.reservation-slip]\ntopics = [\"out.old\"]\nwhat = \"retract\"\n";
        let config = loaded(former, |_| {});
        let own = held("main", SLIP, TOPIC, "reservation");
        assert_eq!(done(&config, &[own]), [SLIP]);
        let old = held("main", "reservation-slip@out.old", "out.old", "reservation");
        assert_eq!(done(&config, &[old]), [""; 0]);
        let former = "[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\n\
                      what = \"retract\"\n";
        let config = loaded(former, |_| {});
        let other = held("main", SLIP, TOPIC, "booking");
        assert_eq!(done(&config, &[other]), [""; 0]);
    }
}
