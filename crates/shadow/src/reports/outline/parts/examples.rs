//! The decisions in which both differ most, and what differs in each.

use super::super::super::words::{self, NONE, segment};
use super::super::super::{Example, ExampleOffer, Score, ShadowReport};
use super::super::{Block, Cell, Grid, counted};
use super::agreement;
use report::Column;

/// The examples that a terminal shows.
const FIRST_EXAMPLES: usize = 3;

pub(super) fn examples(shadow: &ShadowReport) -> Vec<Block> {
    if shadow.examples.is_empty() {
        return Vec::new();
    }
    let text = "The decisions whose rankings are farthest apart, with score and priority of each offer on both sides. \
                `proffer decision show` also says what rules withheld when a decision was made.";
    let mut blocks = vec![Block::Text(text.to_owned())];
    let (first, more) = shadow.examples.split_at(shadow.examples.len().min(FIRST_EXAMPLES));
    blocks.extend(first.iter().flat_map(example));
    if !more.is_empty() {
        let instead = format!("HTML and JSON have {}.", counted(more.len() as u64, "more example"));
        blocks.push(Block::More { blocks: more.iter().flat_map(example).collect(), instead });
    }
    blocks
}

fn example(example: &Example) -> Vec<Block> {
    let mut facts = vec![format!("release {}", example.release), format!("at {}", example.decided_at)];
    if example.segment.is_some() {
        facts.push(format!("segment {}", segment(example.segment, &example.segment_name)));
    }
    facts.push(format!("rank-biased overlap {}", agreement(example.rbo)));
    facts.extend(example.tau_b.map(|tau_b| format!("tau-b {}", agreement(tau_b))));
    let number =
        |ranked: Option<Score>, value: fn(Score) -> String| ranked.map_or_else(|| NONE.to_owned(), value);
    let row = |offer: &ExampleOffer| {
        let shown_by = match (offer.champion_shows, offer.shadow_shows) {
            (true, true) => "both",
            (true, false) => "champion",
            (false, true) => "shadow",
            (false, false) => "",
        };
        let sides = [offer.champion, offer.shadow];
        let mut cells =
            vec![Cell::Named { name: offer.name.clone(), id: offer.offer_id.clone() }, shown_by.into()];
        cells.extend(sides.map(|side| Cell::from(number(side, |ranked| ranked.rank.to_string()))));
        cells.extend(sides.map(|side| Cell::from(number(side, |ranked| words::finite(ranked.score)))));
        cells.extend(sides.map(|side| Cell::from(number(side, |ranked| words::finite(ranked.priority)))));
        cells.push(words::finite(offer.value).into());
        cells
    };
    let columns = vec![
        ("offer", Column::Words),
        ("shown by", Column::Words),
        ("champion's rank", Column::Number),
        ("shadow's rank", Column::Number),
        ("champion's score", Column::Number),
        ("shadow's score", Column::Number),
        ("champion's priority", Column::Number),
        ("shadow's priority", Column::Number),
        ("value in money", Column::Number),
    ];
    let mut blocks = vec![
        Block::Heading(format!("{} at {}", example.decision_id, example.placement)),
        Block::Text(format!("{}.", report::capitalised(&facts.join(", ")))),
        Block::Text(explanation(example)),
        Block::Grid(Grid { columns, rows: example.offers.iter().map(row).collect() }),
    ];
    if example.more_offers > 0 {
        blocks.push(Block::Text(format!("{} further down.", counted(example.more_offers, "more offer"))));
    }
    blocks
}

/// What differs: the first of each ranking as the other side sees it, and what one side alone shows.
fn explanation(example: &Example) -> String {
    let mut sentences = Vec::new();
    let sides: [fn(&ExampleOffer) -> Option<Score>; 2] = [|offer| offer.champion, |offer| offer.shadow];
    let firsts = sides.map(|side| {
        let is_first = |offer: &&ExampleOffer| side(offer).is_some_and(|ranked| ranked.rank == 1);
        example.offers.iter().find(is_first)
    });
    if let [Some(one), Some(other)] = firsts
        && one.offer_id == other.offer_id
    {
        sentences.push(format!("Both rank {} first.", called(one)));
    } else {
        for (first, (names, [own, others])) in firsts
            .into_iter()
            .zip([(["champion", "shadow"], sides), (["shadow", "champion"], [sides[1], sides[0]])])
        {
            sentences.extend(first.and_then(|offer| Some(seen(offer, names, own(offer)?, others(offer)))));
        }
    }
    let shown = |is_shown: fn(&ExampleOffer) -> bool| -> Vec<&str> {
        example.offers.iter().filter(|offer| is_shown(offer)).map(called).collect()
    };
    let (champion, shadow) = (
        shown(|offer| offer.champion_shows && !offer.shadow_shows),
        shown(|offer| offer.shadow_shows && !offer.champion_shows),
    );
    if champion.is_empty() && shadow.is_empty() && example.more_offers == 0 {
        sentences.push("Both show the same offers.".to_owned());
    }
    for (names, side) in [(champion, "champion shows"), (shadow, "shadow would show")] {
        if !names.is_empty() {
            sentences.push(format!("Only the {side} {}.", names.join(", ")));
        }
    }
    sentences.join(" ")
}

/// What people call an offer.
fn called(offer: &ExampleOffer) -> &str {
    if offer.name.is_empty() { &offer.offer_id } else { &offer.name }
}

/// How both sides see the offer that one of them ranks first.
fn seen(offer: &ExampleOffer, [own, other]: [&str; 2], first: Score, there: Option<Score>) -> String {
    let shown = |ranked: Score| {
        format!("score {}, priority {}", words::finite(ranked.score), words::finite(ranked.priority))
    };
    let there = match there {
        Some(ranked) => format!("for the {other}, it is at place {} ({})", ranked.rank, shown(ranked)),
        None => format!("the {other} does not rank it"),
    };
    format!("The {own} ranks {} first ({}); {there}.", called(offer), shown(first))
}
