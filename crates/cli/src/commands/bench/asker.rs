//! One connection that asks for little: what the cluster's nodes are, each at its moment, or
//! nothing at all.

use anyhow::{Context, bail};
use bytes::Bytes;
use ottla_protocol::Text;
use ottla_protocol::header::request_frame;
use ottla_protocol::messages::MetadataRequest;

use super::schedule::{Nanos, Pace};
use super::tally::{Amount, Tally};
use super::turns::{Next, Scene, Speaker};
use super::wire::{Came, Outgoing, Wire};

/// Metadata about no topic: all brokers know it, and it costs them little.
const METADATA_VERSION: i16 = 8;
const AT_CORRELATION_ID: usize = 8;
const ANSWER_CHUNK: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Asker {
    question: Vec<u8>,
    outgoing: Outgoing,
    /// `None`: it says nothing until time is up.
    pace: Option<Pace>,
    /// Whether its waiting is measured.
    is_measured: bool,
    asked: Option<Nanos>,
    n_asked: i32,
}

impl Asker {
    pub(super) fn new(
        client_id: &str,
        pace: Option<Pace>,
        is_measured: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            question: question(client_id)?.to_vec(),
            outgoing: Outgoing::default(),
            pace,
            is_measured,
            asked: None,
            n_asked: 0,
        })
    }

    fn take_answers(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        loop {
            let came = wire.receive(ANSWER_CHUNK)?;
            let now = scene.clock.now();
            while let Some(frame) = wire.frame()? {
                let is_answer = frame.first_chunk() == Some(&self.n_asked.to_be_bytes());
                let Some(due) = self.asked.take().filter(|_| is_answer) else {
                    bail!("the broker answered what was not asked");
                };
                let requests = 1;
                scene.tally.done(
                    now,
                    Amount {
                        requests,
                        ..Amount::default()
                    },
                );
                if self.is_measured {
                    scene.tally.answered(due, now);
                }
                wire.take_frame()?;
            }
            if came == Came::All {
                return Ok(());
            }
        }
    }
}

/// The request; its correlation id is stamped.
pub(super) fn question(client_id: &str) -> anyhow::Result<Bytes> {
    let request = MetadataRequest {
        topics: Some(Vec::new()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    request_frame(&request, METADATA_VERSION, 0, Some(Text::from(client_id)))
        .context("the request cannot be written")
}

impl Speaker for Asker {
    fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next> {
        wire.send(&mut self.outgoing)?;
        self.take_answers(wire, scene)?;
        let until = scene.tally.window().until;
        let now = scene.clock.now();
        let due = match &self.pace {
            Some(pace) => pace.due(now),
            // It holds the connection.
            None => (now < until).then_some(until),
        };
        match due {
            _ if self.asked.is_some() => Ok(Next::News),
            None => Ok(Next::Finished),
            Some(due) if due > now => Ok(Next::At(due)),
            Some(due) => {
                if self.is_measured {
                    scene.tally.sent(due, now);
                }
                self.n_asked = self.n_asked.wrapping_add(1) & i32::MAX;
                if let Some(place) = self
                    .question
                    .get_mut(AT_CORRELATION_ID..AT_CORRELATION_ID + 4)
                {
                    place.copy_from_slice(&self.n_asked.to_be_bytes());
                }
                self.outgoing.load(&self.question, None);
                self.asked = Some(due);
                if let Some(pace) = &mut self.pace {
                    pace.sent();
                }
                wire.send(&mut self.outgoing)?;
                Ok(Next::News)
            }
        }
    }

    fn give_up(&mut self, now: Nanos, tally: &mut Tally) {
        if self.is_measured {
            self.asked
                .into_iter()
                .for_each(|due| tally.unanswered(due, now));
            let overdue = self.pace.iter().flat_map(|pace| pace.overdue(now));
            overdue.for_each(|due| tally.unanswered(due, now));
        } else if self.asked.is_some() {
            tally.n_unanswered += 1;
        }
    }
}
