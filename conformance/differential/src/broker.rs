//! One request to a broker and its answer, each on a connection of its own unless it asks to stay.
//!
//! A connection for each request keeps the requests independent: a broker that hangs up on one
//! spoils only that one, and a throttled connection does not delay the next request. The framing
//! is written out here and not taken from the product, so that a fault in it cannot hide itself.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use ottla_protocol::{Request, Versioned, decode_body, encode_body};

/// Longer than any wait that the stories ask for (a rebalance, a fetch), shorter than patience.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is said of a broker that says nothing.
pub const SILENCE: &str = "no answer in time";
/// No answer of a fresh broker is near this; more means that the frame was misread.
const LARGEST_ANSWER: usize = 64 << 20;
const API_VERSIONS: i16 = 18;
const CORRELATION_ID: i32 = 0x0771a;

/// Where to send requests, and as whom.
#[derive(Clone)]
pub struct Broker {
    pub address: String,
    pub client_id: String,
}

/// What went wrong with one request, from the first step to the last.
#[derive(Debug)]
pub enum Broken {
    Encode(String),
    Connect(std::io::Error),
    HungUp(std::io::Error),
    /// Nothing came, and the connection stands.
    Silent,
    WrongCorrelation(i32),
    Decode(String),
    /// The answer decodes, but encodes to other bytes: position of the first difference.
    NotTheSameBytes {
        at: usize,
        theirs: usize,
        ours: usize,
    },
}

impl Broken {
    /// Of an end of the connection, or of patience.
    fn of_reading(why: std::io::Error) -> Self {
        match why.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            _ => Self::HungUp(why),
        }
    }

    /// Whether no answer came: the broker ended the connection, as it does when it cannot read a request,
    /// or said nothing. Whether the other does the same is for the comparison.
    pub fn is_no_answer(&self) -> bool {
        matches!(self, Self::HungUp(_) | Self::Silent)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(why) => write!(f, "our request does not encode: {why}"),
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::HungUp(why) => write!(f, "no answer: {why}"),
            Self::Silent => f.write_str(SILENCE),
            Self::WrongCorrelation(id) => write!(f, "the answer is to request {id}"),
            Self::Decode(why) => write!(f, "the answer does not decode: {why}"),
            Self::NotTheSameBytes { at, theirs, ours } => write!(
                f,
                "the answer encodes differently from byte {at} on ({theirs} bytes came, ours are {ours})"
            ),
        }
    }
}

impl Broker {
    pub fn new(address: &str, client_id: &str) -> Self {
        Self {
            address: address.to_owned(),
            client_id: client_id.to_owned(),
        }
    }

    /// Sends, decodes the answer, and checks that it encodes to the bytes that came.
    pub fn ask<R: Request>(&self, version: i16, request: &R) -> Result<R::Response, Broken> {
        self.stay()?.ask(version, request)
    }

    /// Asks ApiVersions in a version that nobody knows; the answer is one of version 0. The header is
    /// flexible, as that of a client from the future would be.
    pub fn ask_from_the_future<R: Request>(&self, request: &R) -> Result<R::Response, Broken> {
        const FUTURE: i16 = 777;
        let mut frame = self.frame(R::VERSIONS.1, request)?.to_vec();
        let version_at = 4 + 2;
        frame[version_at..version_at + 2].copy_from_slice(&FUTURE.to_be_bytes());
        let body = self.exchange(&frame, 4)?;
        decode_body::<R::Response>(body, 0).map_err(|why| Broken::Decode(format!("{why:?}")))
    }

    /// Sends a header and a body as they are, sound or not, and checks the answer as [`Self::ask`] does.
    pub fn ask_bytes<R: Request>(
        &self,
        version: i16,
        header: &[u8],
        body: &[u8],
    ) -> Result<R::Response, Broken> {
        self.stay()?.ask_frame::<R>(version, &framed(header, body))
    }

    /// What stands before the body of a request: key, version, correlation id, client id, tags.
    pub fn header<R: Request>(&self, version: i16) -> Vec<u8> {
        let mut header = Vec::new();
        header.put_i16(R::KEY);
        header.put_i16(version);
        header.put_i32(CORRELATION_ID);
        header.put_i16(self.client_id.len() as i16);
        header.put_slice(self.client_id.as_bytes());
        if version >= R::FLEXIBLE_FROM {
            header.put_u8(0);
        }
        header
    }

    /// Sends without waiting for anything: a Produce with acks=0 has no answer.
    pub fn tell<R: Request>(&self, version: i16, request: &R) -> Result<(), Broken> {
        let frame = self.frame(version, request)?;
        let mut stream = self.connect()?;
        stream.write_all(&frame).map_err(Broken::HungUp)
    }

    /// Sends and waits for nothing; the connection stands as long as what is returned.
    pub fn begin<R: Request>(&self, version: i16, request: &R) -> Result<Line, Broken> {
        let frame = self.frame(version, request)?;
        let mut line = self.stay()?;
        line.stream.write_all(&frame).map_err(Broken::HungUp)?;
        Ok(line)
    }

    /// The body of the answer, behind a header of so many bytes.
    fn exchange(&self, frame: &[u8], header: usize) -> Result<Bytes, Broken> {
        exchange(&mut self.connect()?, frame, header)
    }

    /// A connection that is kept: for thousands of small questions.
    pub fn stay(&self) -> Result<Line, Broken> {
        Ok(Line {
            broker: self.clone(),
            stream: self.connect()?,
        })
    }

    fn connect(&self) -> Result<TcpStream, Broken> {
        let stream = TcpStream::connect(&self.address).map_err(Broken::Connect)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(Broken::Connect)?;
        stream.set_nodelay(true).map_err(Broken::Connect)?;
        Ok(stream)
    }

    fn frame<R: Request>(&self, version: i16, request: &R) -> Result<Bytes, Broken> {
        let body =
            encode_body(request, version).map_err(|why| Broken::Encode(format!("{why:?}")))?;
        Ok(framed(&self.header::<R>(version), &body).into())
    }
}

/// A connection to a broker on which question follows question.
pub struct Line {
    broker: Broker,
    stream: TcpStream,
}

impl Line {
    /// As `Broker::ask`.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, Broken> {
        let frame = self.broker.frame(version, request)?;
        self.ask_frame::<R>(version, &frame)
    }

    /// Sends these bytes, whatever they say, and reads the answer as one to such a request.
    fn ask_frame<R: Request>(&mut self, version: i16, frame: &[u8]) -> Result<R::Response, Broken> {
        let flexible = R::KEY != API_VERSIONS && version >= R::Response::FLEXIBLE_FROM;
        let body = exchange(&mut self.stream, frame, if flexible { 5 } else { 4 })?;
        let answer = decode_body::<R::Response>(body.clone(), version)
            .map_err(|why| Broken::Decode(format!("{why:?}, body {}", hex(&body))))?;
        let again =
            encode_body(&answer, version).map_err(|why| Broken::Encode(format!("{why:?}")))?;
        if again != body {
            let at = again
                .iter()
                .zip(body.iter())
                .take_while(|(a, b)| a == b)
                .count();
            return Err(Broken::NotTheSameBytes {
                at,
                theirs: body.len(),
                ours: again.len(),
            });
        }
        Ok(answer)
    }
}

fn framed(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4 + header.len() + body.len());
    frame.put_i32((header.len() + body.len()) as i32);
    frame.put_slice(header);
    frame.put_slice(body);
    frame
}

fn exchange(stream: &mut TcpStream, frame: &[u8], header: usize) -> Result<Bytes, Broken> {
    stream.write_all(frame).map_err(Broken::HungUp)?;
    let mut answer = Bytes::from(read_frame(stream).map_err(Broken::of_reading)?);
    if answer.len() < header {
        return Err(Broken::Decode("shorter than its header".to_owned()));
    }
    let id = i32::from_be_bytes([answer[0], answer[1], answer[2], answer[3]]);
    if id != CORRELATION_ID {
        return Err(Broken::WrongCorrelation(id));
    }
    // No broker sends a tagged field in a response header yet.
    if header > 4 && answer[4] != 0 {
        return Err(Broken::Decode("tagged fields in the header".to_owned()));
    }
    Ok(answer.split_off(header))
}

fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if size > LARGEST_ANSWER {
        return Err(std::io::Error::other(format!("an answer of {size} bytes")));
    }
    let mut frame = vec![0; size];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(400)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
