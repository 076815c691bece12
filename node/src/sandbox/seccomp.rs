//! The system-call filter of a run: classic BPF, assembled by hand because it is a short list.
//!
//! Namespaces do not cover everything. A virtual machine's socket family reaches the hypervisor from any
//! network namespace; an asynchronous ring opens sockets past this very filter; kernel keyrings, BPF and
//! new-style mounts widen what hostile code can touch. A build needs none of them. Only a list of refusals:
//! an allow list would make results depend on the age of a node's C library.

/// Return values of the filter.
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

/// Instruction codes: load a word at an absolute offset, jumps, return.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in the kernel's `struct seccomp_data` (little endian).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// Process 1 of the sandbox.
const OBSERVER: u32 = 1;

/// `AF_UNIX`, `AF_INET`, `AF_INET6`, `AF_NETLINK` (which lists interfaces).
const FAMILIES: [u32; 4] = [1, 2, 10, 16];

struct Table {
    architecture: u32,
    /// `socket`, `socketpair`.
    sockets: [u32; 2],
    /// Numbers that did not exist on older kernels, so that programs fall back.
    missing: &'static [u32],
    refused: &'static [u32],
    /// `prlimit64`, which the kernel allows among processes of one user: of process 1 it would unmake the observer.
    limits: u32,
    /// From here on numbers belong to another calling convention.
    foreign_from: u32,
}

// missing: io_uring_setup, io_uring_enter, io_uring_register.
// refused: add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd, kexec_load, kexec_file_load,
// open_by_handle_at, mount, umount2, pivot_root, setns, init_module, finit_module, syslog, open_tree, move_mount, fsopen,
// fsconfig, fsmount, mount_setattr.
#[cfg(target_arch = "x86_64")]
const TABLE: Option<Table> = Some(Table {
    architecture: 0xc000_003e,
    sockets: [41, 53],
    missing: &[425, 426, 427],
    refused: &[248, 249, 250, 321, 298, 323, 246, 320, 304, 165, 166, 155, 308, 175, 313, 103, 428, 429, 430, 431, 432, 442],
    limits: 302,
    foreign_from: 0x4000_0000,
});
#[cfg(target_arch = "aarch64")]
const TABLE: Option<Table> = Some(Table {
    architecture: 0xc000_00b7,
    sockets: [198, 199],
    missing: &[425, 426, 427],
    refused: &[217, 218, 219, 280, 241, 282, 104, 294, 265, 40, 39, 41, 268, 105, 273, 116, 428, 429, 430, 431, 432, 442],
    limits: 261,
    foreign_from: 0x4000_0000,
});
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const TABLE: Option<Table> = None;

/// The filter as bubblewrap reads it, or nothing on an architecture without a table.
pub(super) fn filter() -> Option<Vec<u8>> {
    TABLE.map(|table| assemble(&table))
}

fn assemble(table: &Table) -> Vec<u8> {
    let mut code = Vec::new();
    // 32-bit calls on a 64-bit kernel have other numbers: without this line they would pass unseen.
    push(&mut code, LOAD, (0, 0), ARCHITECTURE);
    push(&mut code, JUMP_EQUAL, (1, 0), table.architecture);
    push(&mut code, RETURN, (0, 0), ERRNO | ENOSYS);
    push(&mut code, LOAD, (0, 0), NUMBER);
    push(&mut code, JUMP_AT_LEAST, (0, 1), table.foreign_from);
    push(&mut code, RETURN, (0, 0), ERRNO | ENOSYS);
    for (numbers, errno) in [(table.missing, ENOSYS), (table.refused, EPERM)] {
        for number in numbers {
            push(&mut code, JUMP_EQUAL, (0, 1), *number);
            push(&mut code, RETURN, (0, 0), ERRNO | errno);
        }
    }
    push(&mut code, JUMP_EQUAL, (0, 4), table.limits);
    push(&mut code, LOAD, (0, 0), FIRST_ARGUMENT);
    push(&mut code, JUMP_EQUAL, (0, 1), OBSERVER);
    push(&mut code, RETURN, (0, 0), ERRNO | EPERM);
    push(&mut code, RETURN, (0, 0), ALLOW);
    push(&mut code, JUMP_EQUAL, (2, 0), table.sockets[0]);
    push(&mut code, JUMP_EQUAL, (1, 0), table.sockets[1]);
    push(&mut code, RETURN, (0, 0), ALLOW);
    push(&mut code, LOAD, (0, 0), FIRST_ARGUMENT);
    for family in FAMILIES {
        push(&mut code, JUMP_EQUAL, (0, 1), family);
        push(&mut code, RETURN, (0, 0), ALLOW);
    }
    push(&mut code, RETURN, (0, 0), ERRNO | EAFNOSUPPORT);
    code
}

/// One `struct sock_filter`; `skip` is how many instructions to leave out when the test holds and when not.
fn push(code: &mut Vec<u8>, operation: u16, skip: (u8, u8), operand: u32) {
    code.extend_from_slice(&operation.to_ne_bytes());
    code.extend_from_slice(&[skip.0, skip.1]);
    code.extend_from_slice(&operand.to_ne_bytes());
}
