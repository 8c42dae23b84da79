//! What a program sees when it decides.

use super::{Lane, Program, ROW_LIBRARY, Ref, Source};
use crate::engine::gates::Person;
use crate::engine::inspect::Numbers;
use crate::engine::record::Reading;
use crate::engine::said::Said;
use crate::engine::shape::Place;
use crate::engine::table::Row;
use crate::engine::value::{State, Value};
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;

/// The country of a Belgian library, as its ISIL has it.
pub(in crate::engine) const BELGIUM: &str = "BE";

/// The record and its patron, as a program sees them.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub lane: &'a Lane,
    pub record: Reading<'a>,
    pub row: Option<&'a Row>,
    /// What the patron said.
    pub said: Option<&'a Said>,
    /// The batch's time, in milliseconds since 1970.
    pub now_ms: i64,
    /// What the source's tests say of the record, as far as it was asked.
    pub verdicts: &'a [Result<(), Reason>],
    /// Whether the patron is a member now.
    pub active: bool,
    /// The national numbers of the patron; none where nothing is known of any.
    pub numbers: Option<&'a Numbers>,
    /// One of them stands in the record or in the row beside its own field, so that
    /// each copied value has to be looked at.
    pub suspect: bool,
    /// A value of the row that is not there for the recipient: a card number
    /// that is a national number, where it may never have one.
    pub dropped: Option<u16>,
}

impl<'a> Facts<'a> {
    /// The same, where it is known whether the patron is a member: all
    /// recipients of a source look for that in one place.
    #[must_use]
    pub fn with_membership(mut self, source: &Source) -> Self {
        let first = source.recipients.first();
        let program = first.and_then(|&first| self.lane.recipients.get(first));
        self.active = program.is_some_and(|program| program.gates.is_active(|at| self.text(at)));
        self
    }

    /// The same, where some value that recipients of `source` get as it stands has
    /// a national number of the patron.
    #[inline]
    #[must_use]
    pub(in crate::engine) fn suspected(&self, source: &Source) -> Option<Self> {
        let numbers = self.numbers?;
        let suspect = self.row.is_some_and(|row| {
            // A row knows its own numbers only.
            row.repeats_national() || !source.national.is_empty()
        }) || numbers.are_in_record(source, self.record);
        suspect.then_some(Facts { suspect, ..*self })
    }

    /// Whether the recipient may have national numbers now, but for a BSN.
    #[inline]
    #[must_use]
    pub fn is_authorised(&self, program: &Program) -> bool {
        let mut authorised = program.authorised_ms.iter();
        authorised.any(|(from, until)| (*from..*until).contains(&self.now_ms))
    }

    /// Whether the cards of the patron's library may be Belgian national numbers by
    /// their digits alone; asked where some part of a value is a card number.
    #[inline]
    #[must_use]
    pub fn is_belgian(&self, program: &Program) -> bool {
        program.shows_card_parts
            && self
                .patrons_library(program)
                .is_some_and(|isil| isil.starts_with(BELGIUM))
    }

    /// What `program` may see, where it is less: of the row no more than a lane
    /// of its own would keep, so that lanes change nothing.
    #[inline]
    #[must_use]
    pub fn narrowed(&self, program: &Program) -> Option<Self> {
        program.joined_card?;
        self.without_card(program)
    }

    #[inline(never)]
    fn without_card(&self, program: &Program) -> Option<Self> {
        let national = program.card_fact.is_some_and(|fact| self.is_true(fact));
        (national && program.authorised_ms.is_none()).then_some(Facts {
            dropped: program.joined_card,
            ..*self
        })
    }

    /// The record's patron, as gates ask about it.
    #[inline]
    #[must_use]
    pub fn person(&self, program: &Program) -> Person<'a> {
        Person {
            said: self.said,
            library: self.said.and_then(|_| self.patrons_library(program)),
        }
    }

    /// The library of the record's patron.
    #[inline(never)]
    fn patrons_library(&self, program: &Program) -> Option<&'a str> {
        if let Some(row) = self.row {
            return row.value(ROW_LIBRARY).as_text();
        }
        let source = self.lane.sources.get(program.source)?;
        let own = source.library.filter(|_| source.kind.role == Role::Patron);
        own.and_then(|slot| self.record.text(slot))
    }

    /// Whether a field is true.
    #[inline]
    #[must_use]
    pub fn is_true(&self, at: Ref) -> bool {
        match (at.place, at.joined) {
            (Place::Slot(slot), false) => self.record.slot(slot).state() == State::True,
            _ => self.value(at) == Value::Boolean(true),
        }
    }

    /// The value of a field that is one value.
    #[inline]
    #[must_use]
    pub fn value(&self, at: Ref) -> Value<'a> {
        match (at.place, at.joined) {
            (Place::Slot(slot), false) => self.record.value(slot),
            (Place::Slot(slot), true) if self.dropped == Some(slot) => Value::Missing,
            (Place::Slot(slot), true) => self.row.map_or(Value::Missing, |row| row.value(slot)),
            (Place::Element { .. }, _) => Value::Missing,
        }
    }

    #[must_use]
    pub fn list_len(&self, joined: bool, list: u16) -> usize {
        if joined {
            self.row
                .map_or(0, |row| row.list_len(&self.lane.layout, list))
        } else {
            self.record.list_len(list)
        }
    }

    /// One value of one element of a list.
    #[must_use]
    pub fn element(&self, at: Ref, stride: u16, index: usize) -> Value<'a> {
        let Place::Element { list, slot } = at.place else {
            return Value::Missing;
        };
        if at.joined {
            self.row.map_or(Value::Missing, |row| {
                row.element(&self.lane.layout, list, index, slot)
            })
        } else {
            self.record.element(list, stride, index, slot)
        }
    }

    /// Whether a needed field is malformed, in any element where it is in a list.
    #[must_use]
    pub fn malformed(&self, at: Ref, strides: &[u16]) -> bool {
        let Place::Element { list, .. } = at.place else {
            return self.value(at).is_malformed();
        };
        let whole = if at.joined {
            self.row
                .is_some_and(|row| row.list_malformed(&self.lane.layout, list))
        } else {
            self.record.list_malformed(list)
        };
        let stride = if at.joined {
            0
        } else {
            strides[usize::from(list)]
        };
        whole
            || (0..self.list_len(at.joined, list))
                .any(|index| self.element(at, stride, index).is_malformed())
    }

    #[must_use]
    pub fn text(&self, at: Option<Ref>) -> Option<&'a str> {
        let at = at?;
        match at.own_slot() {
            Some(slot) => self.record.text(slot),
            None => self.value(at).as_text(),
        }
    }
}
