//! What a program printed, as a part of a record's body.

use super::field;

/// Returns a text as a fenced block of markdown: all of it, or its first and last lines when it is longer than
/// [`field::ERROR_MAX`], with a line that says how much was left out.
pub fn fenced(text: &str) -> String {
    let text = shortened(text.trim_matches('\n'));
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    // Longer than any run of its own inside, so that nothing in the text ends it (spec.commonmark.org/0.31.2/#fenced-code-blocks).
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{text}\n{fence}")
}

fn shortened(text: &str) -> String {
    if text.len() <= field::ERROR_MAX {
        return text.to_owned();
    }
    let half = field::ERROR_MAX / 2;
    let boundary = |at: usize| (at..=text.len()).find(|at| text.is_char_boundary(*at)).expect("the end is one");
    let (head, tail) = (&text[..boundary(half)], &text[boundary(text.len() - half)..]);
    // Whole lines, unless one line is all there is.
    let head = head.rsplit_once('\n').map_or(head, |(head, _)| head);
    let tail = tail.split_once('\n').map_or(tail, |(_, tail)| tail);
    let left_out = text.len() - head.len() - tail.len();
    format!("{head}\n[… {left_out} bytes left out …]\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_text_ends_the_fence() {
        for (text, expected) in
            [("\nboom\n", "```\nboom\n```"), ("a\n```\nb", "````\na\n```\nb\n````"), ("`````", "``````\n`````\n``````")]
        {
            assert_eq!(fenced(text), expected);
        }
    }

    #[test]
    fn a_long_text_keeps_both_its_ends() {
        let lines: Vec<_> = (0..10_000).map(|n| format!("é line {n}")).collect();
        for text in [lines.join("\n"), lines.join(" ")] {
            let block = fenced(&text);
            assert!(block.len() < field::ERROR_MAX + 100, "{}", block.len());
            assert!(block.starts_with("```\né line 0") && block.ends_with("é line 9999\n```"), "{block}");
            assert!(block.contains("bytes left out"), "{block}");
        }
    }
}
