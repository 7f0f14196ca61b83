//! Where everything is printed: data on stdout, talk on stderr.
//!
//! Control characters and direction overrides come from records, and records come from strangers, so they are escaped on a
//! terminal. A pipe gets the text as it is.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anstyle::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value as Json};

use crate::record::secret::redacted;
use crate::store::Voice;

/// Standard output, buffered, with what is known about it.
pub struct Output {
    out: BufWriter<StdoutLock<'static>>,
    terminal: bool,
    colour: bool,
}

impl Output {
    /// Takes standard output.
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = terminal && anstream::stdout().current_choice() != anstream::ColorChoice::Never;
        Self { out: BufWriter::new(io::stdout().lock()), terminal, colour }
    }

    /// Prints one line of our own words.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Prints one JSON object on a line.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn json(&mut self, object: &Map<String, Json>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, object)?;
        self.out.write_all(b"\n")
    }

    /// Makes text of a record fit to be shown.
    pub fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.terminal { escaped(text) } else { Cow::Borrowed(text) }
    }

    /// Makes text of a record fit to be shown on one line.
    pub fn shown_line<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.shown(text) {
            text if text.contains(['\n', '\t']) => Cow::Owned(text.replace(['\n', '\t'], " ")),
            text => text,
        }
    }

    /// Colours our own words, on a terminal only.
    pub fn styled(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Escapes what a terminal would obey: C0 except line feed and tab, DEL, C1, and the Unicode direction controls.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if obeyed(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Says things on stderr, and draws a progress bar there when it is a terminal.
pub struct Speaker {
    bar: RefCell<Option<ProgressBar>>,
    terminal: bool,
}

impl Speaker {
    /// Takes standard error.
    pub fn new() -> Self {
        Self { bar: RefCell::new(None), terminal: io::stderr().is_terminal() }
    }
}

impl Voice for Speaker {
    fn say(&self, line: &str) {
        let line = redacted(line);
        let line = if self.terminal { escaped(&line) } else { Cow::Borrowed(&*line) };
        // A closed stderr is no reason to stop.
        let _ = writeln!(io::stderr(), "elf: {line}");
    }

    fn progress(&self, what: &str, done: u64, total: u64) {
        if !self.terminal {
            return;
        }
        let mut bar = self.bar.borrow_mut();
        if done == 0 && total == 0 {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
            return;
        }
        let bar = bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let template = if total > 0 { "{msg} [{bar:40}] {pos}/{len}" } else { "{spinner} {msg} {pos}" };
            bar.set_style(ProgressStyle::with_template(template).expect("the template is constant and valid"));
            bar
        });
        bar.set_message(what.to_owned());
        bar.set_position(done);
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(escaped("a\u{1b}[31mb\u{9b}c\u{202e}d\r\n\te"), "a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{d}\n\te");
        assert_eq!(escaped("日本 é"), "日本 é");
    }
}
