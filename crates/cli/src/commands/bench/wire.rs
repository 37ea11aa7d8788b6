//! One socket to a broker that never waits: requests go out as far as the kernel takes them,
//! answers come in as far as they are here.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, bail};
use ottla_client::Address;
use ottla_protocol::frame;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// The largest answer that is kept in memory: a fetch is bounded by what it asks for, except that a
/// broker gives at least one batch.
const MAX_FRAME: usize = 128 << 20;
/// Where bytes would go that are thrown away. The kernel writes nothing to it.
const NOWHERE: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    address: Address,
    /// What came and was not taken is `inbox[taken..filled]`; it grows and never shrinks, so that
    /// reading into it costs no more than the copy. `taken ≤ filled ≤ inbox.len()`.
    inbox: Vec<u8>,
    taken: usize,
    filled: usize,
    nowhere: Vec<u8>,
}

/// Whether there may be more to read now. If not, the poll tells when there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// As much as was asked for.
    Full,
    /// Less: nothing is left.
    All,
}

impl Wire {
    /// From here on the socket does not wait.
    pub(super) fn new(stream: TcpStream, address: Address) -> anyhow::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            address,
            inbox: Vec::new(),
            taken: 0,
            filled: 0,
            nowhere: Vec::new(),
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Send what is left of a request.
    pub(super) fn send(&self, outgoing: &mut Outgoing) -> anyhow::Result<()> {
        match outgoing.write(&self.stream) {
            Ok(()) => Ok(()),
            Err(error) => bail!("the connection to {} broke: {error}", self.address),
        }
    }

    /// Take in up to this many bytes.
    pub(super) fn receive(&mut self, n: usize) -> anyhow::Result<Came> {
        self.inbox.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        let end = self.filled + n;
        if self.inbox.len() < end {
            self.inbox.resize(end, 0);
        }
        let place = self.inbox.get_mut(self.filled..end).unwrap_or_default();
        let done = recv(&self.stream, place, RecvFlags::empty()).map(|(_, n)| n);
        self.filled += done.unwrap_or_default();
        self.came(done, n)
    }

    /// Throw away up to `n` bytes that come next, without copying them out of the kernel; how many
    /// there were.
    pub(super) fn discard(&mut self, n: usize) -> anyhow::Result<(usize, Came)> {
        let n = n.min(NOWHERE);
        if self.nowhere.len() < n {
            self.nowhere.resize(n, 0);
        }
        let place = self.nowhere.get_mut(..n).unwrap_or_default();
        let done = recv(&self.stream, place, RecvFlags::TRUNC).map(|(_, n)| n);
        Ok((done.unwrap_or_default(), self.came(done, n)?))
    }

    fn came(&self, done: Result<usize, Errno>, asked: usize) -> anyhow::Result<Came> {
        match done {
            Ok(0) => bail!("the broker at {} closed the connection", self.address),
            Ok(n) if n < asked => Ok(Came::All),
            Ok(_) | Err(Errno::INTR) => Ok(Came::Full),
            Err(Errno::AGAIN) => Ok(Came::All),
            Err(error) => bail!("the connection to {} broke: {error}", self.address),
        }
    }

    /// What is here and not taken.
    pub(super) fn here(&self) -> &[u8] {
        self.inbox.get(self.taken..self.filled).unwrap_or_default()
    }

    pub(super) fn take(&mut self, n: usize) {
        self.taken = (self.taken + n).min(self.filled);
    }

    /// The next whole answer without its length, if it is here. [`Self::take_frame`] takes it.
    pub(super) fn frame(&self) -> anyhow::Result<Option<&[u8]>> {
        let here = self.here();
        let missing = frame::missing(here, MAX_FRAME)
            .with_context(|| format!("the broker at {} does not answer in frames", self.address))?;
        if missing > 0 {
            return Ok(None);
        }
        let n = frame_length(here)?;
        Ok(here.get(frame::LENGTH_BYTES..frame::LENGTH_BYTES + n))
    }

    pub(super) fn take_frame(&mut self) -> anyhow::Result<()> {
        let n = frame_length(self.here())?;
        self.take(frame::LENGTH_BYTES + n);
        Ok(())
    }
}

fn frame_length(bytes: &[u8]) -> anyhow::Result<usize> {
    let prefix = bytes.first_chunk().copied().unwrap_or_default();
    Ok(frame::length(prefix, MAX_FRAME)?)
}

/// A request on its way out, in two parts, so that the second is shared and not copied.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    head: Vec<u8>,
    body: Option<Arc<[u8]>>,
    n_written: usize,
}

impl Outgoing {
    /// The next request; the one before is written.
    pub(super) fn load(&mut self, head: &[u8], body: Option<&Arc<[u8]>>) {
        self.head.clear();
        self.head.extend_from_slice(head);
        self.body = body.map(Arc::clone);
        self.n_written = 0;
    }

    fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    pub(super) fn is_written(&self) -> bool {
        self.n_written >= self.head.len() + self.body().len()
    }

    /// Write until all is written or the kernel takes no more.
    fn write(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        while !self.is_written() {
            let head = self.head.get(self.n_written..).unwrap_or_default();
            let into_body = self.n_written.saturating_sub(self.head.len());
            let body = self.body().get(into_body..).unwrap_or_default();
            match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(n) => self.n_written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.head, self.body()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let near = TcpStream::connect(address).unwrap();
        let (far, _) = listener.accept().unwrap();
        let address = Address::new("127.0.0.1", address.port());
        (Wire::new(near, address).unwrap(), far)
    }

    /// What was sent may take a moment to be there.
    fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..1_000_000 {
            if let Some(found) = look() {
                return found;
            }
            std::thread::yield_now();
        }
        panic!("it never came");
    }

    #[test]
    fn a_request_larger_than_the_kernel_takes_goes_in_parts() {
        let (wire, mut far) = pair();
        let body: Arc<[u8]> = (0..16 << 20).map(|n| (n % 251) as u8).collect();
        let mut outgoing = Outgoing::default();
        assert!(outgoing.is_written());
        outgoing.load(b"head", Some(&body));
        wire.send(&mut outgoing).unwrap();
        assert!(!outgoing.is_written(), "16 MiB that nobody reads");
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; 4 + (16 << 20)];
            far.read_exact(&mut all).unwrap();
            all
        });
        until(|| {
            wire.send(&mut outgoing).unwrap();
            outgoing.is_written().then_some(())
        });
        assert!(reader.join().unwrap() == outgoing.bytes());
    }

    #[test]
    fn answers_come_whole() {
        let (mut wire, mut far) = pair();
        assert_eq!(wire.receive(10).unwrap(), Came::All);
        far.write_all(&[0, 0, 0, 2, 7]).unwrap();
        until(|| {
            wire.receive(100).unwrap();
            (wire.here().len() == 5).then_some(())
        });
        assert_eq!(wire.frame().unwrap(), None);
        far.write_all(&[8, 0, 0, 0, 0, 9]).unwrap();
        until(|| {
            wire.receive(100).unwrap();
            (wire.here().len() == 11).then_some(())
        });
        assert_eq!(wire.frame().unwrap(), Some(&[7, 8][..]));
        wire.take_frame().unwrap();
        assert_eq!(wire.frame().unwrap(), Some(&[][..]));
        wire.take_frame().unwrap();
        assert_eq!(wire.frame().unwrap(), None);
        far.write_all(&[255, 255, 255]).unwrap();
        until(|| {
            wire.receive(100).unwrap();
            (wire.here().len() == 4).then_some(())
        });
        assert!(wire.frame().is_err(), "a frame of 167 MB");
    }

    #[test]
    fn what_is_thrown_away_is_gone_and_what_follows_is_not() {
        let (mut wire, mut far) = pair();
        far.write_all(&[1; 1000]).unwrap();
        far.write_all(&[2; 10]).unwrap();
        let mut left = 1000;
        until(|| {
            left -= wire.discard(left).unwrap().0;
            (left == 0).then_some(())
        });
        until(|| {
            wire.receive(100).unwrap();
            (wire.here().len() == 10).then_some(())
        });
        assert_eq!(wire.here(), [2; 10]);
    }

    #[test]
    fn an_end_is_told() {
        let (mut wire, far) = pair();
        drop(far);
        let why = until(|| wire.receive(10).err());
        assert!(why.to_string().contains("closed the connection"), "{why}");
    }
}
