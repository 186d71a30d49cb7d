//! The log on Kafka: the log port on librdkafka.
