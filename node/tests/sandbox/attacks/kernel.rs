//! Ways to more privilege: namespaces, mounts, capabilities, and parts of the kernel that no build needs.

use super::{Attack, refused};

pub(super) const ATTACKS: &[Attack] = &[
    refused(
        "a user namespace inside, by every call that makes one",
        r"
attempt('unshare', lambda: call('unshare', 0x10000000)); attempt('with mounts', lambda: call('unshare', 0x10020000))
def cloned(arguments):
    child = call('clone3', arguments, 64)
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
arguments = ctypes.create_string_buffer(struct.pack('=QQQQQ', 0x10000000, 0, 0, 0, 17) + bytes(24))
attempt('clone3', lambda: cloned(arguments))
attempt('program', lambda: subprocess.run(['unshare', '-Ur', 'true'], check=True, capture_output=True))
print('ended')",
    ),
    refused(
        "every other namespace",
        "for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000, 0x80): attempt(hex(flag), lambda: call('unshare', flag))\nprint('ended')",
    ),
    refused(
        "mounts, old and new",
        r"
text = lambda s: ctypes.c_char_p(s)
attempt('tmpfs', lambda: call('mount', text(b'x'), text(b'/tmp'), text(b'tmpfs'), 0, 0))
attempt('writable', lambda: call('mount', text(b'x'), text(b'/'), text(b''), 32, 0)); attempt('bind', lambda: call('mount', text(b'/usr'), text(b'/tmp'), text(b''), 4096, 0))
attempt('usr', lambda: call('mount', text(b'x'), text(b'/usr'), text(b''), 32 | 4096, 0)); attempt('unmount', lambda: call('umount2', text(b'/etc/passwd'), 2))
attempt('detach', lambda: call('umount2', text(key.encode()), 2))
attempt('tree', lambda: call('open_tree', -100, text(b'/usr'), 1)); attempt('open', lambda: call('fsopen', text(b'tmpfs'), 0)); attempt('make', lambda: call('fsmount', 0, 0, 0))
attempt('move', lambda: call('move_mount', -100, text(b'/tmp'), -100, text(b'/usr'), 0)); attempt('attributes', lambda: call('mount_setattr', -100, text(b'/usr'), 0, text(bytes(32)), 32))
print('ended')",
    ),
    refused(
        "another root: pivot_root and chroot",
        r"
os.makedirs('/tmp/new/old')
attempt('pivot', lambda: call('pivot_root', ctypes.c_char_p(b'/tmp/new'), ctypes.c_char_p(b'/tmp/new/old'))); attempt('chroot', lambda: os.chroot('/tmp/new'))
print('ended')",
    ),
    refused(
        "control groups: leaving, raising limits, a release agent",
        r"
text = lambda s: ctypes.c_char_p(s)
for kind in (b'cgroup', b'cgroup2'): attempt(kind, lambda: call('mount', text(b'x'), text(b'/tmp'), text(kind), 0, text(b'memory') if kind == b'cgroup' else 0))
for path in ('/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/memory/tasks', '/sys/fs/cgroup/release_agent'): attempt(path, lambda: put(path, b'0'))
print(open('/proc/self/cgroup').read())
print('ended')",
    ),
    refused(
        "capabilities: had, taken, inherited",
        r"
lines = [line.split() for line in open('/proc/self/status') if line.startswith('Cap')]
print(lines, 'REACHED' if any(int(value, 16) for name, value in lines) else '')
header = ctypes.create_string_buffer(struct.pack('=Ii', 0x20080522, 0)); sets = ctypes.create_string_buffer(struct.pack('=6I', *[0xffffffff] * 6))
def take():
    if libc.capset(header, sets): raise OSError(ctypes.get_errno(), 'capset')
attempt('capset', take)
for option in (28, 47, 38):
    if libc.prctl(option, 0x2f if option == 28 else 2, 0, 0, 0) == 0 and option != 38: print('REACHED prctl', option)
print('REACHED' if libc.prctl(39, 0, 0, 0, 0) != 1 else 'no new privileges')
print('ended')",
    ),
    refused(
        "keyrings of the host",
        r"
for ring in (-1, -2, -3, -4, -5): attempt(ring, lambda: call('keyctl', 0, ring, 0))
attempt('add', lambda: call('add_key', ctypes.c_char_p(b'user'), ctypes.c_char_p(b'x'), ctypes.c_char_p(b'x'), 1, -4))
attempt('request', lambda: call('request_key', ctypes.c_char_p(b'user'), ctypes.c_char_p(b'x'), 0, -4))
print('ended')",
    ),
    refused(
        "programs in the kernel, counters, page faults, watches",
        r"
attributes = ctypes.create_string_buffer(struct.pack('=II', 1, 128) + bytes(120))
attempt('bpf', lambda: call('bpf', 0, attributes, 128)); attempt('perf', lambda: call('perf_event_open', attributes, 0, -1, -1, 0))
attempt('faults', lambda: call('userfaultfd', 1)); attempt('fanotify', lambda: call('fanotify_init', 0, 0))
print('ended')",
    ),
    refused(
        "modules, another kernel, reboot, swap, accounting, quota",
        r"
text = lambda s: ctypes.c_char_p(s)
attempt('module', lambda: call('init_module', text(b'x'), 1, text(b''))); attempt('module', lambda: call('finit_module', os.open('/bin/sh', os.O_RDONLY), text(b''), 0))
attempt('unload', lambda: call('delete_module', text(b'quorate_no_such'), 0)); attempt('kexec', lambda: call('kexec_load', 0, 0, 0, 0)); attempt('kexec', lambda: call('kexec_file_load', 0, 0, 0, text(b''), 0))
attempt('reboot', lambda: call('reboot', 1, 2, 3)); attempt('swap', lambda: call('swapon', text(b'/tmp/x'), 0)); attempt('accounting', lambda: call('acct', text(b'/build/out/x')))
attempt('quota', lambda: call('quotactl', 0x800003 << 8, text(b'/dev/vda'), 0, 0))
print('ended')",
    ),
    refused(
        "the clock and the host's name",
        r"
now = time.clock_gettime(time.CLOCK_REALTIME); spec = ctypes.create_string_buffer(struct.pack('=qq', int(now), 0))
attempt('clock', lambda: call('clock_settime', 0, spec)); attempt('day', lambda: call('settimeofday', spec, 0))
attempt('drift', lambda: call('adjtimex', ctypes.create_string_buffer(struct.pack('=I', 2) + bytes(252))))
attempt('name', lambda: socket.sethostname('other')); attempt('clock of a timer', lambda: open('/dev/rtc'))
print('ended')",
    ),
    refused(
        "priority over the node: real time, niceness, disk",
        r"
attempt('nice', lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)); attempt('fifo', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt('disk', lambda: call('ioprio_set', 1, 0, 1 << 13))
import resource
for limit in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
    soft, hard = resource.getrlimit(limit)
    attempt(limit, lambda: resource.setrlimit(limit, (hard + 1, hard + 1)))
print('ended')",
    ),
    refused(
        "System V memory and queues of the host",
        r"
for what in ('shm', 'msg', 'sem'):
    lines = open('/proc/sysvipc/' + what).read().splitlines()[1:]
    print(what, 'REACHED' if lines else 'none')
attempt('queues', lambda: os.listdir('/dev/mqueue') and None or os.stat('/dev/mqueue/none'))
print('ended')",
    ),
];
