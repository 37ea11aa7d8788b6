//! A connection on which one question is asked at a time.

use anyhow::{Context, bail};
use bytes::Bytes;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::{Request, Text, Versioned};

use super::target::CLIENT_ID;
use super::wire::{Came, Outgoing, Wire};

/// Most answers about a group are small; the leader's to JoinGroup grows with the members.
const ANSWER_CHUNK: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct Dialogue {
    outgoing: Outgoing,
    n_asked: i32,
    is_waiting: bool,
}

impl Dialogue {
    /// Whether an answer is owed.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Ask what is made for this correlation id. The answer before has come.
    pub(super) fn ask(
        &mut self,
        wire: &Wire,
        question: impl FnOnce(i32) -> anyhow::Result<Bytes>,
    ) -> anyhow::Result<()> {
        self.n_asked = self.n_asked.wrapping_add(1) & i32::MAX;
        self.outgoing.load(&question(self.n_asked)?, None);
        self.is_waiting = true;
        wire.send(&mut self.outgoing)
    }

    /// Take in all that has come; the answer, if it is whole.
    pub(super) fn hear(&mut self, wire: &mut Wire) -> anyhow::Result<Option<Bytes>> {
        wire.send(&mut self.outgoing)?;
        let mut answer = None;
        loop {
            let came = wire.receive(ANSWER_CHUNK)?;
            while let Some(frame) = wire.frame()? {
                let is_answer = frame.first_chunk() == Some(&self.n_asked.to_be_bytes());
                if !(is_answer && self.is_waiting) {
                    bail!("the broker answered what was not asked");
                }
                answer = Some(Bytes::copy_from_slice(frame));
                self.is_waiting = false;
                wire.take_frame()?;
            }
            if came == Came::All {
                return Ok(answer);
            }
        }
    }
}

/// A question as it goes out.
pub(super) fn framed<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
) -> anyhow::Result<Bytes> {
    let client_id = Some(Text::from_static(CLIENT_ID));
    request_frame(request, version, correlation_id, client_id)
        .with_context(|| format!("{} cannot be written", R::NAME))
}

/// An answer as it came.
pub(super) fn read<M: Versioned>(frame: Bytes, version: i16) -> anyhow::Result<M> {
    let read = decode_response(frame, version);
    let (_, answer) = read.with_context(|| format!("{} cannot be read", M::NAME))?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::Address;
    use ottla_protocol::header::response_frame;
    use ottla_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (Wire::new(near, Address::new("x", 1)).unwrap(), far)
    }

    fn heard(dialogue: &mut Dialogue, wire: &mut Wire) -> anyhow::Result<Bytes> {
        for _ in 0..1_000_000 {
            if let Some(answer) = dialogue.hear(wire)? {
                return Ok(answer);
            }
            std::thread::yield_now();
        }
        panic!("it never came");
    }

    #[test]
    fn an_answer_belongs_to_its_question() {
        let (mut wire, mut far) = pair();
        let mut dialogue = Dialogue::default();
        assert_eq!(dialogue.hear(&mut wire).unwrap(), None);
        for n in 1..4 {
            let ask = |id| framed(&HeartbeatRequest::default(), 4, id);
            dialogue.ask(&wire, ask).unwrap();
            assert!(dialogue.is_waiting());
            let mut question = vec![0; ask(n).unwrap().len()];
            far.read_exact(&mut question).unwrap();
            assert_eq!(question, ask(n).unwrap());
            let said = HeartbeatResponse {
                error_code: 27,
                ..HeartbeatResponse::default()
            };
            let frame = response_frame(&said, 4, n).unwrap();
            let (first, second) = frame.split_at(5);
            far.write_all(first).unwrap();
            assert_eq!(dialogue.hear(&mut wire).unwrap(), None);
            far.write_all(second).unwrap();
            let answer = heard(&mut dialogue, &mut wire).unwrap();
            assert_eq!(read::<HeartbeatResponse>(answer, 4).unwrap(), said);
            assert!(!dialogue.is_waiting());
        }
        let unasked = response_frame(&HeartbeatResponse::default(), 4, 3).unwrap();
        far.write_all(&unasked).unwrap();
        let why = heard(&mut dialogue, &mut wire).unwrap_err().to_string();
        assert!(why.contains("was not asked"), "{why}");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let why = read::<HeartbeatResponse>(Bytes::from_static(&[0, 0, 0, 1, 0]), 4).unwrap_err();
        assert_eq!(why.to_string(), "HeartbeatResponse cannot be read");
    }
}
