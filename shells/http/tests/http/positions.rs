//! What the web page needs: a task's history by position, words in it, the task types, what would run, and the page itself.

use crate::world::{POST, Served, served, served_unready, served_with};
use baton_core::record::Kind;
use serde_json::{Value, json};

async fn get(served: &Served, path: &str) -> Value {
    let answer = served.ask(&format!("GET {path}")).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

fn texts(window: &Value) -> Vec<&str> {
    window["updates"].as_array().unwrap().iter().map(|update| update["update"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn any_stretch_of_a_history_can_be_had_its_end_first() {
    let served = served().await;
    let id = served.finished().await;
    for (query, from, wanted) in [
        ("", 0, &["Starting...", "one", "two", "DONE"][..]),
        ("?limit=2", 2, &["two", "DONE"]),
        ("?from=1&limit=2", 1, &["one", "two"]),
        ("?from=3", 3, &["DONE"]),
        ("?from=4", 4, &[]),
        ("?from=1000", 4, &[]),
    ] {
        let window = get(&served, &format!("/tasks/{id}/updates{query}")).await;
        assert_eq!((&window["total"], &window["from"]), (&json!(4), &json!(from)), "{query}");
        assert_eq!(texts(&window), wanted, "{query}");
    }
    let one = get(&served, &format!("/tasks/{id}/updates?from=1&limit=1")).await;
    assert_eq!(one["updates"][0]["id"], "1-2");
    for wrong in ["?from=x", "?limit=0", "?limit=2001", "?after=1-1"] {
        assert_eq!(served.ask(&format!("GET /tasks/{id}/updates{wrong}")).await.status, 400, "{wrong}");
    }
    assert_eq!(served.ask("GET /tasks/unknown/updates").await.status, 404);
}

#[tokio::test]
async fn words_are_found_where_people_see_them() {
    let served = served().await;
    let id = served.task().await;
    let lines = ["Starting...", "an \u{1b}[31mER\u{1b}[0mror", "an error so far", "Error again"];
    let kinds = [Kind::Started, Kind::Line, Kind::Progress, Kind::Line];
    let updates: Vec<_> = kinds.into_iter().zip(lines).collect();
    served.update(&id, 1, 1, &updates).await;
    served.reaches(&id, "running").await;
    let found = get(&served, &format!("/tasks/{id}/search?q=error")).await;
    assert_eq!(found, json!({"total": 4, "positions": [1, 3], "next": null}));
    assert_eq!(get(&served, &format!("/tasks/{id}/search?q=error&from=2")).await["positions"], json!([3]));
    assert_eq!(get(&served, &format!("/tasks/{id}/search?q=error&from=9")).await["positions"], json!([]));
    for wrong in ["", "?q=", "?q=x&from=-1", "?words=x"] {
        assert_eq!(served.ask(&format!("GET /tasks/{id}/search{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_list_says_how_many_there_are_and_whether_it_has_changed() {
    let served = served().await;
    let id = served.finished().await;
    let list = served.ask("GET /tasks?project=default&status=failed").await;
    let body: Value = serde_json::from_str(&list.body).unwrap();
    assert_eq!((&body["tasks"], &body["projects"]), (&json!([]), &json!(["default"])));
    assert_eq!(body["totals"]["done"], 1, "whatever states are wanted");
    assert_eq!(get(&served, "/tasks?project=other").await["totals"]["done"], 0);
    for (words, count) in [("reset", 1), (&id.as_str()[..8], 1), ("DONE", 1), ("nothing", 0)] {
        assert_eq!(
            get(&served, &format!("/tasks?q={words}")).await["tasks"].as_array().unwrap().len(),
            count,
            "{words}"
        );
    }
    let tag = list.header("etag").unwrap();
    let again = served.ask(&format!("GET /tasks\nIf-None-Match: {tag}")).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    served.task().await;
    assert_eq!(served.ask(&format!("GET /tasks\nIf-None-Match: {tag}")).await.status, 200);
}

#[tokio::test]
async fn what_would_run_is_told_without_running_it() {
    for (agent, shown) in [(None, Value::Null), (Some(vec!["agent".to_owned()]), json!(["agent"]))] {
        let served = served_with(|options| options.agent = agent).await;
        let answer = served.ask(&format!("POST /tasks?dry_run=true\n\n{POST}")).await;
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, told), (200, json!({"agent": shown, "arguments": ["seed-db", "--reset"]})));
        let wrong = r#"{"project": "default", "type": "seed-db", "params": {"reset": 1}}"#;
        assert_eq!(served.ask(&format!("POST /tasks?dry_run=true\n\n{wrong}")).await.status, 422);
        assert_eq!(served.ask(&format!("POST /tasks?dry_run=maybe\n\n{POST}")).await.status, 400);
        assert_eq!(get(&served, "/tasks").await["tasks"], json!([]));
    }
    let types = get(&served_with(|_| {}).await, "/types").await;
    assert_eq!(types["types"]["agent"]["commands"]["run"]["params"][1]["example"], 3);
}

#[tokio::test]
async fn whoever_comes_with_a_browser_is_shown_the_page() {
    let served = served().await;
    let id = served.finished().await;
    for path in ["/", "/tasks", &format!("/tasks/{id}"), "/tasks/unknown", "/new", "/cluster", "/dead-letters"] {
        let page = served.ask(&format!("GET {path}\nAccept: text/html,*/*;q=0.8")).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
    }
    for path in ["/assets/none.js", "/assets/index.html", "/assets/..%2findex.html", "/assets/x%ff.js"] {
        assert_eq!(served.ask(&format!("GET {path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_shown_that_is_not_yet_all_there() {
    let served = served_unready(|_| {}).await;
    for path in ["/tasks", "/tasks/a/updates", "/tasks/a/search?q=x"] {
        let answer = served.ask(&format!("GET {path}")).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{path}");
    }
}
