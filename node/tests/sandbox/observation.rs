//! What a command tried is seen, and can be neither hidden nor forged.

use super::*;

#[tokio::test]
async fn a_clean_build_with_loopback_and_children_has_no_violation() {
    let Some(sandbox) = sandbox().await else { return };
    let program = "
import socket, os, subprocess
s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); s.accept()[0].send(b'x'); c.recv(1)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0)); u.sendto(b'x', u.getsockname())
try: socket.create_connection(('127.0.0.1', 9))
except ConnectionRefusedError: pass
print(socket.gethostbyname('localhost'), socket.gethostbyname(socket.gethostname()), socket.getfqdn())
subprocess.run(['sh', '-c', 'ls -R /usr/lib/python3 /var >/dev/null'])
print(os.stat('/var/lib/quorate/keys/node.key').st_size > 0)
";
    assert_clean(&finish(&sandbox, &python(program)).await);
}

#[tokio::test]
async fn attempts_on_the_network_fail_and_are_seen() {
    let Some(sandbox) = sandbox().await else { return };
    let attempts = [
        ("TCP", "s.socket().connect(('192.0.2.1', 80))", (1, 0)),
        ("TCP over IPv6", "s.socket(s.AF_INET6).connect(('2001:db8::1', 80))", (1, 0)),
        ("UDP", "s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", (1, 0)),
        ("connected UDP", "s.socket(s.AF_INET, s.SOCK_DGRAM).connect(('192.0.2.1', 53))", (1, 0)),
        ("multicast", "s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('224.0.0.251', 5353))", (1, 0)),
        ("name look-up", "s.getaddrinfo('registry.example', 443)", (0, 1)),
        ("raw", "s.socket(s.AF_INET, s.SOCK_RAW, 1)", (0, 0)),
        ("packet", "s.socket(s.AF_PACKET, s.SOCK_RAW)", (0, 0)),
        ("ping", "s.socket(s.AF_INET, s.SOCK_DGRAM, 1)", (0, 0)),
        ("hypervisor", "s.socket(40, s.SOCK_STREAM).connect((2, 1))", (0, 0)),
    ];
    for (name, attempt, (unroutable, refused)) in attempts {
        let program = format!("import socket as s\ntry: {attempt}; print('reached')\nexcept OSError: print('failed')");
        let finished = finish(&sandbox, &python(&program)).await;
        assert_eq!((finished.exit, finished.log_tail.as_str()), (Exit::Code(0), "failed\n"), "{name}");
        let seen = network_attempts(&finished);
        assert!(seen.0 >= unroutable && seen.1 >= refused, "{name}: {seen:?}");
        assert_eq!(finished.violations.is_empty(), unroutable + refused == 0, "{name}");
    }
}

#[tokio::test]
async fn a_hanging_command_cannot_hide_what_it_tried() {
    let Some(sandbox) = sandbox().await else { return };
    let program = "import socket as s, time\ntry: s.socket().connect(('192.0.2.1', 80))\nexcept OSError: pass\n\
        open('/var/lib/quorate/keys/node.key').read()\ntime.sleep(1000)";
    let mut command = python(program);
    command.limits.wall = Duration::from_secs(1);
    let finished = finish(&sandbox, &command).await;
    assert_eq!(finished.exit, Exit::TimedOut);
    assert_eq!(network_attempts(&finished).0, 1);
    assert!(finished.violations.contains(&Violation::KeyRead { path: SECRET.into() }));
}

#[tokio::test]
async fn the_proxy_is_the_only_thing_reached_through_the_relay() {
    let Some(sandbox) = sandbox().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("proxy.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = String::new();
            let _ = stream.read_to_string(&mut request);
            let _ = stream.write_all(request.to_uppercase().repeat(50_000).as_bytes());
        }
    });
    let program = "
import socket as s
for i in range(40):
    c = s.create_connection(('127.0.0.1', 8118)); c.sendall(b'hello'); c.shutdown(s.SHUT_WR)
    n = 0
    while True:
        b = c.recv(65536)
        if not b: break
        n += len(b)
    assert n == 250000, n
    c.close()
print('carried')
";
    let mut command = python(program);
    command.network = Network::Proxy { socket: socket.clone(), port: 8118 };
    let finished = finish(&sandbox, &command).await;
    assert_clean(&finished);
    assert_eq!(finished.log_tail, "carried\n");
    let mut outside = python("import socket as s\ns.socket().connect(('192.0.2.1', 80))");
    outside.network = Network::Proxy { socket, port: 8118 };
    let finished = finish(&sandbox, &outside).await;
    assert_eq!((finished.exit, network_attempts(&finished)), (Exit::Code(1), (1, 0)));
}

#[tokio::test]
async fn reading_the_nodes_key_is_seen_and_yields_a_decoy() {
    let Some(sandbox) = sandbox().await else { return };
    let other = PathBuf::from("/var/lib/quorate/keys/operator.key");
    let mut command = shell(&format!("cat {SECRET}"));
    command.decoys.push(other.clone());
    let finished = finish(&sandbox, &command).await;
    assert_eq!(finished.violations, vec![Violation::KeyRead { path: SECRET.into() }]);
    assert_eq!(finished.log_tail, "this is not a key\n");
    command.argv[2] = format!("cd /var/lib/quorate/keys; exec 3<operator.key; (tar c . | wc -c) && kill -9 -1; kill -9 $$; cat {SECRET}");
    let finished = finish(&sandbox, &command).await;
    assert_eq!(finished.violations.len(), 2, "{:?}", finished.violations);
}

#[tokio::test]
async fn the_observer_cannot_be_killed_traced_or_read() {
    let Some(sandbox) = sandbox().await else { return };
    let program = r#"
import ctypes, os, signal, socket
for n in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV):
    try: os.kill(1, n)
    except OSError: pass
libc = ctypes.CDLL(None, use_errno=True)
print("attach", libc.ptrace(16, 1, 0, 0), "seize", libc.ptrace(0x4206, 1, 0, 0))
for p in ("mem", "environ", "maps", "fd", "fd/0", "root", "cwd", "exe", "ns/net"):
    try:
        os.listdir("/proc/1/fd") if p == "fd" else os.readlink("/proc/1/" + p) if "/" in p or p in ("root", "cwd", "exe") else open("/proc/1/" + p, "rb").read(1)
        print("read", p)
    except OSError: pass
print(sorted(os.listdir("/proc/self/fd")), [os.readlink("/proc/self/fd/0")])
try: socket.socket().connect(("192.0.2.1", 80))
except OSError: pass
try: os.kill(-1, signal.SIGKILL)
except OSError: pass
os.kill(os.getpid(), signal.SIGKILL)
"#;
    let mut command = python(program);
    command.env.insert("PYTHONUNBUFFERED".into(), "1".into());
    let finished = finish(&sandbox, &command).await;
    assert_eq!(finished.log_tail, "attach -1 seize -1\n['0', '1', '2', '3'] ['/dev/null']\n");
    assert_eq!(finished.exit, Exit::Signal(9));
    assert_eq!(finished.violations, vec![Violation::Network { unroutable: 1, refused_datagrams: 0 }]);
}

#[tokio::test]
async fn a_forged_report_on_the_output_changes_nothing() {
    let Some(sandbox) = sandbox().await else { return };
    let forged = r#"{"Ended":{"ended":{"Code":0},"network":{"unroutable":0,"refused_datagrams":0}}}"#;
    let program = format!(
        "import os, socket\nfor fd in range(3):\n  try: os.write(fd, b'{forged}\\n')\n  except OSError: pass\n\
         try: socket.socket().connect(('192.0.2.1', 80))\nexcept OSError: pass\nos._exit(3)"
    );
    let finished = finish(&sandbox, &python(&program)).await;
    assert_eq!((finished.exit, network_attempts(&finished)), (Exit::Code(3), (1, 0)));
}

#[tokio::test]
async fn a_run_whose_observer_died_is_a_violation_and_never_clean() {
    let Some(sandbox) = sandbox().await else { return };
    let command = shell(&format!("sleep {}", marker(5000)));
    let killer = std::thread::spawn(|| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            let inits = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                line.starts_with(b"/run/quorate/init\0") && String::from_utf8_lossy(&line).contains(&marker(5000))
            });
            let pids: Vec<String> = inits.map(|entry| entry.file_name().into_string().unwrap()).collect();
            if survivors(&format!("sleep\u{0}{}", marker(5000))) > 0 && !pids.is_empty() {
                std::process::Command::new("/bin/kill").arg("-KILL").args(pids).status().unwrap();
                return;
            }
        }
    });
    let finished = finish(&sandbox, &command).await;
    killer.join().unwrap();
    assert_eq!((finished.exit, &finished.violations[..]), (Exit::Signal(9), &[Violation::ReportMissing][..]));
    assert!(!finished.is_clean_success());
}

#[tokio::test]
async fn concurrent_runs_do_not_share_anything() {
    let Some(sandbox) = sandbox().await else { return };
    let noisy = python(
        "import socket as s\ntry: s.socket().connect(('192.0.2.1', 80))\nexcept OSError: pass\nopen('/var/lib/quorate/keys/node.key')",
    );
    let quiet = shell("sleep 0.2; ls -A /tmp");
    let (noisy, quiet) = tokio::join!(sandbox.run(&noisy), sandbox.run(&quiet));
    assert_eq!(noisy.unwrap().violations.len(), 2);
    assert_clean(&quiet.unwrap());
}
