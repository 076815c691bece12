//! `compare`: the library's answer with its exit code, on a screen, as JSON and as a page.

use std::io::Write as _;
use std::process::Stdio;

use crate::world::{World, masked};

/// A tar archive of one file, written by hand.
fn tar(name: &str, content: &[u8], mtime: u64) -> Vec<u8> {
    ended(member(name, content, b"0000644\0", mtime))
}

/// A tar archive of several files.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    ended(files.iter().flat_map(|(name, content)| member(name, content.as_bytes(), b"0000644\0", 5)).collect())
}

fn member(name: &str, content: &[u8], mode: &[u8], mtime: u64) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, mode);
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, format!("{mtime:011o}\0").as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.write_all(content).expect("to memory");
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn ended(mut members: Vec<u8>) -> Vec<u8> {
    members.resize(members.len() + 1024, 0);
    members
}

/// Two archives in the shape of a tag and the source distribution made from it.
fn tag_and_release(world: &World) -> [String; 2] {
    let tag = tar_of(&[
        ("x-1/.gitignore", "*.pyc\n"),
        ("x-1/docs/conf.py", "a = 1\n"),
        ("x-1/docs/index.rst", "text\n"),
        ("x-1/setup.cfg", "[metadata]\nname = x\n"),
        ("x-1/x/__init__.py", ""),
        ("x-1/x/tests/data", "\0\0\0"),
    ]);
    let release = tar_of(&[
        ("x-1/PKG-INFO", "Name: x\n"),
        ("x-1/setup.cfg", "[metadata]\nname = x\n\n[egg_info]\ntag_date = 0\n"),
        ("x-1/x.egg-info/PKG-INFO", "Name: x\n"),
        ("x-1/x.egg-info/SOURCES.txt", "setup.cfg\n"),
        ("x-1/x/__init__.py", ""),
    ]);
    [("tag.tar", tag), ("x-1.tar", release)].map(|(name, bytes)| world.file(name, &bytes).display().to_string())
}

#[test]
fn levels_decide_the_exit_code() {
    let world = World::new();
    let published = world.file("a-1.0.tar", &tar("a.py", b"print(1)\n", 5)).display().to_string();
    let same = world.file("same.tar", &tar("a.py", b"print(1)\n", 5)).display().to_string();
    let times = world.file("times.tar", &tar("a.py", b"print(1)\n", 6)).display().to_string();
    let other = world.file("other.tar", &tar("a.py", b"print(2)\n", 5)).display().to_string();
    for (rebuilt, level, code) in [(&same, "byte", 0), (&times, "normal", 0), (&other, "different", 1)] {
        let human = world.run(&["compare", &published, rebuilt]);
        assert_eq!(human.code, code, "{}{}", human.stdout, human.stderr);
        assert!(human.first().starts_with(level), "{}", human.stdout);
        let json = world.run(&["compare", &published, rebuilt, "--format", "json"]).json();
        assert_eq!(json["level"], level);
        assert_eq!((&json["schemaVersion"], &json["exit"]), (&1.into(), &code.into()));
        let page = world.run(&["compare", &published, rebuilt, "--format", "html"]);
        assert_eq!(page.code, code);
        assert!(page.stdout.contains(&format!("<h1>{level}</h1>")), "{}", page.stdout);
    }
}

#[test]
fn a_tag_and_its_release_fit_a_screen_with_whole_folders_in_one_line() {
    let world = World::new();
    let [tag, release] = tag_and_release(&world);
    let ran = world.run(&["compare", &tag, &release]);
    insta::assert_snapshot!(masked(&ran.stdout), @r##"
    different  4 only in A, 3 only in B, 1 changed, 1 the same
      A  tag.tar     6.6 kB  sha256:<hex>  nf1:<hex>
      B  x-1.tar     5.6 kB  sha256:<hex>  nf1:<hex>

    only in A
      .gitignore  text     6 B
      docs/       (2 files, 1 code, 11 B)
      x/tests/    (1 file, 3 B)

    only in B
      PKG-INFO     text     8 B
      x.egg-info/  (2 files, 18 B)

    changed
      setup.cfg  code     content  20 B in A, 45 B in B

    lines  (- in A, + in B)
      setup.cfg
        @@ -1,2 +1,5 @@
         [metadata]
         name = x
        +
        +[egg_info]
        +tag_date = 0
      and lines of 6 other members: --html FILE shows them
    "##);
}

#[test]
fn the_json_is_pinned() {
    let world = World::new();
    let a = world.file("a.tar", &tar_of(&[("x/a.py", "1\n"), ("x/docs/index", "text\n")])).display().to_string();
    let b = world.file("b.tar", &tar("x/a.py", b"2\n", 6)).display().to_string();
    let ran = world.run(&["compare", &a, &b, "--format", "json"]);
    insta::assert_snapshot!(masked(&ran.stdout), @r##"
    {"schemaVersion":1,"command":"compare","exit":1,"level":"different","published":{"file":"a.tar","digest":"sha256:<hex>","sizeBytes":3072,"normal":"nf1:<hex>"},"rebuilt":{"file":"b.tar","digest":"sha256:<hex>","sizeBytes":2048,"normal":"nf1:<hex>"},"anomalies":[],"passes":[{"name":"tar-times","version":1,"risk":"none","members":1}],"differences":[{"member":"x/a.py","class":"content","executable":"code","published":"sha256:<hex>","rebuilt":"sha256:<hex>","detail":{"diff":"--- published\n+++ rebuilt\n@@ -1 +1 @@\n-1\n+2\n"}},{"member":"x/docs/index","class":"only-published","executable":"data","published":"sha256:<hex>","detail":{"diff":"--- published\n+++ rebuilt\n@@ -1 +0,0 @@\n-text\n"}}],"summary":{"folder":"x","onlyPublished":[{"name":"docs/","kind":"folder","files":1,"code":0,"sizeBytes":5}],"onlyRebuilt":[],"changed":["a.py"],"same":0}}
    "##);
}

#[test]
fn a_folder_of_which_the_other_side_has_something_stands_open() {
    let world = World::new();
    let a = world.file("a.tar", &tar_of(&[("x/a/one", "1"), ("x/a/two", "2"), ("x/b", "b")])).display().to_string();
    let b = world.file("b.tar", &tar_of(&[("x/a/two", "2"), ("x/b", "b")])).display().to_string();
    let ran = world.run(&["compare", &a, &b]);
    assert!(ran.stdout.contains("  a/one  text     1 B\n"), "{}", ran.stdout);
}

#[test]
fn folders_of_other_names_are_said_to_be_the_reason() {
    let world = World::new();
    let a = world.file("a.tar", &tar_of(&[("x-1/a", "1"), ("x-1/b", "2")])).display().to_string();
    let b = world.file("b.tar", &tar_of(&[("x-v1/a", "1"), ("x-v1/b", "2")])).display().to_string();
    let ran = world.run(&["compare", &a, &b]);
    assert!(ran.stdout.contains("A lies in x-1/, B in x-v1/"), "{}", ran.stdout);
    assert!(ran.stdout.contains("x-1/  (2 files") && ran.stdout.contains("x-v1/  (2 files"), "{}", ran.stdout);
}

#[test]
fn an_executable_bit_is_said_in_words() {
    let world = World::new();
    let a = world.file("a.tar", &ended(member("tool", b"#!/bin/sh\n", b"0000755\0", 5))).display().to_string();
    let b = world.file("b.tar", &tar("tool", b"#!/bin/sh\n", 5)).display().to_string();
    let ran = world.run(&["compare", &a, &b]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("executable in A, not in B"), "{}", ran.stdout);
}

#[test]
fn anomalies_come_first() {
    let world = World::new();
    let a = world.file("a.tar", &tar_of(&[("a", "1"), ("a", "2")])).display().to_string();
    let b = world.file("b.tar", &tar_of(&[("a", "1")])).display().to_string();
    let ran = world.run(&["compare", &a, &b]);
    assert!(ran.first().starts_with("different  1 anomaly on one side only"), "{}", ran.stdout);
    let [anomaly, member] = ["duplicate-name a", "only in A"].map(|text| ran.stdout.rfind(text).expect(text));
    assert!(anomaly < member, "{}", ran.stdout);
}

#[test]
fn a_thousand_changes_are_cut_to_about_a_screen_with_the_code_kept() {
    let world = World::new();
    let names: Vec<String> = (0..1000).map(|number| format!("x/{number:04}.txt")).chain(["x/zz.py".to_owned()]).collect();
    let files = |content: &str| {
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), content)).collect();
        tar_of(&files)
    };
    let a = world.file("a.tar", &files("1\n")).display().to_string();
    let b = world.file("b.tar", &files("2\n")).display().to_string();
    let ran = world.run(&["compare", &a, &b]);
    assert!(ran.stdout.lines().count() < 60, "{}", ran.stdout);
    assert!(ran.stdout.contains("zz.py     code") && ran.stdout.contains("and 986 more: --format json has them all"), "{}", ran.stdout);
    assert_eq!(world.run(&["compare", &a, &b, "--format", "json"]).json()["differences"].as_array().map(Vec::len), Some(1001));
}

#[test]
fn reports_are_written_beside_the_answer() {
    let world = World::new();
    let [tag, release] = tag_and_release(&world);
    let (html, json) = (world.path("report.html"), world.path("report.json"));
    let ran = world.run(&["compare", &tag, &release, "--html", &html, "--json", &json]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert!(ran.first().starts_with("different"), "{}", ran.stdout);
    assert_eq!(std::fs::read_to_string(&html).expect("a page"), world.run(&["compare", &tag, &release, "--format", "html"]).stdout);
    assert_eq!(std::fs::read_to_string(&json).expect("JSON"), world.run(&["compare", &tag, &release, "--format", "json"]).stdout);
    let lost = world.run(&["compare", &tag, &release, "--html", &world.path("no/such/folder.html")]);
    assert_eq!((lost.code, lost.stdout.as_str()), (2, ""));
    assert!(lost.stderr.contains("folder.html"), "{}", lost.stderr);
}

#[test]
fn nothing_in_an_archive_can_drive_a_terminal_or_a_page() {
    let world = World::new();
    let evil = "<script>alert(1)</script>\u{1b}[2J\u{202e}\r\n";
    let name = "x/<img src=x onerror=alert(1)>\u{1b}]0;\u{7}\u{202e}.txt";
    let a = world.file("<b>a\u{1b}[1m.tar", &tar_of(&[(name, evil), ("x/y", "1\n")])).display().to_string();
    let b = world.file("b.tar", &tar_of(&[("x/y", evil)])).display().to_string();
    for (a, b) in [(&a, &b), (&b, &a)] {
        for format in ["human", "json", "html"] {
            let ran = world.run(&["compare", a, b, "--format", format]);
            assert_eq!(ran.code, 1, "{}", ran.stderr);
            let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!ran.stdout.contains(hostile), "{format}: {:?}", ran.stdout);
            let is_markup = format == "html" && ["<script", "<img", "<b>"].iter().any(|tag| ran.stdout.contains(tag));
            assert!(!is_markup, "{}", ran.stdout);
        }
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let world = World::new();
    let [tag, release] = tag_and_release(&world);
    let page = world.run(&["compare", &tag, &release, "--format", "html"]).stdout;
    assert!(page.contains("default-src 'none'"), "{page}");
    for foreign in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn files_that_cannot_be_compared_are_a_failure_and_not_a_difference() {
    let world = World::new();
    let published = world.file("a-1.0.tar", &tar("a.py", b"print(1)\n", 5)).display().to_string();
    let broken = world.file("broken.tar", &tar("a.py", b"print(1)\n", 5)[..600]).display().to_string();
    let folder = world.home.path().display().to_string();
    for (other, said) in [(&broken, "cannot be read"), (&world.path("missing"), "missing"), (&folder, "hint: two files are compared")] {
        let ran = world.run(&["compare", &published, other, "--json", &world.path("report.json")]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    assert!(!std::path::Path::new(&world.path("report.json")).exists());
}

#[test]
fn a_name_that_says_nothing_leaves_the_decision_to_the_other() {
    let world = World::new();
    let a = world.file("63", &tar("a.py", b"print(1)\n", 5)).display().to_string();
    let b = world.file("b.tar", &tar("a.py", b"print(1)\n", 6)).display().to_string();
    assert_eq!(world.run(&["compare", &a, &b]).code, 0);
    let opaque = world.file("64", b"other").display().to_string();
    let ran = world.run(&["compare", &a, &opaque]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("the bytes differ"), "{}", ran.stdout);
}

#[test]
fn only_compare_makes_pages() {
    let world = World::new();
    let ran = world.run(&["verify", &world.wheel(), "--policy", &world.path("policy.toml"), "--format", "html"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("`--format html` is for `compare` only"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_does_not_change_what_was_found() {
    let world = World::new();
    let [tag, release] = tag_and_release(&world);
    for format in ["human", "json", "html"] {
        let mut command = world.command(&["compare", &tag, &release, "--format", format]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ends");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(1), ""));
    }
}
