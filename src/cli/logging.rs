//! Where log lines go: to stderr, as text or JSON.
//!
//! What is logged is up to the rooms below; a record's value never is.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::arguments::LogArguments;
use crate::policy::settings::{Log, LogFormat, LogLevel};

/// Starts logging as `zeef.toml` says; `--log-level` overrides it, and so does
/// `RUST_LOG`. Only the first start of a process counts.
pub fn start(settings: Log, arguments: LogArguments) {
    let level = arguments.log_level.map(LogLevel::from);
    start_with(settings.format, filter(level, settings.level));
}

/// Starts logging of errors only, for a command that shows all else itself.
pub fn quiet() {
    start_with(LogFormat::Text, filter(None, LogLevel::Error));
}

fn filter(asked: Option<LogLevel>, otherwise: LogLevel) -> EnvFilter {
    // What librdkafka says comes through the transport, which knows what to leave out.
    let named = |level: LogLevel| EnvFilter::new(format!("{},rdkafka=off", level.as_str()));
    match asked {
        Some(level) => named(level),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| named(otherwise)),
    }
}

fn start_with(format: LogFormat, filter: EnvFilter) {
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start changes nothing, and is no fault.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(colours()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

fn colours() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}
