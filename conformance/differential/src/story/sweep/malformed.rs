//! Requests that are none: bytes too few, too many, and such as no client writes.

use bytes::Bytes;

/// A tag that no message has.
const NO_TAG: u8 = 99;
/// The place of the client id's length in a header: behind key, version and correlation id.
const CLIENT_ID_AT: usize = 8;

type Spoilt = (&'static str, Vec<u8>, Vec<u8>);

/// What becomes of a request's header and body, by label. `grown` are bodies in which one list is
/// longer by one element; `name` begins the names in them.
pub(super) fn spoilt(
    header: &[u8],
    body: &[u8],
    is_flexible: bool,
    grown: &[Bytes],
    name: &[u8],
) -> Vec<Spoilt> {
    let mut all: Vec<Spoilt> = Vec::new();
    let mut add = |label, body: Vec<u8>| all.push((label, header.to_vec(), body));
    add("bytes behind the end", [body, b"more"].concat());
    if !body.is_empty() {
        add("no body", Vec::new());
    }
    if body.len() > 1 {
        add("a byte short", body[..body.len() - 1].to_vec());
        add("half of it", body[..body.len() / 2].to_vec());
    }
    // Without a tag of its own the body ends in the number of its tags.
    if let Some((0, front)) = body.split_last().filter(|_| is_flexible) {
        let tagged = |tags: &[u8]| [front, tags].concat();
        add("unknown tag", tagged(&[1, NO_TAG, 3, 1, 2, 3]));
        add("tag longer than the request", tagged(&[1, NO_TAG, 100, 1]));
        add("more tags than there are", tagged(&[9, NO_TAG, 0]));
        add(
            "tags out of order",
            tagged(&[2, NO_TAG, 1, 7, NO_TAG - 1, 1, 7]),
        );
    }
    for grown in grown {
        for (label, body) in counted(body, grown, is_flexible) {
            add(label, body);
        }
    }
    if let Some(body) = without_utf8(body, name) {
        add("a name that is not UTF-8", body);
    }
    // Where there is no body to speak of, the header is what can be wrong.
    if body.len() <= 1 {
        all.extend(headers(header, body));
    }
    all
}

/// The length of the list in which the two differ, as it cannot be.
fn counted(body: &[u8], grown: &[u8], is_flexible: bool) -> Vec<(&'static str, Vec<u8>)> {
    let same = body.iter().zip(grown).take_while(|(a, b)| a == b).count();
    // The last byte of the length is what differs; a compact length of few elements is one byte.
    let from = if is_flexible {
        same
    } else {
        same.saturating_sub(3)
    };
    let Some(count) = body.get(from..=same) else {
        return Vec::new();
    };
    let with = |count: &[u8]| [&body[..from], count, &body[same + 1..]].concat();
    let mut one_more = count.to_vec();
    if let Some(last) = one_more.last_mut() {
        *last = last.wrapping_add(1);
    }
    let mut all = vec![("one element too few", with(&one_more))];
    if is_flexible {
        all.push(("a list without end", with(&[0xff, 0xff, 0xff, 0xff, 0x07])));
        all.push(("a length that does not end", with(&[0xff; 6])));
        all.push(("no list", with(&[0])));
    } else {
        all.push(("a list without end", with(&i32::MAX.to_be_bytes())));
        all.push(("a list of -2", with(&(-2i32).to_be_bytes())));
        all.push(("no list", with(&(-1i32).to_be_bytes())));
    }
    all
}

fn without_utf8(body: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let at = body.windows(name.len()).position(|window| window == name)?;
    let mut body = body.to_vec();
    body[at] = 0xff;
    Some(body)
}

fn headers(header: &[u8], body: &[u8]) -> Vec<Spoilt> {
    let with_length = |length: i16| {
        let mut header = header.to_vec();
        header[CLIENT_ID_AT..CLIENT_ID_AT + 2].copy_from_slice(&length.to_be_bytes());
        header
    };
    let cut = |n: usize| header[..n].to_vec();
    let mut not_utf8 = header.to_vec();
    not_utf8[CLIENT_ID_AT + 2] = 0xff;
    let of = |label, header| (label, header, body.to_vec());
    vec![
        of("client id longer than the frame", with_length(i16::MAX)),
        of("client id that is not UTF-8", not_utf8),
        ("a header of key and version", cut(4), Vec::new()),
        (
            "a header without a client id",
            cut(CLIENT_ID_AT),
            Vec::new(),
        ),
        ("a client id cut short", cut(CLIENT_ID_AT + 4), Vec::new()),
    ]
}

#[cfg(test)]
mod tests {
    use super::{counted, spoilt, without_utf8};

    #[test]
    fn every_label_has_bytes_of_its_own() {
        let header = b"\0\x12\0\0\0\0\0\x01\0\x03abc".to_vec();
        for is_flexible in [true, false] {
            let all = spoilt(
                &header,
                b"\0\0\0\x01\0\x04name\0",
                is_flexible,
                &[],
                b"name",
            );
            let mut bytes: Vec<_> = all.iter().map(|(_, head, body)| (head, body)).collect();
            let n = bytes.len();
            bytes.sort();
            bytes.dedup();
            assert_eq!(bytes.len(), n);
            assert!(n >= 5, "{n}");
        }
        assert!(spoilt(&header, b"", false, &[], b"name").len() >= 5);
    }

    #[test]
    fn the_length_of_a_list_is_found_where_it_grew() {
        let all = counted(b"\x07\0\0\0\x01ab", b"\x07\0\0\0\x02abab", false);
        let endless = b"\x07\x7f\xff\xff\xffab".to_vec();
        assert!(all.contains(&("a list without end", endless)));
        assert!(all.contains(&("one element too few", b"\x07\0\0\0\x02ab".to_vec())));
        let compact = counted(b"\x07\x02ab\0", b"\x07\x03abab\0", true);
        assert!(compact.contains(&("no list", b"\x07\0ab\0".to_vec())));
        assert!(counted(b"", b"", true).is_empty());
    }

    #[test]
    fn a_name_loses_its_encoding() {
        assert_eq!(
            without_utf8(b"\0name", b"name"),
            Some(b"\0\xffame".to_vec())
        );
        assert_eq!(without_utf8(b"\0", b"name"), None);
    }
}
