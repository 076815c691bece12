//! `compare`: the library's answer, with its exit code.

use std::io::Write as _;

use crate::world::World;

/// A tar archive of one file, written by hand.
fn tar(name: &str, content: &[u8], mtime: u64) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
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
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
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
        assert!(human.first().contains(level), "{}", human.stdout);
        let json = world.run(&["compare", &published, rebuilt, "--format", "json"]).json();
        assert_eq!(json["comparison"]["level"], level);
        assert_eq!((&json["schemaVersion"], &json["exit"]), (&1.into(), &code.into()));
    }
}

#[test]
fn what_differs_is_shown() {
    let world = World::new();
    let published = world.file("a-1.0.tar", &tar("a.py", b"print(1)\n", 5)).display().to_string();
    let other = world.file("other.tar", &tar("a.py", b"print(2)\n", 5)).display().to_string();
    let ran = world.run(&["compare", &published, &other]);
    assert!(ran.stdout.contains("a.py") && ran.stdout.contains("-print(1)") && ran.stdout.contains("+print(2)"), "{}", ran.stdout);
}

#[test]
fn files_that_cannot_be_compared_are_a_failure_and_not_a_difference() {
    let world = World::new();
    let published = world.file("a-1.0.tar", &tar("a.py", b"print(1)\n", 5)).display().to_string();
    let broken = world.file("broken.tar", &tar("a.py", b"print(1)\n", 5)[..600]).display().to_string();
    assert_eq!(world.run(&["compare", &published, &broken]).code, 2);
    assert_eq!(world.run(&["compare", &published, &world.path("missing")]).code, 2);
}
