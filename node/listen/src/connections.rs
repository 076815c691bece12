//! Takes connections and answers what is asked on them: HTTP/1.1 and HTTP/2 on one port.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::shares::Shares;

/// A peer on HTTP/2 that says nothing for so long is asked whether it is there.
const PING_EVERY: Duration = Duration::from_mins(1);

/// So long it may take to answer that.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 64;

/// Pause after a connection that the system could not give: it has no descriptors left, most likely.
const PAUSE: Duration = Duration::from_secs(1);

/// What strangers may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. When there is one more, the network that has most of them loses its oldest. Each is a descriptor: far below
    /// what the process may have.
    pub connections_max: usize,
    /// How long the first byte, and the head of a request of HTTP/1.1, may take; how long a connection of HTTP/1.1 may rest.
    pub head_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 512, head_timeout: Duration::from_secs(30) }
    }
}

/// Answers with `routes` until `stop`, then lets what is under way end. Each request has a `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits, stop: impl Future<Output = ()>) {
    let shares = Shares::new(limits.connections_max);
    let (stopping, stopped) = watch::channel(());
    let mut answering = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let (share, lost) = shares.take(from.ip(), 1);
                    let answers = answer(stream, from, routes.clone(), limits.head_timeout, stopped.clone());
                    answering.spawn(async move {
                        tokio::select! {
                            () = answers => {}
                            () = lost.told() => tracing::debug!(%from, "a connection makes room for another"),
                        }
                        drop(share);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = answering.join_next() => {}
        }
    }
    drop((listener, stopping));
    while answering.join_next().await.is_some() {}
}

async fn answer(stream: TcpStream, from: SocketAddr, routes: Router, head_timeout: Duration, mut stopped: watch::Receiver<()>) {
    // Small answers must not wait for the acknowledgement of the answer before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection went away at once");
    }
    // Until it is known which HTTP is spoken nothing else is timed.
    if !matches!(timeout(head_timeout, stream.peek(&mut [0])).await, Ok(Ok(1))) {
        return;
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIMEOUT).max_concurrent_streams(STREAMS_MAX);
    let service = TowerToHyperService::new(routes.layer(Extension(ConnectInfo(from))));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // Nothing is ever sent: it tells by being dropped.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio::sync::oneshot;

    use super::*;

    /// A server that says who asks, where it is, and what stops it.
    async fn server(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/", get(async |ConnectInfo(from): ConnectInfo<SocketAddr>| from.ip().to_string()));
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, routes, limits, async { drop(stopped.await) });
        (address, stop, tokio::spawn(serving))
    }

    async fn connect(own: [u8; 4], to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((own, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// Everything until the other side ends the connection.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        // One that is cut off has said what it has said.
        let _ = timeout(Duration::from_mins(1), stream.read_to_end(&mut bytes)).await.expect("the other side ends it");
        String::from_utf8(bytes).unwrap()
    }

    async fn ask(own: [u8; 4], to: SocketAddr) -> String {
        let mut stream = connect(own, to).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: q\r\nconnection: close\r\n\r\n").await.unwrap();
        rest(&mut stream).await
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_head_is_not_waited_for() {
        let (address, _stop, _) = server(Limits { head_timeout: Duration::from_millis(250), ..Limits::default() }).await;
        for said in ["", "GET / HTTP/1.1\r\nhos", "GET / HTTP/1.1\r\nhost: q\r\n\r\n"] {
            let mut stream = connect([127, 0, 0, 2], address).await;
            stream.write_all(said.as_bytes()).await.unwrap();
            assert_eq!(rest(&mut stream).await.ends_with("127.0.0.2"), said.ends_with("\r\n\r\n"), "{said:?}");
        }
    }

    #[tokio::test]
    async fn who_holds_every_connection_loses_the_oldest_to_somebody_else() {
        let (address, _stop, _) = server(Limits { connections_max: 8, head_timeout: Duration::from_hours(1) }).await;
        let mut honest = connect([127, 0, 0, 1], address).await;
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(connect([127, 0, 0, 2], address).await);
        }
        assert!(ask([127, 0, 0, 3], address).await.ends_with("127.0.0.3"));
        for stream in &mut held[..12] {
            assert_eq!(rest(stream).await, "");
        }
        honest.write_all(b"GET / HTTP/1.1\r\nhost: q\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(rest(&mut honest).await.ends_with("127.0.0.1"), "the first of all, and one of few");
    }

    #[tokio::test]
    async fn stopping_ends_what_rests() {
        let (address, stop, serving) = server(Limits::default()).await;
        let mut stream = connect([127, 0, 0, 1], address).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: q\r\n\r\n").await.unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.unwrap();
        drop(stop);
        assert!(rest(&mut stream).await.ends_with("127.0.0.1"));
        timeout(Duration::from_mins(1), serving).await.unwrap().unwrap();
    }
}
