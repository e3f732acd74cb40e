//! The colours of the report: one per segment, and a diverging scale for values around a middle.
//!
//! People with the common colour deficiencies can tell them apart as far as fourteen colours allow.
//! The number of a segment accompanies its colour, and markers differ in shape.
//! Sources: Okabe & Ito, "Color universal design" (2008); Tol, "Colour schemes" (2021), muted; Brewer, `RdBu`.

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour(pub(super) u8, pub(super) u8, pub(super) u8);

/// The colour of text.
pub(super) const INK: Colour = Colour(0x1f, 0x29, 0x33);

/// The colour of notes and scales.
pub(super) const MUTED: Colour = Colour(0x52, 0x60, 0x6d);

/// The colour of grid lines.
pub(super) const GRID: Colour = Colour(0xe1, 0xe5, 0xea);

/// The colour of axes.
pub(super) const AXIS: Colour = Colour(0x9a, 0xa5, 0xb1);

/// The colour of marks that belong to no segment.
pub(super) const NEUTRAL: Colour = Colour(0x3e, 0x5c, 0x76);

/// The colour of the chosen number of segments.
pub(super) const ACCENT: Colour = Colour(0xb4, 0x53, 0x09);

/// The background.
pub(super) const PAPER: Colour = Colour(0xff, 0xff, 0xff);

const SEGMENTS: [Colour; 14] = [
    Colour(0x00, 0x72, 0xb2),
    Colour(0xd5, 0x5e, 0x00),
    Colour(0x00, 0x9e, 0x73),
    Colour(0xcc, 0x79, 0xa7),
    Colour(0xe6, 0x9f, 0x00),
    Colour(0x56, 0xb4, 0xe9),
    Colour(0x88, 0x22, 0x55),
    Colour(0x33, 0x22, 0x88),
    Colour(0x99, 0x99, 0x33),
    Colour(0x11, 0x77, 0x33),
    Colour(0xcc, 0x66, 0x77),
    Colour(0xaa, 0x44, 0x99),
    Colour(0x66, 0x11, 0x00),
    Colour(0x88, 0x8b, 0x8d),
];

/// From blue over white to red.
const DIVERGING: [Colour; 9] = [
    Colour(0x21, 0x66, 0xac),
    Colour(0x43, 0x93, 0xc3),
    Colour(0x92, 0xc5, 0xde),
    Colour(0xd1, 0xe5, 0xf0),
    Colour(0xf7, 0xf7, 0xf7),
    Colour(0xfd, 0xdb, 0xc7),
    Colour(0xf4, 0xa5, 0x82),
    Colour(0xd6, 0x60, 0x4d),
    Colour(0xb2, 0x18, 0x2b),
];

/// The colour of a segment; colours repeat from the fifteenth segment on.
pub(super) fn segment(id: usize) -> Colour {
    SEGMENTS[id % SEGMENTS.len()]
}

/// The colour of a value from −1 (blue) over 0 (white) to 1 (red); values outside are clamped.
pub(super) fn diverging(value: f64) -> Colour {
    let last = DIVERGING.len() - 1;
    let place = f64::midpoint(value.clamp(-1.0, 1.0), 1.0) * last as f64;
    let below = (place.floor() as usize).min(last - 1);
    DIVERGING[below].mixed(DIVERGING[below + 1], place - below as f64)
}

impl Colour {
    /// The colour in CSS notation.
    pub(super) fn css(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }

    /// Interpolates from this colour, at `share` 0, to the other, at 1.
    pub(super) fn mixed(self, other: Self, share: f64) -> Self {
        let mix = |from: u8, to: u8| {
            let value = f64::from(from) + (f64::from(to) - f64::from(from)) * share.clamp(0.0, 1.0);
            value.round() as u8
        };
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }

    /// Dark or white text, the one with more contrast on this colour.
    ///
    /// Source: WCAG 2, relative luminance and contrast.
    pub(super) fn text_on(self) -> Self {
        let luminance = self.luminance();
        let on_white = 1.05 / (luminance + 0.05);
        let on_ink = (luminance + 0.05) / (INK.luminance() + 0.05);
        if on_white >= on_ink { PAPER } else { INK }
    }

    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn fourteen_segments_have_colours_of_their_own_that_text_is_read_on() {
        let colours: BTreeSet<String> = (0..14).map(|id| segment(id).css()).collect();
        assert_eq!(colours.len(), 14);
        assert_eq!(segment(14), segment(0));
        for id in 0..14 {
            let (colour, text) = (segment(id), segment(id).text_on());
            let (light, dark) =
                (colour.luminance().max(text.luminance()), colour.luminance().min(text.luminance()));
            assert!((light + 0.05) / (dark + 0.05) > 3.5, "{}", colour.css());
        }
    }

    #[test]
    fn the_diverging_scale_is_white_in_the_middle_and_ends_at_its_ends() {
        assert_eq!(diverging(0.0).css(), "#f7f7f7");
        assert_eq!(diverging(-7.0).css(), "#2166ac");
        assert_eq!(diverging(1.0).css(), "#b2182b");
        assert_eq!(PAPER.text_on(), INK);
    }
}
