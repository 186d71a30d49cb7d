//! The command line: its words, the three places that options come from, and what is said to bad usage.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn baton(directory: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command.args(arguments).current_dir(directory.path()).env_clear().envs(variables.iter().copied());
    // A terminal would lend the help its width.
    command.stdin(Stdio::null());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

#[test]
fn help_reads_well() {
    let directory = TempDir::new().unwrap();
    for (name, arguments) in [
        ("baton", &["--help"][..]),
        ("dev", &["dev", "--help"]),
        ("api", &["api", "--help"]),
        ("worker", &["worker", "--help"]),
        ("projects", &["projects", "--help"]),
        ("topics", &["topics", "--help"]),
        ("ready", &["ready", "--help"]),
        ("doctor", &["doctor", "--help"]),
        ("types", &["types", "--help"]),
        ("submit", &["submit", "--help"]),
        ("watch", &["watch", "--help"]),
        ("stop", &["stop", "--help"]),
        ("ls", &["ls", "--help"]),
        ("dlq", &["dlq", "--help"]),
        ("dlq_ls", &["dlq", "ls", "--help"]),
        ("dlq_redrive", &["dlq", "redrive", "--help"]),
        ("dlq_purge", &["dlq", "purge", "--help"]),
    ] {
        let output = baton(&directory, arguments, &[]);
        assert!(output.status.success());
        insta::assert_snapshot!(format!("help_{name}"), said(&output));
    }
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("baton.toml"), "projects = \"from-file.json\"\nslots = 2\n").unwrap();
    let variable = [("BATON_PROJECTS", "from-variable.json")];
    for (arguments, variables, wins) in [
        (&["dev"][..], &[][..], "from-file.json"),
        (&["dev"], &variable, "from-variable.json"),
        (&["dev", "--projects", "from-flag.json"], &variable, "from-flag.json"),
    ] {
        let output = baton(&directory, arguments, variables);
        assert_eq!(
            (said(&output), output.status.code()),
            (format!("baton: {wins}: No such file or directory (os error 2)\n"), Some(2))
        );
    }
}

#[test]
fn a_file_of_another_name_is_read_when_it_is_named() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("mine.toml"), "\n\nserver = \"ftp://x\"\n").unwrap();
    for (arguments, variables) in [
        (&["ls", "--config", "mine.toml"][..], &[][..]),
        (&["--config=mine.toml", "ls"], &[]),
        (&["ls"], &[("BATON_CONFIG", "mine.toml")]),
    ] {
        let output = baton(&directory, arguments, variables);
        assert_eq!(
            said(&output),
            "baton: --server ftp://x: is no http URL; write it as http://127.0.0.1:8000\n",
            "{arguments:?}"
        );
        assert_eq!(output.status.code(), Some(2));
    }
    let output = baton(&directory, &["ls", "--config", "none.toml"], &[]);
    assert_eq!(said(&output), "baton: could not read none.toml: No such file or directory (os error 2)\n");
}

#[test]
fn bad_usage_is_told_from_other_failures() {
    let directory = TempDir::new().unwrap();
    for arguments in [
        &["fly"][..],
        &["submit"],
        &["submit", "x", "a=1", "=b", "-p", "p"],
        &["dev", "--grace", "soon"],
        &["ls", "--log-level", "loud=x"],
    ] {
        assert_eq!(baton(&directory, arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(baton(&directory, &["ls", "--server", "http://127.0.0.1:1"], &[]).status.code(), Some(3));
}

#[test]
fn what_is_wrong_is_said_with_where_it_stands_and_what_would_be_right() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    file("unknown.toml", "slots = 2\n  slot = 3\n");
    file("wrong.toml", "\ngrace = \"soon\"\n");
    file("kind.toml", "slots = [1]\n");
    file("broken.toml", "slots = 2\ngrace = \n");
    file("both.toml", "projects = \"a\"\nprojects-url = \"http://b\"\n");
    file("list.toml", "slots = 2\ngrace = [\"1s\", \"2s\"]\n");
    file("truth.toml", "trust-network = \"perhaps\"\n");
    file("origins.toml", "allowed-origin = [\"https://a\", \"b\"]\n");
    file("projects.json", "{\"default\": {}}");
    file("kafka.properties", "# ours\nsasl.username=me\nsasl.password: s3cret\n");
    file("project.toml", "server = \"ftp://x\"\nproject = \"p\"\n");
    let mut said_of = String::new();
    for (arguments, variables) in [
        (&["dev", "--config", "unknown.toml"][..], &[][..]),
        (&["dev", "--config", "wrong.toml"], &[]),
        (&["dev", "--config", "kind.toml"], &[]),
        (&["dev", "--config", "broken.toml"], &[]),
        (&["dev", "--config", "both.toml"], &[]),
        (&["dev"], &[("BATON_SLOTS", "many")]),
        (&["dev", "--slots", "none"], &[("BATON_SLOTS", "many")]),
        (&["ls"], &[("BATON_LOG_FORMAT", "xml")]),
        (&["dev", "--slots", "1001"], &[]),
        (&["dev", "--retention", "1h"], &[]),
        (&["dev", "--max-line", "2MiB"], &[]),
        (&["dev", "--history-memory", "lots"], &[]),
        (&["dev", "--listen", "localhost:8000"], &[]),
        (&["dev", "--config", "list.toml"], &[]),
        (&["dev", "--config", "truth.toml"], &[]),
        (&["dev", "--config", "origins.toml"], &[]),
        (&["dev", "--projects", "projects.json", "--listen", "0.0.0.0:8000"], &[]),
        (&["api"], &[]),
        (&["api", "--kafka", "http://kafka:9092"], &[]),
        (&["api"], &[("BATON_KAFKA", "kafka")]),
        (&["api", "--kafka", "127.0.0.1:1", "--listen", "0.0.0.0:8000"], &[]),
        (&["api", "--kafka", "127.0.0.1:1", "--listen", "0.0.0.0:8000"], &[("BATON_TRUST_NETWORK", "perhaps")]),
        (&["api", "--kafka", "127.0.0.1:1", "--allowed-origin", "tools.example"], &[]),
        (&["api", "--kafka", "127.0.0.1:1", "--kafka-config", "sasl.password:s3cret"], &[]),
        (&["api", "--kafka", "127.0.0.1:1", "--kafka-config-file", "none.properties"], &[]),
        (&["api", "--kafka", "127.0.0.1:1", "--kafka-config-file", "kafka.properties"], &[]),
        (&["worker", "--kafka", "127.0.0.1:1"], &[]),
        (&["worker", "--kafka", "127.0.0.1:1", "--name", "a b"], &[]),
        (&["worker", "--kafka", "127.0.0.1:1", "--session-timeout", "1h"], &[]),
        (&["projects"], &[]),
        (&["projects", "--projects", "none.json"], &[]),
        (&["projects", "--projects", "projects.json", "--listen", "[::]:8001"], &[]),
        (&["topics", "drop", "--kafka", "127.0.0.1:1"], &[]),
        (&["topics", "--kafka", "127.0.0.1:1", "--replication", "0"], &[]),
        (&["dev", "--agent", "'python"], &[]),
        (&["dev", "--log-level", "loud=x"], &[]),
        (&["dev", "--projects", "a.json", "--projects-url", "http://b"], &[]),
        (&["dev", "--projects-url", "nonsense"], &[]),
        (&["dev", "--types", "none.toml"], &[]),
        (&["dev"], &[]),
        (&["dev", "--projects-url", "http://b", "--example"], &[]),
        (&["submit", "x"], &[]),
        (&["submit", "x", "--config", "project.toml"], &[]),
        (&["submit", "x", "a:={", "-p", "p"], &[]),
        (&["submit", "x", "a", "a=1", "a=2", "-p", "p"], &[]),
        (&["submit", "x", "-p", "p", "--idempotency-key", "\u{e4}"], &[]),
        (&["watch", "abc", "--after", "17"], &[]),
        (&["ls", "--limit", "0"], &[]),
        (&["ls", "--all", "--limit", "3"], &[]),
        (&["ls", "--server", "127.0.0.1:8000"], &[]),
        (&["fly"], &[]),
    ] {
        let output = baton(&directory, arguments, variables);
        let shown: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        let _ = write!(said_of, "$ {}baton {}\n{}", shown.concat(), arguments.join(" "), said(&output));
        let _ = write!(said_of, "[exit {}]\n\n", output.status.code().unwrap());
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!said(&output).contains("s3cret"), "{arguments:?}");
    }
    insta::assert_snapshot!("wrong", said_of);
}

#[test]
fn what_a_switch_and_a_list_say_in_the_file_is_taken() {
    let directory = TempDir::new().unwrap();
    let file = |text: &str| fs::write(directory.path().join("baton.toml"), text).unwrap();
    file(
        "kafka = \"127.0.0.1:1\"\nlisten = \"0.0.0.0:0\"\ntrust-network = true\nallowed-origin = [\"https://a\", \"https://b\"]\n",
    );
    fs::write(directory.path().join("kafka.properties"), "no.such.setting=s3cret").unwrap();
    // Far enough: the listener is bound before Kafka is looked for.
    let trusted = baton(&directory, &["api", "--kafka-config-file", "kafka.properties"], &[]);
    assert!(!said(&trusted).contains("--trust-network"), "{}", said(&trusted));
    assert!(!said(&trusted).contains("s3cret"), "{}", said(&trusted));
    assert_eq!(trusted.status.code(), Some(3));
    let not_trusted = baton(&directory, &["api"], &[("BATON_TRUST_NETWORK", "false")]);
    assert!(said(&not_trusted).contains("--trust-network"), "{}", said(&not_trusted));
    assert_eq!(not_trusted.status.code(), Some(2));
}

#[test]
fn the_projects_come_from_where_it_was_said_last() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("baton.toml"), "projects = \"from-file.json\"\n").unwrap();
    let url = ("BATON_PROJECTS_URL", "no-url-of-variable");
    for (arguments, variables, wins) in [
        (&["dev"][..], &[url][..], "no-url-of-variable"),
        (&["dev", "--projects-url", "no-url-of-flag"], &[url], "no-url-of-flag"),
        (&["dev", "--projects", "of-flag.json"], &[url], "of-flag.json"),
    ] {
        let said = said(&baton(&directory, arguments, variables));
        assert!(said.contains(wins), "{arguments:?}: {said}");
    }
}

#[test]
fn the_doctor_says_what_is_missing_and_what_to_do() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("projects.json"), "{\"default\": {}}").unwrap();
    fs::write(
        directory.path().join("types.toml"),
        "[types.t]\nagent = [\"no-such-agent\"]\nprocess = { directory = \"/no/such\" }",
    )
    .unwrap();
    let path = std::env::var("PATH").unwrap();
    let well = ["doctor", "--projects", "projects.json", "--agent", "sh", "--json", "--log-level", "error"];
    let output = baton(&directory, &well, &[("PATH", &path)]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let about =
        |name: &str| found.as_array().unwrap().iter().filter(|f| f["about"] == name).cloned().collect::<Vec<_>>();
    assert!(output.status.success(), "{found}");
    for name in ["isolation", "limits", "runs", "agent", "types", "projects", "directory", "disk", "files", "log"] {
        assert!(!about(name).is_empty(), "{name}: {found}");
    }
    assert_eq!((about("runs")[0]["state"].as_str(), about("isolation").len()), (Some("well"), 1));
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");

    let bad = ["doctor", "--types", "types.toml", "--agent", "sh", "--isolation", "process", "--log-level", "error"];
    let output = baton(&directory, &bad, &[("PATH", &path)]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for says in [
        "weak  isolation  runs have no PID namespaces (they are switched off) and no cgroups",
        "weak  types      types.t.process.directory: there is no directory /no/such here",
        "bad   agent      types.t.agent: there is no program \"no-such-agent\"",
        "                 -> give --projects FILE or --projects-url URL",
        "Baton can't work here as it is: 2 of these must be put right.",
    ] {
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn tables_of_types_are_checked_and_shown() {
    let directory = TempDir::new().unwrap();
    let table = r#"
[types.review]
description = "Review a change"
agent = ["claude", "-p"]
process = { pty = true, nice = 5 }
limits = { memory = "2GiB", processes = 100 }
params = [
  { name = "prompt", as = "stdin", required = true, description = "What to look at" },
  { name = "effort", as = "option", enum = ["low", "high"], default = "low" },
  { name = "turns", as = "option", type = "integer", minimum = 1, maximum = 50 },
  { name = "path", as = "positional", repeated = true, pattern = "^src/", secret = true },
]
"#;
    fs::write(directory.path().join("good.toml"), table).unwrap();
    fs::write(directory.path().join("bad.toml"), table.replace("2GiB", "2KiB")).unwrap();
    let good = baton(&directory, &["types", "check", "good.toml"], &[]);
    let says = "good.toml is a good table; with those of the box: agent, review, seed-db, task-context\n";
    assert_eq!((said(&good).as_str(), good.status.code()), (says, Some(0)));
    let bad = baton(&directory, &["types", "check", "bad.toml"], &[]);
    let says = "baton: bad.toml: line 6, column 12: types.review.limits.memory: must be at least 4MiB: no program starts with less\n";
    assert_eq!((said(&bad).as_str(), bad.status.code()), (says, Some(2)));
    insta::assert_snapshot!("types_show", said(&baton(&directory, &["types", "show", "--types", "good.toml"], &[])));
    let shown = baton(&directory, &["types", "show", "--types", "good.toml", "--json"], &[]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["types"]["review"]["limits"]["memory"], "2GiB");
}
