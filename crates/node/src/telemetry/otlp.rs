//! OpenTelemetry's `MetricsData`, as far as clients of Kafka use it: gauges, sums, and the sum and
//! count of histograms and summaries, with their attributes. Pure; any bytes end in a list or in
//! [`NotOtlp`], and the list is no longer than its bound.

/// Points in one push. Kafka's clients have a few hundred; a megabyte could hold a hundred thousand.
const POINTS_MAX: usize = 2000;
/// Attributes of one point; Kafka's clients have at most four.
const ATTRIBUTES_MAX: usize = 16;
/// A name or a value longer than this is cut.
const TEXT_MAX: usize = 200;

/// One value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) metric: String,
    /// In the order of their names.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) value: f64,
    /// To be added to what was pushed before.
    pub(super) is_delta: bool,
}

/// Bytes that are no metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotOtlp;

type Read<T> = Result<T, NotOtlp>;

const DELTA: u64 = 1;

/// The values of a push.
pub(super) fn points(bytes: &[u8]) -> Read<Vec<Point>> {
    let mut points = Vec::new();
    for field in Fields(bytes) {
        // MetricsData.resource_metrics
        if let (1, Value::Bytes(resource_metrics)) = field? {
            for field in Fields(resource_metrics) {
                // ResourceMetrics.scope_metrics
                if let (2, Value::Bytes(scope_metrics)) = field? {
                    for field in Fields(scope_metrics) {
                        // ScopeMetrics.metrics
                        if let (2, Value::Bytes(metric)) = field? {
                            read_metric(metric, &mut points)?;
                        }
                    }
                }
            }
        }
    }
    Ok(points)
}

fn read_metric(bytes: &[u8], points: &mut Vec<Point>) -> Read<()> {
    let mut name = String::new();
    for field in Fields(bytes) {
        if let (1, Value::Bytes(text)) = field? {
            name = cut(text);
        }
    }
    for field in Fields(bytes) {
        match field? {
            (kind @ (5 | 7), Value::Bytes(body)) => {
                let is_delta = kind == 7 && temporality(body)? == DELTA;
                for point in data_points(body) {
                    push(points, read_number(&name, point?, is_delta)?);
                }
            }
            // Histogram, ExponentialHistogram, Summary
            (kind @ (9..=11), Value::Bytes(body)) => {
                let is_delta = kind != 11 && temporality(body)? == DELTA;
                for point in data_points(body) {
                    for point in read_distribution(&name, point?, kind, is_delta)? {
                        push(points, Some(point));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn push(points: &mut Vec<Point>, point: Option<Point>) {
    if points.len() < POINTS_MAX {
        points.extend(point);
    }
}

/// The field of that number is in Sum, Histogram and ExponentialHistogram alike.
fn temporality(bytes: &[u8]) -> Read<u64> {
    let mut found = 0;
    for field in Fields(bytes) {
        if let (2, Value::Varint(value)) = field? {
            found = value;
        }
    }
    Ok(found)
}

fn data_points(bytes: &[u8]) -> impl Iterator<Item = Read<&[u8]>> {
    Fields(bytes).filter_map(|field| match field {
        Ok((1, Value::Bytes(point))) => Some(Ok(point)),
        Ok(_) => None,
        Err(why) => Some(Err(why)),
    })
}

fn read_number(name: &str, bytes: &[u8], is_delta: bool) -> Read<Option<Point>> {
    let (mut value, mut attributes) = (None, Vec::new());
    for field in Fields(bytes) {
        match field? {
            (4, Value::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
            (6, Value::Fixed64(bits)) => value = Some(bits.cast_signed() as f64),
            (7, Value::Bytes(attribute)) => read_attribute(attribute, &mut attributes)?,
            _ => {}
        }
    }
    attributes.sort();
    Ok(value.map(|value| Point {
        metric: name.to_owned(),
        attributes,
        value,
        is_delta,
    }))
}

fn read_distribution(name: &str, bytes: &[u8], kind: u32, is_delta: bool) -> Read<[Point; 2]> {
    // A HistogramDataPoint has its attributes elsewhere than the two others.
    let attribute = match kind {
        9 => 9,
        10 => 1,
        _ => 7,
    };
    let (mut sum, mut count, mut attributes) = (0.0, 0.0, Vec::new());
    for field in Fields(bytes) {
        match field? {
            (4, Value::Fixed64(n)) => count = n as f64,
            (5, Value::Fixed64(bits)) => sum = f64::from_bits(bits),
            (number, Value::Bytes(bytes)) if number == attribute => {
                read_attribute(bytes, &mut attributes)?;
            }
            _ => {}
        }
    }
    attributes.sort();
    let point = |suffix: &str, value| Point {
        metric: format!("{name}{suffix}"),
        attributes: attributes.clone(),
        value,
        is_delta,
    };
    Ok([point(".sum", sum), point(".count", count)])
}

fn read_attribute(bytes: &[u8], attributes: &mut Vec<(String, String)>) -> Read<()> {
    let (mut name, mut value) = (String::new(), String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(text)) => name = cut(text),
            (2, Value::Bytes(any)) => {
                for field in Fields(any) {
                    value = match field? {
                        (1, Value::Bytes(text)) => cut(text),
                        (2, Value::Varint(n)) => (n != 0).to_string(),
                        (3, Value::Varint(n)) => n.cast_signed().to_string(),
                        (4, Value::Fixed64(bits)) => f64::from_bits(bits).to_string(),
                        _ => continue,
                    };
                }
            }
            _ => {}
        }
    }
    if attributes.len() < ATTRIBUTES_MAX {
        attributes.push((name, value));
    }
    Ok(())
}

fn cut(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..TEXT_MAX).unwrap_or(text));
    text.into_owned()
}

/// A value as it stands on the wire.
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Read<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Read<(u32, Value<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| NotOtlp)?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Value::Fixed64(u64::from_le_bytes(bytes.try_into().map_err(|_| NotOtlp)?))
            }
            2 => {
                let n_bytes = usize::try_from(self.varint()?).map_err(|_| NotOtlp)?;
                Value::Bytes(self.take(n_bytes)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return Err(NotOtlp),
        };
        match number {
            0 => Err(NotOtlp),
            number => Ok((number, value)),
        }
    }

    fn varint(&mut self) -> Read<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first().ok_or(NotOtlp)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(NotOtlp)
    }

    fn take(&mut self, n_bytes: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n_bytes).ok_or(NotOtlp)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    pub(in crate::telemetry) fn message(number: u64, body: &[u8]) -> Vec<u8> {
        [
            varint(number << 3 | 2),
            varint(body.len() as u64),
            body.to_vec(),
        ]
        .concat()
    }

    fn fixed(number: u64, bits: u64) -> Vec<u8> {
        [varint(number << 3 | 1), bits.to_le_bytes().to_vec()].concat()
    }

    /// MetricsData with one sum of one point.
    pub(in crate::telemetry) fn sum(name: &str, value: f64, is_delta: bool) -> Vec<u8> {
        let attribute = [message(1, b"node"), message(2, &message(1, b"7"))].concat();
        let point = [fixed(4, value.to_bits()), message(7, &attribute)].concat();
        let temporality = vec![2 << 3, if is_delta { 1 } else { 2 }];
        let sum = [message(1, &point), temporality].concat();
        let metric = [message(1, name.as_bytes()), message(7, &sum)].concat();
        message(1, &message(2, &message(2, &metric)))
    }

    #[test]
    fn a_sum_is_read_with_its_attributes() {
        let expected = Point {
            metric: "m".to_owned(),
            attributes: vec![("node".to_owned(), "7".to_owned())],
            value: 2.5,
            is_delta: true,
        };
        assert_eq!(points(&sum("m", 2.5, true)), Ok(vec![expected]));
        let cumulative = points(&sum("m", 2.5, false)).unwrap();
        assert!(!cumulative[0].is_delta);
    }

    #[test]
    fn gauges_whole_numbers_and_histograms_are_read() {
        let gauge = message(5, &message(1, &fixed(6, (-3_i64).cast_unsigned())));
        let metric = [message(1, b"g"), gauge].concat();
        let histogram = [fixed(4, 2), fixed(5, 9.0_f64.to_bits())].concat();
        let histogram = [message(1, b"h"), message(9, &message(1, &histogram))].concat();
        let both = [message(2, &metric), message(2, &histogram)].concat();
        let read = points(&message(1, &message(2, &both))).unwrap();
        let values: Vec<(&str, f64)> = read
            .iter()
            .map(|point| (point.metric.as_str(), point.value))
            .collect();
        assert_eq!(values, [("g", -3.0), ("h.sum", 9.0), ("h.count", 2.0)]);
    }

    #[test]
    fn what_is_no_message_is_refused_at_every_length() {
        let whole = sum("m", 1.0, true);
        assert_eq!(points(&[]), Ok(Vec::new()));
        for end in 1..whole.len() {
            assert_eq!(points(&whole[..end]), Err(NotOtlp), "{end} bytes");
        }
        for bytes in [
            &[0xff; 20][..],
            &[0x0b],
            &[0x00, 0x01],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert_eq!(points(bytes), Err(NotOtlp), "{bytes:?}");
        }
    }

    #[test]
    fn points_without_end_are_cut() {
        let many = sum("m", 1.0, true).repeat(POINTS_MAX + 10);
        assert_eq!(points(&many).unwrap().len(), POINTS_MAX);
        let long = "n".repeat(10 * TEXT_MAX);
        assert_eq!(
            points(&sum(&long, 1.0, true)).unwrap()[0].metric.len(),
            TEXT_MAX
        );
    }
}
