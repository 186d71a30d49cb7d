//! What brokers answer, asked without a network in between.

use super::cluster::{Cluster, ClusterConfig};
use super::wire::{Broker, Error, Membership, Producer, Request, Response};
use crate::event::Node;
use crate::journal::Journal;
use crate::oracle::Oracle;
use baton_core::log::Committed;
use std::time::Duration;
use tokio::time::sleep;

const GROUP: &str = "group";
const TRANSACTION: &str = "worker-0";

struct Asking {
    cluster: Cluster,
    coordinator: Broker,
}

impl Asking {
    fn new() -> Self {
        let cluster = Cluster::new(ClusterConfig::default(), Journal::new(Oracle::default()));
        let Some(Response::Metadata(leaders)) = cluster.handle(0, &mut Request::Metadata) else {
            panic!("no metadata")
        };
        let (topic, partition) = Cluster::COORDINATOR;
        let of = leaders.iter().find(|(t, p, _)| (*t, *p) == (topic, partition)).and_then(|(.., leader)| *leader);
        Self { cluster, coordinator: of.expect("somebody leads it") }
    }

    fn ask(&self, mut request: Request) -> Response {
        self.cluster.handle(self.coordinator, &mut request).expect("it is answered at once")
    }

    fn producer(&self) -> Producer {
        match self.ask(Request::InitProducer(Some(TRANSACTION.into()))) {
            Response::Producer(producer) => producer,
            other => panic!("{other:?}"),
        }
    }

    fn membership(&self) -> Membership {
        let join = Request::Join {
            group: GROUP.into(),
            member: 1,
            number: 1,
            client: Node::Worker(0),
            instance: None,
            owned: Vec::new(),
        };
        assert!(self.cluster.handle(self.coordinator, &mut join.clone()).is_none(), "it waits for the others");
        match self.cluster.joined(GROUP, 1) {
            Some(Response::Joined { membership, .. }) => membership,
            other => panic!("{other:?}"),
        }
    }

    fn commit(&self, producer: Producer) -> Response {
        self.ask(Request::EndTransaction { transaction: TRANSACTION.into(), producer, commit: true })
    }
}

#[tokio::test]
async fn a_transactional_id_is_given_by_its_coordinator_alone() {
    let asking = Asking::new();
    let other = (asking.coordinator + 1) % 3;
    let mut request = Request::InitProducer(Some(TRANSACTION.into()));
    let answer = asking.cluster.handle(other, &mut request);
    assert!(matches!(answer, Some(Response::Error(Error::NotLeader))), "{answer:?}");
}

#[tokio::test]
async fn what_became_of_a_transaction_can_be_found_out_when_its_end_is_refused() {
    let asking = Asking::new();
    let (membership, producer) = (asking.membership(), asking.producer());
    let committed = Committed { offset: 5, metadata: "1||0:1|".into() };
    let done = asking.ask(Request::CommitOffset {
        transaction: TRANSACTION.into(),
        producer,
        group: GROUP.into(),
        membership,
        partition: 2,
        committed: committed.clone(),
    });
    assert!(matches!(done, Response::Done), "{done:?}");
    // The answer gets lost, and the same is asked again: it is the same, now and when all is done.
    for _ in 0..2 {
        let next = asking.commit(producer);
        assert!(matches!(next, Response::Producer(next) if next.epoch == producer.epoch + 1), "{next:?}");
        sleep(Duration::from_millis(10)).await;
    }
    // Something that was sent long before comes now, and fences whoever asks once more.
    asking.producer();
    let refused = asking.commit(producer);
    assert!(matches!(refused, Response::Error(Error::ProducerFenced)), "{refused:?}");
    let found = asking.ask(Request::FetchOffsets { group: GROUP.into(), partition: 2, stable: true });
    assert!(matches!(&found, Response::Committed(found) if *found == committed), "{found:?}");
}
