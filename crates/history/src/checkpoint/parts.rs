//! Names and ledgers in a checkpoint.

use std::io::{Read, Write};

use chrono::TimeDelta;
use chrono_tz::Tz;
use offer::Period;

use super::CheckpointError;
use super::fields::{Input, Output};
use crate::names::{Interner, Names};
use crate::total::{Bucket, Hold, Measure, Point, Rule, Saved, Series, Spend, Sum, TotalLimit};
use crate::window::Window;

/// Writes every name, and every code in order.
pub(super) fn write_names<W: Write>(names: &Names, out: &mut Output<W>) -> Result<(), CheckpointError> {
    for list in names.lists() {
        out.number(list.len() as u64)?;
        for position in 0..list.len() {
            out.bytes(list.name(position as u16).as_bytes())?;
        }
    }
    out.number(names.codes() as u64)?;
    for packed in names.packed_keys() {
        out.number(packed)?;
    }
    Ok(())
}

/// Reads names into a history that has none, so that positions and codes are what they were.
pub(super) fn read_names<R: Read>(names: &Names, input: &mut Input<R>) -> Result<(), CheckpointError> {
    for list in names.lists() {
        read_list(list, input)?;
    }
    for code in 0..input.number()? {
        let packed = input.number()?;
        if names.restore(packed) != code {
            return Err(input.damaged("a code is not the next one"));
        }
    }
    Ok(())
}

fn read_list<R: Read>(list: &Interner, input: &mut Input<R>) -> Result<(), CheckpointError> {
    for position in 0..input.number()? {
        let name = input.text()?;
        if u64::from(list.intern(&name)) != position {
            return Err(input.damaged("a name is there twice, or there are too many"));
        }
    }
    Ok(())
}

pub(super) fn write_ledger<W: Write>(saved: &Saved, out: &mut Output<W>) -> Result<(), CheckpointError> {
    out.number(saved.series.len() as u64)?;
    for (event_type, series) in &saved.series {
        out.number(u64::from(*event_type))?;
        write_sum(series.lifetime, out)?;
        out.number(series.points().len() as u64)?;
        for point in series.points() {
            out.signed(point.at)?;
            write_sum(point.sum, out)?;
        }
    }
    let open = saved.reservations.all();
    out.number(open.len() as u64)?;
    for (decision, limit, hold) in open {
        out.uuid(decision)?;
        out.number(limit as u64)?;
        out.number(u64::from(hold.counted))?;
        out.signed(hold.until)?;
        write_spend(hold.spend, out)?;
    }
    let settled = saved.reservations.settled();
    out.number(settled.len() as u64)?;
    for (decision, counted) in settled {
        out.uuid(decision)?;
        out.number(u64::from(counted))?;
    }
    out.number(saved.buckets.len() as u64)?;
    for (rule, bucket) in &saved.buckets {
        write_rule(rule, out)?;
        out.signed(bucket.at)?;
        out.signed(bucket.tokens)?;
        out.signed(bucket.most)?;
    }
    Ok(())
}

pub(super) fn read_ledger<R: Read>(input: &mut Input<R>) -> Result<Saved, CheckpointError> {
    let mut saved = Saved::default();
    for _ in 0..input.number()? {
        let event_type = input.small()?;
        let lifetime = read_sum(input)?;
        let mut points = std::collections::VecDeque::new();
        for _ in 0..input.number()? {
            points.push_back(Point { at: input.signed()?, sum: read_sum(input)? });
        }
        saved.series.push((event_type, Series::from_parts(lifetime, points)));
    }
    for _ in 0..input.number()? {
        let (decision, limit) = (input.uuid()?, read_limit(input)?);
        let hold = Hold { counted: input.small()?, until: input.signed()?, spend: read_spend(input)? };
        saved.reservations.open(decision, limit, hold);
    }
    for _ in 0..input.number()? {
        let (decision, counted) = (input.uuid()?, input.small()?);
        saved.reservations.remember(decision, counted);
    }
    for _ in 0..input.number()? {
        let rule = read_rule(input)?;
        let bucket = Bucket { at: input.signed()?, tokens: input.signed()?, most: input.signed()? };
        saved.buckets.push((rule, bucket));
    }
    Ok(saved)
}

fn write_sum<W: Write>(sum: Sum, out: &mut Output<W>) -> Result<(), CheckpointError> {
    out.signed(sum.count)?;
    write_spend(sum.spend, out)
}

fn read_sum<R: Read>(input: &mut Input<R>) -> Result<Sum, CheckpointError> {
    Ok(Sum { count: input.signed()?, spend: read_spend(input)? })
}

fn write_spend<W: Write>(spend: Spend, out: &mut Output<W>) -> Result<(), CheckpointError> {
    out.signed(spend.cost_micros)?;
    Ok(out.signed(spend.value_micros)?)
}

fn read_spend<R: Read>(input: &mut Input<R>) -> Result<Spend, CheckpointError> {
    Ok(Spend { cost_micros: input.signed()?, value_micros: input.signed()? })
}

fn read_limit<R: Read>(input: &mut Input<R>) -> Result<TotalLimit, CheckpointError> {
    let number = input.number()?;
    let found = TotalLimit::ALL.into_iter().find(|limit| *limit as u64 == number);
    found.ok_or_else(|| input.damaged("a limit is unknown"))
}

fn write_rule<W: Write>(rule: &Rule, out: &mut Output<W>) -> Result<(), CheckpointError> {
    out.number(rule.limit as u64)?;
    out.number(u64::from(rule.counted))?;
    let (period, zone) = rule.window.period();
    let (kind, length) = match period {
        Period::Sliding(length) => (0, length.num_milliseconds()),
        Period::Day => (1, 0),
        Period::Week => (2, 0),
        Period::Month => (3, 0),
        Period::All => (4, 0),
    };
    out.number(kind)?;
    out.signed(length)?;
    out.bytes(zone.name().as_bytes())?;
    out.signed(rule.most)?;
    out.signed(rule.asks)?;
    out.number(rule.measure as u64)?;
    out.signed(rule.until.unwrap_or(NO_END))?;
    out.number(u64::from(rule.is_paced))?;
    Ok(out.signed(rule.reserve)?)
}

fn read_rule<R: Read>(input: &mut Input<R>) -> Result<Rule, CheckpointError> {
    let (limit, counted) = (read_limit(input)?, input.small()?);
    let (kind, length, zone) = (input.number()?, input.signed()?, input.text()?);
    let period = match kind {
        0 => match TimeDelta::try_milliseconds(length) {
            Some(length) => Period::Sliding(length),
            None => return Err(input.damaged("a period is too long")),
        },
        1 => Period::Day,
        2 => Period::Week,
        3 => Period::Month,
        4 => Period::All,
        _ => return Err(input.damaged("a period is unknown")),
    };
    let zone: Tz = zone.parse().map_err(|_| input.damaged("a time zone is unknown"))?;
    let (most, asks, measure) = (input.signed()?, input.signed()?, input.number()?);
    let measure = [Measure::Count, Measure::Cost, Measure::Value]
        .into_iter()
        .find(|known| *known as u64 == measure)
        .ok_or_else(|| input.damaged("a measure is unknown"))?;
    let until = Some(input.signed()?).filter(|until| *until != NO_END);
    let is_paced = input.number()? == 1;
    let reserve = input.signed()?;
    let window = Window::new(period, zone);
    Ok(Rule { limit, counted, window, most, asks, measure, until, is_paced, reserve })
}

/// In the place of the end of a budget that has none.
const NO_END: i64 = i64::MIN;
