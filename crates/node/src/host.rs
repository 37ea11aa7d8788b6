//! What this machine calls itself.

/// The host's name, which stands in for an address where none is set, as in Kafka.
pub fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename()
        .to_str()
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or("localhost")
        .to_owned()
}
