//! Listeners, connections and requests.

use crate::config::definition::{
    Check, Definition, int, list, list_or_null, long, required_list, string, string_or_null,
};

pub(in crate::config) static NETWORK: &[Definition] = &[
    list("listeners", "PLAINTEXT://:9092").check(Check::Items { of: None, may_be_empty: false }).per_broker().doc("Where the node listens: `NAME://host:port`, separated by commas. An empty host is every IPv4 and IPv6 address."),
    list_or_null("advertised.listeners").check(Check::Items { of: None, may_be_empty: false }).doc("The addresses that clients are told to use. Unset: those of `listeners`."),
    string("listener.security.protocol.map", "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT").per_broker().doc("Which security protocol each listener name speaks: `NAME:PROTOCOL` pairs."),
    required_list("controller.listener.names").check(Check::Items { of: None, may_be_empty: false }).doc("Names of the listeners on which controllers talk to each other and to brokers."),
    string_or_null("inter.broker.listener.name").doc("Name of the listener on which brokers reach each other. Unset: found through `security.inter.broker.protocol`."),
    string("security.inter.broker.protocol", "PLAINTEXT").check(Check::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])).doc("Security protocol between brokers where `inter.broker.listener.name` is not set."),
    list_or_null("early.start.listeners").check(Check::Items { of: None, may_be_empty: true }).doc("Listeners that open before the node is ready. Unset: the controller listeners."),
    int("socket.send.buffer.bytes", "102400").doc("Size of the socket send buffer; -1 leaves it to the system, as where it is not set: the system adapts it to each connection."),
    int("socket.receive.buffer.bytes", "102400").doc("Size of the socket receive buffer; -1 leaves it to the system, as where it is not set: the system adapts it to each connection."),
    int("socket.request.max.bytes", "104857600").at_least(1).doc("The largest request that is read."),
    int("socket.listen.backlog.size", "50").at_least(1).doc("How many connections may wait to be accepted."),
    int("max.connections.per.ip", "2147483647").at_least(0).cluster_wide().doc("Most connections from one address."),
    string("max.connections.per.ip.overrides", "").cluster_wide().doc("Exceptions to `max.connections.per.ip`: `host:count` pairs."),
    int("max.connections", "2147483647").at_least(0).cluster_wide().doc("Most connections in all; further ones wait until one closes. With a listener's prefix (`listener.name.NAME.`): most on that listener."),
    int("max.connection.creation.rate", "2147483647").at_least(0).cluster_wide().doc("Most new connections per second; with a listener's prefix, on that listener."),
    long("connections.max.idle.ms", "600000").doc("An idle connection is closed after this time; negative means never."),
    int("connection.failed.authentication.delay.ms", "100").at_least(0).doc("How long the answer to a failed authentication is held back."),
    long("connections.max.reauth.ms", "0").doc("How long an authenticated session lasts before the client must authenticate again; 0 means for ever."),
    int("queued.max.requests", "500").at_least(1).doc("How many requests may wait before connections are no longer read."),
    long("queued.max.request.bytes", "-1").doc("How many bytes of requests above 64 KiB may be in memory before connections that send such are no longer read; -1 leaves it to the node (256 MiB). Memory is taken as bytes arrive and given back when they are in the file. One request of the largest size always fits, and a sixteenth is kept for fetches and controllers."),
    int("num.network.threads", "3").at_least(1).cluster_wide().doc("Threads that read and write sockets."),
    long("socket.connection.setup.timeout.ms", "10000").doc("How long the first try to connect to another node may take."),
    long("socket.connection.setup.timeout.max.ms", "30000").doc("How long a try to connect to another node may take at most, after failures."),
    int("max.incremental.fetch.session.cache.slots", "1000").at_least(0).doc("How many incremental fetch sessions are kept."),
    int("fetch.max.bytes", "57671680").at_least(1024).doc("Most bytes in one fetch answer."),
    int("max.request.partition.size.limit", "2000").at_least(1).doc("Most partitions in one answer to a describe request."),
];
