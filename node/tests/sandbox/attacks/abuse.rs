//! Taking more than one's share, and staying longer than one's time.

use std::time::Duration;

use super::{Attack, Contained, Exit, refused, stopped};

/// Memory, processes and time.
pub(super) const OF_MEMORY_AND_TIME: &[Attack] = &[
    stopped(
        "a fork bomb",
        Exit::TimedOut,
        |limits| (limits.wall, limits.process_count_max) = (Duration::from_secs(2), 50),
        "while True:\n    try: os.fork()\n    except OSError: pass",
    ),
    stopped(
        "a bomb of threads",
        Exit::TimedOut,
        |limits| (limits.wall, limits.process_count_max) = (Duration::from_secs(2), 50),
        r"
import threading
started = 0
while True:
    try: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(); started += 1
    except RuntimeError: time.sleep(0.05)
    if started > 500: print('REACHED', started); break",
    ),
    stopped(
        "memory of its own",
        Exit::MemoryExceeded,
        |limits| limits.memory_bytes = 150 << 20,
        "x = []\nwhile True: x.append(bytearray(b'x' * (4 << 20))); time.sleep(0.01)",
    ),
    stopped(
        "memory spread over children",
        Exit::MemoryExceeded,
        |limits| limits.memory_bytes = 150 << 20,
        r"
for i in range(20):
    if os.fork() == 0: x = bytearray(b'x' * (30 << 20)); time.sleep(1000)
    time.sleep(0.05)
time.sleep(1000)",
    ),
    stopped(
        "memory in files that have no name",
        Exit::MemoryExceeded,
        |limits| limits.memory_bytes = 150 << 20,
        r"
held = []
for i in range(60):
    held.append(os.memfd_create('x')); os.write(held[-1], b'x' * (8 << 20)); time.sleep(0.03)
time.sleep(1000)",
    ),
    stopped(
        "memory in segments that no process maps",
        Exit::MemoryExceeded,
        |limits| limits.memory_bytes = 150 << 20,
        r"
libc.shmat.restype = ctypes.c_void_p; libc.shmdt.argtypes = [ctypes.c_void_p]; libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
for i in range(60):
    segment = call('shmget', 0, 8 << 20, 0o1600); at = libc.shmat(segment, None, 0)
    ctypes.memset(at, 1, 8 << 20); libc.shmdt(at); time.sleep(0.03)
time.sleep(1000)",
    ),
    stopped("endless output", Exit::OutputExceeded, |limits| limits.output_bytes_max = 1 << 20, "while True: print('x' * 1000)"),
    stopped(
        "output after all its processes seem gone",
        Exit::OutputExceeded,
        |limits| limits.output_bytes_max = 1 << 20,
        "if os.fork() == 0:\n    os.setsid()\n    while True: os.write(1, b'x' * 4096)\ntime.sleep(1000)",
    ),
    stopped(
        "a build that never ends and ignores every signal",
        Exit::TimedOut,
        |limits| limits.wall = Duration::from_secs(1),
        r"
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
while True: pass",
    ),
    stopped(
        "a build that stops itself and its group",
        Exit::TimedOut,
        |limits| limits.wall = Duration::from_secs(1),
        "os.kill(0, signal.SIGSTOP)\ntime.sleep(1000)",
    ),
    refused(
        "processes left behind by double fork and setsid",
        r"
for i in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
            time.sleep(2)
            try: open('/build/out/late', 'w').write('x')
            finally: time.sleep(1000)
        os._exit(0)
print('ended')",
    ),
    refused(
        "every descriptor that can be had",
        r"
held = []
try:
    while len(held) < 100000: held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as error: pass
for descriptor in held: os.close(descriptor)
print('ended')",
    ),
];

/// Room on the disk, and what is hard to remove from it.
pub(super) const OF_DISK: &[Attack] = &[
    stopped(
        "filling the disk",
        Exit::DiskExceeded,
        |limits| limits.disk_bytes_max = 20 << 20,
        "for i in range(2000): open(f'/build/out/{i}', 'wb').write(b'x' * (1 << 20)); time.sleep(0.005)\ntime.sleep(1000)",
    ),
    stopped(
        "filling the disk with files that have no name",
        Exit::DiskExceeded,
        |limits| limits.disk_bytes_max = 20 << 20,
        r"
held = []
for i in range(60):
    held.append(open('/build/src/x', 'wb')); os.unlink('/build/src/x'); held[-1].write(b'x' * (1 << 20)); held[-1].flush(); time.sleep(0.02)
time.sleep(1000)",
    ),
    stopped(
        "filling the disk where nobody may look",
        Exit::DiskExceeded,
        |limits| limits.disk_bytes_max = 20 << 20,
        r"
os.mkdir('/build/out/d'); os.chmod('/build/out/d', 0o300)
for i in range(600): open(f'/build/out/d/{i}', 'wb').write(b'x' * (1 << 20)); time.sleep(0.01)
time.sleep(1000)",
    ),
    stopped(
        "taking every inode",
        Exit::DiskExceeded,
        |limits| limits.disk_bytes_max = 20 << 20,
        r"
for i in range(200):
    os.mkdir(f'/build/out/{i}')
    for j in range(100): open(f'/build/out/{i}/{j}', 'w').close()
    time.sleep(0.01)
time.sleep(1000)",
    ),
    Attack {
        name: "one endless file",
        program: r"
def fill():
    with open('/build/out/x', 'wb') as file:
        for i in range(200): file.write(b'x' * (1 << 20))
attempt('written', fill)
print('ended')",
        contained: Contained::Refused,
        tune: |limits| limits.file_bytes_max = 4 << 20,
    },
    refused(
        "a sparse file larger than any disk",
        r"
attempt('sparse', lambda: os.truncate(os.open('/build/out/x', os.O_CREAT | os.O_RDWR), 1 << 44))
attempt('reserved', lambda: os.posix_fallocate(os.open('/build/out/y', os.O_CREAT | os.O_RDWR), 0, 1 << 40))
attempt('far away', lambda: os.pwrite(os.open('/build/out/z', os.O_CREAT | os.O_RDWR), b'x', 1 << 43))
print('ended')",
    ),
    refused(
        "the private folders, which are memory",
        r"
def fill(place):
    for i in range(10000): open(f'{place}/{i}', 'wb').write(b'x' * (1 << 20))
for place in ('/tmp', '/home/build', '/dev/shm'):
    attempt(place, lambda: fill(place)); subprocess.run(f'rm -rf {place}/*', shell=True)
print('ended')",
    ),
    refused(
        "a folder nested deeper than any path",
        r"
os.chdir('/build/out')
for i in range(3000): os.mkdir('n' * 100); os.chdir('n' * 100)
open('bottom', 'w').write('x')
print('ended')",
    ),
    refused(
        "folders that their owner may not enter",
        r"
os.makedirs('/build/out/a/b/c'); open('/build/out/a/b/c/x', 'w').write('x')
for path in ('/build/out/a/b/c', '/build/out/a/b', '/build/out/a', '/build/out', '/build/src'): os.chmod(path, 0)
print('ended')",
    ),
];
