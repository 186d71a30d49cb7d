//! The command lines that are built: pictures of the plan's own and of hostile values, and the one promise of
//! [`baton_core::types`]: a value never becomes an option.
#![allow(clippy::unwrap_used)]

use baton_core::problem::Problem;
use baton_core::record::TaskRecord;
use baton_core::submit::read_submission;
use baton_core::time::Timestamp;
use baton_core::types::TaskTypes;
use proptest::prelude::*;
use serde_json::{Value, json};

fn agent() -> Vec<String> {
    vec!["python".into(), "agent.py".into()]
}

fn submit(body: &Value) -> Result<TaskRecord, Problem> {
    read_submission(body.to_string().as_bytes(), None, &TaskTypes::default(), [7; 16], Timestamp::from_millis(0))
}

/// The argv of a task, or what is wrong with it, a line each; long ones cut.
fn picture(body: &Value) -> String {
    let shown = match submit(body) {
        Ok(record) => {
            TaskTypes::default().argv(&agent(), &record).unwrap().iter().map(|arg| format!("{arg:?}")).collect()
        }
        Err(problem) => {
            let mut lines = vec![format!("{} {}", problem.status, problem.title)];
            lines.extend(problem.errors.iter().map(|e| format!("{}: {}", e.field, e.reason)));
            lines
        }
    };
    let cut = |line: &String| match line.char_indices().nth(120) {
        Some((at, _)) => format!("{}… ({} bytes)", &line[..at], line.len()),
        None => line.clone(),
    };
    shown.iter().map(cut).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_plans_own_command_lines() {
    let bodies = [
        json!({"project": "default", "type": "seed-db", "params": {"reset": true}}),
        json!({"project": "default", "type": "seed-db", "params": {"reset": false}}),
        json!({"project": "default", "type": "seed-db"}),
        json!({"project": "default", "type": "task-context", "command": "import-excel", "params":
            {"custom_structure": true, "main_tab": "MB Attributes", "file_path": "/data/uploads/report.xlsx"}}),
        json!({"project": "default", "type": "agent", "command": "run", "params":
            {"input": "Analyze all MB attributes for Q1", "parallel_workers": 3}}),
    ];
    insta::assert_snapshot!(bodies.iter().map(picture).collect::<Vec<_>>().join("\n\n"));
}

#[test]
fn hostile_values_stay_values() {
    let long = "x".repeat(100_000);
    let values = [
        "--help",
        "-x",
        "-1",
        "--",
        "-",
        "",
        "a\nb",
        "it's \"quoted\" $(rm -rf /) `x`",
        "ünïcödé 🎼",
        "=",
        long.as_str(),
    ];
    let mut pictures = Vec::new();
    for value in values {
        pictures.push(picture(&json!({"project": "p", "type": "agent", "command": "run", "params": {"input": value}})));
        pictures.push(picture(&json!({"project": "p", "type": "task-context", "command": "import-excel", "params":
            {"file_path": value, "main_tab": value, "custom_structure": true}})));
    }
    insta::assert_snapshot!(pictures.join("\n\n"));
}

#[test]
fn what_is_wrong_is_said_field_by_field() {
    let bodies = [
        json!([]),
        json!({}),
        json!({"project": "../etc", "type": "seed-db"}),
        json!({"project": 7, "type": "seed-db", "params": []}),
        json!({"project": "p", "type": "seed_db"}),
        json!({"project": "p", "type": "seed-db", "command": "run"}),
        json!({"project": "p", "type": "agent"}),
        json!({"project": "p", "type": "agent", "command": "walk"}),
        json!({"project": "p", "type": "agent", "command": "run"}),
        json!({"project": "p", "type": "agent", "command": "run", "params": {"input": null}}),
        json!({"project": "p", "type": "agent", "command": "run", "params": {"input": 5, "parallel_workers": 1.5, "model": "x"}}),
        json!({"project": "p", "type": "agent", "command": "run", "params": {"input": "a\u{0}b"}}),
        json!({"project": "p", "type": "agent", "command": "run", "params": {"input": "x".repeat(140_000)}}),
        json!({"project": "p", "type": "seed-db", "params": {"reset": "yes"}}),
        json!({"project": "p", "type": "seed-db", "timeout_s": 0, "max_attempts": 1000, "task_id": "mine"}),
    ];
    insta::assert_snapshot!(bodies.iter().map(picture).collect::<Vec<_>>().join("\n\n"));
}

#[test]
fn a_null_param_is_an_absent_one() {
    let body = json!({"project": "p", "type": "agent", "command": "run", "params": {"input": "x", "parallel_workers": null, "other": null}});
    assert_eq!(TaskTypes::default().argv(&[], &submit(&body).unwrap()).unwrap(), ["agent", "run", "--input", "x"]);
}

#[test]
fn a_key_names_the_task() {
    let body = br#"{"project": "p", "type": "seed-db"}"#;
    let read = |key, random| {
        read_submission(body, key, &TaskTypes::default(), random, Timestamp::from_millis(0))
            .map(|record| record.task_id)
    };
    assert_eq!(read(Some("k"), [1; 16]), read(Some("k"), [2; 16]));
    assert_ne!(read(Some("k"), [1; 16]), read(Some("l"), [1; 16]));
    assert_ne!(read(None, [1; 16]), read(None, [2; 16]));
    assert_eq!(read(Some(""), [1; 16]).unwrap_err().status, 400);
    assert_eq!(read(Some("é"), [1; 16]).unwrap_err().status, 400);
}

#[test]
fn a_bad_table_says_where() {
    let tables = [
        "[types.x]\nparams = [{ name = \"a\" }]",
        "[types.x]\nparms = []",
        "[types.x]\nparams = [{ name = \"a\", as = \"switch\" }]",
        "[types.x]\nparams = [{ name = \"--a\", as = \"flag\" }]",
        "[types.x]\nparams = [{ name = \"a_b\", as = \"flag\" }, { name = \"a-b\", as = \"option\" }]",
        "[types.x]\nparams = [{ name = \"a\", as = \"positional\" }, { name = \"b\", as = \"positional\", required = true }]",
        "[types.x]\nagent = []",
        "[types.x]\nparams = [{ name = \"a\", as = \"flag\" }]\n[types.x.commands.y]",
        "[types.\"-x\"]",
        "[types.x]\nparams = [{ name = \"a\", as = \"flag\", type = \"number\" }]",
    ];
    let said: Vec<_> = tables.map(|table| TaskTypes::from_toml(table).unwrap_err()).to_vec();
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn a_table_extends_the_one_of_the_box() {
    let mine =
        "[types.shell]\nagent = [\"sh\", \"run.sh\"]\nparams = [{ name = \"n\", as = \"option\", type = \"number\" }]";
    let types = TaskTypes::default().extended_by(TaskTypes::from_toml(mine).unwrap());
    let record =
        TaskRecord::read(br#"{"task_id": "a", "project": "p", "type": "shell", "params": {"n": -1.5}}"#).unwrap();
    assert_eq!(types.argv(&agent(), &record).unwrap(), ["sh", "run.sh", "shell", "--n=-1.5"]);
    assert_eq!(types.iter().count(), 4);
}

#[test]
fn what_a_type_says_of_its_processes_is_read_and_checked() {
    let table = r#"
        [types.tidy]
        process = { directory = "/srv", user = "nobody", nice = 10, umask = "027" }
        limits = { memory = "512MiB", cpu_time = "10m", open_files = 256, processes = 64, file_size = "1GiB", core_dumps = true }
        "#;
    let types = TaskTypes::from_toml(table).unwrap();
    let written = serde_json::to_string(types.get("tidy").unwrap()).unwrap();
    assert!(
        written.contains(r#""umask":"027"}"#) && written.contains(r#""memory":"512MiB","cpu_time":"10m""#),
        "{written}"
    );
    for (table, says) in [
        ("limits = { memory = \"1KiB\" }", "types.t.limits.memory: must be at least 4MiB: no program starts with less"),
        ("limits = { cpu_time = \"1500ms\" }", "types.t.limits.cpu_time: must be whole seconds, at least one"),
        ("limits = { open_files = 1 }", "types.t.limits.open_files: must be at least 8: no program starts with fewer"),
        ("limits = { processes = 0 }", "types.t.limits.processes: must be at least 1: the agent itself"),
        ("limits = { memory = \"a lot\" }", "invalid value: string \"a lot\", expected a size"),
        ("limits = { ram = 1 }", "unknown field `ram`, expected one of `memory`"),
        ("process = { directory = \"srv\" }", "types.t.process.directory: \"srv\" must be absolute: begin with a /"),
        ("process = { user = \"a:b\" }", "types.t.process.user: must be the name or the number of a user"),
        ("process = { nice = 20 }", "types.t.process.nice: must be from -20 to 19"),
        ("process = { umask = \"888\" }", "\"888\" is no umask; write it in octal, as \"027\""),
    ] {
        let said = TaskTypes::from_toml(&format!("[types.t]\n{table}")).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn rules_defaults_lists_and_standard_input() {
    let table = r#"
        [types.t]
        params = [
          { name = "mode", as = "option", enum = ["fast", "safe"], default = "safe" },
          { name = "level", as = "option", type = "integer", minimum = 1, maximum = 9 },
          { name = "tag", as = "option", pattern = "^[a-z]+$", repeated = true },
          { name = "file", as = "positional", repeated = true },
          { name = "prompt", as = "stdin", secret = true },
        ]"#;
    let types = TaskTypes::from_toml(table).unwrap();
    let task = |params: Value| {
        TaskRecord::read(json!({"task_id": "a", "project": "p", "type": "t", "params": params}).to_string().as_bytes())
            .unwrap()
    };
    let argv = |params: Value| types.argv(&[], &task(params)).map(|argv| argv.join(" "));
    assert_eq!(argv(json!({})).unwrap(), "t --mode safe");
    let all = json!({"mode": "fast", "level": 9, "tag": ["a", "b"], "file": ["x", "y"], "prompt": "line\n-two\0"});
    assert_eq!(argv(all.clone()).unwrap(), "t x y --mode fast --level 9 --tag a --tag b");
    let stdin = |params: Value| types.command_line(&[], &task(params)).unwrap().stdin;
    assert_eq!((stdin(all.clone()).as_deref(), stdin(json!({}))), (Some("line\n-two\0"), None));
    assert_eq!(types.secrets(&task(all)), ["line\n-two\0"]);
    for (params, says) in [
        (json!({"mode": "slow"}), "must be one of \"fast\", \"safe\""),
        (json!({"level": 0}), "must be at least 1"),
        (json!({"level": 10}), "must be at most 9"),
        (json!({"tag": "a"}), "must be a list"),
        (json!({"tag": ["a", "B"]}), "has a value, number 2, that must match ^[a-z]+$"),
    ] {
        assert_eq!(argv(params).unwrap_err()[0].reason, says);
    }
}

#[test]
fn a_text_may_go_by_a_file_and_a_name_be_left_out() {
    let table = r#"
        [types.claude]
        agent = ["claude", "-p"]
        bare = true
        params = [
          { name = "model", as = "option" },
          { name = "system_prompt", as = "file" },
          { name = "key", as = "file", secret = true },
          { name = "pin", as = "option", type = "integer", secret = true },
        ]"#;
    let types = TaskTypes::from_toml(table).unwrap();
    let text = r#"{"task_id": "a", "project": "p", "type": "claude", "params": {"model": "m", "system_prompt": "--x\u0000", "key": "k", "pin": 1}}"#;
    let mut task = TaskRecord::read(text.as_bytes()).unwrap();
    let line = types.command_line(&agent(), &task).unwrap();
    assert_eq!(line.argv.join(" "), "claude -p --model m --system-prompt param-system_prompt --key param-key --pin 1");
    let files: Vec<_> = line.files.iter().map(|file| (file.name.as_str(), file.argument, file.text.as_str())).collect();
    assert_eq!(files, [("param-system_prompt", 5, "--x\0"), ("param-key", 7, "k")]);
    types.hide_secrets(&task.kind, None, &mut task.params);
    let shown = json!({"model": "m", "system_prompt": "--x\0", "key": "***", "pin": "***"});
    assert_eq!(Value::Object(task.params), shown);
    let said =
        TaskTypes::from_toml("[types.t]\nparams = [{ name = \"a\", as = \"file\", repeated = true }]").unwrap_err();
    assert!(said.contains("repeated: is for options and positionals"), "{said}");
}

#[test]
fn bad_rules_are_said_with_their_place() {
    for (param, says) in [
        ("as = \"option\", enum = []", "line 2, column 47: types.t.params[0].enum: must have a value at least"),
        ("as = \"option\", enum = [1]", "line 2, column 47: types.t.params[0].enum: 1 must be a string"),
        ("as = \"option\", minimum = 1", "line 2, column 47: types.t.params[0].minimum: is for integers and numbers"),
        (
            "as = \"flag\", repeated = true",
            "line 2, column 45: types.t.params[0].repeated: is for options and positionals",
        ),
        ("as = \"option\", default = 3", "line 2, column 47: types.t.params[0].default: must be a string"),
        (
            "as = \"option\", required = true, default = \"x\"",
            "types.t.params[0].default: is never used, as the param is required",
        ),
        ("as = \"option\", pattern = \"(\"", "is no pattern: regex parse error"),
    ] {
        let said =
            TaskTypes::from_toml(&format!("[types.t]\nparams = [{{ name = \"aaaaaaaa\", {param} }}]")).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

type Options = Vec<(String, Option<String>)>;

/// A parser such as agents have: options take the next word or what stands behind `=`, `--` ends them.
fn parse(argv: &[String]) -> Option<(Options, Vec<String>)> {
    let (mut options, mut positionals) = (Vec::new(), Vec::new());
    let mut words = argv.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--" => positionals.extend(words.by_ref().cloned()),
            "--flag" => options.push((word.clone(), None)),
            "--text" | "--count" => {
                let value = words.next().filter(|value| !value.starts_with('-'))?;
                options.push((word.clone(), Some(value.clone())));
            }
            other if other.starts_with('-') => {
                let (name, value) = other.split_once('=').filter(|(name, _)| ["--text", "--count"].contains(name))?;
                options.push((name.into(), Some(value.into())));
            }
            _ => positionals.push(word.clone()),
        }
    }
    Some((options, positionals))
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|s| s.replace('\0', "")),
        "-{0,3}[a-z=]{0,6}",
        Just("--flag".into()),
        Just("--text".into())
    ]
}

proptest! {
    #[test]
    fn a_value_never_becomes_an_option(first in hostile(), second in hostile(), text in hostile(), count in any::<i64>(), flag in any::<bool>()) {
        let table = r#"
            [types.t]
            params = [
              { name = "first", as = "positional", required = true },
              { name = "second", as = "positional", required = true },
              { name = "text", as = "option", required = true },
              { name = "count", as = "option", type = "integer", required = true },
              { name = "flag", as = "flag" },
            ]"#;
        let types = TaskTypes::from_toml(table).unwrap();
        let params = json!({"first": first, "second": second, "text": text, "count": count, "flag": flag});
        let record = TaskRecord::read(json!({"task_id": "a", "project": "p", "type": "t", "params": params}).to_string().as_bytes()).unwrap();
        let argv = types.argv(&[], &record).unwrap();
        let (options, positionals) = parse(&argv[1..]).expect("it parses");
        let mut expected = vec![("--text".to_owned(), Some(text)), ("--count".to_owned(), Some(count.to_string()))];
        expected.extend(flag.then(|| ("--flag".to_owned(), None)));
        prop_assert_eq!(options, expected);
        prop_assert_eq!(positionals, [first, second]);
    }

    #[test]
    fn no_body_makes_it_panic(body in any::<Vec<u8>>()) {
        let _ = read_submission(&body, None, &TaskTypes::default(), [0; 16], Timestamp::default());
    }
}
