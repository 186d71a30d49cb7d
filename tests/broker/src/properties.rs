//! A broker's `server.properties`.

use crate::address::{self, Address};
use crate::certificates::{Certificates, PASSWORD};
use crate::options::{Options, User};
use std::fmt::Write as _;
use std::path::Path;

/// The properties of one node, a line each. Later ones win, so those of the test come last.
pub fn of(node: u8, options: &Options, address: &Address, data: &Path, certificates: Option<&Certificates>) -> String {
    let all = 1..=options.nodes;
    let voters: Vec<String> = all.map(|node| format!("{node}@{}", address.of(node, address::CONTROLLER))).collect();
    let replicas = options.nodes;
    let in_sync = if replicas > 1 { replicas - 1 } else { 1 };
    let clients = address.of(node, address::CLIENTS);
    let brokers = address.of(node, address::BROKERS);
    let controller = address.of(node, address::CONTROLLER);
    let protocol = if certificates.is_some() { "SASL_SSL" } else { "PLAINTEXT" };
    let mut text = format!(
        "process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=CLIENTS://{clients},BROKERS://{brokers},CONTROLLER://{controller}
advertised.listeners=CLIENTS://{clients},BROKERS://{brokers}
listener.security.protocol.map=CLIENTS:{protocol},BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKERS
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
# A broker that was killed is let in again only when its session has ended, which takes 9 s by default.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
# 128 MB by default, taken at once.
log.cleaner.dedupe.buffer.size=4194304
",
        voters = voters.join(","),
        data = data.display(),
    );
    if let Some(certificates) = certificates {
        text.push_str(&security(&options.users, certificates));
    }
    for (name, value) in &options.properties {
        writeln!(text, "{name}={value}").expect("a string takes everything");
    }
    text
}

/// Brokers talk among themselves without names: so who has none is one of them, and may do everything.
fn security(users: &[User], certificates: &Certificates) -> String {
    let mut supers = "User:ANONYMOUS".to_owned();
    let mut plain = String::new();
    for User { name, password, is_super } in users {
        plain.extend([" user_", name, "=\"", password, "\""]);
        if *is_super {
            supers.extend([";User:", name]);
        }
    }
    let module = "org.apache.kafka.common.security";
    format!(
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users={supers}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.clients.plain.sasl.jaas.config={module}.plain.PlainLoginModule required{plain};
listener.name.clients.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.clients.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.clients.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location={store}
ssl.keystore.password={PASSWORD}
ssl.key.password={PASSWORD}
",
        store = certificates.store.display(),
    )
}
