//! Output for people: colours only on a terminal, plain text elsewhere.
//!
//! Results go to stdout, notes and errors to stderr. Nothing here panics when nobody reads.

use std::io::{self, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

/// The heading of a table or a section.
pub(super) const HEADING: Style = Style::new().bold();
/// Less important than the rest.
pub(super) const FAINT: Style = Style::new().dimmed();
/// What went well, such as a release.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What was withheld or left out.
pub(super) const BAD: Style = AnsiColor::Yellow.on_default();
/// A name to look for.
pub(super) const NAME: Style = AnsiColor::Cyan.on_default();

/// Maximum text width on wide terminals.
const WIDTH_MAX: usize = 200;
/// Text width if the terminal's is unknown.
const WIDTH_DEFAULT: usize = 100;

/// How a note to stderr begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoteKind {
    Error,
    Warning,
    Plain,
}

/// Stdout and its width.
pub(super) struct Screen {
    out: io::BufWriter<AutoStream<io::Stdout>>,
    /// The columns of the terminal; `None` if lines may have any length.
    width: Option<usize>,
}

impl Screen {
    pub(super) fn stdout() -> Screen {
        let terminal = terminal_size::terminal_size_of(io::stdout());
        let width = terminal.map(|(width, _)| usize::from(width.0));
        Screen {
            out: io::BufWriter::new(anstream::stdout()),
            width: width.or_else(columns_from_environment).map(|width| width.clamp(40, WIDTH_MAX)),
        }
    }

    /// Returns the number of columns, or `None` if lines may have any length.
    pub(super) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Returns the number of columns for running text.
    pub(super) fn text_width(&self) -> usize {
        self.width.unwrap_or(WIDTH_DEFAULT)
    }
}

/// Returns the width from the environment, for output that is no terminal.
fn columns_from_environment() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(name_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(name_stdout)
    }
}

/// Stdout for lines that are data.
pub(super) struct StdoutLines(io::BufWriter<io::StdoutLock<'static>>);

impl StdoutLines {
    pub(super) fn stdout() -> StdoutLines {
        StdoutLines(io::BufWriter::new(io::stdout().lock()))
    }
}

impl Write for StdoutLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(name_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(name_stdout)
    }
}

/// Names stdout in an error.
fn name_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to write to stdout: {error}"))
}

/// Writes a note to stderr.
pub(super) fn print_note(kind: NoteKind, text: &str) {
    let (style, word) = match kind {
        NoteKind::Error => (AnsiColor::Red.on_default().bold(), "error: "),
        NoteKind::Warning => (AnsiColor::Yellow.on_default().bold(), "warning: "),
        NoteKind::Plain => (Style::new(), ""),
    };
    // Nobody reads: there is nothing left to say.
    let _ = writeln!(anstream::stderr(), "{style}{word}{style:#}{text}");
}

/// Styles `text`; without effect if colours are off.
pub(super) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
