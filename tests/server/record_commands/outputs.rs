//! Where `--out` and `--html` write.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_to_a_file_a_pipe_or_standard_output() {
    let scene = decided(&["C000001", "C000002", "C000003"]).await;
    let (out, link) = (scene.path("out.csv"), scene.path("link.csv"));
    let export = |to: &str| {
        let ended = scene.run(&["events", "export", "--format", "csv", "--out", to]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    };
    let told = export(&scene.at("out.csv"));
    assert!(told.stdout.contains("out.csv: 3 decisions, ") && told.stderr.is_empty(), "{told:?}");
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.lines().count() == 4 && text.contains("C000002"), "{text}");
    // The summary is not part of what is exported.
    for stream in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        let printed = export(stream);
        assert_eq!(printed.stdout, text, "{stream}");
        assert!(printed.stderr.contains(": 3 decisions, "), "{printed:?}");
    }
    assert!(!scene.path("-").exists());
    assert!(!fs::metadata("/dev/stdout").unwrap().is_dir());
    // A file keeps its mode, a link stays one.
    fs::set_permissions(&out, fs::Permissions::from_mode(0o600)).unwrap();
    symlink("out.csv", &link).unwrap();
    symlink("later.csv", scene.path("dangling.csv")).unwrap();
    export(&scene.at("link.csv"));
    export(&scene.at("dangling.csv"));
    assert!(link.is_symlink() && scene.path("dangling.csv").is_symlink());
    assert_eq!((mode(&out), fs::read_to_string(&out).unwrap()), (0o600, text.clone()));
    assert_eq!(fs::read_to_string(scene.path("later.csv")).unwrap(), text);
    // A pipe gets it, and stays a pipe.
    let pipe = scene.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    export(&scene.at("pipe"));
    assert_eq!(reader.join().unwrap(), text);
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    // Parquet needs no file to go back in.
    let parquet = scene.at("out.parquet");
    scene.prints(&["events", "export", "--out", &parquet]);
    let mut piped = scene.proffer();
    piped.args(["events", "export", "--store", scene.location(), "--out", "-"]);
    assert_eq!(piped.output().unwrap().stdout, fs::read(&parquet).unwrap());
    let left = fs::read_dir(scene.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".part")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_over_what_a_command_reads() {
    let scene = decided(&["C000001"]).await;
    let (store, export) = (scene.location().to_owned(), scene.at("decisions.parquet"));
    scene.prints(&["events", "export", "--out", &export]);
    let before = fs::read(&export).unwrap();
    symlink("decisions.parquet", scene.path("same.html")).unwrap();
    for html in [&export, &scene.at("same.html")] {
        scene.fails(&["replay", "--input", &export, "--html", html], 1, &["which this command reads"]);
    }
    assert_eq!(fs::read(&export).unwrap(), before);
    let current = format!("{store}/CURRENT");
    let kept = fs::read(&current).unwrap();
    for words in [
        &["events", "export", "--format", "csv", "--out", &current][..],
        &["privacy", "export", "--customer", "C000001", "--out", &current],
        &["replay", "--html", &current],
        &["release", "simulate", "1", "--html", &current],
    ] {
        scene.fails(words, 1, &["is in the store ", "write to another place"]);
    }
    assert_eq!(fs::read(&current).unwrap(), kept);
    let in_data = format!("{}/log/out.csv", scene.at("data"));
    let words = ["events", "export", "--data", &scene.at("data"), "--format", "csv", "--out", &in_data];
    scene.fails(&words, 1, &["which this command reads"]);
    scene.fails(&["replay", "--html", &scene.at("")], 1, &["is a directory; name a file"]);
    // Rows that would be their own golden rows.
    let workspace = Copy::new();
    let version = workspace.path().join("propensity/1");
    let golden = version.join("golden.csv");
    fs::write(&golden, "balance,prediction\n1,0.5\n").unwrap();
    let push = ["model", "push", "propensity", version.to_str().unwrap(), "--check-against"];
    scene.fails(
        &[&push[..], &[golden.to_str().unwrap()]].concat(),
        1,
        &["golden.csv", "which this command reads"],
    );
    assert_eq!(fs::read_to_string(&golden).unwrap(), "balance,prediction\n1,0.5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_person_is_for_its_owner_and_a_page_may_be_printed() {
    let scene = decided(&["C000001"]).await;
    let person = scene.path("person.json");
    fs::write(&person, "before").unwrap();
    fs::set_permissions(&person, fs::Permissions::from_mode(0o666)).unwrap();
    let export = ["privacy", "export", "--customer", "C000001"];
    let printed = scene.prints(&export);
    assert_eq!(scene.prints(&[&export[..], &["--out", "-"]].concat()), printed);
    scene.prints(&[&export[..], &["--out", person.to_str().unwrap()]].concat());
    assert_eq!((mode(&person), fs::read_to_string(&person).unwrap()), (0o600, printed));
    let page = scene.prints(&["replay", "--html", "-"]);
    assert!(page.starts_with("<!") && page.contains("</html>") && !page.contains("\n1 identical"), "{page}");
    let html = scene.at("effect.html");
    let report = scene.prints(&["replay", "--html", &html]);
    assert!(report.contains("The answer is the same"), "{report}");
    assert_eq!(fs::read_to_string(html).unwrap(), page);
}
