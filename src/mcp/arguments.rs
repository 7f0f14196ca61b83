//! From the arguments of a call to a command line of `git-elf`.

use serde_json::{Map, Value as Json};

use super::tools::{Goes, Param, Takes, Tool};

/// A command line, and what goes to its stdin.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    pub args: Vec<String>,
    pub stdin: Option<String>,
    /// The numbers that the answer is made by.
    pub numbers: Vec<(&'static str, u64)>,
}

/// What is wrong with the arguments of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub field: String,
    pub problem: String,
}

impl Invocation {
    /// Returns a number that the answer is made by.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.numbers.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }
}

/// Checks the shape of the arguments; their values are `git-elf`'s to check.
///
/// Every value is glued to its option or stands behind `--`, so that none can be an option itself.
pub fn invocation(tool: &Tool, arguments: &Map<String, Json>) -> Result<Invocation, Wrong> {
    if let Some(unknown) = arguments.keys().find(|name| tool.params.iter().all(|param| param.name != name.as_str())) {
        let known: Vec<_> = tool.params.iter().map(|param| param.name).collect();
        return Err(wrong(unknown, format!("is no parameter of {} (it takes {})", tool.name, known.join(", "))));
    }
    let mut made = Invocation { args: vec![tool.name.to_owned(), "--json".to_owned()], ..Invocation::default() };
    let mut last = Vec::new();
    for param in tool.params {
        let given = arguments.get(param.name).filter(|value| !value.is_null());
        if let Takes::Number { min, max, default } = param.takes {
            let number = given.map_or(Ok(default), |value| whole(param, value, min, max))?;
            match param.goes {
                Goes::Option(option) => made.args.push(format!("{option}={number}")),
                _ => made.numbers.push((param.name, number)),
            }
            continue;
        }
        let texts = given.map_or(Ok(Vec::new()), |value| texts(param, value))?;
        if texts.is_empty() && param.required {
            return Err(wrong(param.name, format!("is missing: {}", param.about)));
        }
        match param.goes {
            Goes::Option(option) => made.args.extend(texts.iter().map(|text| format!("{option}={text}"))),
            Goes::Argument => last.extend(texts),
            Goes::Stdin => {
                made.args.extend(["-F".to_owned(), "-".to_owned()]);
                made.stdin = Some(texts.concat());
            }
            Goes::Answer => unreachable!("answers are made by numbers alone"),
        }
    }
    if !last.is_empty() {
        made.args.push("--".to_owned());
        made.args.extend(last);
    }
    // No argument of a process can hold one.
    if let Some(param) = made.args.iter().position(|arg| arg.contains('\0')) {
        return Err(wrong(&made.args[param].replace('\0', ""), "has a NUL character".to_owned()));
    }
    Ok(made)
}

fn texts(param: &Param, value: &Json) -> Result<Vec<String>, Wrong> {
    match (&param.takes, value) {
        (Takes::Texts, Json::Array(items)) => items.iter().map(|item| text(param, item)).collect(),
        (Takes::Table, Json::Object(table)) => {
            table.iter().map(|(key, value)| Ok(format!("{key}={}", text(param, value)?))).collect()
        }
        (Takes::Table, _) => Err(wrong(param.name, format!("is {}, not an object: {}", sort(value), param.about))),
        _ => Ok(vec![text(param, value)?]),
    }
}

fn text(param: &Param, value: &Json) -> Result<String, Wrong> {
    match value {
        Json::String(text) => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        other => Err(wrong(param.name, format!("is {}, not a text: {}", sort(other), param.about))),
    }
}

fn whole(param: &Param, value: &Json, min: u64, max: u64) -> Result<u64, Wrong> {
    let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| wrong(param.name, format!("{value} is no whole number from {min} to {max}")))
}

fn sort(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn wrong(field: &str, problem: String) -> Wrong {
    Wrong { field: field.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tools::find;
    use super::*;

    fn made(tool: &str, arguments: Json) -> Result<Invocation, Wrong> {
        invocation(find(tool).unwrap(), arguments.as_object().unwrap())
    }

    #[test]
    fn no_value_can_be_an_option() {
        let args = made("search", json!({"query": "--all", "domain": "--json", "limit": "7"})).unwrap();
        assert_eq!(args.args, ["search", "--json", "--domain=--json", "--", "--all"]);
        assert_eq!(args.number("limit"), Some(7));
        let args = made(
            "record",
            json!({"kind": "-h", "title": "-t", "tags": ["a", "-b"], "severity": 4, "set": {"status": "x=y"}, "body": null}),
        )
        .unwrap();
        let expected = "record --json --title=-t -F - --tags=a --tags=-b --severity=4 --set=status=x=y -- -h";
        assert_eq!(args.args.join(" "), expected);
        assert_eq!(args.stdin.as_deref(), Some(""));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (tool, arguments, field, problem) in [
            ("search", json!({}), "query", "is missing"),
            ("search", json!({"query": "a", "limits": 3}), "limits", "it takes query, kind"),
            ("search", json!({"query": "a", "limit": 0}), "limit", "from 1 to 20"),
            ("search", json!({"query": {"a": 1}}), "query", "is an object, not a text"),
            ("record", json!({"kind": "failure", "title": "a", "set": "b"}), "set", "not an object"),
            ("show", json!({"id": true}), "id", "is a boolean"),
            ("show", json!({"id": "a\u{0}b"}), "ab", "NUL"),
        ] {
            let wrong = made(tool, arguments).unwrap_err();
            assert_eq!(wrong.field, field, "{wrong:?}");
            assert!(wrong.problem.contains(problem), "{wrong:?}");
        }
    }
}
