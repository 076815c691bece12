//! A folder as the root: what is in it is the system, what is not in it is not there.

use std::os::unix::fs::symlink;

use super::*;

/// A system of links and a few files; its `/usr` is this machine's, bound upon it.
fn system() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["etc/apt", "proc", "tmp", "home", "usr", "var/lib/dpkg", "opt", "root"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
    }
    for (file, text) in
        [("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), ("etc/resolv.conf", "nameserver 192.0.2.1\n"), ("etc/apt/sources", "a\n")]
    {
        std::fs::write(root.path().join(file), text).unwrap();
    }
    std::fs::write(root.path().join("var/lib/dpkg/status"), "of the folder\n").unwrap();
    root
}

fn in_folder(root: &Path, script: &str) -> Command {
    let usr = Bind::same_place("/usr");
    Command { root: Root::Folder(root.into()), binds: vec![usr], ..shell(script) }
}

#[tokio::test]
async fn a_folder_is_the_system_and_stays_as_it_is() {
    let Some(sandbox) = sandbox().await else { return };
    let made = system();
    // As a node's cache may be: nobody but its owner comes through.
    let shut = tempfile::tempdir().unwrap(); // mode 700
    std::fs::rename(made.path(), shut.path().join("root")).unwrap();
    let root = shut.path().join("root");
    let (out, bind) = workspace(&sandbox);
    let script = "cat /var/lib/dpkg/status /etc/apt/sources /etc/passwd; id -un; ls -A / /etc | tr '\\n' ' '; \
        for p in / /etc /etc/apt /var /var/lib /var/lib/dpkg /opt /usr; do (echo x > $p/x) 2>/dev/null && echo writable $p; done; \
        echo x > /tmp/x && echo x > /home/build/x && echo made > /build/made";
    let mut command = in_folder(&root, script);
    command.binds.push(bind);
    let finished = finish(&sandbox, &command).await;
    assert_clean(&finished);
    let expected = "of the folder\na\nroot:x:0:0::/root:/bin/sh\nbuild:x:1000:1000:build:/home/build:/bin/sh\nbuild\n\
        /: bin build dev etc home lib lib64 opt proc root run tmp usr var  \
        /etc: apt group hostname hosts nsswitch.conf passwd ";
    assert_eq!(finished.log_tail, expected);
    assert_eq!(std::fs::read_to_string(out.path().join("made")).unwrap(), "made\n");
    assert!(!root.join("build").exists() && !root.join("var/lib/quorate").exists());
}

#[tokio::test]
async fn the_key_is_guarded_and_the_network_closed_in_a_folder_too() {
    let Some(sandbox) = sandbox().await else { return };
    let root = system();
    let script = format!("cat {SECRET}; {PYTHON} -c \"import socket as s; s.socket().connect(('192.0.2.1', 80))\"");
    let finished = finish(&sandbox, &in_folder(root.path(), &script)).await;
    assert!(finished.violations.contains(&Violation::KeyRead { path: SECRET.into() }));
    assert_eq!((finished.exit, network_attempts(&finished)), (Exit::Code(1), (1, 0)));
}

#[tokio::test]
async fn a_folder_that_is_no_system_or_leads_elsewhere_is_refused() {
    let Some(sandbox) = sandbox().await else { return };
    let root = system();
    let refused = async |command: Command| matches!(sandbox.run(&command).await, Err(SandboxError::BadCommand { .. }));
    assert!(refused(in_folder(Path::new("/no/such/root"), "true")).await);
    assert!(refused(in_folder(&root.path().join("var"), "true")).await);
    let mut through_link = in_folder(root.path(), "true");
    through_link.binds.push(Bind { host: "/usr".into(), inside: "/bin/tools".into(), mode: Mode::ReadOnly });
    assert!(refused(through_link).await);
    // A root whose /etc is a link to the host's own.
    std::fs::remove_dir_all(root.path().join("etc")).unwrap();
    symlink("/etc", root.path().join("etc")).unwrap();
    assert!(refused(in_folder(root.path(), "true")).await);
}
