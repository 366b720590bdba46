//! Standard output, and the notes that go beside it.

use std::error::Error;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use console::Style;

/// Columns where no terminal says how many there are.
const PIPED_WIDTH: usize = 80;
/// Nothing is drawn for less.
const MIN_WIDTH: usize = 40;

/// Where a command's result goes: buffered, with an error for every write that failed. Notes for the person, such as why
/// there is no result, go to standard error so that they never mix with what a program reads.
pub struct Out {
    data: Box<dyn Write>,
    notes: Box<dyn Write>,
    terminal_width: Option<usize>,
    is_coloured: bool,
}

/// What a text is coloured for; plain where there is no colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tint {
    Heading,
    Line,
    Faint,
}

impl Out {
    /// Locks standard output: one at a time.
    pub fn stdout() -> Out {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal_width = is_terminal.then(|| {
            console::Term::stdout()
                .size_checked()
                .map_or(PIPED_WIDTH, |(_, columns)| columns.into())
        });
        Out {
            data: Box::new(BufWriter::with_capacity(64 * 1024, stdout)),
            notes: Box::new(io::stderr()),
            terminal_width,
            is_coloured: is_terminal && !is_dumb && !set("NO_COLOR"),
        }
    }

    /// Keeps what is written, for tests and for callers that draw a screen of their own. `terminal_width` is that of the
    /// terminal to write for; `None` writes as into a pipe.
    pub fn captured(terminal_width: Option<usize>) -> (Out, Captured) {
        let captured = Captured::default();
        let out = Out {
            data: Box::new(Shared(captured.data.clone())),
            notes: Box::new(Shared(captured.notes.clone())),
            terminal_width,
            is_coloured: false,
        };
        (out, captured)
    }

    /// Columns to draw in.
    pub fn width(&self) -> usize {
        self.terminal_width.unwrap_or(PIPED_WIDTH).max(MIN_WIDTH)
    }

    /// Whether a person looks at it directly.
    pub fn is_terminal(&self) -> bool {
        self.terminal_width.is_some()
    }

    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.data.write_all(text.as_bytes())?;
        self.data.write_all(b"\n")
    }

    /// One line for the person, on standard error. That it cannot be written is no reason to fail.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.notes, "iotpipe: {text}");
    }

    pub fn tinted(&self, tint: Tint, text: &str) -> String {
        if !self.is_coloured || text.is_empty() {
            return text.to_owned();
        }
        let style = Style::new().force_styling(true);
        let style = match tint {
            Tint::Heading => style.bold(),
            Tint::Line => style.cyan(),
            Tint::Faint => style.dim(),
        };
        style.apply_to(text).to_string()
    }
}

/// For `write!`; lines go through [`Out::line`].
impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.data.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.data.write_all(bytes)
    }

    /// To be called at the end: what a drop cannot write is lost without an error.
    fn flush(&mut self) -> io::Result<()> {
        self.data.flush()
    }
}

/// What an [`Out::captured`] was told.
#[derive(Clone, Default)]
pub struct Captured {
    data: Arc<Mutex<Vec<u8>>>,
    notes: Arc<Mutex<Vec<u8>>>,
}

impl Captured {
    pub fn data(&self) -> String {
        text_of(&self.data)
    }

    pub fn notes(&self) -> String {
        text_of(&self.notes)
    }
}

fn text_of(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the error comes of a reader that went away, which is its right: a quiet end.
pub fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Names come from anyone who may write to the topic: control characters would move the cursor or hide text.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                letter
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_found_under_other_errors() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        let wrapped = anyhow::Error::new(broken).context("cannot print");
        assert!(is_broken_pipe(wrapped.as_ref()));
        let other = anyhow::Error::new(io::Error::from(io::ErrorKind::StorageFull)).context("cannot print");
        assert!(!is_broken_pipe(other.as_ref()));
    }

    #[test]
    fn text_is_plain_without_colour() {
        let (mut out, captured) = Out::captured(Some(100));
        let text = out.tinted(Tint::Line, "text");
        out.line(&text).unwrap();
        assert_eq!((captured.data().as_str(), out.width()), ("text\n", 100));
        out.is_coloured = true;
        assert_eq!(out.tinted(Tint::Line, "text"), "\u{1b}[36mtext\u{1b}[0m");
        assert_eq!(Out::captured(None).0.width(), 80);
    }

    #[test]
    fn control_characters_are_not_printed() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
