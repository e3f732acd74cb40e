use futures_util::FutureExt;

use super::*;

const IDLE: Duration = Duration::from_hours(1);

pub(in crate::grpc) fn limits(connection: f64, peer: f64) -> CallerLimits {
    CallerLimits {
        connections: None,
        shares: Shares { connection, peer },
        idle: IDLE,
        longest_deadline: Duration::from_mins(10),
    }
}

/// Peers with a cap of `most` connections.
fn with_room(most: usize, concurrent_calls: usize, connection: f64, peer: f64) -> Peers {
    Peers::new(&limits(connection, peer), most, concurrent_calls, Arc::new(Metrics::new()))
}

/// Peers with a cap of a hundred connections.
pub(in crate::grpc) fn peers(concurrent_calls: usize, connection: f64, peer: f64) -> Peers {
    with_room(100, concurrent_calls, connection, peer)
}

pub(in crate::grpc) fn arrive(peers: &Peers, from: &str) -> Presence {
    peers.arrive(from.parse().unwrap(), Instant::now()).unwrap()
}

/// `count` connections from different ports of an address.
fn many(peers: &Peers, from: &str, count: usize, now: Instant) -> Vec<Presence> {
    let from: IpAddr = from.parse().unwrap();
    let one = |port: usize| peers.arrive(SocketAddr::new(from, port as u16), now);
    (0..count).map_while(|port| one(port).ok()).collect()
}

fn closing(connections: &[Presence]) -> Vec<usize> {
    (0..connections.len()).filter(|at| connections[*at].origin().is_closing()).collect()
}

/// Those that were asked to leave, or told to close.
fn leaving(connections: &[Presence]) -> Vec<usize> {
    let told = |one: &Presence| one.origin().is_closing() || one.origin().left().now_or_never().is_some();
    (0..connections.len()).filter(|at| told(&connections[*at])).collect()
}

#[test]
fn who_says_nothing_at_first_or_makes_no_call_for_long_is_closed() {
    let (peers, now) = (peers(1, 1.0, 1.0), Instant::now());
    let connections = many(&peers, "10.0.0.1", 4, now);
    for one in &connections[1..] {
        one.origin().has_greeted();
    }
    let busy = connections[2].origin().clone().begin();
    peers.sweep(now + FIRST_BYTES / 2);
    assert_eq!(closing(&connections), [] as [usize; 0]);
    peers.sweep(now + FIRST_BYTES);
    assert_eq!(closing(&connections), [0]);
    // A call between two checks counts, however short it is.
    drop(connections[3].origin().clone().begin());
    peers.sweep(now + IDLE.saturating_sub(SWEEP));
    assert_eq!(leaving(&connections), [0]);
    peers.sweep(now + IDLE);
    assert_eq!((closing(&connections), leaving(&connections)), (vec![0], vec![0, 1]));
    // A connection that does not leave is closed.
    peers.sweep(now + IDLE + LEAVE_GRACE);
    assert_eq!((closing(&connections), leaving(&connections)), (vec![0, 1], vec![0, 1]));
    drop(busy);
    peers.sweep(now + (IDLE * 2).saturating_sub(SWEEP));
    assert_eq!((closing(&connections), leaving(&connections)), (vec![0, 1], vec![0, 1, 3]));
    peers.sweep(now + IDLE * 2 + LEAVE_GRACE);
    assert_eq!(leaving(&connections), [0, 1, 2, 3]);
    peers.sweep(now + (IDLE + LEAVE_GRACE) * 2);
    assert_eq!((closing(&connections).len(), peers.connected()), (4, 0));
    assert_eq!(peers.0.metrics.connections.dropped.get(), 4);
}

#[test]
fn the_oldest_silent_connection_makes_room_then_one_without_a_message_then_the_idlest() {
    let (peers, now) = (with_room(4, 1, 1.0, 1.0), Instant::now());
    let mut connections = many(&peers, "127.0.0.1", 4, now);
    for one in &connections {
        one.origin().has_greeted();
    }
    // The first one has called, the second waits for its message, the third called later; the last sends nothing.
    let _waiting = connections[1].origin().clone().begin();
    for one in [0, 2] {
        connections[one].origin().has_called();
        drop(connections[one].origin().clone().begin());
    }
    peers.sweep(now);
    drop(connections[2].origin().clone().begin());
    let later = now + RECENT_CALL / 2;
    peers.sweep(later);
    let mut next = |now| {
        let came = peers.arrive("127.0.0.1:9".parse().unwrap(), now);
        if let Ok(came) = came {
            came.origin().has_called();
            connections.push(came);
        }
        closing(&connections)
    };
    assert_eq!(next(later), [3]);
    assert_eq!(next(later), [1, 3]);
    assert_eq!(next(later), [1, 3], "the others had calls lately");
    assert_eq!(next(now + RECENT_CALL), [0, 1, 3]);
    assert_eq!(next(now + RECENT_CALL * 2), [0, 1, 2, 3]);
}

#[test]
fn a_peer_makes_room_for_itself_and_takes_no_more_than_its_share() {
    let (peers, now) = (with_room(40, 1, 1.0, 0.5), Instant::now());
    let flood = many(&peers, "10.0.0.1", 30, now);
    assert_eq!(closing(&flood), (0..10).collect::<Vec<_>>());
    let victim = many(&peers, "10.0.0.2", 1, now);
    for one in &flood {
        one.origin().has_called();
    }
    let refused = peers.arrive("10.0.0.1:99".parse().unwrap(), now).unwrap_err();
    assert_eq!((refused, closing(&victim).len()), (AtCapacity::Peer, 0));
}

#[test]
fn this_machine_always_comes_in() {
    let (peers, now) = (with_room(40, 1, 1.0, 1.0), Instant::now());
    let far = many(&peers, "10.0.0.1", 100, now);
    let full = far.iter().filter(|one| !one.origin().is_closing()).count();
    assert_eq!(full, 40 - RESERVED_CONNECTIONS);
    for one in &far {
        one.origin().has_called();
    }
    assert_eq!(peers.arrive("10.0.0.2:1".parse().unwrap(), now).unwrap_err(), AtCapacity::All);
    drop(far);
    let far = many(&peers, "10.0.0.1", 32, now);
    for one in &far {
        one.origin().has_called();
    }
    assert_eq!(peers.arrive("10.0.0.2:1".parse().unwrap(), now).unwrap_err(), AtCapacity::All);
    assert_eq!(many(&peers, "127.0.0.1", 8, now).len(), 8);
}

#[test]
fn descriptors_that_are_told_to_close_and_are_not_gone_are_counted() {
    let (peers, now) = (with_room(8, 1, 1.0, 1.0), Instant::now());
    let flood = many(&peers, "127.0.0.1", 1000, now);
    assert_eq!((flood.len(), peers.connected()), (8 + CLOSING, 8));
    drop(flood);
    assert_eq!(many(&peers, "127.0.0.1", 1000, now).len(), 8 + CLOSING);
    assert_eq!((peers.connected(), peers.table().open), (0, 0));
    assert!(peers.table().peers.len() <= 1);
    peers.sweep(now);
    assert!(peers.table().peers.is_empty());
}

#[test]
fn a_share_outlives_the_connection_that_took_it() {
    let peers = peers(8, 1.0, 0.5);
    let one = arrive(&peers, "10.0.0.1:1");
    let held: Vec<Permit> = std::iter::from_fn(|| one.origin().take(Pool::Serving).ok()).collect();
    drop(one);
    peers.sweep(Instant::now());
    let again = arrive(&peers, "10.0.0.1:2");
    assert_eq!(held.len(), 4);
    assert!(again.origin().take(Pool::Serving).is_err());
    drop(held);
    assert!(again.origin().take(Pool::Serving).is_ok());
}

#[test]
fn a_peer_is_an_address_of_ipv4_or_a_network_of_ipv6() {
    let peer = |address: &str| peer_of(address.parse().unwrap());
    assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
    assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
    assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
    assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
    assert_ne!(peer("::1"), peer("::2"));
}

#[test]
fn connections_leave_descriptors_for_everything_else() {
    assert_eq!(most_connections(Some(256), 1), 156);
    assert_eq!(most_connections(Some(1024), 4), 912);
    assert_eq!(most_connections(Some(20_000), 1), MAX_CONNECTIONS);
    assert_eq!(most_connections(None, 1), MAX_CONNECTIONS);
    assert_eq!(most_connections(Some(64), 1), 32);
    assert_eq!(most_connections(Some(0), 1), 1);
}
