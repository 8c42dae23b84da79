//! Writes down who looks a patron up, exports, or gives a command that changes something.
//!
//! The line comes first: a command whose line cannot be written shows nothing and changes nothing.
//! Only where the ledger is enabled.

use anyhow::Context as _;

use super::arguments::OperatorArguments;
use super::command_target::DataLocation;
use super::exit::CliFailure;
use crate::config::LoadedConfig;
use crate::config::settings::is_operator_name;
use crate::ledger::audit::{AUDIT_TOPIC, AuditEntry, make_audit_line};
use crate::ledger::keys::LedgerKeys;
use crate::transport::directory::{ChainFile, append_to_chain_file};
use crate::transport::kafka::chain_topic::append_to_chain;

/// The operator of a start that nobody is named for.
const DAEMON: &str = "daemon";

/// Writes the audit of one command.
pub(super) struct Auditor<'a> {
    loaded: &'a LoadedConfig,
    operator: Option<&'a str>,
}

/// What a command is about to do.
#[derive(Clone, Copy, Default)]
pub(super) struct AuditedAction<'a> {
    /// The words of the command.
    pub(super) words: &'a str,
    /// A recipient, a lane, a year, a code; never an id of a record.
    pub(super) subject: Option<&'a str>,
    /// The hash that the state has of a patron's id, and the keys that make its reference.
    pub(super) patron: Option<(u128, &'a LedgerKeys)>,
}

impl<'a> Auditor<'a> {
    /// # Errors
    ///
    /// [`CliFailure`] if the ledger is enabled and no operator, or a wrong one, is named.
    pub(super) fn new(
        loaded: &'a LoadedConfig,
        arguments: &'a OperatorArguments,
    ) -> Result<Auditor<'a>, CliFailure> {
        let ledger = &loaded.daemon.ledger;
        let operator = arguments.operator.as_deref().or(ledger.operator.as_deref());
        if let Some(name) = operator.filter(|name| !is_operator_name(name)) {
            return Err(CliFailure::Usage(format!(
                "`{name}` is no name of an operator: expected a role or a pseudonym of up to 64 \
                 letters, digits, dots, slashes, underscores and hyphens"
            )));
        }
        if ledger.is_enabled && operator.is_none() {
            let text = "the audit has to say who does this: name a role or a pseudonym with \
                        --operator, ZEEF_OPERATOR, or `operator` in [ledger] of zeef.toml";
            return Err(CliFailure::Usage(text.to_owned()));
        }
        Ok(Auditor { loaded, operator })
    }

    /// Who does it.
    pub(super) fn operator(&self) -> Option<&'a str> {
        self.operator
    }

    /// As [`new`](Self::new), for a start that a machine may make by itself: where nobody is named,
    /// the operator is `daemon`.
    pub(super) fn of_daemon(
        loaded: &'a LoadedConfig,
        arguments: &'a OperatorArguments,
    ) -> Result<Auditor<'a>, CliFailure> {
        match arguments.operator.is_some() || loaded.daemon.ledger.operator.is_some() {
            true => Auditor::new(loaded, arguments),
            false => Ok(Auditor { loaded, operator: Some(DAEMON) }),
        }
    }

    /// Writes down what is about to be done.
    ///
    /// # Errors
    ///
    /// The line cannot be written: then it must not be done.
    pub(super) fn record(
        &self,
        location: &DataLocation<'_>,
        action: AuditedAction<'_>,
    ) -> anyhow::Result<()> {
        if !self.loaded.daemon.ledger.is_enabled {
            return Ok(());
        }
        let entry = AuditEntry {
            operator: self.operator.unwrap_or_default(),
            action: action.words,
            subject: action.subject,
            patron: action.patron,
        };
        let mut make = |last: Option<&[u8]>| {
            Some(make_audit_line(last, &entry, jiff::Timestamp::now().as_second()))
        };
        let written = match location {
            DataLocation::Directory(root) => {
                append_to_chain_file(root, ChainFile::Audit, &mut make).map_err(anyhow::Error::new)
            }
            DataLocation::Kafka(settings) => {
                append_to_chain(settings, AUDIT_TOPIC, &mut make).map_err(anyhow::Error::new)
            }
        };
        written.context("nothing was done, as the audit cannot be written")
    }
}
