//! What people see: colours only on a terminal, plain text elsewhere.
//!
//! Results go to stdout, notes and errors to stderr. Nothing here panics when
//! nobody reads.

use std::io::{self, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

/// The heading of a table or a section.
pub(super) const HEADING: Style = Style::new().bold();
/// What is less important than the rest.
pub(super) const FAINT: Style = Style::new().dimmed();
/// What went well, as a release.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What was withheld or left out.
pub(super) const BAD: Style = AnsiColor::Yellow.on_default();
/// A name to look for.
pub(super) const NAME: Style = AnsiColor::Cyan.on_default();

/// The widest that text is set, where the terminal is wider.
const WIDTH_MAX: usize = 200;
/// As wide as text is set where nobody says how wide.
const WIDTH_DEFAULT: usize = 100;

/// How a note to stderr begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Error,
    Warning,
    Plain,
}

/// Stdout, and how wide it is.
pub(super) struct Screen {
    out: io::BufWriter<AutoStream<io::Stdout>>,
    /// The columns of the terminal; `None` where lines may be of any length.
    width: Option<usize>,
}

impl Screen {
    pub(super) fn stdout() -> Screen {
        let terminal = terminal_size::terminal_size_of(io::stdout());
        let width = terminal.map(|(width, _)| usize::from(width.0));
        Screen {
            out: io::BufWriter::new(anstream::stdout()),
            width: width
                .or_else(columns)
                .map(|width| width.clamp(40, WIDTH_MAX)),
        }
    }

    /// The columns that there are; `None` where lines may be of any length.
    pub(super) fn width(&self) -> Option<usize> {
        self.width
    }

    /// The columns to set running text in.
    pub(super) fn text_width(&self) -> usize {
        self.width.unwrap_or(WIDTH_DEFAULT)
    }
}

/// What the environment says of the width, for output that is no terminal.
fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(of_stdout)
    }
}

/// Stdout as it is, for lines that are data.
pub(super) struct Lines(io::BufWriter<io::StdoutLock<'static>>);

impl Lines {
    pub(super) fn stdout() -> Lines {
        Lines(io::BufWriter::new(io::stdout().lock()))
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(of_stdout)
    }
}

/// Says that it is stdout which cannot be written.
fn of_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to write to stdout: {error}"))
}

/// Writes a note to stderr.
pub(super) fn note(tone: Tone, text: &str) {
    let (style, word) = match tone {
        Tone::Error => (AnsiColor::Red.on_default().bold(), "error: "),
        Tone::Warning => (AnsiColor::Yellow.on_default().bold(), "warning: "),
        Tone::Plain => (Style::new(), ""),
    };
    // Where nobody reads, nothing is left to be said.
    let _ = writeln!(anstream::stderr(), "{style}{word}{style:#}{text}");
}

/// `text` in a style; the style has no effect where colours are off.
pub(super) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
