//! Hints from the name of a column: its words, compared with those in exports of banks and in public data sets.
//!
//! Whole words count, not parts of words: `paid` is no id.

/// What the name of a column hints at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a name can hint at several things at once")]
pub(in crate::train::table) struct NameHints {
    /// A generated name for a column without a name: an index.
    pub(in crate::train::table) placeholder: bool,
    /// The index of a pandas table, by the metadata of the file.
    pub(in crate::train::table) pandas_index: bool,
    /// A row number.
    pub(in crate::train::table) row_number: bool,
    /// An id, if its values are distinct.
    pub(in crate::train::table) id: bool,
    /// A code, whether or not its values are distinct.
    pub(in crate::train::table) code: bool,
    /// The settings name the column, so it is no row number.
    pub(in crate::train::table) trusted: bool,
    /// A label that models predict.
    pub(in crate::train::table) label: Label,
}

/// When a name is that of a label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::train::table) enum Label {
    /// Never.
    #[default]
    No,
    /// If the column has two values.
    OfTwo,
    /// If the column has few values.
    OfFew,
}

/// Entities that ids identify.
const ENTITIES: &str = "\
    acc, acct, account, agent, applicant, application, branch, card, case, client, cliente, clnt, company, compte, \
    contact, contract, cuenta, cust, customer, device, disp, document, employee, firm, household, invoice, item, \
    konto, kunde, kunden, lead, loan, location, member, merchant, order, organisation, organization, partner, party, \
    passenger, passport, patient, person, phone, plan, policy, product, profile, record, roll, sample, serial, \
    session, shop, site, store, student, subscriber, transaction, trans, txn, user, vertrags";

/// Entities whose name alone is that of an id; `loan` and `order` may be amounts.
const PERSONS: &str = "\
    account, acct, client, cliente, clnt, cust, customer, konto, kunde, member, party, passenger, serial, user";

/// Last words of ids.
const NUMBERS: &str = "no, nr, num, number, nbr, nummer, numero, key, pk";

/// Words of ids in any position.
const IDS: &str = "id, ids, uid, guid, uuid, identifier, rowid";

/// Official numbers of people and accounts: ids if they are distinct, else codes.
const REGISTERED: &str = "ssn, iban, msisdn, imei, imsi, tin, ein, passport, siren";

/// Words of codes in any position.
const PLACES: &str = "zip, zipcode, postcode, postal, postleitzahl, plz, pincode, cep, areacode";

/// Last words of codes.
const CODES: &str = "\
    code, codes, cd, branch, merchant, shop, store, phone, telephone, telefon, fax, fips, mcc, naics, sic, nace, \
    codigo, codice, sortcode";

/// Words of quantities, which are features.
const QUANTITIES: &str = "\
    amount, amt, average, avg, balance, calls, changes, charge, charges, cnt, cost, count, ct, days, density, \
    distance, duration, income, length, limit, mean, median, minutes, months, pct, percent, population, price, rate, \
    ratio, revenue, score, share, total, value, years";

/// Words of labels.
const LABELS: &str = "\
    attrition, bankrupt, bankruptcy, bought, churn, churned, clicked, conversion, converted, default, defaulted, \
    defaulter, dlqin, exited, fraud, fraudulent, isfraud, ischurn, label, outcome, purchased, responded, response, \
    subscribed, survived, target, writeoff";

/// Whole names of labels with few values, including those of an earlier clustering.
const CLASSES: &str = "\
    class, classes, cluster, clusters, cluster label, cluster labels, kmeans, label, labels, segment, target, y";

/// Whole names of labels with two values.
const WHOLE_LABELS: &str =
    "accepted, approved, bad, click, good bad, loan approved, loan status, deposit subscribed";

/// Whole names of row numbers.
const ROW_NUMBERS: &str = "\
    index, idx, level 0, n, obs, observation, record number, rn, row, row id, row index, row no, row number, rowid, \
    rownames, rownum, s no, sl no, sr no, x";

/// Whether a list contains the word.
fn among(list: &str, word: &str) -> bool {
    list.split(", ").any(|listed| listed == word)
}

/// The hints from a name.
pub(in crate::train::table) fn hints(name: &str) -> NameHints {
    if is_placeholder(name) {
        return NameHints { placeholder: true, ..NameHints::default() };
    }
    let words = words(name);
    let whole = words.join(" ");
    let (Some(first), Some(last)) = (words.first().map(String::as_str), words.last().map(String::as_str))
    else {
        return NameHints::default();
    };
    let any = |list: &str| words.iter().any(|word| among(list, word));
    let label = if among(CLASSES, &whole) {
        Label::OfFew
    } else if any(LABELS) || among(WHOLE_LABELS, &whole) {
        Label::OfTwo
    } else {
        Label::No
    };
    let row_number = among(ROW_NUMBERS, &whole) || whole == "v 1";
    if any(QUANTITIES) {
        return NameHints { row_number, label, ..NameHints::default() };
    }
    let before = words.len().checked_sub(2).map(|position| words[position].as_str());
    let of_entity = |word: Option<&str>| word.is_some_and(|word| among(ENTITIES, word));
    // `account_number` and `num_client` are ids, but `num_products` is a count.
    let numbered = (among(NUMBERS, last) && of_entity(before))
        || (words.len() == 2
            && ["num", "numero", "no"].contains(&first)
            && ["client", "compte", "cliente"].contains(&last));
    let registered = among(REGISTERED, last);
    let by_id = among(IDS, last) || among(IDS, first);
    NameHints {
        row_number,
        id: any(IDS)
            || numbered
            || registered
            || (among(NUMBERS, last) && !any("total, of"))
            || ["code", "ref", "reference"].contains(&last)
            || last.ends_with("nummer")
            || (words.len() == 1 && among(PERSONS, last)),
        code: by_id || numbered || registered || any(PLACES) || among(CODES, last) || first == "codigo",
        label,
        ..NameHints::default()
    }
}

/// Whether pandas or R generated the name for a column without one.
pub(in crate::train::table) fn is_placeholder(name: &str) -> bool {
    let after = |prefix: &str| name.get(..prefix.len()).filter(|begins| begins.eq_ignore_ascii_case(prefix));
    let rest = |prefix: &str| after(prefix).map(|begins| &name[begins.len()..]);
    name.is_empty()
        || rest("__index_level_").is_some()
        || rest("unnamed").is_some_and(|rest| !rest.is_empty() && !rest.chars().any(char::is_alphabetic))
        || rest("...").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The words of a name in lower case: `customer id` for `CustomerID`, `customer_id` and `customerid`.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for (position, letter) in letters.iter().enumerate() {
        let before = position.checked_sub(1).map(|before| letters[before]);
        let next = letters.get(position + 1);
        let begins = before.is_some_and(|before| {
            let capital = letter.is_uppercase()
                && (before.is_lowercase()
                    || (before.is_uppercase() && next.is_some_and(|next| next.is_lowercase())));
            capital || (letter.is_numeric() != before.is_numeric())
        });
        if (begins || !letter.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words.iter().flat_map(|word| compound(word)).collect()
}

/// Splits a compound such as `customerid` into its two words.
fn compound(word: &str) -> Vec<String> {
    let ends = ["id", "code"].into_iter().chain(NUMBERS.split(", "));
    let mut parts = ends.filter_map(|end| Some((word.strip_suffix(end)?, end)));
    let found = parts.find(|(stem, _)| among(ENTITIES, stem));
    found.map_or_else(|| vec![word.to_owned()], |(stem, end)| vec![stem.to_owned(), end.to_owned()])
}
