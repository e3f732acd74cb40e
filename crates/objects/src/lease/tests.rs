//! Leases in a directory, and in a bucket in memory.

use super::*;

static TERMS: LeaseTerms = LeaseTerms {
    name: "the turn at a test",
    lock: "turns/.lock",
    object: "turns/lease.toml",
    lasts: TimeDelta::minutes(10),
    renewed: TimeDelta::minutes(5),
};

/// A time so many minutes after some moment.
fn minute(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
}

fn claim(objects: &Arc<Objects>, holder: &str, minutes: i64) -> Claim {
    Lease::claim(objects, &TERMS, holder, minute(minutes)).unwrap()
}

fn granted(objects: &Arc<Objects>, holder: &str, minutes: i64) -> Lease {
    match claim(objects, holder, minutes) {
        Claim::Granted(lease) => lease,
        Claim::Refused(by) => panic!("refused: {by:?}"),
    }
}

fn refused(objects: &Arc<Objects>, holder: &str, minutes: i64) -> Option<Holder> {
    match claim(objects, holder, minutes) {
        Claim::Granted(lease) => panic!("granted: {lease:?}"),
        Claim::Refused(by) => by,
    }
}

fn holder(name: &str, frees: i64) -> Holder {
    Holder { name: name.to_owned(), frees: minute(frees) }
}

fn bucket() -> Arc<Objects> {
    Arc::new(Objects::in_memory())
}

fn present(objects: &Objects) -> String {
    objects.text(TERMS.object).unwrap().unwrap()
}

fn overwrite(objects: &Objects, text: impl Into<bytes::Bytes>) {
    objects.put(TERMS.object, text, WriteCondition::Always).unwrap();
}

#[test]
fn in_a_directory_one_holds_it_until_they_end_it() {
    let root = tempfile::tempdir().unwrap();
    let objects = Arc::new(Objects::in_directory(root.path()).unwrap());
    let mut one = granted(&objects, "one", 0);
    assert_eq!(refused(&objects, "other", 24 * 60), None);
    assert_eq!(one.renew(minute(24 * 60)).unwrap(), Renewal::Held);
    drop(one);
    drop(granted(&objects, "other", 0));
    let path = root.path().to_owned();
    root.close().unwrap();
    assert!(Lease::claim(&objects, &TERMS, "other", minute(0)).is_err());
    assert!(!path.exists(), "a directory that is away is not made anew");
}

#[test]
fn a_lease_is_held_until_its_end_and_one_of_a_wrong_clock_is_not() {
    let free_at = |until: DateTime<Utc>| frees(&until.to_rfc3339(), TERMS.lasts, minute(0));
    let cases = [(-60, false), (-1, false), (0, true), (10, true), (11, true), (12, false), (60_000, false)];
    for (minutes, is_held) in cases {
        let expected = is_held.then(|| minute(minutes + 1));
        assert_eq!(free_at(minute(minutes)), expected, "it ends in {minutes} minutes");
    }
    assert_eq!(free_at(DateTime::UNIX_EPOCH), None);
    for text in ["soon", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"] {
        assert_eq!(frees(text, TERMS.lasts, minute(0)), None, "{text}");
    }
}

#[test]
fn in_a_bucket_others_are_told_who_holds_it_and_until_when() {
    let objects = bucket();
    let mut one = granted(&objects, "one", 0);
    assert_eq!(refused(&objects, "other", 3), Some(holder("one", 11)));
    // Only once it is due.
    assert_eq!(one.renew(minute(4)).unwrap(), Renewal::Held);
    assert_eq!(refused(&objects, "other", 5), Some(holder("one", 11)));
    assert_eq!(one.renew(minute(6)).unwrap(), Renewal::Held);
    assert_eq!(refused(&objects, "other", 16), Some(holder("one", 17)));
    drop(one);
    drop(granted(&objects, "other", 16));
}

#[test]
fn one_that_is_past_its_end_is_taken_over_and_stays_with_who_took_it() {
    let objects = bucket();
    let mut one = granted(&objects, "one", 0);
    let mut other = granted(&objects, "other", 11);
    assert_eq!(one.renew(minute(12)).unwrap(), Renewal::Overtaken);
    drop(one);
    assert_eq!(refused(&objects, "third", 13), Some(holder("other", 22)));
    assert_eq!(other.renew(minute(18)).unwrap(), Renewal::Held);
    drop(other);
    // It is ended, not removed.
    assert!(present(&objects).contains("until = \"1970-01-01T00:00:00.000Z\""), "{}", present(&objects));
    drop(granted(&objects, "third", 18));
}

#[test]
fn what_is_no_lease_has_ended() {
    let objects = bucket();
    let unknown: [&[u8]; 5] =
        [b"", b"\xff", b"not a lease", b"token = 1", b"token = \"a\"\nholder = \"b\"\nuntil = \"soon\"\n"];
    for text in unknown {
        overwrite(&objects, text.to_vec());
        let mut lease = granted(&objects, "one", 0);
        overwrite(&objects, text.to_vec());
        assert_eq!(lease.renew(minute(6)).unwrap(), Renewal::Overtaken);
        drop(lease);
        assert_eq!(objects.get(TERMS.object).unwrap().unwrap().bytes, text, "what is not theirs stays");
    }
    // One that a newer version extended is still one.
    overwrite(
        &objects,
        format!("token = \"a\"\nholder = \"b\"\nuntil = \"{}\"\nhost = \"c\"\n", minute(9).format("%FT%TZ")),
    );
    assert_eq!(refused(&objects, "one", 0), Some(holder("b", 10)));
}

#[test]
fn the_form_of_a_lease_is_that_of_earlier_versions() {
    let objects = bucket();
    let lease = granted(&objects, "a \"b\"", 0);
    let Held::Bucket(leased) = &lease.held else { panic!("not in a bucket") };
    let expected =
        format!("token = \"{}\"\nholder = 'a \"b\"'\nuntil = \"2024-10-04T00:10:00.000Z\"\n", leased.token);
    assert_eq!(present(&objects), expected);
}

/// A lease of a token that is not written yet.
fn unwritten(objects: &Arc<Objects>, token: &str) -> Leased {
    Leased {
        objects: Arc::clone(objects),
        terms: &TERMS,
        token: token.to_owned(),
        holder: format!("holder of {token}"),
        tag: String::new(),
        until: minute(0),
    }
}

#[test]
fn a_first_write_whose_answer_was_lost_is_recognised() {
    let objects = bucket();
    unwritten(&objects, "one").put(minute(10), WriteCondition::Absent).unwrap();
    let Claim::Granted(mut one) =
        unwritten(&objects, "one").begin(WriteCondition::Absent, minute(0)).unwrap()
    else {
        panic!("its own write refuses it")
    };
    // The one who lost the race is told who won.
    let Claim::Refused(by) = unwritten(&objects, "other").begin(WriteCondition::Absent, minute(0)).unwrap()
    else {
        panic!("two hold it")
    };
    assert_eq!(by, Some(holder("holder of one", 11)));
    // It has the tag of what is there.
    assert_eq!(one.renew(minute(6)).unwrap(), Renewal::Held);
    assert_eq!(refused(&objects, "third", 6), Some(holder("holder of one", 17)));
}

#[test]
fn a_renewal_whose_answer_was_lost_is_recognised() {
    let objects = bucket();
    let mut lease = granted(&objects, "one", 0);
    overwrite(&objects, present(&objects));
    assert_eq!(lease.renew(minute(6)).unwrap(), Renewal::Held);
    assert_eq!(refused(&objects, "other", 6), Some(holder("one", 17)));
    // The same at its end.
    overwrite(&objects, present(&objects));
    drop(lease);
    drop(granted(&objects, "other", 6));
    // That of another is not.
    let mut lease = granted(&objects, "one", 6);
    overwrite(&objects, present(&objects).replace("token = \"", "token = \"other-"));
    assert_eq!(lease.renew(minute(12)).unwrap(), Renewal::Overtaken);
}

#[test]
fn of_many_at_once_one_is_granted() {
    let objects = bucket();
    let granted = std::thread::scope(|scope| {
        let claims: Vec<_> = (0..8)
            .map(|at| {
                scope.spawn({
                    let objects = &objects;
                    move || claim(objects, &format!("{at}"), 0)
                })
            })
            .collect();
        let claims: Vec<_> = claims.into_iter().map(|claim| claim.join().unwrap()).collect();
        claims.iter().filter(|claim| matches!(claim, Claim::Granted(_))).count()
    });
    assert_eq!(granted, 1);
}
