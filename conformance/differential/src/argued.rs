//! Why a field or a version could not be reached on one broker, one line each.

/// The reason for a field, if there is one.
pub fn reason(place: &str, field: &str, versions: &[i16]) -> Option<&'static str> {
    let found = REASONS.iter().find(|(a, b, from, to, _)| {
        (*a == place || *a == ANY)
            && *b == field
            && versions
                .iter()
                .all(|version| (from..=to).contains(&version))
    });
    found.map(|(.., reason)| *reason)
}

/// The reason for a whole version.
pub fn pair(_request: &str, _version: i16) -> Option<&'static str> {
    None
}

const ANY: &str = "*";
const LAST: i16 = i16::MAX;

type Reason = (&'static str, &'static str, i16, i16, &'static str);

const REASONS: &[Reason] = &[("-", ANY, 0, LAST, "-")];
