//! Golden rows: answered as expected, off, and malformed.

use super::*;

fn with_golden(manifest: &str, fixture: &str, golden: &str) -> TempDir {
    version(manifest, &[("model.onnx", fixture)], &[("golden.csv", golden)])
}

fn pairwise(golden: &str) -> TempDir {
    with_golden(PAIRWISE, "pushed_good", golden)
}

/// 1 / (1 + exp(-1)), computed by another implementation.
const LOGISTIC_OF_1: f64 = 0.731_058_578_630_004_9;

#[test]
fn rows_are_answered_as_expected() {
    assert_skips(good("").path(), "golden", "warning: the version has no golden.csv");
    assert_skips(good("").path(), "golden", "--check-against ROWS.csv");
    let required = good("[gates]\ngolden = 'required'\n");
    assert_fails(required.path(), "golden", "no golden rows", "golden = \"required\" under [gates]");
    let golden = format!("annual_fee,balance,expected\n100,10000,0.5\n 0 ,10000,{LOGISTIC_OF_1}\n");
    assert_passes(pairwise(&golden).path(), "golden", "in 2 rows");
    assert_eq!(report_of(pairwise(&golden).path(), "golden").limit, "1e-5");
}

#[test]
fn an_empty_cell_is_a_missing_value_and_takes_the_default() {
    // The default of the balance is 100: with a fee of 1 the two cancel out. An absent column is empty, too.
    assert_passes(pairwise("balance,annual_fee,expected\n,1,0.5\n").path(), "golden", "in 1 row");
    assert_passes(pairwise("annual_fee,expected\n1,0.5\n").path(), "golden", "in 1 row");
    let lacking = pairwise("balance,annual_fee,expected\n10,,0.5\n");
    let why = "affinity/2/golden.csv:2: `annual_fee` is missing, and the model does not accept that";
    assert_fails(lacking.path(), "golden", "1 of 1 row differ", why);
}

#[test]
fn an_answer_that_is_off_fails_unless_its_row_tolerates_that() {
    let off =
        "balance,annual_fee,expected,tolerance\n10000,100,0.5,\n10000,100,0.6,0.01\n10000,100,0.51,0.02\n";
    let why =
        "affinity/2/golden.csv:3: expected 0.6 as `propensity`, found 0.5: off by 1.0e-1, allowed 1.0e-2";
    assert_fails(pairwise(off).path(), "golden", "1 of 3 rows differ", why);
    assert_passes(
        pairwise(&off.replace("0.01\n", "0.1\n")).path(),
        "golden",
        "off by at most 1.0e-1 in 3 rows",
    );
    // Beyond 1 the tolerance is relative: 10,000 + 2 × 15,000 = 40,000 is off by 1 in 40,001.
    let value = "kind = 'value'\nlayout = 'pairwise'\ninputs = ['balance', 'visits', 'annual_fee']";
    let golden = "balance,visits,annual_fee,expected,tolerance\n10000,15000,0,40001,0.001\n";
    assert_passes(with_golden(value, "pair_logit", golden).path(), "golden", "off by at most 2.5e-5");
    let strict = golden.replace("0.001", "0.00001");
    assert_fails(with_golden(value, "pair_logit", &strict).path(), "golden", "1 of 1 row", "expected 40001");
}

#[test]
fn what_is_expected_is_the_calibrated_answer() {
    let calibrated = format!("{PAIRWISE}[calibration]\nmethod = 'platt'\na = 2.0\nb = 0.0");
    let golden = format!("balance,annual_fee,expected\n10000,100,{LOGISTIC_OF_1}\n");
    assert_passes(with_golden(&calibrated, "pushed_good", &golden).path(), "golden", "in 1 row");
}

#[test]
fn what_the_library_predicts_is_compared_before_calibration() {
    let calibrated = format!("{PAIRWISE}[calibration]\nmethod = 'platt'\na = 2.0\nb = 0.0");
    let golden = "balance,annual_fee,raw\n10000,100,0.5\n";
    assert_passes(with_golden(&calibrated, "pushed_good", golden).path(), "golden", "in 1 row");
    let taken_for_answers = golden.replace("raw", "expected");
    let folder = with_golden(&calibrated, "pushed_good", &taken_for_answers);
    assert_fails(folder.path(), "golden", "1 of 1 row differ", "call the column `raw`, not `expected`");
    let both = format!("balance,annual_fee,raw,expected\n10000,100,0.5,{LOGISTIC_OF_1}\n");
    assert_passes(with_golden(&calibrated, "pushed_good", &both).path(), "golden", "in 1 row");
}

#[test]
fn a_score_per_offer_is_expected_by_the_id_of_the_offer() {
    let manifest = "kind = 'value'\nlayout = 'multi_offer'\ninputs = ['balance', 'visits']\noffers = ['gold', 'blue', 'red']";
    // The balance times 1, 2 and 3; an empty cell is not compared.
    let golden = "visits,balance,expected:red,expected:gold\n0,5,15,5\n0,7,,7\n";
    assert_passes(with_golden(manifest, "offers_by_column", golden).path(), "golden", "in 2 rows");
    let wrong = golden.replace("15", "10");
    let why = "golden.csv:2: expected 10 as `red`, found 15: off by 5.0e-1";
    assert_fails(with_golden(manifest, "offers_by_column", &wrong).path(), "golden", "1 of 2 rows", why);
    let unknown = golden.replace("expected:red", "expected:rad");
    let why = "golden.csv:1: column `expected:rad`: the model has no offer `rad`; did you mean `red`?";
    assert_fails(with_golden(manifest, "offers_by_column", &unknown).path(), "golden", "1 mistake", why);
    let single = golden.replace("expected:red", "expected");
    let why = "this model has a score per offer; write `expected:<offer id>`";
    assert_fails(with_golden(manifest, "offers_by_column", &single).path(), "golden", "1 mistake", why);
}

#[test]
fn the_segment_is_a_column_like_a_feature() {
    let manifest = "kind = 'value'\nlayout = 'pairwise'\ninputs = ['balance', 'visits', 'segment']";
    let golden = "balance,visits,segment,expected\n1,1,2,11\n";
    assert_passes(with_golden(manifest, "pair_logit", golden).path(), "golden", "in 1 row");
}

#[test]
fn customers_are_in_the_segments_that_are_expected() {
    let golden = "balance,expected\n1000,0\n,0\n9000,1\n";
    assert_passes(
        segmentation(SEGMENTS, &[("golden.csv", golden)]).path(),
        "golden",
        "3 rows in their segments",
    );
    let wrong = golden.replace("9000,1", "9000,0");
    let why = "affinity/2/golden.csv:4: expected segment 0 (low), found 1 (high)";
    assert_fails(
        segmentation(SEGMENTS, &[("golden.csv", &wrong)]).path(),
        "golden",
        "1 of 3 rows differ",
        why,
    );
    let none = golden.replace("9000,1", "9000,2");
    let why = "golden.csv:4: column `expected`: 2 is none of the segments 0 to 1";
    assert_fails(segmentation(SEGMENTS, &[("golden.csv", &none)]).path(), "golden", "1 mistake", why);
}

#[test]
fn a_table_that_is_wrong_is_refused_with_line_and_column() {
    for (golden, why) in [
        (
            "balanse,annual_fee,expected\n1,1,0.5\n",
            "golden.csv:1: column `balanse`: the version takes no such feature; did you mean `balance`?",
        ),
        (
            "visits,annual_fee,expected\n1,1,0.5\n",
            "golden.csv:1: column `visits`: the version takes no such feature",
        ),
        ("balance,balance,expected\n1,1,0.5\n", "golden.csv:1: column `balance` comes twice"),
        ("balance,annual_fee\n1,1\n", "golden.csv:1: no column `expected`"),
        ("balance,annual_fee,expected\n", "has no row below the header"),
        ("", "golden.csv: is empty; its first line must name the columns"),
        (
            "balance,annual_fee,expected\n1,1,0.5\n1,x,0.5\n",
            "golden.csv:3: `annual_fee` is a float: \"x\" is not a number",
        ),
        (
            "balance,annual_fee,expected\n1,1,inf\n",
            "golden.csv:2: column `expected`: \"inf\" is not a finite number",
        ),
        ("balance,annual_fee,expected\n1,1,\n", "golden.csv:2: column `expected`: is empty"),
        (
            "balance,annual_fee,expected\n1,1,0.5\n1,\"1,0.5\n",
            "golden.csv:3: the quote that opens here is never closed",
        ),
        ("balance,annual_fee,expected\n1,\"1\"x,0.5\n", "golden.csv:2: text follows the closing quote"),
        (
            "balance;annual_fee;expected\n5.891;0;0.5\n974;0;0.5\n",
            "golden.csv:2: column `balance`: \"5.891\": every point of the column is followed by three digits",
        ),
        ("balance,annual_fee,expected\n1,1\n", "golden.csv:2: 2 fields where the header has 3"),
        (
            "balance,annual_fee,expected,tolerance\n1,1,0.5,-1\n",
            "golden.csv:2: column `tolerance`: must not be negative",
        ),
    ] {
        assert_fails(pairwise(golden).path(), "golden", "1 mistake in the file", why);
    }
    let golden = "balance,annual_fee,expected\n0,0,0.5\n\n0,x,0.5\n";
    let why = "golden.csv:4: `annual_fee`";
    assert_fails(pairwise(golden).path(), "golden", "1 mistake", why);
    assert_fails(pairwise(&golden.replace('\n', "\r\n")).path(), "golden", "1 mistake", why);
}

#[test]
fn a_table_is_read_as_other_programs_write_it() {
    for golden in [
        "\u{feff}balance;annual_fee;expected\r\n0;0;0,5\r\n0,0;0,0;0,50\r\n",
        "balance\tannual_fee\texpected\n0\t0\t0.5\n0\t0\t0,5\n",
    ] {
        let report = report_of(pairwise(golden).path(), "golden");
        assert!(report.measured.contains("in 2 rows"), "{report:?}");
    }
}

#[test]
fn many_mistakes_are_counted_and_a_few_are_told() {
    let golden = format!("balance,annual_fee,expected\n{}", "0,0,1\n".repeat(30));
    let report = report_of(pairwise(&golden).path(), "golden");
    assert_eq!(report.measured, "30 of 30 rows differ");
    assert_eq!(report.why.lines().count(), 6);
    assert!(report.why.ends_with("and 25 more"), "{report:?}");
}
