//! Comparisons with shadows on their way to the writer.

use prost::Message;

use crate::kind::Record;
use crate::proto::{RecordedModel, ShadowOffer, ShadowRecord};
use crate::recorder::IntoEvents;

/// Comparisons that are queued together.
pub(crate) struct Shadows(pub(crate) Vec<ShadowRecord>);

impl IntoEvents for Shadows {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
        self.0.into_iter().for_each(|record| emit(record.into()));
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// The bytes that a comparison takes in memory, about: its parts, and at most its texts once more.
pub(crate) fn memory(record: &ShadowRecord) -> usize {
    let ShadowRecord { champion_models, shadow_models, offers, .. } = record;
    let texts = [
        &record.champion_shown,
        &record.shadow_shown,
        &record.withheld_by_champion_only,
        &record.withheld_by_shadow_only,
    ];
    size_of::<ShadowRecord>()
        + (champion_models.len() + shadow_models.len()) * size_of::<RecordedModel>()
        + offers.len() * size_of::<ShadowOffer>()
        + texts.into_iter().map(Vec::len).sum::<usize>() * size_of::<String>()
        + record.encoded_len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::testing::shadow;

    #[test]
    fn what_repeats_takes_memory() {
        let record = shadow(0);
        let usual = memory(&record);
        assert!(usual > size_of::<ShadowRecord>() && usual < 4_096, "{usual}");
        let offers = vec![ShadowOffer::default(); 1_000];
        let many = memory(&ShadowRecord { offers, ..record.clone() });
        assert!(many > 1_000 * size_of::<ShadowOffer>(), "{many}");
        let withheld_by_shadow_only = vec![String::new(); 1_000];
        let many = memory(&ShadowRecord { withheld_by_shadow_only, ..record });
        assert!(many > 1_000 * size_of::<String>(), "{many}");
    }
}
