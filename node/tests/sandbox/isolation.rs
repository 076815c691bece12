//! What a command can see, reach and become.

use super::*;

#[tokio::test]
async fn the_hosts_files_are_invisible_and_the_system_is_read_only() {
    let Some(sandbox) = sandbox().await else { return };
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("secret"), "x").unwrap();
    let script = format!(
        "for p in /root /etc/shadow /etc/resolv.conf /etc/machine-id /home/user /var/lib/dpkg /sys /boot /run/dbus {} ; do \
           if [ -e $p ]; then echo visible $p; fi; done; \
         for p in /x /etc/x /usr/x /bin/x /dev/x /run/x /run/quorate/x /var/x /home/x /proc/sys/kernel/hostname; do \
           if (echo x > $p) 2>/dev/null; then echo writable $p; fi; done; \
         for p in /tmp/x /home/build/x /dev/shm/x; do echo x > $p || echo refused $p; done",
        secret.path().display()
    );
    let finished = finish(&sandbox, &shell(&script)).await;
    assert_clean(&finished);
    assert_eq!(finished.log_tail, "");
}

#[tokio::test]
async fn abstract_sockets_of_the_host_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt;
    let Some(sandbox) = sandbox().await else { return };
    let name = format!("quorate-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let program = format!("import socket as s\ns.socket(s.AF_UNIX).connect('\\0{name}')");
    let finished = finish(&sandbox, &python(&program)).await;
    assert!(finished.log_tail.contains("ConnectionRefusedError"), "{}", finished.log_tail);
}

#[tokio::test]
async fn no_privilege_can_be_had() {
    let Some(sandbox) = sandbox().await else { return };
    let script = "grep -E '^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t' ' '; \
        mount -t tmpfs none /tmp && echo mounted; mount -o remount,rw / && echo remounted; \
        unshare -U true && echo nested; unshare -m true && echo nested; unshare -n true && echo nested; \
        date -s 2001-01-01 >/dev/null && echo clock; hostname other && echo renamed; chroot / true && echo chroot; \
        cp /bin/sh /tmp/sh && chmod 6755 /tmp/sh && /tmp/sh -c 'id -u'; \
        su -c id root </dev/null && echo su; mknod /tmp/sda b 8 0 && echo device; \
        nsenter -t 1 -n true && echo entered; true";
    let mut command = shell(&format!("({script}) 2>/dev/null"));
    command.decoys.clear();
    let finished = finish(&sandbox, &command).await;
    assert_clean(&finished);
    let zero = "0000000000000000";
    let expected = format!("CapPrm: {zero}\nCapEff: {zero}\nCapBnd: {zero}\nCapAmb: {zero}\nNoNewPrivs: 1\nSeccomp: 2\n1000\n");
    assert_eq!(finished.log_tail, expected);
}

#[tokio::test]
async fn escape_routes_past_namespaces_are_filtered() {
    let Some(sandbox) = sandbox().await else { return };
    let program = r#"
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"x86_64": (425, 250, 321, 323, 430), "aarch64": (425, 219, 280, 282, 430)}[platform.machine()]
for n in numbers: print(libc.syscall(n, 0, 0, 0, 0, 0), ctypes.get_errno())
"#;
    let finished = finish(&sandbox, &python(program)).await;
    assert_eq!(finished.log_tail, "-1 38\n-1 1\n-1 1\n-1 1\n-1 1\n");
}

#[tokio::test]
async fn processes_of_the_host_are_neither_seen_nor_signalled() {
    let Some(sandbox) = sandbox().await else { return };
    let victim = std::process::id();
    let script = format!("ls -d /proc/[0-9]* | wc -l; kill -0 {victim} 2>/dev/null && echo reached; true");
    let finished = finish(&sandbox, &shell(&script)).await;
    assert!(finished.log_tail.trim().parse::<u32>().unwrap() <= 4, "{}", finished.log_tail);
}

#[tokio::test]
async fn nothing_survives_a_run_but_the_writable_binds() {
    let Some(sandbox) = sandbox().await else { return };
    let (dir, bind) = workspace(&sandbox);
    let mut first = shell("echo x | tee /tmp/left /home/build/left /dev/shm/left /build/kept >/dev/null; ipcmk -M 4096 >/dev/null");
    first.binds.push(bind.clone());
    assert_clean(&finish(&sandbox, &first).await);
    let mut next = shell("ls -A /tmp /home/build /dev/shm; ipcs -m | grep -c 0x; cat /build/kept; true");
    next.binds.push(bind);
    let finished = finish(&sandbox, &next).await;
    assert_clean(&finished);
    assert_eq!(finished.log_tail, "/dev/shm:\n\n/home/build:\n\n/tmp:\n0\nx\n");
    assert_eq!(std::fs::read_to_string(dir.path().join("kept")).unwrap(), "x\n");
}

#[tokio::test]
async fn read_only_binds_stay_unchanged_wherever_they_lie() {
    let Some(sandbox) = sandbox().await else { return };
    // As root: a folder that the build user could not even reach.
    let hidden = tempfile::tempdir().unwrap();
    let tool = hidden.path().join("deep/tool");
    std::fs::create_dir(tool.parent().unwrap()).unwrap();
    std::fs::write(&tool, "#!/bin/sh\necho ran\n").unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = shell("/opt/tool/tool; echo x > /opt/tool/new; echo x > /opt/tool/tool; rm -f /opt/tool/tool");
    command.binds.push(Bind { host: tool.parent().unwrap().into(), inside: "/opt/tool".into(), mode: Mode::ReadOnly });
    let finished = finish(&sandbox, &command).await;
    assert!(finished.log_tail.starts_with("ran\n"), "{}", finished.log_tail);
    assert_eq!(std::fs::read_to_string(&tool).unwrap(), "#!/bin/sh\necho ran\n");
    assert!(!tool.with_file_name("new").exists());
}

#[tokio::test]
async fn outputs_are_opened_without_following_what_the_build_planted() {
    let Some(sandbox) = sandbox().await else { return };
    let (dir, bind) = workspace(&sandbox);
    let mut command =
        shell("cd /build; mkdir dist; echo ok > dist/a; ln -s /etc/passwd dist/link; ln -s dist way; mkfifo dist/fifo; ln -s / root");
    command.binds.push(bind);
    assert_clean(&finish(&sandbox, &command).await);
    let open = |path: &str| sandbox::open_output(dir.path(), Path::new(path));
    let mut text = String::new();
    open("dist/a").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "ok\n");
    for path in ["dist/link", "way/a", "dist/fifo", "dist", "root/etc/passwd", "../../etc/passwd", "/etc/passwd", "dist/none"] {
        assert!(open(path).is_err(), "{path}");
    }
}
