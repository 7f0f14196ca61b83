//! Our hooks in `.claude/settings.json`. Pure: text in, text out.
//!
//! The format is that of Claude Code: `hooks` has a list for each event, whose items have a list `hooks` of commands. Its exit
//! status 2 would stop the agent, so the command ends in `|| :`; the file is shared with people who may not have git-elf, or an older
//! one. Everything but our own text stays byte for byte, and [`take_out`] is the exact inverse of [`put_in`]: what we made ourselves
//! (the list of an event, `hooks`, the file) has another layout than what was there and got our text put into it.

use std::ops::Range;

use serde_json::{Value as Json, json};

use super::json_text::Node;

/// An event of Claude Code, and our hook for it.
const EVENTS: [(&str, &str); 2] = [("SessionStart", "session-start"), ("Stop", "stop")];
/// Seconds after which Claude Code goes on without us.
const TIMEOUT: u32 = 10;
const SCHEMA: &str = "https://json.schemastore.org/claude-code-settings.json";

/// What is left of a text without us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing of ours was in it.
    Same,
    Text(String),
    /// We made the file, and nobody has added to it.
    Nothing,
}

/// How a text is laid out.
struct Layout {
    newline: &'static str,
    indent: String,
}

/// A hook of ours in a text.
struct Ours {
    event: usize,
    /// The item of the event's list that it is in, and its place in the item's list.
    item: usize,
    hook: usize,
}

/// Returns a file that is ours alone.
pub(super) fn created() -> String {
    let layout = Layout { newline: "\n", indent: "  ".into() };
    file(&layout, &EVENTS.map(|(_, name)| item(name)))
}

/// Puts our hooks in; the same text when they are there.
///
/// # Errors
/// Why the text is left alone.
pub(super) fn put_in(original: &str) -> Result<String, String> {
    check(original)?;
    let mut text = original.to_owned();
    for (index, (event, name)) in EVENTS.iter().enumerate() {
        let layout = Layout::of(&text);
        let root = root(&text);
        let Some(hooks) = root.member("hooks") else {
            let member = format!("\"hooks\": {}", hooks(&layout, &EVENTS.map(|(_, name)| item(name))));
            insert(&mut text, &root, &layout, 1, &member);
            break;
        };
        let present: Vec<_> = ours(&text, &root).into_iter().filter(|ours| ours.event == index).collect();
        if let Some(first) = present.first() {
            let span = first.span(&root);
            let now: Option<Json> = serde_json::from_str(&text[span.clone()]).ok();
            // Laid out in another way it is still the same.
            if now != Some(hook(name)) {
                text.replace_range(span, &hook_text(name));
            }
            continue;
        }
        match hooks.value.member(event) {
            Some(list) => insert(&mut text, &list.value, &layout, 3, &item(name)),
            None => insert(&mut text, &hooks.value, &layout, 2, &format!("\"{event}\": [{}]", item(name))),
        }
    }
    Ok(text)
}

/// Takes our hooks out, and what we made for them.
///
/// # Errors
/// Why the text is left alone.
pub(super) fn take_out(original: &str) -> Result<Left, String> {
    if !EVENTS.iter().any(|(_, name)| original.contains(&mark(name))) {
        return Ok(Left::Same);
    }
    check(original)?;
    let mut text = original.to_owned();
    loop {
        let layout = Layout::of(&text);
        let root = root(&text);
        let present = ours(&text, &root);
        let Some(first) = present.first() else { break };
        let hooks_member = root.member("hooks").expect("ours are in it");
        let items: Vec<_> = present.iter().map(|ours| text[ours.item(&root).span.clone()].to_owned()).collect();
        if let Ok(items) = <[String; 2]>::try_from(items) {
            if text == file(&layout, &items) {
                return Ok(Left::Nothing);
            }
            if text[hooks_member.value.span.clone()] == hooks(&layout, &items) {
                let index = root.members.iter().position(|member| member.key == "hooks").expect("it was found");
                text.replace_range(root.without(&text, &root.member_spans(), index), "");
                break;
            }
        }
        let list = first.list(&root);
        let item = &list.items[first.item];
        let inner = &item.member("hooks").expect("ours are in it").value;
        let gone = if text[list.span.clone()] == format!("[{}]", &text[item.span.clone()]) && inner.items.len() == 1 {
            let hooks = &hooks_member.value;
            let index = hooks.members.iter().position(|member| member.key == EVENTS[first.event].0);
            hooks.without(&text, &hooks.member_spans(), index.expect("ours are in it"))
        } else if inner.items.len() == 1 {
            list.without(&text, &list.item_spans(), first.item)
        } else {
            inner.without(&text, &inner.item_spans(), first.hook)
        };
        text.replace_range(gone, "");
    }
    Ok(if text == original { Left::Same } else { Left::Text(text) })
}

/// Says what keeps us from touching a text.
fn check(text: &str) -> Result<(), String> {
    let value: Json =
        serde_json::from_str(body(text)).map_err(|error| format!("it is no JSON (comments are none): {error}"))?;
    let root = root(text);
    let Json::Object(value) = value else { return Err("it is no JSON object".into()) };
    if root.members.iter().filter(|member| member.key == "hooks").count() > 1 {
        return Err("it has the key hooks twice".into());
    }
    let Some(hooks) = value.get("hooks") else { return Ok(()) };
    let Json::Object(hooks) = hooks else { return Err("its key hooks is no object".into()) };
    let node = &root.member("hooks").expect("serde_json found it").value;
    for (event, _) in EVENTS {
        if node.members.iter().filter(|member| member.key == event).count() > 1 {
            return Err(format!("its hooks have the key {event} twice"));
        }
        if hooks.get(event).is_some_and(|list| !list.is_array()) {
            return Err(format!("its hooks.{event} is no list"));
        }
    }
    Ok(())
}

/// Finds our hooks, in the order of the events.
fn ours(text: &str, root: &Node) -> Vec<Ours> {
    let mut found = Vec::new();
    let Some(hooks) = root.member("hooks") else { return found };
    for (event, (key, name)) in EVENTS.iter().enumerate() {
        let Some(list) = hooks.value.member(key) else { continue };
        for (item, node) in list.value.items.iter().enumerate() {
            let inner = node.member("hooks").map_or(&[][..], |inner| &inner.value.items);
            for (hook, node) in inner.iter().enumerate() {
                let command = node.member("command").map(|command| &text[command.value.span.clone()]);
                if command.is_some_and(|command| command.contains(&mark(name))) {
                    found.push(Ours { event, item, hook });
                }
            }
        }
    }
    found
}

impl Ours {
    fn list<'a>(&self, root: &'a Node) -> &'a Node {
        let hooks = &root.member("hooks").expect("it was found there").value;
        &hooks.member(EVENTS[self.event].0).expect("it was found there").value
    }

    fn item<'a>(&self, root: &'a Node) -> &'a Node {
        &self.list(root).items[self.item]
    }

    fn span(&self, root: &Node) -> Range<usize> {
        let inner = &self.item(root).member("hooks").expect("it was found there").value;
        inner.items[self.hook].span.clone()
    }
}

impl Layout {
    /// Takes the indentation of the first member, which is ours once we have put one in.
    fn of(text: &str) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let root = root(text);
        let before = root.members.first().map(|first| &text[root.span.start + 1..first.span.start]);
        let indent = before.and_then(|space| space.rsplit_once('\n')).map(|(_, indent)| indent.to_owned());
        Self { newline, indent: indent.filter(|indent| !indent.is_empty()).unwrap_or_else(|| "  ".into()) }
    }

    fn line(&self, depth: usize) -> String {
        format!("{}{}", self.newline, self.indent.repeat(depth))
    }
}

/// Puts a text in as the first of an object or a list.
fn insert(text: &mut String, into: &Node, layout: &Layout, depth: usize, what: &str) {
    let comma = if into.members.is_empty() && into.items.is_empty() { "" } else { "," };
    text.insert_str(into.span.start + 1, &format!("{}{what}{comma}", layout.line(depth)));
}

/// The text without a byte order mark, which JSON does not know.
fn body(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn root(text: &str) -> Node {
    Node::of(text, text.len() - body(text).len())
}

/// What makes a command ours, whatever is around it.
fn mark(name: &str) -> String {
    format!("git-elf hook {name}")
}

fn hook(name: &str) -> Json {
    let command = format!("if command -v git-elf >/dev/null; then {} || :; fi", mark(name));
    json!({"type": "command", "command": command, "timeout": TIMEOUT})
}

fn hook_text(name: &str) -> String {
    hook(name).to_string().replace("\":", "\": ").replace(",\"", ", \"")
}

fn item(name: &str) -> String {
    format!("{{\"hooks\": [{}]}}", hook_text(name))
}

/// Lays `hooks` out as we make it; put into a `hooks` that was there, the events have the other order.
fn hooks(layout: &Layout, items: &[String; 2]) -> String {
    let members: Vec<_> = EVENTS.iter().zip(items).map(|((event, _), item)| format!("\"{event}\": [{item}]")).collect();
    let line = layout.line(2);
    format!("{{{line}{}{}}}", members.join(&format!(",{line}")), layout.line(1))
}

fn file(layout: &Layout, items: &[String; 2]) -> String {
    let line = layout.line(1);
    let (schema, hooks) = (format!("\"$schema\": \"{SCHEMA}\""), hooks(layout, items));
    format!("{{{line}{schema},{line}\"hooks\": {hooks}{newline}}}{newline}", newline = layout.newline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str, event: &str) -> Vec<String> {
        let value: Json = serde_json::from_str(body(text)).unwrap_or_else(|error| panic!("{error}: {text}"));
        let items = value["hooks"][event].as_array().cloned().unwrap_or_default();
        let hooks = items.iter().flat_map(|item| item["hooks"].as_array().cloned().unwrap_or_default());
        hooks.map(|hook| hook["command"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn what_is_put_in_comes_out_and_leaves_the_same_bytes() {
        for original in [
            "{}",
            "{\n}\n",
            "{ }",
            "\u{feff}{\"a\":1}",
            "{\"a\":1,\"b\":[1,2]}",
            "{\n\t\"permissions\": {\"allow\": [\"Bash(ls)\"]},\n\t\"z\": null\n}",
            "{\r\n    \"model\": \"x\"\r\n}\r\n",
            "{\n  \"hooks\": {}\n}\n",
            "{\n  \"hooks\": {\n  }\n}\n",
            "{\"hooks\":{\"Stop\":[]}}",
            "{\n  \"hooks\": {\n    \"Stop\": [],\n    \"SessionStart\": [ ]\n  }\n}\n",
            "{\n  \"a\": 1,\n  \"hooks\": {\n    \"PreToolUse\": [{\"matcher\": \"Bash\", \"hooks\": [{\"type\": \"command\", \"command\": \"x\"}]}],\n    \"Stop\": [\n      {\n        \"hooks\": [\n          {\"type\": \"command\", \"command\": \"say \\\"]}\\\"\"}\n        ]\n      }\n    ]\n  }\n}",
            "\n\n{\"hooks\": {\"SessionStart\": [{\"matcher\": \"startup\", \"hooks\": []}]}}\n\n",
        ] {
            let with = put_in(original).unwrap();
            for (event, name) in EVENTS {
                let ours = commands(&with, event).into_iter().filter(|command| command.contains(&mark(name)));
                assert_eq!(ours.count(), 1, "{with}");
            }
            assert_eq!(put_in(&with).unwrap(), with, "twice is once");
            assert_eq!(take_out(&with).unwrap(), Left::Text(original.to_owned()), "{with}");
            assert_eq!(take_out(original).unwrap(), Left::Same);
            let before: Json = serde_json::from_str(body(original)).unwrap();
            let after: Json = serde_json::from_str(body(&with)).unwrap();
            for (key, value) in before.as_object().unwrap().iter().filter(|(key, _)| *key != "hooks") {
                assert_eq!(&after[key], value);
            }
        }
    }

    #[test]
    fn a_file_of_ours_goes_and_one_that_somebody_added_to_stays() {
        assert_eq!(take_out(&created()).unwrap(), Left::Nothing);
        assert_eq!(put_in(&created()).unwrap(), created());
        let added = created().replace("{\n  \"$schema\"", "{\n  \"model\": \"x\",\n  \"$schema\"");
        let Left::Text(left) = take_out(&added).unwrap() else { panic!("{added}") };
        assert_eq!(left, format!("{{\n  \"model\": \"x\",\n  \"$schema\": \"{SCHEMA}\"\n}}\n"));
    }

    #[test]
    fn an_older_command_is_replaced_where_it_stands_and_a_merged_one_leaves_the_others() {
        let text = r#"{"hooks": {"Stop": [{"hooks": [{"command": "mine"}, {"type": "command", "command": "git-elf hook stop"}, {"command": "too"}]}]}}"#;
        let with = put_in(text).unwrap();
        assert_eq!(commands(&with, "Stop").len(), 3, "{with}");
        assert!(commands(&with, "Stop")[1].ends_with("|| :; fi"), "{with}");
        let Left::Text(left) = take_out(&with).unwrap() else { panic!("{with}") };
        assert_eq!(left, r#"{"hooks": {"Stop": [{"hooks": [{"command": "mine"}, {"command": "too"}]}]}}"#);
        // Laid out by another program: nothing of ours stays, and nothing else goes.
        let pretty: Json = serde_json::from_str(&put_in(r#"{"model": "x"}"#).unwrap()).unwrap();
        let pretty = serde_json::to_string_pretty(&pretty).unwrap();
        assert_eq!(put_in(&pretty).unwrap(), pretty);
        let Left::Text(left) = take_out(&pretty).unwrap() else { panic!("{pretty}") };
        assert!(!left.contains("git-elf") && left.contains("\"model\""), "{left}");
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        for (text, why) in [
            ("", "no JSON"),
            ("{\"a\": 1,}", "no JSON"),
            ("{\n  // mine\n  \"a\": 1\n}", "comments"),
            ("[]", "no JSON object"),
            ("{\"hooks\": []}", "hooks is no object"),
            ("{\"hooks\": {\"Stop\": {}}}", "hooks.Stop is no list"),
            ("{\"hooks\": {}, \"hooks\": {}}", "twice"),
            ("{\"hooks\": {\"Stop\": [], \"Stop\": []}}", "twice"),
        ] {
            let refused = put_in(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
