//! Ways out over a socket.

use super::{Attack, Contained, refused, seen};

pub(super) const ATTACKS: &[Attack] = &[
    seen(
        "TCP over IPv4",
        Contained::SeenOnNetwork,
        "attempt('tcp', lambda: socket.create_connection(('192.0.2.1', 80), 3))\nprint('ended')",
    ),
    seen(
        "TCP over IPv6",
        Contained::SeenOnNetwork,
        "attempt('tcp6', lambda: socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80)))\nprint('ended')",
    ),
    seen(
        "TCP with data in the first packet",
        Contained::SeenOnNetwork,
        "attempt('fast open', lambda: socket.socket().sendto(b'x', 0x20000000, ('192.0.2.1', 80)))\nprint('ended')",
    ),
    seen(
        "UDP, unicast and multicast and broadcast",
        Contained::SeenOnNetwork,
        r"
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for to in ('192.0.2.1', '224.0.0.251', '255.255.255.255'): attempt(to, lambda: u.sendto(b'x', (to, 5353)))
print('ended')",
    ),
    seen(
        "cloud metadata service and the host's gateway",
        Contained::SeenOnNetwork,
        "for to in ('169.254.169.254', '10.0.2.2', '172.17.0.1'): attempt(to, lambda: socket.create_connection((to, 80), 3))\nprint('ended')",
    ),
    seen(
        "DNS through the system's resolver",
        Contained::SeenOnNetwork,
        "attempt('dns', lambda: socket.getaddrinfo('registry.example', 443))\nprint('ended')",
    ),
    seen(
        "DNS asked by hand",
        Contained::SeenOnNetwork,
        r"
def ask():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(3)
    u.connect(('192.0.2.53', 53)); u.send(b'\0\1\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1'); u.recv(512)
attempt('dns', ask)
print('ended')",
    ),
    refused(
        "raw and packet sockets",
        r"
for what in ((socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_INET, socket.SOCK_RAW, 255), (socket.AF_INET6, socket.SOCK_RAW, 58), (socket.AF_INET, socket.SOCK_DGRAM, 1),
        (socket.AF_PACKET, socket.SOCK_RAW, 0x300), (socket.AF_PACKET, socket.SOCK_DGRAM, 0x300)):
    attempt(what, lambda: socket.socket(*what))
print('ended')",
    ),
    refused(
        "the hypervisor's sockets (AF_VSOCK)",
        r"
for to in (0, 1, 2, 3): attempt(to, lambda: socket.socket(40, socket.SOCK_STREAM).connect((to, 1024)))
attempt('device', lambda: open('/dev/vsock'))
print('ended')",
    ),
    refused(
        "the kernel's cryptography (AF_ALG)",
        "attempt('alg', lambda: socket.socket(38, socket.SOCK_SEQPACKET).bind(('hash', 'sha256')))\nprint('ended')",
    ),
    refused(
        "every other socket family there is",
        r"
for family in range(64):
    if family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK): continue
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        attempt((family, kind), lambda: socket.socket(family, kind))
        attempt(('pair', family, kind), lambda: socket.socketpair(family, kind))
print('ended')",
    ),
    refused(
        "an interface, an address and a route by netlink",
        r"
def ask(kind, body):
    n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); n.settimeout(3)
    n.send(struct.pack('=IHHII', 16 + len(body), kind, 0x605, 1, 0) + body)
    answer = n.recv(4096); error = struct.unpack_from('=i', answer, 16)[0]
    if error: raise OSError(-error, os.strerror(-error))
attempt('link', lambda: ask(16, struct.pack('=BxHiII', 0, 0, 1, 1, 1)))
attempt('address', lambda: ask(20, struct.pack('=BBBBi', 2, 24, 0, 0, 1) + struct.pack('=HH4s', 8, 2, bytes([10, 0, 0, 1]))))
attempt('route', lambda: ask(24, struct.pack('=BBBBBBBBI', 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack('=HHi', 8, 4, 1)))
for protocol in (9, 12): attempt(('audit or netfilter', protocol), lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).bind((0, 0xffffffff)))
print('ended')",
    ),
    refused(
        "unix sockets of the node, by path and by abstract name",
        r"
for name in ('\0' + os.environ['ABSTRACT'], victim + '/node.sock', '/run/quorate/proxy.sock', '/run/dbus/system_bus_socket', '/run/systemd/private', '/var/run/docker.sock', '\0/tmp/.X11-unix/X0'):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM): attempt(name, lambda: socket.socket(socket.AF_UNIX, kind).connect(name))
print('ended')",
    ),
    refused(
        "ports of the host's own loopback",
        r"
for port in (22, 53, 80, 443, 631, 2375, 5432, 7878, 8080, 9090): attempt(port, lambda: socket.create_connection(('127.0.0.1', port), 3))
print('ended')",
    ),
    refused(
        "another network namespace, by unshare, setns and descriptors",
        r"
attempt('unshare', lambda: call('unshare', 0x40000000))
for name in os.listdir('/proc'):
    if name.isdigit() and int(name) != os.getpid():
        for space in ('net', 'user', 'mnt'): attempt((name, space), lambda: call('setns', os.open(f'/proc/{name}/ns/{space}', os.O_RDONLY), 0))
print('ended')",
    ),
    refused(
        "sockets through an asynchronous ring",
        "attempt('ring', lambda: call('io_uring_setup', 8, ctypes.create_string_buffer(256)))\nprint('ended')",
    ),
    refused(
        "sockets through the calling conventions of other machines",
        r"
import mmap
if machine == 0:
    attempt('x32', lambda: call(0x40000000 + 41, 40, 1, 0))
    # mov eax, 359 (socket); mov ebx, 40; mov ecx, 1; xor edx, edx; int 0x80; ret, with ebx kept
    code = bytes.fromhex('53b867010000bb28000000b90100000031d2cd805bc3')
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC); page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    result = function()
    print('int 0x80', result, 'REACHED' if result >= 0 else 'refused')
print('ended')",
    ),
];
