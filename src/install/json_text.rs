//! Where the values of a JSON text are, so that one of them can be put in or taken out and the rest stays byte for byte.
//!
//! The text has been read by `serde_json` before, so nothing is checked here.

use std::ops::Range;

/// A value: where it stands, and what is in it.
#[derive(Debug)]
pub(super) struct Node {
    pub span: Range<usize>,
    /// The members of an object, in their order.
    pub members: Vec<Member>,
    /// The items of an array.
    pub items: Vec<Node>,
}

/// A member of an object, from the first quote of its key to the end of its value.
#[derive(Debug)]
pub(super) struct Member {
    pub span: Range<usize>,
    pub key: String,
    pub value: Node,
}

impl Node {
    /// Finds the values in a text that is valid JSON from `start` on.
    pub(super) fn of(text: &str, start: usize) -> Self {
        let mut reader = Reader { bytes: text.as_bytes(), text, at: start };
        reader.skip_space();
        reader.value()
    }

    /// Returns the value of a member.
    pub(super) fn member(&self, key: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.key == key)
    }

    /// Returns what has to go so that the `index`th of the spans inside this object or array is no longer there: with the comma
    /// after it when it is the first, else with the one before it.
    pub(super) fn without(&self, text: &str, spans: &[Range<usize>], index: usize) -> Range<usize> {
        let span = &spans[index];
        if index > 0 {
            return spans[index - 1].end..span.end;
        }
        let rest = &text[span.end..self.span.end];
        let comma = rest.find(|c: char| !c.is_ascii_whitespace()).filter(|at| rest[*at..].starts_with(','));
        self.span.start + 1..comma.map_or(span.end, |at| span.end + at + 1)
    }

    /// Returns where the members are.
    pub(super) fn member_spans(&self) -> Vec<Range<usize>> {
        self.members.iter().map(|member| member.span.clone()).collect()
    }

    /// Returns where the items are.
    pub(super) fn item_spans(&self) -> Vec<Range<usize>> {
        self.items.iter().map(|item| item.span.clone()).collect()
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Node {
        let start = self.at;
        let (mut members, mut items) = (Vec::new(), Vec::new());
        match self.peek() {
            b'{' => self.each(b'}', |reader| {
                let start = reader.at;
                reader.string();
                let key = serde_json::from_str(&reader.text[start..reader.at]).unwrap_or_default();
                reader.skip_space();
                // The colon.
                reader.at += 1;
                reader.skip_space();
                let value = reader.value();
                members.push(Member { span: start..value.span.end, key, value });
            }),
            b'[' => self.each(b']', |reader| items.push(reader.value())),
            b'"' => self.string(),
            _ => {
                while !matches!(self.peek(), b',' | b']' | b'}' | 0) && !self.peek().is_ascii_whitespace() {
                    self.at += 1;
                }
            }
        }
        Node { span: start..self.at, members, items }
    }

    /// Reads what is between brackets, comma by comma.
    fn each(&mut self, end: u8, mut one: impl FnMut(&mut Self)) {
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek() {
                byte if byte == end => break,
                b',' => self.at += 1,
                0 => return,
                _ => one(self),
            }
        }
        self.at += 1;
    }

    fn string(&mut self) {
        self.at += 1;
        while !matches!(self.peek(), b'"' | 0) {
            self.at += if self.peek() == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_where_they_are() {
        let text = r#" { "a\"}" : [1, {"b": "]"} , null ], "c": {}, "d": -1.5e3 }"#;
        let node = Node::of(text, 0);
        let parts: Vec<_> = node.members.iter().map(|member| (&member.key[..], &text[member.span.clone()])).collect();
        assert_eq!(
            parts,
            [("a\"}", r#""a\"}" : [1, {"b": "]"} , null ]"#), ("c", r#""c": {}"#), ("d", r#""d": -1.5e3"#)]
        );
        let items: Vec<_> = node.members[0].value.items.iter().map(|item| &text[item.span.clone()]).collect();
        assert_eq!(items, ["1", r#"{"b": "]"}"#, "null"]);
    }
}
