//! What this machine calls itself.

/// Where a machine writes down names and addresses.
const HOSTS_FILE: &str = "/etc/hosts";

/// The name under which other machines are sent here where no address is set: as in Kafka the
/// first name of the address that the machine's own name stands for. Only the hosts file is asked:
/// a name server that does not answer must not hold up the start.
pub fn host_name() -> String {
    let own = node_name();
    let hosts = std::fs::read_to_string(HOSTS_FILE).unwrap_or_default();
    canonical(&own, &hosts).map_or(own, ToOwned::to_owned)
}

/// What `uname` says.
pub fn node_name() -> String {
    let name = rustix::system::uname();
    name.nodename()
        .to_str()
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or("localhost")
        .to_owned()
}

/// Lines are an address and its names, the first of them the one that counts.
fn canonical<'a>(name: &str, hosts: &'a str) -> Option<&'a str> {
    let lines = || {
        let lines = hosts.lines();
        lines.map(|line| {
            line.split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace()
        })
    };
    let address = lines().find_map(|mut words| {
        let address = words.next()?;
        words
            .any(|other| other.eq_ignore_ascii_case(name))
            .then_some(address)
    })?;
    lines().find_map(|mut words| (words.next()? == address).then(|| words.next())?)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn the_first_name_of_the_address_counts() {
        let hosts = "# all\n127.0.0.1 localhost\n::1 localhost ip6\n10.0.0.7 k.example.org K # me\n127.0.0.1 vm\n10.0.0.8\n";
        assert_eq!(canonical("vm", hosts), Some("localhost"));
        assert_eq!(canonical("k", hosts), Some("k.example.org"));
        assert_eq!(canonical("k.example.org", hosts), Some("k.example.org"));
        assert_eq!(canonical("elsewhere", hosts), None);
        assert_eq!(canonical("me", hosts), None);
        assert_eq!(canonical("vm", ""), None);
    }
}
