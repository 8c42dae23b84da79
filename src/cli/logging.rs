//! Log lines on stderr, as text or JSON.
//!
//! The rooms below decide what is logged; a record's value never is.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::arguments::LogArguments;
use crate::config::settings::{LogFormat, LogLevel, LogSettings};

/// Starts logging as `zeef.toml` says; `--log-level` and `RUST_LOG` override it. Only the
/// first start of a process counts.
pub fn start(settings: LogSettings, arguments: LogArguments) {
    let level = arguments.log_level.map(LogLevel::from);
    init_subscriber(settings.format, level_filter(level, settings.level));
}

/// Starts logging of errors only, for a command that shows everything else itself.
pub fn start_errors_only() {
    init_subscriber(LogFormat::Text, level_filter(None, LogLevel::Error));
}

fn level_filter(asked: Option<LogLevel>, otherwise: LogLevel) -> EnvFilter {
    // librdkafka's lines come through the transport, which knows what to leave out.
    let named = |level: LogLevel| EnvFilter::new(format!("{},rdkafka=off", level.as_str()));
    match asked {
        Some(level) => named(level),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| named(otherwise)),
    }
}

fn init_subscriber(format: LogFormat, filter: EnvFilter) {
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start changes nothing.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(has_colours()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

fn has_colours() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}
