//! Our block in `AGENTS.md` and `CLAUDE.md`. Pure: bytes in, bytes out.
//!
//! The block stands at the end of a text, below an empty line, between two marks that no renderer shows. What is between the marks is
//! ours: it is replaced by a newer text and taken out, whatever was changed in it. [`remove`] is the exact inverse of
//! [`insert`]: a text whose last line nothing ends gives that lack to our last line, and gets it back.

/// Begins the first and the last line of every version of the block.
const BEGIN: &[u8] = b"<!-- >>> git-elf";
const END: &[u8] = b"<!-- <<< git-elf";
/// What an agent is told; below 1 KB, since it is read in every conversation.
const TEXT: &str = include_str!("../../hooks/agents.md");
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What is left of a text without our block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// There was none.
    Same,
    Text(Vec<u8>),
    /// We made the file, and nobody has added to it.
    Nothing,
    /// A mark has lost its other half.
    Torn,
}

/// Returns a file that is ours alone.
pub(super) fn created() -> Vec<u8> {
    TEXT.as_bytes().to_vec()
}

/// Puts the block at the end, or in the place of an older one; `None` when a mark has lost its other half.
pub(super) fn insert(text: &[u8]) -> Option<Vec<u8>> {
    let newline = newline(text);
    let mut block = TEXT.replace('\n', newline).into_bytes();
    if let Some((start, end)) = find(text) {
        if !text[..end].ends_with(b"\n") {
            block.truncate(block.len() - newline.len());
        }
        return Some([&text[..start], &block, &text[end..]].concat());
    }
    if is_marked(text) {
        return None;
    }
    let newline = newline.as_bytes();
    if text.is_empty() || text.ends_with(b"\n") {
        return Some([text, newline, &block].concat());
    }
    block.truncate(block.len() - newline.len());
    Some([text, newline, newline, &block].concat())
}

/// Takes the block out, with the empty line above it.
pub(super) fn remove(text: &[u8]) -> Left {
    let Some((start, end)) = find(text) else { return if is_marked(text) { Left::Torn } else { Left::Same } };
    let mut before = &text[..start];
    let after = &text[end..];
    if after.is_empty() && (before.is_empty() || before == BOM) {
        return Left::Nothing;
    }
    let is_empty_line =
        before == b"\n" || before == b"\r\n" || before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n");
    if is_empty_line {
        before = without_newline(before);
    }
    if is_empty_line && !text[..end].ends_with(b"\n") {
        before = without_newline(before);
    }
    Left::Text([before, after].concat())
}

/// Tells whether a text brings another file in by itself, as `@AGENTS.md` on a line of its own does.
pub(super) fn imports(text: &[u8], name: &str) -> bool {
    let wanted = [format!("@{name}"), format!("@./{name}")];
    String::from_utf8_lossy(text)
        .lines()
        .any(|line| wanted.iter().any(|wanted| line.trim_matches(['\u{feff}', ' ', '\t', '\r']) == wanted))
}

fn is_marked(text: &[u8]) -> bool {
    lines(text).any(|(_, line)| line.starts_with(BEGIN) || line.starts_with(END))
}

/// Finds the block: from the start of its first line to the end of its last.
fn find(text: &[u8]) -> Option<(usize, usize)> {
    let (start, _) = lines(text).find(|(_, line)| line.starts_with(BEGIN))?;
    let (last, line) = lines(text).find(|(at, line)| *at > start && line.starts_with(END))?;
    Some((start, last + line.len()))
}

/// Lists the lines with their positions, line ends included and a byte order mark not.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    text.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        at += line.len();
        let shown = line.strip_prefix(BOM).filter(|_| at == line.len()).unwrap_or(line);
        (at - shown.len(), shown)
    })
}

/// Returns how the first line ends.
fn newline(text: &[u8]) -> &'static str {
    let first = text.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.ends_with(b"\r\n") { "\r\n" } else { "\n" }
}

fn without_newline(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r\n").or_else(|| text.strip_suffix(b"\n")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of an older version.
    const OLDER: &str = "<!-- >>> git-elf, an older one -->\nold\n<!-- <<< git-elf <<< -->\n";

    #[test]
    fn what_is_put_in_comes_out_and_leaves_the_same_bytes() {
        for original in [
            &b""[..],
            b"\n",
            b"\n\n",
            b"# Rules\n",
            b"# Rules",
            b"# Rules\n\n\n",
            b"# Rules\r\n\r\nwindows\r\n",
            b"# Rules\r\nwindows",
            b"\xef\xbb\xbf",
            b"\xef\xbb\xbf# Rules\n",
            b"not utf-8 \xff\xfe\n",
            b"mixed\r\nends\n",
        ] {
            let with = insert(original).unwrap();
            assert_eq!(insert(&with).unwrap(), with, "twice is once");
            assert_eq!(remove(&with), Left::Text(original.to_vec()), "{}", String::from_utf8_lossy(&with));
            assert_eq!(remove(original), Left::Same);
            let newlines = newline(original);
            assert!(String::from_utf8_lossy(&with).contains(&format!("-->{newlines}##")), "{newlines:?}");
        }
    }

    #[test]
    fn an_older_block_is_replaced_where_it_stands_and_a_changed_one_goes_too() {
        let text = format!("above\n\n{OLDER}below\n");
        let with = insert(text.as_bytes()).unwrap();
        assert_eq!(with, format!("above\n\n{TEXT}below\n").into_bytes());
        assert_eq!(remove(&with), Left::Text(b"above\nbelow\n".to_vec()));
        assert_eq!(remove(text.as_bytes()), Left::Text(b"above\nbelow\n".to_vec()));
        let moved = format!("above\n{OLDER}below\n");
        assert_eq!(remove(moved.as_bytes()), Left::Text(b"above\nbelow\n".to_vec()), "no line of others goes with it");
    }

    #[test]
    fn a_file_of_ours_is_known_whatever_the_version() {
        assert_eq!(remove(&created()), Left::Nothing);
        assert_eq!(remove(OLDER.as_bytes()), Left::Nothing);
        assert_eq!(insert(OLDER.as_bytes()).unwrap(), created());
        let torn = b"mine\n<!-- >>> git-elf >>> -->\nno end\n";
        assert_eq!((insert(torn), remove(torn)), (None, Left::Torn));
    }

    #[test]
    fn the_block_is_short() {
        assert!(TEXT.len() < 1024, "{} bytes", TEXT.len());
        assert!(TEXT.as_bytes().starts_with(BEGIN) && TEXT.ends_with("-->\n"));
    }

    #[test]
    fn an_import_is_a_line_of_its_own() {
        for (text, expected) in [
            ("@AGENTS.md", true),
            ("# A\r\n @./AGENTS.md \r\n", true),
            ("see @AGENTS.md for more\n", false),
            ("", false),
        ] {
            assert_eq!(imports(text.as_bytes(), "AGENTS.md"), expected, "{text}");
        }
    }
}
