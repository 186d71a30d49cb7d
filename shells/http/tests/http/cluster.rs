//! The cluster over HTTP, as the processes say of themselves.

use crate::world::{now, served, soon};
use baton_core::log::{Topic, Values};
use baton_core::presence::{Doing, Identity, Presence, Role};
use tokio::task::yield_now;

#[tokio::test]
async fn the_cluster_is_as_the_processes_say() {
    let served = served().await;
    let (api, here) = (served.api.clone(), Identity::new(Role::Api, "", [1; 16], now()));
    tokio::spawn(async move { api.attend(here).await });
    let said = Presence {
        identity: Identity::new(Role::Worker, "blue", [7; 16], now()),
        doing: Doing { slots: 2, ..Doing::default() },
        gone: false,
        at: now(),
    };
    served.append(Topic::Presence, &said.identity.id, Values::one(said.write())).await;
    soon(async {
        while served.api.cluster().workers.is_empty() || served.api.cluster().apis.is_empty() {
            yield_now().await;
        }
    })
    .await;
    let told: serde_json::Value = serde_json::from_str(&served.ask("GET /cluster").await.body).unwrap();
    assert_eq!(told["workers"][0]["name"], "blue");
    assert_eq!(told["workers"][0]["slots"], 2);
    assert_eq!(told["workers"][0]["lost"], false);
    assert_eq!(told["apis"][0]["id"], "01".repeat(16));
    assert_eq!(told["pulse"]["step_s"], 10);
}
