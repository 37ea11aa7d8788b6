//! A broker in one thread, from one seed: the ledgers and the logs as they are, wired together
//! without sockets, clocks or threads, in a world that loses, doubles and delays whatever it can.
//!
//! Nothing is offered to others: all of it is tests.
//!
//! | place | what lives there |
//! |---|---|
//! | `transactions` | the random run of transactions (`scripts/txn-run`) |
//! | `totals` | how often each thing happened |
//! | `disk`, `chance` | those of the random crash run: one disk whose power fails, for both |

#[cfg(test)]
mod transactions;
#[cfg(test)]
mod totals;
#[cfg(test)]
#[path = "../../crates/storage/tests/crash/chance.rs"]
mod chance;
#[cfg(test)]
#[path = "../../crates/storage/tests/crash/disk.rs"]
#[allow(dead_code, reason = "the crash run breaks more than this one does")]
mod disk;
