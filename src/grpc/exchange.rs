//! One call on the wire: the received part of its request, the unsent part of its answer, and its permit.
//!
//! An [`Exchange`] lives as long as any part of its call: the body of the request, the body of the answer, and the last
//! byte of the answer that `h2` has not written. The permit and the charges end with it. [`RequestBody`] and
//! [`ResponseBody`] are the two bodies.
//!
//! These are charged ([`super::budget`]):
//! - A message, from the moment when its length is known (`tonic` allocates for it then) until the call has used it.
//! - The entries of a message, once they are decoded.
//! - A long answer to `Rank`, before it is computed, by the length of earlier ones.
//! - An answer of a stream, while it waits to be encoded.
//! - Any answer, from its encoding until it is written or dropped.

mod arriving;
mod leaving;

use std::any::Any;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use futures_util::task::AtomicWaker;
use tonic::Status;

pub(super) use self::arriving::RequestBody;
pub(super) use self::leaving::{ResponseBody, charged};
use super::budget::{Account, Charge, Full, SMALL, Waiting};
use super::status;

/// How many times the bytes of its encoding an answer takes while decoded: texts have 24 bytes each beside their
/// content, messages more.
const DECODED: usize = 4;

/// What all parts of a call share.
pub(super) struct Exchange {
    account: Arc<Account>,
    /// The charge of the message that the call works on.
    request: Mutex<Option<Charge>>,
    /// The charge of an answer that is decided and not encoded.
    answer: Mutex<Option<Charge>>,
    /// Whether answers are charged before they reach their body.
    charged_before: AtomicBool,
    permit: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Whether it is the server's turn.
    busy: AtomicBool,
    /// Pieces of the answer that were handed to `h2`.
    handed: AtomicU64,
    /// Those that were written or dropped.
    gone: AtomicU64,
    /// Wakes the body of the answer when a piece of it was sent.
    left: AtomicWaker,
}

tokio::task_local! {
    /// The call whose messages are decoded.
    static CURRENT: Arc<Exchange>;
}

impl Exchange {
    /// Begins a call.
    pub(super) fn begin(account: &Arc<Account>) -> Arc<Self> {
        account.busy.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            account: Arc::clone(account),
            request: Mutex::default(),
            answer: Mutex::default(),
            charged_before: AtomicBool::new(false),
            permit: OnceLock::new(),
            busy: AtomicBool::new(true),
            handed: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            left: AtomicWaker::new(),
        })
    }

    /// Keeps `permit` until the answer is written or dropped.
    pub(super) fn keep(&self, permit: Arc<dyn Any + Send + Sync>) {
        // A call is admitted once.
        _ = self.permit.set(permit);
    }

    /// The call whose messages are being decoded, if any.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Runs `work` as part of the call, where there is one.
    pub(super) async fn within<T>(exchange: Option<Arc<Self>>, work: impl Future<Output = T>) -> T {
        match exchange {
            Some(exchange) => CURRENT.scope(exchange, work).await,
            None => work.await,
        }
    }

    /// Charges what the entries of the current message take beside its bytes.
    ///
    /// # Errors
    /// When the budget has no space for them.
    pub(super) fn charge_entries(bytes: usize) -> Result<(), Status> {
        let charged = CURRENT.try_with(|exchange| {
            let charge = exchange.account.charge(bytes).map_err(|full| no_room(bytes, full))?;
            exchange.hold(charge);
            Ok(())
        });
        // A call that did not begin on the wire, as in a test of a service, is not counted.
        charged.unwrap_or(Ok(()))
    }

    /// Waits until an answer of about so many encoded bytes fits the budget, and holds the charge until it is encoded.
    /// Short answers reserve nothing.
    ///
    /// # Errors
    /// When it does not fit by `deadline`.
    pub(super) async fn reserve_answer(encoded: usize, deadline: Option<Instant>) -> Result<(), Status> {
        let bytes = encoded.saturating_mul(DECODED);
        if bytes <= SMALL {
            return Ok(());
        }
        let Ok(exchange) = CURRENT.try_with(Arc::clone) else { return Ok(()) };
        // A larger charge than the whole budget would wait for ever.
        let bytes = bytes.min(exchange.account.room(bytes));
        let charge = match exchange.account.charge(bytes) {
            Ok(charge) => charge,
            Err(full) => {
                let mut waiting = Waiting::new(&exchange.account, bytes, full);
                let waited = poll_fn(|context| waiting.poll_charge(context));
                match deadline {
                    None => waited.await,
                    Some(deadline) => tokio::time::timeout_at(deadline.into(), waited)
                        .await
                        .map_err(|_| no_room(bytes, full))?,
                }
            }
        };
        let before = lock(&exchange.answer).replace(charge);
        drop(before);
        Ok(())
    }

    /// Charges what an answer of `encoded` bytes takes, until it is encoded.
    ///
    /// # Errors
    /// When the budget has no space for it.
    pub(super) fn charge_answer(encoded: usize) -> Result<(), Status> {
        let charged = CURRENT.try_with(|exchange| {
            let bytes = encoded.saturating_mul(DECODED);
            // The charge replaces the reservation of this answer.
            exchange.release_answer();
            let charge = exchange.account.charge(bytes).map_err(|full| no_room(bytes, full))?;
            *lock(&exchange.answer) = Some(charge);
            Ok(())
        });
        charged.unwrap_or(Ok(()))
    }

    /// The answer was encoded.
    fn release_answer(&self) {
        let charge = lock(&self.answer).take();
        drop(charge);
    }

    /// Adds a charge to the current message.
    fn hold(&self, charge: Charge) {
        match &mut *lock(&self.request) {
            Some(held) => held.join(charge),
            none => *none = Some(charge),
        }
    }

    /// The message was used.
    pub(super) fn release_request(&self) {
        let charge = lock(&self.request).take();
        drop(charge);
    }

    /// Records whether it is the server's turn.
    fn turn(&self, busy: bool) {
        if self.busy.swap(busy, Ordering::Relaxed) != busy {
            if busy {
                self.account.busy.fetch_add(1, Ordering::Relaxed);
            } else {
                self.account.busy.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether the peer has unread pieces of the answer, and a number that grows when one is sent.
    pub(super) fn unread(&self) -> Option<u64> {
        let gone = self.gone.load(Ordering::Acquire);
        (self.handed.load(Ordering::Relaxed) != gone).then_some(gone)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.turn(false);
    }
}

/// A charge of a call; only one task uses it at a time.
fn lock(charge: &Mutex<Option<Charge>>) -> MutexGuard<'_, Option<Charge>> {
    charge.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The budget is full for now.
fn no_room(bytes: usize, full: Full) -> Status {
    let whose = match full {
        Full::Connection => "limits.connection_memory",
        Full::Server => "limits.memory",
    };
    status::exhausted(&format!(
        "{whose} has no room for {bytes} bytes: read the pending answers, and send less at a time"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn room_for_an_answer_is_waited_for_and_given_back() {
        const MIB: usize = 1 << 20;
        let budget = Arc::new(Budget::new(8 * MIB));
        let account = Arc::new(Account::new(Arc::clone(&budget), 8 * MIB));
        let call = || Exchange::begin(&account);
        let reserve = |exchange: &Arc<Exchange>, bytes, deadline| {
            Exchange::within(Some(Arc::clone(exchange)), Exchange::reserve_answer(bytes, deadline))
        };
        let (short, first, second, late) = (call(), call(), call(), call());
        reserve(&short, SMALL / DECODED, None).await.unwrap();
        assert_eq!(budget.held(), 0);
        // A reservation is capped at the whole budget.
        reserve(&first, 100 * MIB, None).await.unwrap();
        assert_eq!(budget.held(), 6 * MIB);
        let soon = Instant::now() + std::time::Duration::from_secs(1);
        let refused = reserve(&late, MIB, Some(soon)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let waited = tokio::spawn(reserve(&second, MIB, None));
        tokio::task::yield_now().await;
        assert!(!waited.is_finished());
        // The answer replaces its reservation, beside which it would not fit.
        Exchange::within(Some(Arc::clone(&first)), async { Exchange::charge_answer(5 << 18) }).await.unwrap();
        assert_eq!(budget.held(), 5 * MIB);
        first.release_answer();
        waited.await.unwrap().unwrap();
        assert_eq!(budget.held(), 4 * MIB);
        drop(second);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn turns_are_counted_once_each() {
        let exchange = Exchange::begin(&Arc::new(Account::new(Arc::new(Budget::new(1)), 1)));
        let account = Arc::clone(&exchange.account);
        let busy = || account.busy.load(Ordering::Relaxed);
        assert_eq!(busy(), 1);
        for (mine, expected) in [(true, 1), (false, 0), (false, 0), (true, 1)] {
            exchange.turn(mine);
            assert_eq!(busy(), expected);
        }
        drop(exchange);
        assert_eq!(busy(), 0);
    }
}
