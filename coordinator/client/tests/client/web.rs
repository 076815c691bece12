//! The smallest HTTP server that can serve real bytes, and misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status 200 with these bytes.
    Bytes(Vec<u8>),
    /// Another status.
    Status(u16),
    /// Another status with a body.
    Refused(u16, String),
    /// Status 302 to another path.
    Redirect(&'static str),
    /// Bytes without an end.
    Endless,
    /// Half of what the header promises.
    Half(Vec<u8>),
}

/// Serves `replies` by path, without the query; everything else is 404. Ends with the process.
pub(crate) fn serve(replies: BTreeMap<String, Reply>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let replies = Arc::new(replies);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let replies = Arc::clone(&replies);
            thread::spawn(move || answer(&stream, &replies));
        }
    });
    address
}

fn answer(stream: &TcpStream, replies: &BTreeMap<String, Reply>) {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let path = target.split('?').next().unwrap_or_default();
    // The rest of the request is read, so that closing does not reset the connection.
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let _ = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    // A client that hangs up early is part of some tests.
    let _ = write(stream, replies.get(path).unwrap_or(&Reply::Status(404)));
}

fn write(mut stream: &TcpStream, reply: &Reply) -> std::io::Result<()> {
    match reply {
        Reply::Bytes(body) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(body)
        }
        Reply::Half(body) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body[..body.len() / 2])
        }
        Reply::Status(status) => write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        Reply::Refused(status, body) => {
            write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        Reply::Redirect(path) => {
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {path}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        }
        Reply::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&vec![b' '; 65_536])?;
            }
        }
    }
}
