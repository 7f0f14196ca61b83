//! Stack traces and compiler errors inside of text.
//!
//! A trace is taken apart into what was said (the exception and its message) and where (function and file of each frame). What
//! else stands around it, such as source lines, log lines and other threads, is left out, so that one failure is the same
//! failure in a log, in a terminal and in prose. Detection is conservative: a form counts only with its opener and its frames
//! in the places where the runtime prints them.
//!
//! Every line is looked at a fixed number of times, with a look-ahead of at most eight lines: the time is linear in the text.

/// Lines of a message that are kept, and lines in which the rest of an opener is looked for.
const AHEAD: usize = 8;
/// Most parts that are kept of one text; what repeats in a recursion counts once.
const PARTS_MAX: usize = 2_048;

/// One thing that a trace says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// The exception, with its message.
    Says(&'a str),
    /// A frame: the function and the file, either of which may be empty.
    At(&'a str, &'a str),
    /// A compiler's error: the file and what is wrong with it.
    Error(&'a str, &'a str),
}

/// Takes the traces of a text apart; empty when there is none.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let lines: Vec<&str> = text.lines().map(|line| unstamped(line.trim_end())).collect();
    let mut parts = Vec::new();
    let mut at = 0;
    while at < lines.len() && parts.len() < PARTS_MAX {
        let found = [python, rust, go, ruby, native, called, compiler]
            .iter()
            .find_map(|read| read(&lines[at..]).filter(|(used, _)| *used > 0));
        match found {
            None => at += 1,
            Some((used, found)) => {
                at += used;
                parts.extend(found);
            }
        }
    }
    parts.truncate(PARTS_MAX);
    parts.dedup();
    parts
}

/// How many lines a trace takes, and what it says.
type Found<'a> = Option<(usize, Vec<Part<'a>>)>;

/// Takes the time off a line, which a CI system or a logger has put before it.
fn unstamped(line: &str) -> &str {
    let rest = line.strip_prefix('[').unwrap_or(line);
    let is_date = rest.len() > 19
        && rest
            .bytes()
            .take(10)
            .enumerate()
            .all(|(i, b)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() })
        && matches!(rest.as_bytes()[10], b'T' | b' ');
    if !is_date {
        return line;
    }
    let time = rest[11..].find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.' | ',' | 'Z' | '+')));
    let rest = time.map_or("", |end| &rest[11 + end..]);
    let rest = rest.strip_prefix(']').unwrap_or(rest);
    rest.strip_prefix(' ').unwrap_or(rest)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Tells whether a line looks like an exception: a dotted name, then nothing or a colon and the message.
fn is_exception(line: &str) -> bool {
    let name = line.split_once(':').map_or(line, |(name, _)| name).trim();
    !name.is_empty()
        && name.len() <= 200
        && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$'))
}

/// `Traceback (most recent call last):`, frames that are indented further, then the exception.
fn python<'a>(lines: &[&'a str]) -> Found<'a> {
    let opener = lines.first()?;
    if !opener.ends_with("Traceback (most recent call last):") {
        return None;
    }
    let depth = indent(opener);
    let mut parts = Vec::new();
    for (i, line) in lines.iter().enumerate().skip(1) {
        if line.trim().is_empty() || indent(line) > depth {
            let frame = line.trim_start_matches([' ', '\t', '|', '+']);
            if let Some(path) = frame.strip_prefix("File \"").and_then(|rest| rest.split_once('"')) {
                let function = path.1.rsplit_once(", in ").map_or("", |(_, function)| function);
                parts.push(Part::At(function, path.0));
            }
            continue;
        }
        let says = line.trim_start_matches([' ', '\t', '|', '+', '>']);
        if !is_exception(says) {
            return None;
        }
        parts.insert(0, Part::Says(says));
        return Some((i + 1, parts));
    }
    // A trace that was cut off still says where.
    (!parts.is_empty()).then_some((lines.len(), parts))
}

/// `thread 'main' panicked at src/x.rs:1:2:` and the message below it, or both on one line as Rust before 1.73 wrote it.
fn rust<'a>(lines: &[&'a str]) -> Found<'a> {
    let opener = lines.first()?.trim_start();
    let place =
        opener.strip_prefix("thread ").and_then(|rest| rest.split_once(" panicked at ")).map(|(_, place)| place)?;
    let mut at = 1;
    let mut parts = Vec::new();
    if let Some((message, path)) = place.strip_prefix('\'').and_then(|old| old.rsplit_once("', ")) {
        parts.extend([Part::Says("panicked"), Part::Says(message), Part::At("", path)]);
    } else {
        parts.push(Part::Says("panicked"));
        let ends =
            |line: &str| line.trim().is_empty() || line.starts_with("stack backtrace:") || line.starts_with("note:");
        while let Some(line) = lines.get(at).filter(|line| at <= AHEAD && !ends(line)) {
            parts.push(Part::Says(line));
            at += 1;
        }
        parts.push(Part::At("", place.trim_end_matches(':')));
    }
    while let Some(line) = lines.get(at) {
        let line = line.trim();
        let number = line.find(|c: char| !c.is_ascii_digit()).unwrap_or_default();
        if let Some(name) = line[number..].strip_prefix(": ").filter(|_| number > 0) {
            let name = name.trim_start();
            let name =
                name.strip_prefix("0x").and_then(|address| address.split_once(" - ")).map_or(name, |(_, name)| name);
            let path = lines.get(at + 1).and_then(|next| next.trim().strip_prefix("at ")).unwrap_or_default();
            parts.push(Part::At(name, path));
        } else if !(line.starts_with("at ")
            || line.starts_with("stack backtrace:")
            || line.starts_with("note: run with"))
        {
            break;
        }
        at += 1;
    }
    Some((at, parts))
}

/// `panic: …` or `fatal error: …`, then the first goroutine; the others run on their own.
fn go<'a>(lines: &[&'a str]) -> Found<'a> {
    let opener = lines.first()?.trim_start();
    let says = opener.strip_prefix("panic: ").or_else(|| opener.strip_prefix("fatal error: "))?;
    let is_goroutine = |line: &&str| line.trim_start().starts_with("goroutine ") && line.ends_with("]:");
    let start = lines.iter().take(AHEAD).position(is_goroutine)?;
    let mut parts = vec![Part::Says(says)];
    let mut at = start + 1;
    while let Some(line) = lines.get(at).filter(|line| !line.trim().is_empty()) {
        let call = line.trim();
        let call = call.strip_prefix("created by ").unwrap_or(call);
        let call = call.split_once(" in goroutine ").map_or(call, |(call, _)| call);
        let name = if call.ends_with(')') { call.rsplit_once('(').map_or(call, |(name, _)| name) } else { call };
        let path =
            lines.get(at + 1).map(|next| next.trim()).filter(|next| next.contains(".go:") || next.contains(".s:"));
        parts.push(Part::At(name, path.unwrap_or_default()));
        at += 1 + usize::from(path.is_some());
    }
    Some((at, parts))
}

/// `a.rb:1:in 'f': message (Class)`, then lines of `from a.rb:2:in 'g'`.
fn ruby<'a>(lines: &[&'a str]) -> Found<'a> {
    fn frame(line: &str) -> Option<(&str, &str, &str)> {
        let (path, rest) = line.split_once(":in ")?;
        let (path, number) = path.rsplit_once(':')?;
        let rest = rest.strip_prefix(['`', '\''])?;
        let (function, rest) = rest.split_once('\'')?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| (function.rsplit(['#', '.']).next().unwrap_or(function), path, rest))
    }
    let (function, path, rest) = frame(lines.first()?.trim_start())?;
    let says = rest.strip_prefix(": ")?;
    let mut parts = vec![Part::Says(says), Part::At(function, path)];
    let mut at = 1;
    while let Some(line) = lines.get(at) {
        let Some((function, path, _)) = line.trim_start().strip_prefix("from ").and_then(frame) else { break };
        parts.push(Part::At(function, path));
        at += 1;
    }
    (at > 1 || says.ends_with(')')).then_some((at, parts))
}

/// Numbered frames as of gdb, the sanitizers and PHP: `#0  0x1f in f (x=1) at a.c:2`, `#1 0x1f in g a.c:3:1`, `#0 a.php(1): f()`.
fn native<'a>(lines: &[&'a str]) -> Found<'a> {
    let opener = lines.first()?.trim_start();
    let says = if let Some((_, error)) = opener.split_once("ERROR: ").filter(|(_, error)| error.contains("Sanitizer")) {
        // The rest names addresses, and which access it was stands in the frames.
        error.split_once(" on ").map_or(error, |(says, _)| says)
    } else if let Some(signal) = opener.strip_prefix("Program received signal ") {
        signal
    } else if let Some(signal) = opener.strip_prefix("Program terminated with signal ") {
        signal
    } else if opener.starts_with("PHP Fatal error: ") || opener.starts_with("Fatal error: ") {
        opener.split_once(" in ").map_or(opener, |(says, _)| says)
    } else {
        return None;
    };
    let start = lines.iter().take(AHEAD + 1).position(|line| line.trim_start().starts_with("#0 "))?;
    let mut parts = vec![Part::Says(says)];
    let mut at = start;
    while let Some(frame) = lines.get(at).and_then(|line| line.trim_start().strip_prefix('#')) {
        let frame = frame.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let frame = frame.strip_prefix("0x").and_then(|rest| rest.split_once(" in ")).map_or(frame, |(_, rest)| rest);
        if let Some((path, call)) =
            frame.split_once("): ").filter(|(path, _)| path.contains('(') && !path.contains(' '))
        {
            let path = path.rsplit_once('(').map_or(path, |(path, _)| path);
            parts.push(Part::At(call.split('(').next().unwrap_or(call), path));
        } else {
            let path = frame.rsplit_once(" at ").or_else(|| frame.rsplit_once(' ')).map_or("", |(_, path)| path);
            let name = frame.find([' ', '(']).map_or(frame, |end| &frame[..end]);
            parts.push(Part::At(name, if path.starts_with('(') { "" } else { path }));
        }
        at += 1;
    }
    Some((at, parts))
}

/// An exception, then frames of `at …`: the JVM, JavaScript and .NET.
fn called<'a>(lines: &[&'a str]) -> Found<'a> {
    let says = lines.first()?.trim_start();
    let (function, path) = frame_of_call(lines.get(1)?)?;
    let says = says.strip_prefix("Unhandled exception. ").unwrap_or(says);
    let says = says.strip_prefix("Uncaught ").unwrap_or(says);
    let says = match says.strip_prefix("Exception in thread \"").and_then(|rest| rest.split_once("\" ")) {
        Some((_, says)) => says,
        None => says,
    };
    let name = says.split_once(':').map_or(says, |(name, _)| name);
    let is_known =
        ["Error", "Exception", "Throwable", "Caused by", "Suppressed"].iter().any(|word| name.contains(word));
    // An exception of another name has two frames, and the first names a class or a file.
    let is_likely = || function.contains('.') || path.contains(['/', '\\']);
    let has_two = || lines.get(2).is_some_and(|line| frame_of_call(line).is_some());
    if says.is_empty() || frame_of_call(lines[0]).is_some() || !(is_known || is_likely() && has_two()) {
        return None;
    }
    let mut parts = vec![Part::Says(says)];
    let mut at = 1;
    while let Some(line) = lines.get(at) {
        match frame_of_call(line) {
            Some((function, path)) => parts.push(Part::At(function, path)),
            None if line.trim_start().starts_with("... ") || line.trim_start().starts_with("--- End of ") => {}
            None => break,
        }
        at += 1;
    }
    Some((at, parts))
}

/// Reads `at f (path:1:2)`, `at path:1:2`, `at a.B.f(B.java:1)` and `at A.B.F(C d) in path:line 1`.
fn frame_of_call(line: &str) -> Option<(&str, &str)> {
    let call = line.trim_start();
    let call = call.strip_prefix("at ").filter(|_| indent(line) > 0)?;
    let call = call.trim_start_matches("async ").trim_start_matches("new ");
    if let Some((call, path)) = call.rsplit_once(") in ") {
        let path = path.rsplit_once(":line ").map_or(path, |(path, _)| path);
        return Some((call.split('(').next().unwrap_or(call).trim_end(), path));
    }
    let call = call.trim_end_matches(" {");
    if let Some((function, inner)) = call.strip_suffix(')').and_then(|call| call.rsplit_once('(')) {
        let path = if inner.contains(':') { inner } else { "" };
        // The JVM names the module before the class.
        let function = function.trim_end().rsplit('/').next().unwrap_or(function);
        return Some((function, path));
    }
    let is_place = call.rsplit_once(':').is_some_and(|(path, column)| {
        !column.is_empty()
            && column.bytes().all(|b| b.is_ascii_digit())
            && path.contains(':')
            && path.contains(['/', '\\', '.'])
    });
    is_place.then_some(("", call))
}

/// `error[E0308]: …` with `--> path` below it, `path:1:2: error: …`, `path(1,2): error TS1: …`. Warnings do not count.
fn compiler<'a>(lines: &[&'a str]) -> Found<'a> {
    let line = lines.first()?.trim_start();
    if line.starts_with("error[") || line.starts_with("error: ") {
        let place = lines.get(1)?.trim_start().strip_prefix("--> ")?;
        return Some((2, vec![Part::Error(place, line)]));
    }
    let (place, says) = [": error: ", ": fatal error: ", ": error "].iter().find_map(|mark| {
        let (place, says) = line.split_once(mark)?;
        let end = place.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, ':' | '(' | ')' | ','));
        let is_place = end.len() < place.len() && end.contains('.') && !end.contains(' ');
        is_place.then_some((place, says))
    })?;
    Some((1, vec![Part::Error(place, says)]))
}
