//! What two sightings of one failure have in common.
//!
//! A fingerprint is `v1:` and 32 hexadecimal digits: the first 128 bits of the SHA-1 that git gives a blob of the text that is
//! left when everything is taken out that differs from run to run. What is taken out, and what stays:
//!
//! * A stack trace or a compiler's error stands for the text that it is in; without one the whole text counts. Of a frame the
//!   function and the file's name stay, so that neither line numbers nor where the code was checked out matter. A frame that
//!   follows an equal one counts once.
//! * In a message a number, an address, a time, a hash and a UUID are each `#`. Words stay, error codes and the names of types
//!   with them.
//! * A path in a message stays below the repository's root. Any other absolute path is its last name alone, and what stands
//!   directly in a directory for temporary files only the end of its name.
//! * White space, colours and empty lines do not count.
//!
//! The result depends on the text and on the roots alone. A change of these rules changes the version, and fingerprints of
//! another version than this one are never equal to one of this.

use std::fmt::Write as _;

use git2::{ObjectType, Oid};

use super::trace::{self, Part};

/// Names the rules that made a fingerprint.
const VERSION: &str = "v1:";
/// Bytes of the hash that are kept.
const BYTES: usize = 16;
/// Directories whose entries have names that nobody chose.
const TEMPORARY: [&str; 5] = ["/tmp/", "/var/tmp/", "/private/tmp/", "/dev/shm/", "/var/folders/"];
/// Words with digits that are names of types, sets and machines.
const NAMES: [&str; 32] = [
    "i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32", "u64", "u128", "f32", "f64", "int8", "int16", "int32",
    "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "utf8", "utf16", "utf32", "sha1", "sha256",
    "md5", "base64", "x86_64", "x86", "x64",
];
/// Words of a date that stand beside a number.
const CALENDAR: [&str; 19] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Mon", "Tue", "Wed", "Thu",
    "Fri", "Sat", "Sun",
];

/// Returns the fingerprint of what a program printed when it failed; `None` when no word of it is left.
pub fn of_error(text: &str, roots: &[String]) -> Option<String> {
    let text = plain(text);
    hashed(&of_parts(&trace::parts(&text), roots)).or_else(|| {
        let lines = text.lines().map(|line| message(line.trim(), roots)).filter(|line| !line.is_empty());
        let mut lines: Vec<_> = lines.collect();
        lines.dedup();
        hashed(&lines.join("\n"))
    })
}

/// Returns the fingerprint of the stack traces in a text; `None` when there is none.
pub fn of_trace(text: &str, roots: &[String]) -> Option<String> {
    let text = plain(text);
    hashed(&of_parts(&trace::parts(&text), roots))
}

/// Tells whether a fingerprint is one of these, rather than free text of the user's.
pub fn is_computed(fingerprint: &str) -> bool {
    let digits = fingerprint.strip_prefix(VERSION).unwrap_or_default();
    digits.len() == 2 * BYTES && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hashed(text: &str) -> Option<String> {
    if !text.contains(char::is_alphabetic) {
        return None;
    }
    let oid = Oid::hash_object(ObjectType::Blob, text.as_bytes()).expect("hashing bytes in memory does not fail");
    Some(oid.as_bytes()[..BYTES].iter().fold(VERSION.to_owned(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    }))
}

/// Returns a text without what colours it, and without NUL, which no record has.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A control sequence ends with a byte from 0x40 to 0x7e (ECMA-48, 5.4).
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                while chars.next_if(|c| matches!(c, '\u{20}'..='\u{3f}')).is_some() {}
                chars.next_if(|c| matches!(c, '\u{40}'..='\u{7e}'));
            }
            '\0' | '\r' => {}
            c => out.push(c),
        }
    }
    out
}

fn of_parts(parts: &[Part<'_>], roots: &[String]) -> String {
    let mut lines: Vec<String> = Vec::with_capacity(parts.len());
    for part in parts {
        let line = match part {
            Part::Says(says) => message(says, roots),
            Part::At(name, path) => format!("at {} {}", function(name), file(path)),
            Part::Error(path, says) => format!("{} {}", message(path, roots), message(says, roots)),
        };
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// Returns a function's name without what a compiler or a runtime adds to tell instances apart.
fn function(name: &str) -> String {
    let name = name.trim();
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => name,
        _ => name,
    };
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let is_address = c == '0' && chars.peek() == Some(&'x');
        let is_instance = c.is_ascii_digit() && out.ends_with(['$', '/']);
        if is_address || is_instance {
            while chars.next_if(char::is_ascii_alphanumeric).is_some() {}
            out.push('#');
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns the last name of a frame's path, without line and column.
fn file(path: &str) -> String {
    let path = path.trim();
    let path = path.split('?').next().unwrap_or(path);
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let name = name.split_once(" +0x").map_or(name, |(name, _)| name);
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, ':' | ' '));
    let segments = name.split('.').map(|segment| if is_hash(segment) { "#" } else { segment });
    segments.collect::<Vec<_>>().join(".")
}

fn is_hash(word: &str) -> bool {
    let is_hex = word.bytes().all(|b| b.is_ascii_hexdigit());
    let has_digit = word.bytes().any(|b| b.is_ascii_digit());
    is_hex && (word.len() >= 7 && has_digit || word.len() >= 32)
}

/// Returns a line of a message without what differs from run to run.
fn message(line: &str, roots: &[String]) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let starts =
            !out.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ')' | ']' | '}' | '/' | '~'));
        if c.is_whitespace() {
            if !out.ends_with(' ') && !out.is_empty() {
                out.push(' ');
            }
            rest = rest.trim_start();
        } else if starts && let Some(length) = path_length(rest, &out, roots) {
            out.push_str(&short_path(&rest[..length], roots));
            rest = &rest[length..];
        } else if c.is_ascii_digit() || is_uuid(rest) {
            rest = &rest[number_length(rest)..];
            put_number(&mut out);
        } else if c.is_alphanumeric() || c == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            put_word(&mut out, &rest[..end], &rest[end..]);
            rest = &rest[end..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Numbers that follow each other, as in a date, are one.
fn put_number(out: &mut String) {
    if out.ends_with("# ") {
        out.pop();
    } else if !out.ends_with('#') {
        out.push('#');
    }
}

/// Adds a word, or what is left of it.
fn put_word(out: &mut String, word: &str, after: &str) {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_beside_number = || {
        let next = after.trim_start_matches([' ', ',']);
        out.ends_with("# ")
            || next.starts_with(|c: char| c.is_ascii_digit())
            || CALENDAR.iter().any(|day| next.starts_with(day))
    };
    if CALENDAR.contains(&word) && is_beside_number() || is_hash(word) || word.len() >= 20 && digits >= 4 {
        put_number(out);
    } else if digits == 0 || NAMES.contains(&word) || is_code(word) {
        out.push_str(word);
    } else {
        for c in word.chars() {
            if c.is_ascii_digit() { put_number(out) } else { out.push(c) }
        }
    }
}

/// Tells whether a word names an error, such as E0308, TS2345 or LNK2019.
fn is_code(word: &str) -> bool {
    let letters = word.bytes().take_while(u8::is_ascii_uppercase).count();
    let digits = word.bytes().skip(letters).take_while(u8::is_ascii_digit).count();
    (1..=3).contains(&letters) && (3..=5).contains(&digits) && letters + digits == word.len()
}

/// Returns the length of a number with its unit, of a time, or of a UUID.
fn number_length(text: &str) -> usize {
    if is_uuid(text) {
        return 36;
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let joins = matches!(bytes[at], b'.' | b',' | b':' | b'-' | b'+' | b'/')
            && bytes[at - 1].is_ascii_digit()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || joins) {
            break;
        }
        at += 1;
    }
    at
}

fn is_uuid(text: &str) -> bool {
    let Some(uuid) = text.as_bytes().get(..36) else { return false };
    let ends = text.as_bytes().get(36).is_none_or(|b| !b.is_ascii_alphanumeric());
    ends && uuid
        .iter()
        .enumerate()
        .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

/// Returns the length of the absolute path at the beginning of a text; `before` is what stands in front of it.
fn path_length(text: &str, before: &str, roots: &[String]) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_drive = bytes.len() > 3
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'\\' | b'/')
        && bytes[3] != b'/';
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '~');
    let is_rooted = text.strip_prefix('/').is_some_and(|rest| rest.starts_with(is_name)) || text.starts_with("~/");
    // What follows `https:` is a host.
    if !is_drive && (!is_rooted || before.ends_with(":/")) {
        return None;
    }
    // A root may have a space in its name.
    let root = roots.iter().find(|root| text.strip_prefix(root.as_str()).is_some_and(|rest| rest.starts_with('/')));
    let from = root.map_or(if is_drive { 2 } else { 0 }, String::len);
    let ends = |c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '[' | ']' | '|' | ';' | ',' | ':')
    };
    let length = text[from..].find(ends).map_or(text.len(), |end| from + end);
    Some(text[..length].trim_end_matches('.').len())
}

/// Returns what is kept of an absolute path.
fn short_path(path: &str, roots: &[String]) -> String {
    for root in roots {
        if let Some(rest) = path.strip_prefix(root.as_str()).and_then(|rest| rest.strip_prefix('/')) {
            return message(rest, &[]);
        }
    }
    let name = path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(path);
    if TEMPORARY.iter().any(|dir| path.strip_prefix(dir).is_some_and(|rest| !rest.trim_end_matches('/').contains('/')))
    {
        return name.rsplit_once('.').map_or("#".to_owned(), |(_, end)| format!("#.{end}"));
    }
    message(name, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        of_error(text, &["/home/a/code/repo".to_owned()]).unwrap_or_else(|| panic!("no fingerprint: {text}"))
    }

    const PYTHON: &str = "Traceback (most recent call last):\n  File \"/home/a/code/repo/app/db.py\", line 12, in connect\n    raise Timeout(3)\napp.db.Timeout: no answer after 30 s from 0x7f12ab\n";
    const RUST: &str = "thread 'main' panicked at src/lock.rs:12:5:\nindex out of bounds: the len is 3 but the index is 7\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/0123456789abcdef/library/std/src/panicking.rs:652:5\n   1: demo::run::h0123456789abcdef\n             at ./src/lock.rs:12:5\nnote: run with `RUST_BACKTRACE=full`\n";
    const JVM: &str = "Exception in thread \"main\" java.lang.IllegalStateException: pool 12 is closed\n\tat java.base/java.util.Pool.take(Pool.java:120)\n\tat org.example.App$$Lambda$14/0x0000000800c03000.run(Unknown Source)\n\tat org.example.App.main(App.java:9)\nCaused by: java.io.IOException: broken\n\tat org.example.Net.read(Net.java:5)\n\t... 3 more\n";
    const NODE: &str = "/home/a/code/repo/index.js:3\n    f();\n    ^\n\nTypeError: x is not a function\n    at Object.<anonymous> (/home/a/code/repo/index.js:3:5)\n    at async run (node:internal/modules/cjs/loader:1105:14)\n    at /home/a/code/repo/lib/go.js:1:2\n";
    const GO: &str = "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.read(0xc000012345, 0x5)\n\t/home/a/code/repo/main.go:12 +0x1d\nmain.main()\n\t/home/a/code/repo/main.go:5 +0x20\nexit status 2\n";
    const DOTNET: &str = "Unhandled exception. System.InvalidOperationException: Sequence 7 is empty\n   at Shop.Cart.First(List`1 items, Int32 n) in /home/a/code/repo/Cart.cs:line 12\n   at Shop.Program.Main(String[] args)\n";
    const RUBY: &str = "app/pay.rb:12:in `charge': card 17 declined (Pay::Declined)\n\tfrom app/pay.rb:30:in `block in run'\n\tfrom /usr/lib/ruby/3.2.0/set.rb:5:in `each'\n";
    const ASAN: &str = "=================================================================\n==1234==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010 at pc 0x4f\nREAD of size 4 at 0x602000000010 thread T0\n    #0 0x4f8a21 in parse /home/a/code/repo/parse.c:12:9\n    #1 0x4f8b00 in main /home/a/code/repo/main.c:5:3\n";
    const GDB: &str = "Program received signal SIGSEGV, Segmentation fault.\n0x0000555 in parse (p=0x0) at parse.c:12\n12\t  return p->x;\n#0  0x0000555 in parse (p=0x0) at parse.c:12\n#1  0x0000666 in main (argc=1) at main.c:5\n";
    const RUSTC: &str = "error[E0308]: mismatched types\n  --> src/lib.rs:12:5\n   |\n12 |     \"x\"\n   |     ^^^ expected `i32`, found `&str`\n";
    const GCC: &str = "src/a.c:12:3: error: 'x' undeclared (first use in this function)\n";
    const ALL: [&str; 11] = [PYTHON, RUST, JVM, NODE, GO, DOTNET, RUBY, ASAN, GDB, RUSTC, GCC];

    #[test]
    fn what_differs_from_run_to_run_does_not_count() {
        let at = "2026-11-24T08:02:42.475Z ";
        let moved = |text: &str| text.replace("/home/a/code/repo", "/builds/0/other clone").replace(":12", ":417");
        for (name, one, other) in [
            ("line number", PYTHON, PYTHON.replace("line 12", "line 99")),
            (
                "checkout",
                PYTHON,
                PYTHON.replace("/home/a/code/repo/app", "C:\\Users\\b\\repo\\app").replace("app\\db", "app/db"),
            ),
            ("source line", PYTHON, PYTHON.replace("    raise Timeout(3)\n", "    raise Timeout(3)\n    ^^^^^^^^^^\n")),
            ("address and number", PYTHON, PYTHON.replace("0x7f12ab", "0xdeadbeef").replace("30 s", "31 s")),
            ("log around it", PYTHON, format!("2026-11-24 08:00:01 start\n\n{PYTHON}2026-11-24 08:00:09 end\n")),
            ("indented", PYTHON, PYTHON.replace('\n', "\n    ").replacen("Trace", "    Trace", 1)),
            ("stamped", PYTHON, format!("{at}{}", PYTHON.trim_end().replace('\n', &format!("\n{at}")))),
            ("colours", PYTHON, PYTHON.replace("app.db.Timeout", "\u{1b}[1;31mapp.db.Timeout\u{1b}[0m")),
            ("line ends", PYTHON, PYTHON.replace('\n', "\r\n")),
            ("recursion", GO, GO.replace("main.main()", "main.read(0x1, 0x2)\n\t/x/main.go:12 +0x1d\nmain.main()")),
            ("other goroutines", GO, format!("{GO}\ngoroutine 7 [select]:\nmain.wait()\n\t/x/main.go:1\n")),
            ("thread", RUST, RUST.replace("thread 'main'", "thread 'worker-3' (4711)")),
            ("symbol hash", RUST, RUST.replace("h0123456789abcdef", "hfedcba9876543210")),
            ("compiler's hash", RUST, RUST.replace("0123456789abcdef/lib", "99999/lib")),
            ("lambda", JVM, JVM.replace("$14/0x0000000800c03000", "$99/0x00000008deadbeef")),
            ("process", ASAN, ASAN.replace("==1234==", "==77==").replace("0x602000000010", "0x603")),
            ("moved RUST", RUST, moved(RUST)),
            ("moved NODE", NODE, moved(NODE)),
            ("moved GO", GO, moved(GO)),
            ("moved DOTNET", DOTNET, moved(DOTNET).replace("line 12", "line 13")),
            ("moved RUBY", RUBY, moved(RUBY)),
            ("moved ASAN", ASAN, moved(ASAN)),
            ("moved GDB", GDB, moved(GDB)),
            ("moved GCC", GCC, moved(GCC)),
            ("moved RUSTC", RUSTC, moved(RUSTC)),
            ("time", "at 2026-11-24T08:02:42Z it died", "at 2025-01-02T18:12:02.5Z it died".to_owned()),
            ("date", "Nov 24 08:02:42 host died", "Dec 1 09:00:00 host died".to_owned()),
            (
                "uuid",
                "job a1b2c3d4-0000-4000-8000-00000000abcd died",
                "job ffffffff-1111-4111-9111-cafecafecafe died".to_owned(),
            ),
            (
                "hash",
                "at commit 3f2a9c1 it died",
                "at commit deadbeefdeadbeefdeadbeefdeadbeefdeadbeef it died".to_owned(),
            ),
            ("temporary", "cannot open /tmp/tmpk3x/a.json: busy", "cannot open /tmp/tmpzz9/a.json: busy".to_owned()),
            ("temporary name", "cannot open /tmp/tmpk3x.json: busy", "cannot open /tmp/oops.json: busy".to_owned()),
            ("home", "no /home/a/.cache/x.db", "no /Users/bob/.cache/x.db".to_owned()),
            ("root", "no /home/a/code/repo/etc/x.toml here", "no etc/x.toml here".to_owned()),
            ("space", "a  failure\n\n\nof sorts", " a failure\nof   sorts \n".to_owned()),
        ] {
            assert_eq!(of(one), of(&other), "{name}:\n{one}\n{other}");
        }
    }

    #[test]
    fn another_failure_has_another_fingerprint() {
        for (name, one, other) in [
            ("exception", PYTHON, PYTHON.replace("app.db.Timeout:", "app.db.Refused:")),
            ("message", PYTHON, PYTHON.replace("no answer", "no route")),
            ("function", PYTHON, PYTHON.replace("in connect", "in close")),
            ("file", PYTHON, PYTHON.replace("db.py", "net.py")),
            ("message", RUST, RUST.replace("index out of bounds", "slice out of bounds")),
            ("function", RUST, RUST.replace("demo::run", "demo::stop")),
            ("cause", JVM, JVM.replace("java.io.IOException", "java.io.EOFException")),
            ("method", JVM, JVM.replace("Net.read", "Net.write")),
            ("method", NODE, NODE.replace("async run", "async stop")),
            ("function", GO, GO.replace("main.read", "main.write")),
            ("method", DOTNET, DOTNET.replace("Cart.First", "Cart.Last")),
            ("class", RUBY, RUBY.replace("Pay::Declined", "Pay::Expired")),
            ("sort", ASAN, ASAN.replace("heap-use-after-free", "stack-buffer-overflow")),
            ("function", GDB, GDB.replace("in parse (", "in scan (")),
            ("code", RUSTC, RUSTC.replace("E0308", "E0277")),
            ("file", GCC, GCC.replace("a.c", "b.c")),
            ("word", GCC, GCC.replace("undeclared", "redefined")),
            ("operator", "assertion failed: a == b", "assertion failed: a != b".to_owned()),
            ("type", "expected i32, found i64", "expected i64, found i32".to_owned()),
            ("host", "GET https://a.example failed", "GET https://b.example failed".to_owned()),
            ("file", "cannot open /etc/a.toml", "cannot open /etc/b.toml".to_owned()),
            ("file below the root", "no /home/a/code/repo/a/x.toml", "no /home/a/code/repo/b/x.toml".to_owned()),
            ("script", "\u{e9}chec", "\u{65e5}\u{672c}".to_owned()),
        ] {
            assert_ne!(of(one), of(&other), "{name}:\n{one}\n{other}");
        }
        let all: std::collections::BTreeSet<_> = ALL.iter().map(|text| of(text)).collect();
        assert_eq!(all.len(), ALL.len());
    }

    #[test]
    fn a_trace_is_told_from_prose() {
        for trace in ALL {
            assert_eq!(
                of_trace(&format!("It died again.\n\n{trace}\nNo idea why."), &[]),
                of_trace(trace, &[]),
                "{trace}"
            );
            assert!(of_trace(trace, &[]).is_some(), "{trace}");
        }
        for prose in [
            "",
            "It raised a Traceback (most recent call last): once.",
            "Look\n    at the wall (it is white)\n    at noon: 12:30",
            "panic: do not\n\nThere is no reason to.",
            "Error: none.\n\nerror: all is well",
            "#0 first\n#1 second",
            "The thread 'main' panicked at nothing",
            "See http://x.example:80/: error: in the log",
        ] {
            assert_eq!(of_trace(prose, &[]), None, "{prose}");
        }
        for nothing in ["", " \n", "12 34", "0x7f"] {
            assert_eq!(of_error(nothing, &[]), None, "{nothing}");
        }
    }

    #[test]
    fn a_fingerprint_is_told_from_free_text() {
        assert!(is_computed(&of(PYTHON)), "{}", of(PYTHON));
        for free in
            ["", "v1:", "wal", "v1:0123", "v2:0123456789abcdef0123456789abcdef", "v1:0123456789ABCDEF0123456789ABCDEF"]
        {
            assert!(!is_computed(free), "{free}");
        }
    }

    #[test]
    fn hostile_text_takes_no_more_time_than_any_other() {
        let megabyte = |part: &str| part.repeat(1_000_000 / part.len());
        for part in [
            "a",
            "0",
            "/",
            "/a",
            "#0 ",
            "at a (b:1:2)\n",
            " at a (b:1:2)\n",
            "Traceback (most recent call last):\n",
            "\u{1b}[",
            "a:",
            "panic: x\n",
            "ERROR: Sanitizer\n",
            "thread 'x' panicked at ",
            "thread 'x' panicked at a:1:\n",
            "error: x\n",
            "error: x\n--> a\n",
            "a.rb:1:in `f': x\n",
            ": error: ",
            "Nov ",
            "0123456-",
            "\u{e9}",
            "\n",
            " ",
            "~/",
            "X:\\",
            "goroutine 1 [running]:\n",
            "deadbeef-",
            "1:",
            "  File \"a\", line 1, in f\n",
        ] {
            let text = megabyte(part);
            let began = std::time::Instant::now();
            let _ = (of_error(&text, &["/a".to_owned()]), of_trace(&text, &[]));
            // A quadratic rule would take minutes; this machine may be busy.
            assert!(began.elapsed().as_secs() < 30, "{part:?} took {:?}", began.elapsed());
        }
    }
}
