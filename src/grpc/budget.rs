//! Memory budgets: how many bytes of requests and answers one connection and all connections hold, and which calls wait
//! for memory.
//!
//! A budget is one counter. Held bytes are a [`Charge`], which gives them back when it is dropped, so that no exit of a
//! call can leak them. The path of a call has no lock: a charge adds to two counters, that of the connection and that
//! of the server. Only a charge that does not fit waits in line. Start reading at [`Account`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The most bytes of a small piece. Small pieces may use the last part of a budget (`RESERVE`), so short messages and
/// their answers fit when long ones have used the rest.
pub(super) const SMALL: usize = 64 << 10;

/// One part in so many of a budget is reserved for small pieces.
const RESERVE: usize = 4;

/// A counter of bytes with an upper bound.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    held: AtomicUsize,
    /// How many wait for memory; while it is 0, no one is notified.
    waiting: AtomicUsize,
    freed: Arc<Notify>,
}

impl Budget {
    /// Holds at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: AtomicUsize::new(0), waiting: AtomicUsize::new(0), freed: Arc::default() }
    }

    /// Bytes that are held.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The value up to which `bytes` may raise the counter.
    fn bound(&self, bytes: usize) -> usize {
        if bytes <= SMALL { self.most } else { self.most - self.most / RESERVE }
    }

    fn take(&self, bytes: usize) -> bool {
        let bound = self.bound(bytes);
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= bound);
        self.held.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        // A waiter that counts itself after this load sees the freed bytes.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}

/// What one connection holds, within its own budget and the server's.
#[derive(Debug)]
pub(super) struct Account {
    server: Arc<Budget>,
    own: Budget,
    /// Pieces of answers that were handed to the connection.
    pub handed: AtomicU64,
    /// Those that were written or dropped.
    pub gone: AtomicU64,
    /// Frames of requests that have arrived.
    pub arrived: AtomicU64,
    /// Calls in which it is the server's turn: it waits neither for bytes from the peer nor for the peer to read.
    pub busy: AtomicUsize,
}

/// Which budget is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// That of the connection.
    Connection,
    /// That of the server.
    Server,
}

impl Account {
    /// An account of a connection that may hold `most` bytes of the budget of `server`.
    pub(super) fn new(server: Arc<Budget>, most: usize) -> Self {
        Self {
            server,
            own: Budget::new(most),
            handed: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
        }
    }

    /// An account of calls that came over none of our connections.
    pub(super) fn unbounded() -> Arc<Self> {
        Arc::new(Self::new(Arc::new(Budget::new(usize::MAX)), usize::MAX))
    }

    /// Pieces of answers that the peer has not read.
    pub(super) fn unread(&self) -> u64 {
        self.handed.load(Ordering::Relaxed).wrapping_sub(self.gone.load(Ordering::Relaxed))
    }

    /// Grows with every frame that arrives and every piece of an answer that leaves.
    pub(super) fn progress(&self) -> u64 {
        self.gone.load(Ordering::Relaxed).wrapping_add(self.arrived.load(Ordering::Relaxed))
    }

    /// The most bytes that one piece may ever take.
    pub(super) fn room(&self, bytes: usize) -> usize {
        self.own.bound(bytes).min(self.server.bound(bytes))
    }

    /// Holds `bytes` until the charge is dropped.
    ///
    /// # Errors
    /// Which budget has no room.
    pub(super) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, Full> {
        if !self.own.take(bytes) {
            return Err(Full::Connection);
        }
        if !self.server.take(bytes) {
            self.own.give_back(bytes);
            return Err(Full::Server);
        }
        Ok(Charge { account: Arc::clone(self), bytes })
    }

    fn budget(&self, full: Full) -> &Budget {
        match full {
            Full::Connection => &self.own,
            Full::Server => &self.server,
        }
    }
}

/// Bytes that are held.
#[derive(Debug)]
pub(super) struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    /// Adds what `other` holds to this charge.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.account.server.give_back(self.bytes);
            self.account.own.give_back(self.bytes);
        }
    }
}

/// Waits in line for memory.
#[derive(Debug)]
pub(super) struct Waiting {
    account: Arc<Account>,
    bytes: usize,
    full: Full,
    freed: Pin<Box<OwnedNotified>>,
}

impl Waiting {
    /// Joins the line of the budget that has no space for `bytes`.
    pub(super) fn new(account: &Arc<Account>, bytes: usize, full: Full) -> Self {
        let budget = account.budget(full);
        budget.waiting.fetch_add(1, Ordering::SeqCst);
        let freed = Box::pin(Arc::clone(&budget.freed).notified_owned());
        Self { account: Arc::clone(account), bytes, full, freed }
    }

    /// The charge, once it fits.
    pub(super) fn poll_charge(&mut self, context: &mut Context<'_>) -> Poll<Charge> {
        loop {
            // From here on a notification also counts for this waiter.
            let told = self.freed.as_mut().enable();
            match self.account.charge(self.bytes) {
                Ok(charge) => {
                    // There may be space for the next in line.
                    self.account.budget(self.full).freed.notify_one();
                    return Poll::Ready(charge);
                }
                Err(full) if full != self.full => {
                    let (account, bytes) = (Arc::clone(&self.account), self.bytes);
                    *self = Self::new(&account, bytes, full);
                }
                Err(_) => {
                    if !told {
                        ready!(self.freed.as_mut().poll(context));
                    }
                    let budget = self.account.budget(self.full);
                    self.freed.set(Arc::clone(&budget.freed).notified_owned());
                }
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let budget = self.account.budget(self.full);
        // The next waiter must get the notification that this one received.
        if budget.waiting.fetch_sub(1, Ordering::SeqCst) > 1 {
            budget.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;

    fn accounts(server: usize, connection: usize, count: usize) -> (Arc<Budget>, Vec<Arc<Account>>) {
        let budget = Arc::new(Budget::new(server));
        let account = || Arc::new(Account::new(Arc::clone(&budget), connection));
        let accounts = std::iter::repeat_with(account).take(count).collect();
        (budget, accounts)
    }

    #[test]
    fn the_last_fourth_is_for_small_pieces() {
        let (server, accounts) = accounts(4 * MIB, 4 * MIB, 2);
        let long = accounts[0].charge(3 * MIB).unwrap();
        assert_eq!(accounts[0].charge(SMALL + 1).unwrap_err(), Full::Connection);
        assert_eq!(accounts[1].charge(SMALL + 1).unwrap_err(), Full::Server);
        let short: Vec<Charge> = (0..16).map(|_| accounts[1].charge(SMALL).unwrap()).collect();
        assert_eq!(accounts[1].charge(1).unwrap_err(), Full::Server);
        assert_eq!(server.held(), 4 * MIB);
        drop((long, short));
        assert_eq!(server.held(), 0);
        assert_eq!((accounts[0].room(SMALL + 1), accounts[0].room(SMALL)), (3 * MIB, 4 * MIB));
    }

    #[tokio::test]
    async fn who_waits_is_served_when_there_is_room() {
        let (server, accounts) = accounts(8 * MIB, 4 * MIB, 3);
        let first = accounts[0].charge(3 * MIB).unwrap();
        let second = accounts[1].charge(3 * MIB).unwrap();
        let mut lines = tokio::task::JoinSet::new();
        for account in &accounts {
            for _ in 0..10 {
                let full = account.charge(2 * MIB).unwrap_err();
                let mut waiting = Waiting::new(account, 2 * MIB, full);
                lines.spawn(async move {
                    let charge = poll_fn(|context| waiting.poll_charge(context)).await;
                    tokio::task::yield_now().await;
                    drop(charge);
                });
            }
        }
        // Some waiters give up; others must get their notifications.
        let mut left = 30;
        tokio::task::yield_now().await;
        drop(first);
        lines.abort_all();
        while lines.join_next().await.is_some() {
            left -= 1;
        }
        drop(second);
        assert_eq!((left, server.held()), (0, 0));
        let whole = accounts[2].charge(3 * MIB).unwrap();
        let mut waiting = Waiting::new(&accounts[2], MIB, Full::Connection);
        let waited = tokio::spawn(async move { poll_fn(|context| waiting.poll_charge(context)).await });
        tokio::task::yield_now().await;
        assert!(!waited.is_finished());
        drop(whole);
        assert_eq!(waited.await.unwrap().bytes, MIB);
        assert_eq!(server.held(), 0);
    }

    #[tokio::test]
    async fn everyone_in_line_is_served() {
        let (server, accounts) = accounts(8 * MIB, 4 * MIB, 4);
        let mut lines = tokio::task::JoinSet::new();
        for turn in 0..100 {
            let account = Arc::clone(&accounts[turn % 4]);
            let bytes = SMALL + 1 + (turn * 37 % 29) * 100_000;
            lines.spawn(async move {
                let charge = match account.charge(bytes) {
                    Ok(charge) => charge,
                    Err(full) => {
                        let mut waiting = Waiting::new(&account, bytes, full);
                        poll_fn(|context| waiting.poll_charge(context)).await
                    }
                };
                for _ in 0..turn % 5 {
                    tokio::task::yield_now().await;
                }
                drop(charge);
            });
        }
        while let Some(served) = lines.join_next().await {
            served.unwrap();
        }
        assert_eq!(server.held(), 0);
    }

    proptest! {
        #[test]
        fn what_is_held_is_what_is_charged_and_never_too_much(
            steps in prop::collection::vec((0_usize..3, 1_usize..3 * MIB, any::<prop::sample::Index>()), 1..200),
        ) {
            let (server, accounts) = accounts(8 * MIB, 4 * MIB, 3);
            let mut held: Vec<(usize, Charge)> = Vec::new();
            for (whose, bytes, gone) in steps {
                if let Ok(charge) = accounts[whose].charge(bytes) {
                    held.push((whose, charge));
                } else if !held.is_empty() {
                    held.swap_remove(gone.index(held.len()));
                }
                let sum = |whose| held.iter().filter(|(of, _)| *of == whose).map(|(_, one)| one.bytes).sum::<usize>();
                for (whose, account) in accounts.iter().enumerate() {
                    prop_assert_eq!(account.own.held(), sum(whose));
                    prop_assert!(account.own.held() <= 4 * MIB);
                }
                prop_assert_eq!(server.held(), (0..3).map(sum).sum::<usize>());
                prop_assert!(server.held() <= 8 * MIB);
            }
            held.clear();
            prop_assert_eq!(server.held(), 0);
        }
    }
}
