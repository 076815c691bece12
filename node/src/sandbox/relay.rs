//! The relay of process 1: `127.0.0.1:port` inside, the proxy's unix socket outside. It carries bytes and
//! understands none of them; filtering and recording are the proxy's.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::init::RelaySpec;

/// Connections carried at once; more are closed on arrival. Installers use about ten.
pub(super) const CONNECTIONS_MAX: usize = 32;

/// Listens before it returns, so that the command finds the port open.
pub(super) fn start(spec: &RelaySpec) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, spec.port))?;
    let socket = spec.socket.clone();
    let open = Arc::new(AtomicUsize::new(0));
    thread::Builder::new().spawn(move || {
        for inside in listener.incoming().flatten() {
            let slot = Slot::take(&open);
            if let (Some(slot), Ok(outside)) = (slot, UnixStream::connect(&socket)) {
                // A thread that cannot be had closes the connection: both ends are dropped with the closure.
                let _ = thread::Builder::new().spawn(move || carry(&inside, &outside, &slot));
            }
        }
    })?;
    Ok(())
}

/// A counted place among the open connections.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self(Arc::clone(open));
        (open.fetch_add(1, Ordering::Relaxed) < CONNECTIONS_MAX).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Both directions until both are closed; each half passes its end of file on.
fn carry(inside: &TcpStream, outside: &UnixStream, _slot: &Slot) {
    let _ = inside.set_nodelay(true);
    thread::scope(|scope| {
        let upward = thread::Builder::new().spawn_scoped(scope, || {
            let _ = io::copy(&mut &*inside, &mut &*outside);
            let _ = outside.shutdown(Shutdown::Write);
        });
        if upward.is_ok() {
            let _ = io::copy(&mut &*outside, &mut &*inside);
        }
        let _ = inside.shutdown(Shutdown::Write);
    });
}
