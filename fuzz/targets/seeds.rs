//! First inputs for the targets: every message filled, and batches of every codec.
//! `seeds FOLDER` writes `FOLDER/request` and `FOLDER/batch`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_protocol::Versioned;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::field::write_body;
use ottla_protocol::frame;
use ottla_protocol::header::RequestHeader;
use ottla_protocol::messages::*;
use ottla_protocol::testing::{Sample, Sampler};

#[path = "../../crates/protocol/tests/every/mod.rs"]
mod every;

const RESPONSES_FROM: i16 = 0x4000;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).expect("seeds FOLDER"));
    requests(&folder.join("request"))?;
    batches(&folder.join("batch"))
}

fn requests(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    macro_rules! one {
        ($message:ident) => {
            for version in $message::VERSIONS.0..=$message::VERSIONS.1 {
                let name = format!("{}-{version}", $message::NAME);
                if $message::NAME.ends_with("Request") {
                    std::fs::write(folder.join(name), request::<$message>(version))?;
                } else if $message::NAME.ends_with("Response") {
                    std::fs::write(folder.join(name), response::<$message>(version))?;
                }
            }
        };
    }
    every_message!(one);
    Ok(())
}

fn request<M: Versioned + Sample>(version: i16) -> Bytes {
    framed::<M>(version, M::KEY, true)
}

/// As the target reads it: the start of a request, then the response.
fn response<M: Versioned + Sample>(version: i16) -> Bytes {
    framed::<M>(version, M::KEY + RESPONSES_FROM, false)
}

fn framed<M: Versioned + Sample>(version: i16, api_key: i16, with_client: bool) -> Bytes {
    let mut writer = frame::open();
    if with_client {
        let client_id = Some("seed".into());
        let header = RequestHeader {
            api_key,
            api_version: version,
            correlation_id: 1,
            client_id,
        };
        header
            .encode(&mut writer, M::version(version).flexible)
            .expect("a header");
    } else {
        writer.i16(api_key);
        writer.i16(version);
        writer.i32(1);
    }
    let message = M::sample(&mut Sampler::full(1), M::version(version));
    write_body(&message, version, &mut writer).expect("a filled message");
    frame::close(writer)
}

fn batches(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::data(codec).producer(7, 1, 3);
        builder.push(1_000, Some(b"key"), Some(&[b'v'; 100]));
        builder.push(1_001, None, None);
        let header: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1")), (b"a", None)];
        builder.push_with_headers(999, Some(b""), Some(b"value"), &header);
        let batch = builder.finish();
        std::fs::write(folder.join(codec.name()), &batch)?;
        std::fs::write(
            folder.join(format!("{}-twice", codec.name())),
            [&batch[..], &batch].concat(),
        )?;
    }
    Ok(())
}
