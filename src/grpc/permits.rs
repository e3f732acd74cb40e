//! Permits: how many calls may be in flight at once, of all callers, of one peer and of one connection.
//!
//! There are four pools ([`Pool`]): a flood of decisions cannot block a rollback, and uploads or watchers cannot block
//! decisions. A connection and a peer get at most a share of each pool ([`Shares`]), so that no single caller uses it
//! up. The pools for moving `CURRENT` and for managing the store have a reserve for callers on this machine. A rollback
//! typed on the machine therefore always gets through.
//!
//! Everything is counted by atomics that the connection holds: taking a permit needs no lock and no lookup.

use std::sync::atomic::{AtomicUsize, Ordering};

use tonic::Status;

use super::peers::Origin;
use super::status;

/// Calls that compete for the same permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// Decisions, scores and inferences.
    Serving,
    /// Calls that move `CURRENT`: no upload and no slow gate blocks a rollback.
    Switching,
    /// Pushes, creation of releases, and queries of versions and releases.
    Management,
    /// Streams that report releases, and stay open.
    Watching,
}

/// How many pools there are.
const POOLS: usize = 4;

/// Management calls in flight at once: each may hold a thread, and an upload a few messages in memory.
const MANAGEMENT_CALLS: usize = 32;

/// Promotions and rollbacks in flight at once.
const SWITCHES: usize = 8;

/// Watchers at once.
const WATCHERS: usize = 256;

/// Further management calls that callers on this machine may have in flight.
const RESERVED_MANAGEMENT_CALLS: usize = 4;

/// Further promotions and rollbacks that callers on this machine may have in flight.
const RESERVED_SWITCHES: usize = 2;

impl Pool {
    /// What the message of a refused caller calls these calls.
    fn calls(self) -> &'static str {
        match self {
            Self::Serving => "calls",
            Self::Switching => "promotions",
            Self::Management => "management calls",
            Self::Watching => "watchers",
        }
    }
}

/// The shares of one connection and of one peer, each within 0..=1; at least one permit each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// The share of a pool of permits that one connection may take.
    pub connection: f64,
    /// The share of a pool of permits, and of the connections, that all connections of one peer may take.
    pub peer: f64,
}

impl Shares {
    /// The most of `all` that a peer may have.
    pub(super) fn of_peer(self, all: usize) -> usize {
        part(all, self.peer)
    }
}

/// A share of a whole, rounded up, within 1..=`all`.
fn part(all: usize, share: f64) -> usize {
    let part = (all as f64 * share).ceil();
    // A whole number that was bounded on both sides before the cast.
    part.clamp(1.0, all.max(1) as f64) as usize
}

/// The most permits of one pool.
#[derive(Debug, Clone, Copy)]
struct Most {
    all: usize,
    peer: usize,
    connection: usize,
    /// Further permits for callers on this machine.
    reserve: usize,
    /// The share of the reserve that one connection may take.
    reserve_of_connection: usize,
}

/// Calls in flight, by pool.
#[derive(Debug, Default)]
pub(super) struct Counts {
    taken: [AtomicUsize; POOLS],
    reserved: [AtomicUsize; POOLS],
}

impl Counts {
    /// Whether no permit is counted here.
    pub(super) fn are_zero(&self) -> bool {
        self.taken.iter().chain(&self.reserved).all(|count| count.load(Ordering::Relaxed) == 0)
    }

    fn of(&self, kind: Kind, pool: Pool) -> &AtomicUsize {
        let counts = match kind {
            Kind::Shared => &self.taken,
            Kind::Reserved => &self.reserved,
        };
        // Every pool has its place.
        &counts[pool as usize]
    }
}

/// Takes a permit if fewer than `most` are taken.
fn take_one(count: &AtomicUsize, most: usize) -> bool {
    let one_more = |taken: usize| (taken < most).then_some(taken + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
}

fn give_one(count: &AtomicUsize) {
    count.fetch_sub(1, Ordering::Relaxed);
}

/// The part of a pool from which a permit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared,
    Reserved,
}

/// All pools of a server.
#[derive(Debug)]
pub(super) struct Pools {
    most: [Most; POOLS],
    counts: Counts,
}

impl Pools {
    /// `concurrent_calls`: the permits of [`Pool::Serving`].
    pub(super) fn new(concurrent_calls: usize, shares: Shares) -> Self {
        let pool = |all, reserve| Most {
            all,
            peer: part(all, shares.peer),
            connection: part(all, shares.connection),
            reserve,
            reserve_of_connection: part(reserve, shares.connection),
        };
        Self {
            // In the order of the pools.
            most: [
                pool(concurrent_calls, 0),
                pool(SWITCHES, RESERVED_SWITCHES),
                pool(MANAGEMENT_CALLS, RESERVED_MANAGEMENT_CALLS),
                pool(WATCHERS, 0),
            ],
            counts: Counts::default(),
        }
    }

    /// Takes a permit of `pool` for a call of `origin`.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, with the share that is used up.
    pub(super) fn take(&self, origin: &Origin, pool: Pool) -> Result<Permit, Status> {
        match self.try_take(origin, pool) {
            Ok(()) => Ok(Permit { origin: origin.clone(), pool, kind: Kind::Shared }),
            Err(_) if origin.is_local() && self.try_reserve(origin, pool) => {
                Ok(Permit { origin: origin.clone(), pool, kind: Kind::Reserved })
            }
            Err(whose) => {
                let calls = pool.calls();
                Err(status::exhausted(&format!("too many {calls}{whose} are in flight; try again later")))
            }
        }
    }

    /// Takes the permit, or says which share is used up.
    fn try_take(&self, origin: &Origin, pool: Pool) -> Result<(), &'static str> {
        let most = self.most[pool as usize];
        let counts = [
            (origin.counts(), most.connection, " of this connection"),
            (origin.peer_counts(), most.peer, " of this peer"),
            (&self.counts, most.all, ""),
        ];
        for (at, (count, most, whose)) in counts.iter().enumerate() {
            if !take_one(count.of(Kind::Shared, pool), *most) {
                counts[..at].iter().for_each(|(count, ..)| give_one(count.of(Kind::Shared, pool)));
                return Err(whose);
            }
        }
        Ok(())
    }

    fn try_reserve(&self, origin: &Origin, pool: Pool) -> bool {
        let most = self.most[pool as usize];
        let own = origin.counts().of(Kind::Reserved, pool);
        if most.reserve == 0 || !take_one(own, most.reserve_of_connection) {
            return false;
        }
        let taken = take_one(self.counts.of(Kind::Reserved, pool), most.reserve);
        if !taken {
            give_one(own);
        }
        taken
    }

    fn give(&self, permit: &Permit) {
        let Permit { origin, pool, kind } = permit;
        give_one(origin.counts().of(*kind, *pool));
        give_one(self.counts.of(*kind, *pool));
        if *kind == Kind::Shared {
            give_one(origin.peer_counts().of(*kind, *pool));
        }
    }
}

/// The right to be in flight, until it is dropped.
#[derive(Debug)]
#[must_use = "a permit is given back when it is dropped"]
pub(super) struct Permit {
    origin: Origin,
    pool: Pool,
    kind: Kind,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.origin.pools().give(self);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;
    use crate::grpc::peers::tests::{arrive, peers};
    use crate::grpc::peers::{Peers, Presence};

    const ALL: [Pool; POOLS] = [Pool::Serving, Pool::Switching, Pool::Management, Pool::Watching];

    fn take_all(origin: &Origin, pool: Pool) -> Vec<Permit> {
        std::iter::from_fn(|| origin.take(pool).ok()).collect()
    }

    fn refusal(origin: &Origin, pool: Pool) -> String {
        let refused = origin.take(pool).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        refused.message().to_owned()
    }

    #[test]
    fn decisions_management_and_watchers_take_no_permits_from_each_other() {
        let peers = peers(100, 1.0, 1.0);
        let one = arrive(&peers, "10.0.0.1:1");
        let held: Vec<Vec<Permit>> = ALL.iter().map(|pool| take_all(one.origin(), *pool)).collect();
        let taken: Vec<usize> = held.iter().map(Vec::len).collect();
        assert_eq!(taken, [100, SWITCHES, MANAGEMENT_CALLS, WATCHERS]);
        assert_eq!(
            refusal(one.origin(), Pool::Switching),
            "too many promotions of this connection are in flight; try again later"
        );
        drop(held);
        assert!(ALL.iter().all(|pool| one.origin().take(*pool).is_ok()));
    }

    #[test]
    fn a_connection_and_a_peer_get_their_share_and_leave_the_rest_to_others() {
        let peers = peers(100, 0.5, 0.75);
        let connections = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"].map(|from| arrive(&peers, from));
        let [one, same_peer, other] = connections.each_ref().map(Presence::origin);
        let first = take_all(one, Pool::Serving);
        assert!(refusal(one, Pool::Serving).contains("of this connection"));
        let second = take_all(same_peer, Pool::Serving);
        assert!(refusal(same_peer, Pool::Serving).contains("of this peer"));
        let third = take_all(other, Pool::Serving);
        assert_eq!([first.len(), second.len(), third.len()], [50, 25, 25]);
        assert!(refusal(other, Pool::Serving).starts_with("too many calls are in flight"));
        drop(second);
        assert_eq!(take_all(other, Pool::Serving).len(), 25);
    }

    #[test]
    fn this_machine_has_a_reserve_for_management_that_no_one_connection_takes() {
        let peers = peers(4, 1.0, 1.0);
        let far = arrive(&peers, "10.0.0.1:1");
        let held: Vec<Vec<Permit>> = ALL.iter().map(|pool| take_all(far.origin(), *pool)).collect();
        let near = arrive(&peers, "127.0.0.1:1");
        for (pool, reserved) in ALL.into_iter().zip([0, RESERVED_SWITCHES, RESERVED_MANAGEMENT_CALLS, 0]) {
            assert_eq!(take_all(near.origin(), pool).len(), reserved, "{pool:?}");
        }
        drop(held);
        let halves = super::super::peers::tests::peers(4, 0.5, 1.0);
        let far = ["10.0.0.1:1", "10.0.0.2:1"].map(|from| arrive(&halves, from));
        let held = far.each_ref().map(|far| take_all(far.origin(), Pool::Switching));
        let near = ["127.0.0.1:1", "[::1]:2"].map(|from| arrive(&halves, from));
        let reserved = near.each_ref().map(|near| take_all(near.origin(), Pool::Switching).len());
        assert_eq!((held.map(|held| held.len()), reserved), ([4, 4], [1, 1]));
    }

    #[test]
    fn a_share_is_at_least_one_and_at_most_all() {
        for (all, share, expected) in
            [(1, 0.5, 1), (8, 0.5, 4), (9, 0.5, 5), (8, 1.0, 8), (8, 0.0, 1), (0, 0.5, 1), (7, 2.0, 7)]
        {
            assert_eq!(part(all, share), expected, "{share} of {all}");
        }
    }

    proptest! {
        /// In any order of taking and returning permits, no caller exceeds their share, and all permits come back.
        #[test]
        fn no_order_of_calls_loses_or_invents_a_permit(
            steps in prop::collection::vec((0_usize..4, 0_usize..POOLS, any::<bool>()), 1..400),
        ) {
            let peers: Peers = peers(10, 0.5, 0.75);
            let from = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "127.0.0.1:1"];
            let connections = from.map(|from| arrive(&peers, from));
            let mut held: Vec<(usize, Pool, Permit)> = Vec::new();
            for (who, pool, takes) in steps {
                if takes {
                    let taken = connections[who].origin().take(ALL[pool]);
                    held.extend(taken.ok().map(|permit| (who, ALL[pool], permit)));
                } else if let Some(at) = held.iter().position(|(holder, of, _)| (*holder, *of) == (who, ALL[pool])) {
                    drop(held.swap_remove(at));
                }
                let serving = |whose: &[usize]| {
                    held.iter().filter(|(who, pool, _)| whose.contains(who) && *pool == Pool::Serving).count()
                };
                prop_assert!((0..4).all(|who| serving(&[who]) <= 5));
                prop_assert!(serving(&[0, 1]) <= 8 && serving(&[0, 1, 2, 3]) <= 10);
            }
            held.clear();
            for connection in &connections {
                prop_assert!(connection.origin().counts().are_zero());
                prop_assert!(connection.origin().peer_counts().are_zero());
                prop_assert!(connection.origin().pools().counts.are_zero());
            }
        }
    }
}
