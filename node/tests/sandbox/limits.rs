//! What a command may use up, and that nothing of it outlives the run.

use super::*;

#[tokio::test]
async fn a_fork_bomb_is_bounded_and_gone_afterwards() {
    let Some(sandbox) = sandbox().await else { return };
    let program = "
import os, time
n = 0
while True:
    try: pid = os.fork()
    except OSError: break
    if pid == 0: time.sleep(1000)
    n += 1
print(n)
while True:
    try:
        if os.fork() == 0: pass
    except OSError: pass
";
    for cgroups in [CgroupUse::Auto, CgroupUse::Never] {
        let Some(sandbox) = sandbox_with(&Config { cgroups, ..config() }).await else { return };
        let mut command = python(program);
        command.env.insert("PYTHONUNBUFFERED".into(), "1".into());
        command.limits = Limits { process_count_max: 50, wall: Duration::from_secs(2), ..command.limits };
        let finished = finish(&sandbox, &command).await;
        assert_eq!(finished.exit, Exit::TimedOut);
        // The observer's own threads have room beside the command's.
        let children: u32 = finished.log_tail.trim().parse().unwrap();
        assert!((30..130).contains(&children), "{children}");
        assert!(finished.seconds < 20.0);
    }
    assert_clean(&finish(&sandbox, &shell("(true); (true)")).await);
}

#[tokio::test]
async fn a_memory_eater_is_stopped_with_and_without_control_groups() {
    for cgroups in [CgroupUse::Auto, CgroupUse::Never] {
        let Some(sandbox) = sandbox_with(&Config { cgroups, ..config() }).await else { return };
        let mut command =
            python("import time\nx = []\nfor i in range(80): x.append(bytearray(b'x' * (8 << 20))); time.sleep(0.02)\ntime.sleep(1000)");
        command.limits.memory_bytes = 200 << 20;
        let finished = finish(&sandbox, &command).await;
        assert_eq!(finished.exit, Exit::MemoryExceeded);
        assert_eq!(finished.violations, vec![]);
        let force = finished.limits_in_force.iter().find(|force| force.starts_with("memory:")).unwrap();
        assert!(cgroups == CgroupUse::Auto || force == "memory:watchdog");
    }
}

#[tokio::test]
async fn endless_output_is_stopped_and_its_tail_kept() {
    let Some(sandbox) = sandbox().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut command = shell("yes 0123456789");
    command.limits.output_bytes_max = 1 << 20;
    command.log = Some(dir.path().join("log"));
    let finished = finish(&sandbox, &command).await;
    assert_eq!(finished.exit, Exit::OutputExceeded);
    assert_eq!(finished.log_tail.len(), 64 << 10);
    assert_eq!(std::fs::metadata(dir.path().join("log")).unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn disk_filling_is_stopped_even_when_the_files_have_no_name() {
    let Some(sandbox) = sandbox().await else { return };
    let many = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > /build/$i; done";
    let nameless = "exec 3>/build/x; rm /build/x; cat /dev/zero >&3";
    let unreadable = "mkdir /build/d; chmod 300 /build/d; i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > /build/d/$i; done";
    for script in [many, nameless, unreadable] {
        let (dir, bind) = workspace(&sandbox);
        let mut command = shell(script);
        command.binds.push(bind);
        command.limits.disk_bytes_max = 20 << 20;
        command.limits.file_bytes_max = 1 << 30;
        let finished = finish(&sandbox, &command).await;
        assert_eq!(finished.exit, Exit::DiskExceeded, "{script}");
        let _ = std::fs::set_permissions(dir.path().join("d"), std::fs::Permissions::from_mode(0o700));
    }
}

#[tokio::test]
async fn one_file_and_the_private_folders_are_bounded() {
    let Some(sandbox) = sandbox().await else { return };
    let mut command = shell(
        "head -c 3000000 /dev/zero > /tmp/big; stat -c %s /tmp/big; \
        for d in /tmp /home/build /dev/shm; do for i in 1 2 3 4 5 6 7 8; do head -c 900000 /dev/zero > $d/$i; done; du -sk $d; done 2>/dev/null; true",
    );
    command.limits.file_bytes_max = 1_000_000;
    command.limits.disk_bytes_max = 4 << 20;
    let finished = finish(&sandbox, &command).await;
    let lines: Vec<&str> = finished.log_tail.lines().filter(|line| !line.contains("limit")).collect();
    assert_eq!(lines[0], "1000000");
    for line in &lines[1..] {
        assert!(line.split_whitespace().next().unwrap().parse::<u64>().unwrap() <= 4 << 10, "{line}");
    }
    assert_eq!(lines.len(), 4);
}

#[tokio::test]
async fn a_hang_is_killed_with_all_its_background_processes() {
    let Some(sandbox) = sandbox().await else { return };
    let mut command = shell(
        &"setsid sh -c 'trap \"\" TERM INT HUP; sleep @ & sleep @' & trap '' TERM; while :; do sleep @; done".replace('@', &marker(2000)),
    );
    command.limits.wall = Duration::from_secs(1);
    let finished = finish(&sandbox, &command).await;
    assert_eq!((finished.exit, finished.violations), (Exit::TimedOut, vec![]));
    assert!(finished.seconds < 5.0, "{}", finished.seconds);
    assert_eq!(survivors(&marker(2000)), 0);
}

#[tokio::test]
async fn background_processes_end_with_the_command() {
    let Some(sandbox) = sandbox().await else { return };
    let finished = finish(&sandbox, &shell(&"setsid sleep @ >/dev/null 2>&1 & (sleep @ &) ; echo done".replace('@', &marker(3000)))).await;
    assert_clean(&finished);
    assert_eq!(finished.log_tail, "done\n");
    assert_eq!(survivors(&marker(3000)), 0);
}

#[tokio::test]
async fn dropping_the_run_kills_it() {
    let Some(sandbox) = sandbox().await else { return };
    let command = shell(&"sleep @".replace('@', &marker(4000)));
    let run = tokio::time::timeout(Duration::from_millis(500), sandbox.run(&command)).await;
    assert!(run.is_err());
    let start = Instant::now();
    while survivors(&marker(4000)) > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "still there");
        tokio::task::yield_now().await;
    }
}
