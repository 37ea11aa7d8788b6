//! The doors of a node: Kafka listeners with one file per API, and HTTP for those who watch.
//!
//! What must stay true: the requests of a connection are decided and answered in the order in
//! which they came, and only their waiting overlaps; an API is advertised only if it is served;
//! nobody who connects can make the node panic or take unbounded memory.
//!
//! | to know | read |
//! |---|---|
//! | how ports are bound, opened, closed | `server`, `listener`, `limits` |
//! | how a request comes in and its answer leaves | `connection`, `dispatch`, `answer`, `session` |
//! | what memory requests may take | `memory` |
//! | which requests of a connection overlap | `overlap` |
//! | how clients above their quota are slowed down | `throttle` |
//! | what is served | `registry` |
//! | what a request means | `api/` |
//! | health and metrics | `http/` |

mod server;
mod listener;
mod limits;
mod connection;
mod memory;
mod overlap;
mod throttle;
mod dispatch;
mod registry;
mod session;
mod answer;
mod endpoints;
mod authorized;
mod api;
mod http;

pub use overlap::Overlap;
pub use registry::{APIS, Api, Door};
pub use server::{Bound, CannotBind, Server};
