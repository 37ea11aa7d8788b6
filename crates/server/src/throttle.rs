//! What a client above its quota gets: its answer at once, with the time that it shall wait, and no
//! ear for as long (KIP-219). How much is too much is a rule of `node/quotas`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_metadata::quotas::QuotaKind;
use ottla_node::Services;
use ottla_protocol::Versioned;
use ottla_protocol::messages::WriteTxnMarkersRequest;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::session::Call;

/// Nodes among themselves are not paused for the time that their requests take.
const EXEMPT: [i16; 1] = [WriteTxnMarkersRequest::KEY];

/// Settles a request that is about to be answered: what the handler has found, and the time that
/// it took. Whichever asks for the longer pause is told, and counts.
pub(crate) fn settle<R: Versioned>(services: &Services, call: &Call, response: &mut R) {
    let of_handler = u64::try_from(response.throttle_time_ms()).unwrap_or(0);
    let pause_ms = pause(
        services,
        call,
        QuotaKind::ControllerMutation,
        of_handler,
        of_request(services, call),
    );
    if pause_ms > 0 {
        response.set_throttle_time_ms(pause_ms);
    }
}

/// Counts the time that a request took.
pub(crate) fn of_request(services: &Services, call: &Call) -> u64 {
    let quotas = services.quotas();
    if !quotas.of(QuotaKind::Request).is_enabled() {
        return 0;
    }
    if EXEMPT.contains(&call.key) {
        quotas.record_exempt(call.busy.nanos());
        return 0;
    }
    quotas.record_request(call.client(), call.busy.nanos())
}

/// Begins the longer one of two pauses, if there is any; the milliseconds to tell.
pub(crate) fn pause(
    services: &Services,
    call: &Call,
    kind: QuotaKind,
    of_kind_ms: u64,
    of_request_ms: u64,
) -> i32 {
    let (kind, pause_ms) = match of_kind_ms > of_request_ms || of_request_ms == 0 {
        true => (kind, of_kind_ms),
        false => (QuotaKind::Request, of_request_ms),
    };
    if pause_ms > 0 {
        let quotas = services.quotas();
        let quota = quotas.of(kind);
        quota.pausing(call.client(), pause_ms, quotas.now_ms());
        let told = i32::try_from(pause_ms).unwrap_or(i32::MAX);
        let until = Instant::now() + Duration::from_millis(u64::from(told.unsigned_abs()));
        if call.session.pause.extend(until, kind).is_none() {
            quota.pauses_changed(1);
        }
        return told;
    }
    0
}

/// Measures how long a request is worked on, if anybody wants to know.
pub(crate) fn timed(
    services: &Services,
    call: &Arc<Call>,
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    if !services.quotas().of(QuotaKind::Request).is_enabled() {
        return answer;
    }
    Box::pin(Timed {
        call: call.clone(),
        answer,
    })
}

struct Timed {
    call: Arc<Call>,
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

impl Future for Timed {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.call.busy.begin();
        let polled = self.answer.as_mut().poll(context);
        self.call.busy.finish();
        polled
    }
}
