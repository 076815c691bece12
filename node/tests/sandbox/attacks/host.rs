//! Ways to the host's files, processes and devices, and what is left for the node to trip over.

use super::{Attack, Contained, refused, seen};

pub(super) const ATTACKS: &[Attack] = &[
    refused(
        "the host's secrets by their usual names",
        r"
for path in ('/etc/shadow', '/etc/gshadow', '/etc/sudoers', '/etc/ssh', '/etc/ssl/private', '/etc/machine-id', '/etc/resolv.conf', '/root', '/home/ubuntu', '/home/user',
        '/var/log', '/var/spool', '/var/lib/docker', '/boot', '/sys', '/run/secrets', '/mnt', '/media', '/srv', '/lost+found', '/.dockerenv', '/proc/keys', '/proc/sched_debug', '/proc/timer_list'):
    attempt(path, lambda: os.listdir(path) if os.path.isdir(path) else take(path))
attempt('other homes', lambda: os.listdir('/home') == ['build'] and os.stat('/no-other-home'))
print('ended')",
    ),
    refused(
        "another build's folder, by its path and by every detour",
        r"
for path in (victim, '/proc/self/root' + victim, '/proc/1/root' + victim, '/proc/self/cwd/../../..' + victim, '/build/..' + victim, '/proc/thread-self/root' + victim):
    attempt(path, lambda: os.listdir(path)); attempt(path, lambda: open(path + '/source.py', 'a').write('x'))
attempt('siblings', lambda: sorted(os.listdir('/build')) == ['out', 'src'] and os.stat('/build/other'))
print('ended')",
    ),
    refused(
        "the host's files by handle, below every mount",
        r"
handle = ctypes.create_string_buffer(struct.pack('=IiQ', 8, 1, 2) + bytes(32))
for path in ('/', '/build/src', '/usr', '/tmp'): attempt(path, lambda: call('open_by_handle_at', os.open(path, os.O_RDONLY), handle, 0))
print('ended')",
    ),
    seen(
        "the node's key, read",
        Contained::SeenAtKey,
        "print(open(key).read() != 'this is not a key\\n' and 'REACHED' or 'decoy')\nprint('ended')",
    ),
    seen(
        "the node's key, by a detour, by a child, and kept open",
        Contained::SeenAtKey,
        r"
os.chdir('/var/lib/quorate'); subprocess.run(['cat', 'keys/../keys/node.key'])
attempt('write', lambda: open(key, 'w')); attempt('rename', lambda: os.rename(key, '/tmp/key')); attempt('link', lambda: os.link(key, '/build/out/key'))
attempt('unlink', lambda: os.unlink(key)); attempt('replace', lambda: os.symlink('/etc/passwd', '/var/lib/quorate/keys/other'))
print('ended')",
    ),
    refused(
        "the observer: trace, read, write, limit and steal from process 1",
        r"
attempt('attach', lambda: call('ptrace', 16, 1, 0, 0)); attempt('seize', lambda: call('ptrace', 0x4206, 1, 0, 0))
buffer = ctypes.create_string_buffer(64); vector = struct.pack('=QQ', ctypes.addressof(buffer), 64)
local, remote = ctypes.create_string_buffer(vector), ctypes.create_string_buffer(struct.pack('=QQ', 0x400000, 64))
for name in ('process_vm_readv', 'process_vm_writev'): attempt(name, lambda: call(name, 1, local, 1, remote, 1, 0))
attempt('descriptor', lambda: call('pidfd_getfd', call('pidfd_open', 1, 0), 0, 0))
attempt('compare', lambda: call('kcmp', 1, os.getpid(), 0, 0, 0))
for name in ('mem', 'environ', 'maps', 'auxv', 'stack', 'syscall', 'io'): attempt(name, lambda: open('/proc/1/' + name, 'rb').read(1))
for name in ('root', 'cwd', 'exe', 'fd/0', 'ns/net', 'ns/user'): attempt(name, lambda: os.readlink('/proc/1/' + name))
import resource
attempt('limit', lambda: resource.prlimit(1, resource.RLIMIT_NPROC, (1, 1)))
attempt('its program', lambda: open('/run/quorate/init', 'r+b')); attempt('its program', lambda: open('/proc/1/exe', 'r+b'))
attempt('its choice in memory pressure', lambda: put('/proc/1/oom_score_adj', b'1000'))
print('ended')",
    ),
    refused(
        "signals to process 1, to the node and to everybody",
        r"
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV):
    os.kill(1, number)
    attempt(('node', number), lambda: os.kill(node, number)); attempt(('its group', number), lambda: os.killpg(node, number))
attempt('by descriptor', lambda: call('pidfd_open', node, 0)); attempt('parent of all', lambda: os.kill(os.getppid() - 1, 9) if os.getppid() > 1 else os.kill(node, 0))
signal.signal(signal.SIGTERM, signal.SIG_IGN); attempt('everybody', lambda: os.kill(-1, signal.SIGTERM))
print('ended')",
    ),
    refused(
        "processes of the host in /proc",
        r"
seen = [name for name in os.listdir('/proc') if name.isdigit()]
print(seen, 'REACHED' if len(seen) > 3 else '')
attempt('node', lambda: open(f'/proc/{node}/status')); attempt('its root', lambda: os.listdir(f'/proc/{node}/root'))
print('ended')",
    ),
    refused(
        "settings of the kernel in /proc and /sys",
        r"
for path in ('sys/kernel/core_pattern', 'sys/kernel/modprobe', 'sys/kernel/hostname', 'sys/kernel/ns_last_pid', 'sys/vm/overcommit_memory', 'sys/vm/drop_caches',
        'sys/fs/binfmt_misc/register', 'sys/net/ipv4/ip_forward', 'sys/user/max_user_namespaces', 'sysrq-trigger', 'self/uid_map', 'self/gid_map', 'self/setgroups', 'irq/default_smp_affinity'):
    attempt(path, lambda: put('/proc/' + path, b'0'))
attempt('uevent', lambda: os.listdir('/sys')); attempt('oom', lambda: put('/proc/self/oom_score_adj', b'-1000'))
print('ended')",
    ),
    refused(
        "the kernel's memory and log",
        r"
for path in ('/proc/kcore', '/proc/kmsg', '/dev/mem', '/dev/kmem', '/dev/port', '/dev/kmsg', '/proc/kpagecount', '/proc/vmallocinfo', '/proc/slabinfo'): attempt(path, lambda: take(path))
attempt('log', lambda: call('syslog', 3, ctypes.create_string_buffer(256), 256))
addresses = {line.split()[0].strip('0') for line in open('/proc/kallsyms')} if os.path.exists('/proc/kallsyms') else set()
print('REACHED addresses' if addresses - {''} else 'no addresses')
print('ended')",
    ),
    refused(
        "devices: disks, consoles, tunnels, virtual machines",
        r"
print(sorted(os.listdir('/dev')))
for name in ('sda', 'vda', 'nvme0n1', 'dm-0', 'loop0', 'loop-control', 'fuse', 'kvm', 'net/tun', 'vhost-vsock', 'console', 'tty1', 'uinput', 'snapshot', 'mapper/control', 'btrfs-control', 'userfaultfd', 'hpet', 'rtc0'):
    attempt(name, lambda: open('/dev/' + name, 'rb'))
import stat
for kind, device in ((stat.S_IFBLK, os.makedev(8, 0)), (stat.S_IFBLK, os.makedev(254, 0)), (stat.S_IFCHR, os.makedev(1, 1)), (stat.S_IFCHR, os.makedev(10, 200))):
    for place in ('/tmp/d', '/build/out/d', '/dev/shm/d', '/dev/d'): attempt((device, place), lambda: os.mknod(place, kind | 0o666, device))
print('ended')",
    ),
    refused(
        "typing into the terminal that started the node (TIOCSTI)",
        r"
import fcntl
attempt('terminal', lambda: open('/dev/tty')); attempt('console', lambda: open('/dev/console'))
for descriptor in range(0, 10):
    attempt(descriptor, lambda: fcntl.ioctl(descriptor, 0x5412, b'x')); attempt(('own it', descriptor), lambda: fcntl.ioctl(descriptor, 0x540e, 1))
print(os.listdir('/dev/pts'))
print('ended')",
    ),
    refused(
        "descriptors that the node left open",
        r"
for descriptor in range(3, 4096):
    try: print('REACHED', descriptor, os.readlink(f'/proc/self/fd/{descriptor}'))
    except OSError: pass
print(os.readlink('/proc/self/fd/0'))
print('ended')",
    ),
    refused(
        "links, pipes and sockets in the output folder",
        r"
os.chdir('/build/out')
for name, to in (('wheel.whl', '/etc/passwd'), ('key.whl', key), ('up', '../../../../../../..'), ('loop', 'loop'), ('self', '/proc/self/fd/0'), ('victim', victim)): os.symlink(to, name)
os.mkfifo('fifo.whl'); socket.socket(socket.AF_UNIX).bind('socket.whl'); os.mkdir('folder.whl')
for path in ('/usr/bin/env', '/etc/passwd', key): attempt(('hard link', path), lambda: os.link(path, 'hard'))
print('ended')",
    ),
    refused(
        "names in the output folder that mislead",
        r"
os.chdir(b'/build/out')
for name in (b'-rf', b' ', b'a\nb', b'\x1b[2J\x1b]0;x\x07', b'\xff\xfe', 'e\u0301\u202egnp.exe'.encode(), b'..\\..\\etc', b'%2e%2e%2f', b'.' * 255, b'n' * 255, b'$(reboot)', b'CON'): open(name, 'wb').write(b'x')
print('ended')",
    ),
    refused(
        "a set-user program of one's own, and those of the system",
        r"
import shutil
for place in ('/tmp/sh', '/build/out/sh'):
    shutil.copy('/bin/sh', place); os.chmod(place, 0o6777)
    if subprocess.run([place, '-p', '-c', 'id -u'], capture_output=True, text=True).stdout.strip() != '1000': print('REACHED', place)
attempt('owner', lambda: os.chown('/tmp/sh', 0, 0))
for program in (['su', '-c', 'id'], ['sudo', '-n', 'id'], ['mount', '-t', 'tmpfs', 'x', '/tmp'], ['pkexec', 'id'], ['newgrp', 'root'], ['chsh', '-s', '/bin/sh'], ['passwd', '-d', 'root'], ['crontab', '-l']):
    attempt(program[0], lambda: subprocess.run(program, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=10))
for name in ('setuid', 'setgid', 'seteuid'): attempt(name, lambda: getattr(os, name)(0))
attempt('groups', lambda: os.setgroups([0]))
print('ended')",
    ),
    refused(
        "changing the system that the next build will see",
        r"
places = ['/', '/usr', '/usr/bin', '/usr/lib', '/usr/lib/python3', '/usr/local/bin', '/etc', '/etc/ssl', '/dev', '/run', '/run/quorate', '/home', '/var', '/build', '/bin', '/lib']
for place in places:
    attempt(place, lambda: open(place + '/planted', 'w')); attempt(('mode', place), lambda: os.chmod(place, 0o777))
for path in ('/etc/passwd', '/usr/bin/python3', '/bin/sh', '/etc/ld.so.cache', '/usr/bin/env'):
    attempt(path, lambda: open(path, 'r+')); attempt(('time', path), lambda: os.utime(path)); attempt(('remove', path), lambda: os.unlink(path))
    attempt(('attribute', path), lambda: os.setxattr(path, 'user.x', b'x'))
print('ended')",
    ),
];
