//! Where everything is printed: data on stdout, talk on stderr.
//!
//! Control characters and direction overrides come from records, file names and configuration, and those come from strangers. So
//! nothing reaches a terminal but through this file, and everything that does is escaped here, our own words included: a
//! verb hands over text and a style, and has no way to print bytes of its own making ([`Output::own`] is for what this
//! program is built of: help, manual, completions). A pipe gets data as it is. What goes to stderr is for people and is
//! always escaped.

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

    /// Prints one line; a line break or a tab in it becomes a space.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        self.styled(&[(Style::new(), line)])
    }

    /// Prints one line of parts, each in its style when colours are wanted.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn styled(&mut self, parts: &[(Style, &str)]) -> io::Result<()> {
        for (style, text) in parts {
            let text = self.shown(text);
            let text = if text.contains(['\n', '\t']) { Cow::Owned(text.replace(['\n', '\t'], " ")) } else { text };
            if self.colour && *style != Style::new() {
                write!(self.out, "{style}{text}{style:#}")?;
            } else {
                self.out.write_all(text.as_bytes())?;
            }
        }
        self.out.write_all(b"\n")
    }

    /// Prints text of several lines, and ends the last.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        let text = self.shown(text).into_owned();
        writeln!(self.out, "{text}")
    }

    /// Prints what is part of this program, as it is. Never for anything that was read or typed.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn own(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Prints one JSON object on a line.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn json(&mut self, object: &Map<String, Json>) -> io::Result<()> {
        if self.terminal {
            let text = serde_json::to_string(object)?;
            self.out.write_all(escaped_json(&text).as_bytes())?;
        } else {
            serde_json::to_writer(&mut self.out, object)?;
        }
        self.out.write_all(b"\n")
    }

    fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.terminal { escaped(text) } else { Cow::Borrowed(text) }
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Tells what a terminal would obey or hide: C0 except line feed and tab, DEL, C1; the Unicode controls of direction, width
/// and annotation; and the tag characters, which nobody sees.
fn is_obeyed(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Spells out what a terminal would obey or hide, and what a reader would not see.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_by(text, &|out, c| {
        let _ = write!(out, "{}", c.escape_unicode());
    })
}

/// Returns a text on one line, with what a terminal or an editor would obey escaped.
pub fn escaped_line(text: &str) -> String {
    escaped(text).replace(['\n', '\t'], " ")
}

/// Escapes a JSON text, in which such characters stand inside of strings alone, so that it stays the same JSON.
fn escaped_json(text: &str) -> Cow<'_, str> {
    escaped_by(text, &|out, c| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn escaped_by<'a>(text: &'a str, escape: &dyn Fn(&mut String, char)) -> Cow<'a, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) { escape(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Prints a line on stderr; the lines after the first are indented, so that none can pretend to be a message of its own.
///
/// Nobody may be there to read it, or its disk is full: `eprintln!` would panic, after the work is done.
pub fn talk(text: &str) {
    let text = escaped(text);
    let mut lines = text.split('\n');
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let indent = if line.starts_with(' ') { "" } else { "  " };
        out.push_str(&format!("\n{indent}{line}"));
    }
    let _ = writeln!(io::stderr(), "{out}");
}

/// Prints a JSON object on stderr.
pub fn talk_json(object: &Map<String, Json>) {
    let text = serde_json::to_string(object).unwrap_or_default();
    let _ = writeln!(io::stderr(), "{}", escaped_json(&text));
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
        talk(&format!("elf: {}", redacted(line)));
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
    use super::{escaped, escaped_json};

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(escaped("a\u{1b}[31mb\u{9b}c\u{202e}d\r\n\te"), "a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{d}\n\te");
        assert_eq!(escaped("日本 é"), "日本 é");
    }

    #[test]
    fn json_is_the_same_json_when_it_is_escaped() {
        let text = serde_json::to_string("a\u{1b}\u{9b}\u{202e}\u{e0041}\\\"日").unwrap();
        let shown = escaped_json(&text);
        assert!(!shown.contains(super::is_obeyed), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), serde_json::from_str::<String>(&text).unwrap());
    }
}
