//! Frames in: what has come of a connection's requests and has not been started.
//!
//! What must stay true: no buffer is held while nothing is half here; what a frame claims to be is
//! not reserved before it comes, and a large frame holds no more than it was granted. Which memory
//! that is: `memory.rs`.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::Instant;

use crate::memory::{Piece, SMALL_FRAME, Share};

/// One read where nothing is half here: most requests fit, and several small ones.
const READ_FIRST: usize = 16 * 1024;
/// What a claimed length is granted ahead of the bytes while there is plenty of memory.
const READ_AHEAD: usize = 1024 * 1024;
const PREFIX: usize = 4;

thread_local! {
    /// Where bytes land before it is known how many there are: shared, so that a connection that
    /// waits holds nothing.
    static LANDING: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_FIRST]);
}

/// A length that no frame may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadLength(pub(super) i32);

/// A whole request, without its length.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// What a large one holds until its bytes are dropped, or it is said to be given back.
    pub(super) share: Option<Arc<Share>>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Inbox {
    frame_max: usize,
    /// With length prefixes. At most what one read brought, or one frame up to [`SMALL_FRAME`].
    small: BytesMut,
    /// The frame that comes, if it is larger.
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    size: usize,
    bytes: Vec<u8>,
    /// How many bytes it may have: all that came before it was known to be large, and what was granted.
    room: usize,
    share: Arc<Share>,
    progress: Progress,
}

/// How far a frame was when somebody last looked, or it was last granted room.
#[derive(Debug)]
struct Progress {
    at: Instant,
    n_bytes: usize,
}

/// What the bytes of a large frame are dropped with.
struct Owned {
    bytes: Vec<u8>,
    _share: GivenBack,
}

struct GivenBack(Arc<Share>);

impl Drop for GivenBack {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Inbox {
    pub(super) fn new(frame_max: usize) -> Self {
        Self {
            frame_max,
            small: BytesMut::new(),
            large: None,
        }
    }

    /// The API key of the frame at the front, as soon as it is here.
    pub(super) fn front_key(&self) -> Option<i16> {
        let bytes = match &self.large {
            Some(large) => large.bytes.as_slice(),
            None => self.small.get(PREFIX..)?,
        };
        bytes.first_chunk().map(|key| i16::from_be_bytes(*key))
    }

    /// Whether the frame at the front is whole.
    pub(super) fn has_frame(&self) -> bool {
        match &self.large {
            Some(large) => large.bytes.len() >= large.size,
            None => small_size(&self.small).is_some_and(|size| self.small.len() >= PREFIX + size),
        }
    }

    /// Takes the frame at the front if it is whole.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        if !self.has_frame() {
            return None;
        }
        Some(match self.large.take() {
            Some(Large { bytes, share, .. }) => Frame {
                bytes: Bytes::from_owner(Owned {
                    bytes,
                    _share: GivenBack(share.clone()),
                }),
                share: Some(share),
            },
            None => Frame {
                bytes: self.take_small(),
                share: None,
            },
        })
    }

    /// A frame of its own memory: what it came with is not kept alive by it.
    fn take_small(&mut self) -> Bytes {
        let size = small_size(&self.small).unwrap_or(0);
        self.small.advance(PREFIX);
        if self.small.len() == size {
            return std::mem::take(&mut self.small).freeze();
        }
        let frame = Bytes::copy_from_slice(self.small.get(..size).unwrap_or_default());
        self.small.advance(size);
        frame
    }

    /// Looks at the length of the frame at the front, and gives a large one a buffer of its own.
    /// To be called before anything is read.
    pub(super) fn sort(&mut self) -> Result<(), BadLength> {
        let Some(prefix) = self.small.first_chunk::<PREFIX>() else {
            return Ok(());
        };
        let claimed = i32::from_be_bytes(*prefix);
        let size = usize::try_from(claimed)
            .ok()
            .filter(|size| *size <= self.frame_max)
            .ok_or(BadLength(claimed))?;
        if size <= SMALL_FRAME || self.large.is_some() {
            return Ok(());
        }
        // Less than a large frame has come, so what follows the prefix is all its own.
        let come = std::mem::take(&mut self.small);
        let bytes = come.get(PREFIX..).unwrap_or_default().to_vec();
        self.large = Some(Large {
            size,
            room: bytes.len(),
            progress: Progress {
                at: Instant::now(),
                n_bytes: bytes.len(),
            },
            bytes,
            share: Arc::default(),
        });
        Ok(())
    }

    /// How much memory must be granted before more can be read. None: it can be read.
    pub(super) fn room_wanted(&self, is_at_ease: bool) -> Option<usize> {
        let large = self.large.as_ref()?;
        if large.bytes.len() < large.room || large.room >= large.size {
            return None;
        }
        let ahead = if is_at_ease { READ_AHEAD } else { SMALL_FRAME };
        Some((large.size - large.room).min(large.room.max(ahead)))
    }

    /// Whether what comes holds memory, or has all it needs of it.
    pub(super) fn holds_memory(&self) -> bool {
        let large = self.large.as_ref();
        large.is_some_and(|large| large.room > READ_FIRST)
    }

    /// Whether the frame that comes needs no further grants.
    pub(super) fn is_granted_whole(&self) -> bool {
        self.large
            .as_ref()
            .is_some_and(|large| large.share.is_whole())
    }

    /// Makes room; for a frame that has been granted all it needs, there is no piece.
    pub(super) fn grow(&mut self, n_bytes: usize, piece: Option<Piece>, now: Instant) {
        let Some(large) = &mut self.large else { return };
        if let Some(piece) = piece {
            large.share.add(piece);
        }
        large.room = large.size.min(large.room + n_bytes);
        large.bytes.reserve_exact(large.room - large.bytes.len());
        large.progress = Progress {
            at: now,
            n_bytes: large.bytes.len(),
        };
    }

    /// Whether less than `n_bytes` of a frame that holds memory have come since somebody last
    /// looked; looks again if that was `pause` ago. One that is whole waits for us.
    pub(super) fn stands_still(
        &mut self,
        n_bytes: usize,
        pause: std::time::Duration,
        now: Instant,
    ) -> bool {
        let holds_memory = self.holds_memory();
        let Some(large) = self.large.as_mut().filter(|_| holds_memory) else {
            return false;
        };
        if large.bytes.len() >= large.size {
            return false;
        }
        if now.saturating_duration_since(large.progress.at) < pause {
            return false;
        }
        let have_come = large.bytes.len() - large.progress.n_bytes;
        large.progress = Progress {
            at: now,
            n_bytes: large.bytes.len(),
        };
        have_come < n_bytes
    }

    /// Reads once; how many bytes came, 0 at the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(large) = &mut self.large {
            let room = large.room - large.bytes.len();
            return poll_into(&mut large.bytes, room, stream, context);
        }
        let missing = small_size(&self.small)
            .map(|size| (PREFIX + size).saturating_sub(self.small.len()))
            .filter(|missing| *missing > READ_FIRST);
        if let Some(missing) = missing {
            self.small.reserve(missing);
            return poll_into(&mut self.small, missing, stream, context);
        }
        LANDING.with_borrow_mut(|landing| {
            let mut landing = ReadBuf::new(landing);
            ready!(Pin::new(stream).poll_read(context, &mut landing))?;
            self.small.extend_from_slice(landing.filled());
            Poll::Ready(Ok(landing.filled().len()))
        })
    }
}

/// The size of the frame at the front, if it is said already.
fn small_size(small: &[u8]) -> Option<usize> {
    let prefix = small.first_chunk::<PREFIX>()?;
    usize::try_from(i32::from_be_bytes(*prefix)).ok()
}

/// Reads into the spare room of a buffer, and not more than `n_max`.
fn poll_into(
    buffer: &mut impl BufMut,
    n_max: usize,
    stream: &mut (impl AsyncRead + Unpin),
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut limited = buffer.limit(n_max);
    pin!(stream.read_buf(&mut limited)).poll(context)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::memory::{Lane, RequestMemory};

    const FRAME_MAX: usize = 3 << 20;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut frame = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(body);
        frame
    }

    /// What `n` bytes of a frame look like, each in its place.
    fn body(n: usize) -> Vec<u8> {
        (0..n).map(|at| (at % 251) as u8).collect()
    }

    /// Reads until nothing is left or memory is wanted.
    fn read(inbox: &mut Inbox, from: &mut &[u8]) -> Result<(), BadLength> {
        let context = &mut Context::from_waker(Waker::noop());
        loop {
            inbox.sort()?;
            if from.is_empty() || inbox.has_frame() || inbox.room_wanted(true).is_some() {
                return Ok(());
            }
            let Poll::Ready(Ok(n)) = inbox.poll_read(from, context) else {
                panic!("a slice is always ready");
            };
            assert!(n > 0);
        }
    }

    fn bytes(frame: Option<Frame>) -> Bytes {
        frame.expect("a whole frame").bytes
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let sizes = [2, 10_000, 0, 16_380, 16_384, 40_000, SMALL_FRAME, 7];
        let sent: Vec<u8> = sizes.iter().flat_map(|n| framed(&body(*n))).collect();
        for step in [1, 3, 1000, 16_384, 20_000, sent.len()] {
            let mut inbox = Inbox::new(FRAME_MAX);
            let mut found = Vec::new();
            for mut piece in sent.chunks(step) {
                while !piece.is_empty() || inbox.has_frame() {
                    read(&mut inbox, &mut piece).unwrap();
                    while let Some(frame) = inbox.next_frame() {
                        found.push(frame.bytes.to_vec());
                    }
                }
            }
            assert_eq!(found.len(), sizes.len(), "in steps of {step}");
            for (frame, size) in found.iter().zip(sizes) {
                assert!(*frame == body(size), "{size} bytes in steps of {step}");
            }
            assert_eq!(
                inbox.small.capacity(),
                0,
                "an idle connection holds nothing"
            );
        }
    }

    #[test]
    fn a_small_frame_does_not_keep_its_neighbours_alive() {
        let mut inbox = Inbox::new(FRAME_MAX);
        let sent = [framed(&body(10)), framed(&body(8000))].concat();
        read(&mut inbox, &mut &*sent).unwrap();
        let first = bytes(inbox.next_frame());
        assert!(first.is_unique(), "it shares its memory with nobody");
    }

    #[test]
    fn a_large_frame_grows_with_its_bytes_and_gives_back_what_it_took() {
        let memory = RequestMemory::new(64 << 20, FRAME_MAX);
        let sent = framed(&body(FRAME_MAX));
        let mut from = &*sent;
        let mut inbox = Inbox::new(FRAME_MAX);
        let mut granted = Vec::new();
        while !inbox.has_frame() {
            read(&mut inbox, &mut from).unwrap();
            if let Some(n) = inbox.room_wanted(true) {
                let held = inbox.large.as_ref().unwrap();
                assert!(held.bytes.capacity() <= 2 * held.bytes.len() + READ_AHEAD);
                inbox.grow(n, memory.try_take(Lane::Common, n), Instant::now());
                granted.push(n);
            }
        }
        assert_eq!(granted[0], READ_AHEAD);
        assert_eq!(
            granted.iter().sum::<usize>(),
            FRAME_MAX - (READ_FIRST - PREFIX)
        );
        assert!(memory.n_bytes_used() >= FRAME_MAX - READ_FIRST);
        let frame = inbox.next_frame().unwrap();
        assert!(frame.bytes == body(FRAME_MAX));
        let slice = frame.bytes.slice(5..10);
        drop(frame.bytes);
        assert!(memory.n_bytes_used() > 0, "a slice keeps all of it");
        drop(slice);
        assert_eq!(memory.n_bytes_used(), 0);
    }

    #[test]
    fn a_claim_is_not_believed_when_memory_is_short() {
        let mut inbox = Inbox::new(FRAME_MAX);
        let mut from: &[u8] = &framed(&body(FRAME_MAX))[..1000];
        read(&mut inbox, &mut from).unwrap();
        assert_eq!(inbox.room_wanted(false), Some(SMALL_FRAME));
        assert!(!inbox.holds_memory(), "what came is its connection's own");
        assert_eq!(inbox.front_key(), Some(1));
    }

    #[test]
    fn lengths_that_cannot_be_are_told() {
        for claimed in [-1, i32::MIN, i32::MAX, FRAME_MAX as i32 + 1] {
            let mut inbox = Inbox::new(FRAME_MAX);
            let sent = claimed.to_be_bytes();
            let read = read(&mut inbox, &mut &sent[..]).and_then(|()| inbox.sort());
            assert_eq!(read, Err(BadLength(claimed)));
            assert!(inbox.next_frame().is_none());
        }
    }

    #[test]
    fn a_frame_that_stands_still_is_noticed() {
        let (pause, start) = (Duration::from_secs(10), Instant::now());
        let mut inbox = Inbox::new(FRAME_MAX);
        let sent = framed(&body(FRAME_MAX));
        let mut from = &sent[..100_000];
        read(&mut inbox, &mut from).unwrap();
        let later = |n: u32| start + pause * n + pause / 2;
        assert!(
            !inbox.stands_still(1000, pause, later(1)),
            "it holds nothing yet"
        );
        inbox.grow(1 << 20, None, start);
        read(&mut inbox, &mut from).unwrap();
        assert!(!inbox.stands_still(1000, pause, start), "too early to tell");
        assert!(
            !inbox.stands_still(1000, pause, later(1)),
            "83 KB have come"
        );
        assert!(inbox.stands_still(1000, pause, later(2)), "nothing since");

        let mut rest = &sent[100_000..];
        while !inbox.has_frame() {
            inbox.grow(1 << 20, None, start);
            read(&mut inbox, &mut rest).unwrap();
        }
        for n in 1..4 {
            assert!(!inbox.stands_still(1000, pause, later(n)), "all is here");
        }
    }
}
