//! The command line as a user sees it: help, errors, tables, and signals.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::binary::{Ended, Process, command, init, proffer, proffer_prints};
use super::harness::{Copy, Server, admin_get, sample_workspace};

/// Every command, and part of its help that says what it is for.
const COMMANDS: [(&[&str], &str); 42] = [
    (&["serve"], "Serve a store over gRPC until SIGTERM"),
    (&["init"], "Make a new store of a workspace"),
    (&["check"], "without changing anything"),
    (&["check-config"], "where each value comes from"),
    (&["rank"], "Ask a server to rank offers for customers"),
    (&["score"], "Ask a server to score rows of a CSV file"),
    (&["model"], "Push, list, show and delete"),
    (&["model", "push"], "run its gates"),
    (&["model", "list"], "which may serve"),
    (&["model", "show"], "its verdict"),
    (&["model", "delete"], "its number is not used again"),
    (&["release"], "promote, roll back and watch"),
    (&["release", "create"], "it does not serve yet"),
    (&["release", "list"], "which was refused and why"),
    (&["release", "log"], "when, who, why"),
    (&["release", "show"], "what it pins"),
    (&["release", "diff"], "what the last promotion changed"),
    (&["release", "promote"], "say so once it serves"),
    (&["release", "rollback"], "the last release before the current one that a person made"),
    (&["release", "watch"], "a line for each change"),
    (&["experiment"], "Plan, list, start, ramp, pause, stop, conclude and report"),
    (&["experiment", "plan"], "how many customers it needs"),
    (&["experiment", "report"], "each arm against the control"),
    (&["experiment", "list"], "what their schedules do"),
    (&["experiment", "show"], "its schedule, and what was done to it"),
    (&["experiment", "start"], "lets a halted schedule go on"),
    (&["experiment", "ramp"], "nobody who takes part changes the arm"),
    (&["experiment", "pause"], "everyone is in the same arm as before"),
    (&["experiment", "stop"], "on any server"),
    (&["experiment", "conclude"], "its winner holds for everyone"),
    (&["metrics"], "what came of the decisions"),
    (&["shadow"], "report what they would have decided"),
    (&["shadow", "list"], "whether they can decide"),
    (&["shadow", "report"], "compared with what was decided"),
    (&["segment"], "Train segments of customers"),
    (&["segment", "train"], "--assignments"),
    (&["privacy"], "Make the keys for pseudonyms and sensitive values"),
    (&["privacy", "keys"], "it must not exist yet"),
    (&["privacy", "export"], "all that is known of a customer as JSON"),
    (&["privacy", "erase"], "It is complete once every server has acknowledged"),
    (&["features"], "feature store"),
    (&["features", "load"], "customer_id"),
];

/// A fixed date, so that tests do not depend on the validity windows of offers.
const AS_OF: &str = "2026-10-15T09:00:00Z";

#[track_caller]
fn assert_fails(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
}

/// A store of the sample in a temporary directory.
fn sample_store() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let made = init(&store, &sample_workspace());
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.contains("release 1 with 40 offers, 4 models, 2000 customers"), "{made:?}");
    (directory, store)
}

#[test]
fn every_command_and_every_option_is_explained() {
    let overview = proffer_prints(["help"]);
    for (path, about) in COMMANDS {
        let help = proffer_prints(path.iter().chain(&["--help"]));
        assert!(help.contains(about), "{help}");
        assert!(help.contains(&format!("Usage: proffer {}", path.join(" "))), "{help}");
        assert!(path.len() > 1 || overview.contains(&format!("\n  {}  ", path[0])), "{overview}");
        for option in help.lines().filter(|line| line.trim_start().starts_with('-')) {
            // The description follows the option after two spaces, on the same line.
            let explained =
                option.trim_start().split_once("  ").is_some_and(|(_, text)| text.trim().len() > 5);
            assert!(explained, "{}: {option}", path.join(" "));
        }
    }
    let version = proffer_prints(["--version"]);
    assert_eq!(version, format!("proffer {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(proffer(["rnak"]).code, Some(2));
}

#[test]
fn the_three_commands_at_the_top_of_help_work_as_printed() {
    let help = proffer_prints(["help"]);
    let (_, begin) = help.split_once("Getting started:\n").unwrap();
    let words = |line: &str| -> Vec<String> {
        let line = line.trim().split("   ").next().unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    let [initialise, serve, rank] = &begin.lines().map(words).collect::<Vec<_>>()[..] else {
        panic!("{begin}")
    };
    let checkout = tempfile::tempdir().unwrap();
    std::fs::create_dir(checkout.path().join("models")).unwrap();
    let copy = Copy::new();
    std::fs::rename(copy.path(), checkout.path().join("models")).unwrap();
    let here = |arguments: &[String]| {
        let mut command = command();
        command.current_dir(checkout.path()).args(arguments);
        find_runtime(&mut command);
        command
    };
    let made: Ended = here(initialise).output().unwrap().into();
    assert_eq!(made.code, Some(0), "{made:?}");
    let [subcommand, flag, store] = &serve[..] else { panic!("{serve:?}") };
    assert_eq!((subcommand.as_str(), flag.as_str()), ("serve", "--store"));
    let server = Process::start(here(&[]), Path::new(store));
    let address = format!("http://{}", server.address);
    let ranked: Ended = here(rank).args(["--server", &address]).output().unwrap().into();
    assert_eq!(ranked.code, Some(0), "{ranked:?}");
    assert!(ranked.stdout.contains("withheld"), "{}", ranked.stdout);
}

/// Lets a command in another directory find the ONNX Runtime of this checkout.
fn find_runtime(command: &mut std::process::Command) {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("var/onnxruntime");
        let library = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let library = library.into_iter().find(|path| path.to_string_lossy().contains("libonnxruntime"));
        command.env("ORT_DYLIB_PATH", library.unwrap());
    }
}

#[test]
fn an_invalid_configuration_exits_with_64_and_lists_every_problem() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proffer.toml");
    std::fs::write(&file, "[server]\nqueue = 0\nlisen = \"127.0.0.1:1\"\n[limits]\nmessage = \"16\"\n")
        .unwrap();
    for name in ["serve", "check-config"] {
        let mut command = command();
        command.args([name, "--listen", "nowhere", "--config"]).arg(&file).env("PROFFER_LOG_FORMAT", "xml");
        let ended: Ended = command.output().unwrap().into();
        let words = [
            "proffer.toml:3: [server]: unknown key `lisen`; did you mean `server.listen`?",
            "PROFFER_LOG_FORMAT: `log.format` = \"xml\": must be text or json",
            "flag: `server.listen` = \"nowhere\": must be an address and a port",
        ];
        assert_fails(&ended, 64, &words);
    }
    let missing = proffer(["serve", "--config", "/no/such/proffer.toml"]);
    assert_fails(&missing, 64, &["/no/such/proffer.toml"]);
    let filter = proffer(["serve", "--log-filter", "proffer=loud"]);
    assert_fails(&filter, 64, &["the log filter \"proffer=loud\" is not understood"]);
}

#[test]
fn check_config_prints_an_equivalent_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proffer.toml");
    std::fs::write(
        &file,
        "[server]\nidle = \"7m\"\n[traces]\notlp_endpoint = \"http://me:secret@collector:4317\"\n",
    )
    .unwrap();
    let mut command = command();
    command.args(["check-config", "--workers", "3", "--config"]).arg(&file).env("PROFFER_SERVER_DRAIN", "2m");
    let printed: Ended = command.output().unwrap().into();
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let origin = |key: &str| {
        let line = printed.stdout.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(origin("idle"), format!("idle = \"7m\" # {}:2", file.display()));
    assert_eq!(origin("drain"), "drain = \"2m\" # PROFFER_SERVER_DRAIN");
    assert_eq!(origin("workers"), "workers = 3 # flag");
    assert_eq!(origin("poll"), "poll = \"1s\" # default");
    assert!(!printed.stdout.contains("secret"), "{}", printed.stdout);
    std::fs::write(&file, &printed.stdout).unwrap();
    let again = proffer_prints([OsStr::new("check-config"), "--config".as_ref(), file.as_ref()]);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" # ").next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(values(&again), values(&printed.stdout));
}

#[test]
fn without_a_store_the_error_names_the_command_that_creates_one() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    for (store, reason) in
        [(missing.as_path(), "there is no such directory"), (directory.path(), "it has no CURRENT")]
    {
        let flags =
            ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-filter", "off"].map(OsStr::new);
        let serve = [OsStr::new("serve"), "--store".as_ref(), store.as_ref()].into_iter().chain(flags);
        let told = format!("create one with `proffer init --store {} --from WORKSPACE`", store.display());
        assert_fails(&proffer(serve), 1, &[reason, &told]);
        assert_fails(
            &proffer([OsStr::new("check"), "--store".as_ref(), store.as_ref()]),
            1,
            &[reason, &told],
        );
    }
    assert_fails(
        &proffer(["check", "/no/such/workspace"]),
        1,
        &["/no/such/workspace: there is no such directory"],
    );
}

#[test]
fn a_port_in_use_is_named() {
    let (_directory, store) = sample_store();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = |listen: &str, admin: &str| {
        let flags = ["--listen", listen, "--admin", admin, "--log-filter", "off", "--store"];
        proffer(["serve"].iter().chain(&flags).map(OsStr::new).chain([store.as_os_str()]))
    };
    assert_fails(
        &serve(&address, "127.0.0.1:0"),
        1,
        &[&format!("cannot listen on server.listen {address}: ")],
    );
    assert_fails(
        &serve("127.0.0.1:0", &address),
        1,
        &[&format!("cannot listen on server.admin {address}: ")],
    );
}

#[test]
fn a_missing_runtime_is_answered_with_the_command_that_fetches_it() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = command();
    command.arg("check").arg(sample_workspace()).current_dir(elsewhere.path());
    command.env("ORT_DYLIB_PATH", elsewhere.path().join("libonnxruntime.so"));
    let ended: Ended = command.output().unwrap().into();
    assert_fails(
        &ended,
        1,
        &["ONNX Runtime was not found", "make onnxruntime", "scripts/fetch_onnxruntime.py"],
    );
    std::fs::write(elsewhere.path().join("libonnxruntime.so"), "not a library").unwrap();
    let ended: Ended = command.output().unwrap().into();
    assert_fails(&ended, 1, &["libonnxruntime.so"]);
}

#[test]
fn after_sigterm_the_server_exits_with_0() {
    let (_directory, store) = sample_store();
    let server = Process::start(command(), &store);
    let address = format!("http://{}", server.address);
    let rank = ["rank", "--placement", "app_home", "--customer", "C000001", "--server", &address];
    proffer_prints(rank);
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{status}");
    assert_fails(&proffer(rank), 1, &["no server answers", "is `proffer serve` running?"]);
}

#[test]
fn sighup_is_ignored_and_sigterm_first_makes_the_server_unready() {
    let (_directory, store) = sample_store();
    let mut patient = command();
    patient.envs([("PROFFER_SERVER_DRAIN_DELAY", "50s"), ("PROFFER_SERVER_DRAIN", "60s")]);
    let server = Process::start(patient, &store);
    let address = format!("http://{}", server.address);
    let rank = ["rank", "--placement", "app_home", "--customer", "C000001", "--server", &address];
    let readiness = || admin_get(server.admin, "/readyz").unwrap();
    server.signal("HUP");
    std::thread::sleep(Duration::from_millis(200));
    assert!(readiness().starts_with("HTTP/1.1 200"), "{}", readiness());
    proffer_prints(rank);
    let began = Instant::now();
    server.signal("TERM");
    while readiness().starts_with("HTTP/1.1 200") {
        assert!(began.elapsed() < Duration::from_secs(20), "it stays ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(readiness().contains("\"leaving\""), "{}", readiness());
    // Callers that have not noticed are still answered, even on a new connection.
    proffer_prints(rank);
    server.signal("HUP");
    proffer_prints(rank);
    // Another signal ends the delay.
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert_fails(&proffer(rank), 1, &["no server answers"]);
}

#[test]
fn a_server_without_a_terminal_has_a_drain_delay_that_ends_by_itself() {
    let (_directory, store) = sample_store();
    let mut command = command();
    // `auto` is half of it, as there is no terminal.
    command.envs([("PROFFER_SERVER_DRAIN_DELAY", "auto"), ("PROFFER_SERVER_DRAIN", "2s")]);
    let server = Process::start(command, &store);
    let began = Instant::now();
    let (status, log) = server.terminate_with_log();
    assert_eq!(status.code(), Some(0), "{status}");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(20), "{took:?}: {log:#?}");
}

#[test]
fn an_unknown_environment_variable_is_rejected() {
    let with = |variables: &[(&str, &str)], arguments: &[&str]| -> Ended {
        command().envs(variables.iter().copied()).args(arguments).output().unwrap().into()
    };
    let misspelt = [("PROFFER_SERVER_WORKER", "8"), ("PROFFER_LOG_FORMAT", "xml")];
    let words = ["PROFFER_SERVER_WORKER: ", "did you mean `PROFFER_SERVER_WORKERS`?", "must be text or json"];
    assert_fails(&with(&misspelt, &["check-config"]), 64, &words);
    assert_fails(&with(&misspelt, &["serve", "--store", "none"]), 64, &words);
    let asked = ["rank", "--placement", "app_home", "--customer", "C000001"];
    assert_fails(&with(&[("PROFFER_SEVER", "x:1")], &asked), 64, &["did you mean `PROFFER_SERVER`?"]);
    let kubernetes = [
        ("PROFFER_SERVICE_HOST", "10.0.0.1"),
        ("PROFFER_PORT", "tcp://10.0.0.1:50051"),
        ("PROFFER_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("PROFFER_TEST_X", "1"),
    ];
    assert_eq!(with(&kubernetes, &["check-config"]).code, Some(0));
}

#[test]
fn an_invalid_address_is_answered_with_a_valid_form() {
    for (address, words) in [
        ("localhost", ["the port is missing", "write http://localhost:50051"]),
        ("http://", ["names no host", "write http://127.0.0.1:50051"]),
        ("::1", ["in brackets", "write http://[::1]:50051"]),
        ("localhost:grpc", ["`grpc` is not a port", "write http://localhost:50051"]),
    ] {
        let rank = ["rank", "--placement", "app_home", "--customer", "C000001", "--server", address];
        assert_fails(&proffer(rank), 1, &words);
        assert_fails(&proffer(["release", "list", "--server", address]), 1, &words);
    }
}

#[test]
fn a_date_means_its_midnight() {
    let address = format!("http://{}", Server::sample().address);
    let rank = |as_of: &str| {
        let asked =
            ["rank", "--placement", "app_home", "--customer", "C000001", "--server", &address, "--json"];
        proffer(asked.into_iter().chain(["--as-of", as_of, "--explain"]))
    };
    let offers = |as_of: &str| {
        let answer: Value = serde_json::from_str(&rank(as_of).stdout).unwrap();
        let result = &answer["results"][0];
        (result["offers"].clone(), result["rejected"].clone())
    };
    assert_eq!(offers("2026-12-24"), offers("2026-12-24T00:00:00Z"));
    assert_ne!(offers("2026-12-24"), offers("2026-01-24T00:00:00Z"));
    assert_fails(&rank("24.12.2026"), 2, &["--as-of", "its midnight in UTC"]);
}

#[test]
fn promotions_are_listed_from_a_store_and_from_a_server() {
    let server = Server::start(Copy::new().path(), &[]);
    let address = format!("http://{}", server.address);
    let at_server = |arguments: &[&str]| {
        proffer_prints(["release"].iter().chain(arguments).chain(&["--server", &address]))
    };
    at_server(&["create", "--base", "1", "--note", "the same again"]);
    at_server(&["promote", "2", "--reason", "May, at last", "--author", "anna"]);
    at_server(&["rollback", "--reason", "too few clicks", "--author", "ben"]);
    let store = server.store.display().to_string();
    let of_store = |more: &[&str]| proffer_prints(["release", "log", "--store", &store].iter().chain(more));
    let table = of_store(&[]);
    assert_eq!(table, at_server(&["log"]));
    for (sequence, words) in [("1", ["1", "–"]), ("2", ["2", "1"]), ("3", ["1", "–"])] {
        assert_eq!(row(&table, sequence)[1..3], words, "{table}");
    }
    assert!(table.contains("too few clicks") && table.contains("anna"), "{table}");
    let listed: Value = serde_json::from_str(&of_store(&["--json", "--count", "2"])).unwrap();
    let sequences = |listed: &Value| -> Vec<u64> {
        listed.as_array().unwrap().iter().map(|entry| entry["sequence"].as_u64().unwrap()).collect()
    };
    assert_eq!(sequences(&listed), [3, 2]);
    assert_eq!(listed[1]["reason"], "May, at last");
    assert!(listed[0]["time"].as_str().unwrap().ends_with('Z'));
    let next: Value = serde_json::from_str(&at_server(&["log", "--json", "--before", "2"])).unwrap();
    assert_eq!(sequences(&next), [1]);
}

#[test]
fn a_rejected_request_is_printed_with_its_reason() {
    let address = format!("http://{}", Server::sample().address);
    let rank = |placement: &str, more: &[&str]| {
        let asked = ["rank", "--customer", "C000001", "--server", &address, "--placement", placement];
        proffer(asked.iter().chain(more))
    };
    assert_fails(&rank("app_hme", &[]), 1, &["NOT_FOUND", "did you mean `app_home`?"]);
    assert_fails(
        &rank("app_home", &["--feature", "balanse=3"]),
        1,
        &["--feature: the release has no feature `balanse`; did you mean `balance`?"],
    );
    assert_fails(&rank("app_home", &["--context", "month=June"]), 1, &["--context: ", "\"June\""]);
    assert_eq!(rank("app_home", &["--feature", "balance"]).code, Some(2));
    assert_eq!(rank("app_home", &["--as-of", "soon"]).code, Some(2));
}

/// The cells of a table's row that begins with `first`.
fn row<'t>(table: &'t str, first: &str) -> Vec<&'t str> {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(first));
    line.unwrap_or_else(|| panic!("no row {first} in\n{table}")).split_whitespace().collect()
}

#[test]
fn json_and_the_table_agree() {
    let address = format!("http://{}", Server::sample().address);
    let rank = |more: &[&str]| {
        let asked =
            ["rank", "--placement", "app_home", "--customer", "C000001", "--as-of", AS_OF, "--explain"];
        let told = ["--context", "month=7", "--feature", "credit_limit=9000", "--server", &address];
        // Wide enough that no cell of the table is wrapped.
        let mut command = command();
        command.args(asked).args(told).args(more).env("COLUMNS", "400");
        let ended: Ended = command.output().unwrap().into();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    let (table, json) = (rank(&[]), rank(&["--json"]));
    let answer: Value = serde_json::from_str(&json).unwrap();
    let result = &answer["results"][0];
    let offers = result["offers"].as_array().unwrap();
    assert!(!offers.is_empty());
    for offer in offers {
        let cells = row(&table, &offer["rank"].to_string());
        let factors = &offer["factors"];
        let number = |value: &Value, digits: usize| format!("{:.digits$}", value.as_f64().unwrap());
        let expected = [
            offer["offer_id"].as_str().unwrap().to_owned(),
            number(&offer["priority"], 4),
            number(&factors["propensity"], 4),
            number(&factors["context_weight"], 2),
            number(&factors["value"], 2),
            number(&factors["lever"], 2),
            number(&factors["margin"], 2),
            factors["model"].as_str().unwrap().to_owned(),
            format!("v{}", factors["model_version"]),
        ];
        assert_eq!(cells[1..], expected);
    }
    let rejected = result["rejected"].as_array().unwrap();
    assert!(rejected.len() > 10, "{json}");
    let (_, withheld) = table.split_once("withheld").unwrap();
    for offer in rejected {
        let cells = row(withheld, offer["offer_id"].as_str().unwrap());
        assert_eq!(cells[1..3], [offer["stage"].as_str().unwrap(), offer["reason"].as_str().unwrap()]);
    }
    let segment = result["segment"]["name"].as_str().unwrap();
    assert!(table.starts_with("customer C000001") && table.contains(segment), "{table}");
}

#[test]
fn scores_are_printed_as_csv() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("rows.csv");
    std::fs::write(&input, "customer_id,balance,credit_limit\nA,10.5,3000\nB,,\n").unwrap();
    let address = format!("http://{}", Server::sample().address);
    let score = |more: &[&str]| {
        let asked =
            ["score", "--model", "propensity", "--server", &address, "--input", input.to_str().unwrap()];
        proffer(asked.iter().chain(more))
    };
    let ended = score(&["--offers", "travel_gold,cashback_fuel"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0], ["customer_id", "travel_gold", "cashback_fuel"]);
    assert_eq!((lines[1][0], lines[2][0], lines.len()), ("A", "B", 3));
    let json = score(&["--offers", "travel_gold,cashback_fuel", "--json"]);
    let parts: Value = serde_json::from_str(&json.stdout).unwrap();
    for (row, line) in lines[1..].iter().enumerate() {
        for (column, cell) in line[1..].iter().enumerate() {
            let propensity: f64 = cell.parse().unwrap();
            assert!((0.0..=1.0).contains(&propensity), "{ended:?}");
            let same = parts[0]["rows"][row][column].as_f64().unwrap();
            assert!((same - propensity).abs() < 1e-6, "{same} {propensity}");
        }
    }
    assert_fails(&score(&[]), 1, &["INVALID_ARGUMENT", "offer_ids"]);
    std::fs::write(&input, "customer_id,balance\n").unwrap();
    assert_fails(&score(&[]), 1, &["rows.csv: no row below the header"]);
    std::fs::write(&input, "customer_id,balance\nA,1.0,2.0\n").unwrap();
    assert_fails(&score(&[]), 1, &["rows.csv:2: 3 fields where the header has 2"]);
    std::fs::remove_file(&input).unwrap();
    assert_fails(&score(&[]), 1, &["rows.csv: the file could not be opened: No such file"]);
}

#[test]
fn values_have_the_types_of_the_schema_whatever_they_look_like() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("rows.csv");
    let address = format!("http://{}", Server::sample().address);
    let score = |text: &str| {
        std::fs::write(&input, text).unwrap();
        proffer([
            "score",
            "--model",
            "propensity",
            "--offers",
            "travel_gold",
            "--server",
            &address,
            "--input",
            input.to_str().unwrap(),
        ])
    };
    // An integer that a 32-bit float cannot hold, a text for a missing value, a column that is not a feature.
    let ended = score("customer_id,balance,shoe_size\nA,20000001,x\nB,NaN,y\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("column `shoe_size` is not a feature and was ignored"), "{ended:?}");
    let plain = score("customer_id,balance\nA,20000000\nB,\n");
    assert_eq!((ended.stdout.lines().count(), &ended.stdout), (3, &plain.stdout));
    // As Excel writes it in locales with a decimal comma.
    let excel = score("\u{feff}customer_id;balance\r\nA;10,5\r\n");
    assert_eq!(excel.stdout, score("customer_id,balance\nA,10.5\n").stdout, "{excel:?}");
    assert_fails(&score("customer_id,balance\nA,x\n"), 1, &["rows.csv:2: `balance` is a float: \"x\""]);

    let rank = |more: &[&str]| {
        let asked = ["rank", "--placement", "app_home", "--server", &address, "--as-of", AS_OF, "--customer"];
        proffer(asked.iter().chain(&["C000001"]).chain(more))
    };
    let ended = rank(&["--feature", "balance=20000001", "--context", "month=7"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_fails(&rank(&["--feature", "balance=much"]), 1, &["--feature: `balance` is a float: \"much\""]);
    // Names that are not in the schema are reported by the server.
    let ended = rank(&["--feature", "balanse=1"]);
    assert!(format!("{ended:?}").contains("balanse"), "{ended:?}");
}

/// Broken files, and the error that every command reports for them.
const BROKEN: [(&str, &str); 8] = [
    (
        "customer_id,balance,credit_limit\nA,1,2\nB,3,\"4\nC,5,6\n",
        ":3: the quote that opens here is never closed",
    ),
    ("customer_id,balance,credit_limit\nA,1,\"2\nB,3,\"4\nC,5,6\n", ":2: text follows the closing quote"),
    (
        "customer_id,balance,credit_limit\nA,1,2\nB,3\nC,5,6\n",
        ":3: 2 fields where the header has 3; a missing value is",
    ),
    ("customer_id,balance,credit_limit\nA,1,2\nB,3,\0\n", ":3: a NUL byte"),
    (
        "customer_id,balance,credit_limit\nA,1,2\nB,3,\"1,234.50\"\nC,5,6\n",
        "\"1,234.50\" is not a number; write it without",
    ),
    (
        "customer_id;balance;credit_limit\nA;1;974\nB;2;5.891\n",
        "\"5.891\": every point of the column is followed by three",
    ),
    ("PK\u{3}\u{4}", ": is a workbook or a ZIP archive"),
    ("", ": is empty; its first line must name the columns"),
];

#[test]
fn every_command_reports_the_same_error_for_a_broken_file() {
    let (directory, store) = sample_store();
    let file = directory.path().join("table.csv");
    let address = format!("http://{}", Server::sample().address);
    let (input, output) = (file.to_str().unwrap(), directory.path().join("out"));
    let commands: [Vec<&str>; 3] = [
        vec!["features", "load", "--store", store.to_str().unwrap(), input],
        vec![
            "segment",
            "train",
            "--output",
            output.to_str().unwrap(),
            "--id",
            "customer_id",
            "--input",
            input,
        ],
        vec![
            "score",
            "--model",
            "propensity",
            "--offers",
            "travel_gold",
            "--server",
            &address,
            "--input",
            input,
        ],
    ];
    for (text, message) in BROKEN {
        std::fs::write(&file, text).unwrap();
        for command in &commands {
            assert_fails(&proffer(command), 1, &["table.csv", message]);
        }
    }
    let utf16: Vec<u8> = "\u{feff}customer_id\tbalance\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&file, utf16).unwrap();
    for command in &commands {
        assert_fails(&proffer(command), 1, &["table.csv: is UTF-16; save it as UTF-8"]);
    }
}

#[test]
fn new_customers_are_checked_before_a_running_server_sees_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new.csv");
    let server = Server::start(Copy::new().path(), &[]);
    let address = format!("http://{}", server.address);
    let load = |more: &[&str]| {
        let asked: [&OsStr; 5] =
            ["features".as_ref(), "load".as_ref(), "--store".as_ref(), server.store.as_ref(), file.as_ref()];
        proffer(asked.into_iter().chain(more.iter().map(OsStr::new)))
    };
    let is_known = |customer: &str| {
        let asked =
            ["rank", "--placement", "app_home", "--json", "--server", &address, "--customer", customer];
        let answer: Value = serde_json::from_str(&proffer_prints(asked)).unwrap();
        let degraded = answer["results"][0]["degraded"].as_array().unwrap();
        !degraded.iter().any(|entry| entry == "unknown_customer")
    };
    assert!(is_known("C000001") && !is_known("NEW1"));

    std::fs::write(&file, "customer_id,balance,tenure\nNEW1,a lot,12\nNEW1,3.0,12.5\n").unwrap();
    let words = ["new.csv:2: ", "\"a lot\" is not a number", "new.csv:3: "];
    assert_fails(&load(&[]), 1, &words);
    assert!(is_known("C000001") && !is_known("NEW1"));

    std::fs::write(&file, "customer_id,balance,shoe_size\nNEW1,3.0,41\n").unwrap();
    assert_fails(&load(&[]), 1, &["2000 of 2000 customers (100.0 %) would be lost", "load it with --force"]);
    assert!(is_known("C000001") && !is_known("NEW1"));
    let loaded = load(&["--force"]);
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    for words in ["1 customer", "column `shoe_size` is not a customer feature", "`purchases` has no column"] {
        assert!(loaded.stdout.contains(words), "{loaded:?}");
    }
    for attempt in 0.. {
        if is_known("NEW1") {
            break;
        }
        assert!(attempt < 500, "the server does not notice");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!is_known("C000001"));
}
