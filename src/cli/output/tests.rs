use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

fn open(path: &Path, inputs: &[&Path]) -> Result<Output, String> {
    Output::open(path, Audience::Usual, inputs).map_err(|failure| failure.message)
}

fn write(path: &Path, text: &str, audience: Audience) {
    Output::open(path, audience, &[]).unwrap().write_whole(text).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    write(&out, "first", Audience::Usual);
    // As any program makes files.
    let other = directory.path().join("other");
    fs::write(&other, "").unwrap();
    assert_eq!(mode(&out), mode(&other));
    for of_file in [0o600, 0o640, 0o664] {
        fs::set_permissions(&out, Permissions::from_mode(of_file)).unwrap();
        let before = File::open(&out).unwrap();
        write(&out, "second", Audience::Usual);
        assert_eq!((mode(&out), fs::read_to_string(&out).unwrap().as_str()), (of_file, "second"));
        assert_ne!(before.metadata().unwrap().ino(), fs::metadata(&out).unwrap().ino());
    }
    // What is not finished changes nothing, and leaves nothing.
    let mut unfinished = open(&out, &[]).unwrap();
    unfinished.write_all(b"third").unwrap();
    drop(unfinished);
    assert_eq!(fs::read_to_string(&out).unwrap(), "second");
    assert_eq!(names(directory.path()), ["other", "out"]);
}

#[test]
fn personal_data_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let [new, open] = ["new", "open"].map(|name| directory.path().join(name));
    fs::write(&open, "").unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o664)).unwrap();
    for out in [&new, &open] {
        write(out, "of a person", Audience::Owner);
        assert_eq!(mode(out), 0o600);
    }
}

#[test]
fn links_are_followed_to_what_is_there_and_to_what_is_not_yet() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("there"), "").unwrap();
    for (name, to) in [("one", "folder/there"), ("two", "folder/new"), ("three", "two"), ("round", "round")] {
        symlink(to, directory.path().join(name)).unwrap();
    }
    write(&directory.path().join("one"), "1", Audience::Usual);
    write(&directory.path().join("three"), "3", Audience::Usual);
    assert_eq!(fs::read_to_string(folder.join("there")).unwrap(), "1");
    assert_eq!(fs::read_to_string(folder.join("new")).unwrap(), "3");
    assert!(["one", "two", "three"].iter().all(|name| directory.path().join(name).is_symlink()));
    let round = open(&directory.path().join("round"), &[]).err().unwrap();
    assert!(round.contains("round cannot be written: too many links"), "{round}");
}

#[test]
fn a_pipe_or_a_device_is_written_into() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    let out = open(&pipe, &[]).unwrap();
    assert!(out.is_stream());
    out.write_whole("through").unwrap();
    assert_eq!(reader.join().unwrap(), "through");
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    let null = open(Path::new("/dev/null"), &[]).unwrap();
    assert!(null.is_stream());
    null.write_whole("nowhere").unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let full = open(Path::new("/dev/full"), &[]).unwrap().write_whole("x").unwrap_err();
    assert!(full.message.contains("/dev/full cannot be written: No space left"), "{}", full.message);
    assert_eq!(names(directory.path()), ["pipe"]);
}

#[test]
fn nothing_is_written_over_an_input_or_into_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("input"), "precious").unwrap();
    symlink("input", at("link")).unwrap();
    fs::hard_link(at("input"), at("same")).unwrap();
    fs::create_dir_all(at("data/log")).unwrap();
    fs::create_dir_all(at("store/releases")).unwrap();
    fs::write(at("store/CURRENT"), "").unwrap();
    let (input, data) = (at("input"), at("data"));
    let inputs = [input.as_path(), data.as_path(), Path::new("s3://bucket/store")];
    for (name, words) in [
        ("input", "which this command reads"),
        ("link", "which this command reads"),
        ("same", "which this command reads"),
        ("data/log/new", "which this command reads"),
        ("store/new", "is in the store "),
        ("store/releases/new", "is in the store "),
        ("store/CURRENT", "is in the store "),
        ("store", "is in the store "),
        ("data", "which this command reads"),
        ("absent/new", "cannot be written: No such file or directory"),
    ] {
        let refused = open(&at(name), &inputs).err().unwrap_or_default();
        assert!(refused.contains(words) && refused.contains(name), "{name}: {refused}");
    }
    assert_eq!(fs::read_to_string(at("input")).unwrap(), "precious");
    assert!(open(directory.path(), &[]).err().unwrap().contains("is a directory; name a file"));
    assert!(open(Path::new("/"), &[]).err().unwrap().contains("it names no file"));
    assert!(open(&at("output"), &inputs).is_ok());
}
