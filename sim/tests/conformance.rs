//! Every log that the loops run on in the simulated world keeps the same facts as outside of it.
#![cfg(madsim)]

use baton_runtime::conformance::PARTITIONS;
use baton_runtime::memory::MemoryLog;
use baton_runtime::world::SystemWorld;
use baton_sim::event::Node;
use baton_sim::journal::Journal;
use baton_sim::kafka::{ClientConfig, Cluster, ClusterConfig, SimKafka};
use baton_sim::life::Life;
use baton_sim::oracle::Oracle;
use baton_sim::place::Place;
use madsim::runtime::Handle;

mod memory {
    use super::*;

    baton_runtime::conformance!(tokio::test, (MemoryLog::in_world(PARTITIONS, SystemWorld), ()));
}

mod kafka {
    use super::*;

    /// A client of a fresh cluster of three brokers, on a node of its own; the brokers live as long as the second value.
    async fn fresh() -> (SimKafka, Vec<Place>) {
        let journal = Journal::new(Oracle::default());
        let config = ClusterConfig { partitions: PARTITIONS, ..ClusterConfig::default() };
        let cluster = Cluster::new(config, journal.clone());
        tokio::spawn(cluster.clone().control());
        let broker = |number: u8| {
            let cluster = cluster.clone();
            Place::new(Node::Broker(number), [10, 0, 0, number + 1].into(), &journal, move |_| {
                let cluster = cluster.clone();
                async move { cluster.serve(number).await }
            })
        };
        let brokers = (0..3).map(broker).collect();
        let client = Handle::current().create_node().name("client").ip([10, 0, 2, 1].into()).build();
        let config = ClientConfig { node: Node::Client(0), instance: None };
        let connecting = async move { SimKafka::connect(&cluster, config, Life::default()).await };
        (client.spawn(connecting).await.expect("it connects"), brokers)
    }

    baton_runtime::conformance!(tokio::test, fresh().await);
}
