//! An HTTP server on 127.0.0.1 that answers as it is told to, faults included.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query, or what a proxy is asked for.
    pub(crate) target: String,
    /// Fields by their names in lower case.
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// How many requests for this target came before.
    pub(crate) before: usize,
}

/// What is answered.
pub(crate) enum Reply {
    /// A whole answer.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// An answer that ends in the middle.
    Truncated(Vec<u8>),
    /// Status and fields of an answer of so many bytes, and fewer of them.
    Cut(u16, Vec<(&'static str, String)>, usize, Vec<u8>),
    /// The beginning of an answer, and then nothing until the other side gives up.
    Stuck(Vec<u8>),
    /// No answer: the connection is closed.
    Closed,
    /// From here on the connection leads to another one.
    Tunnel(String),
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(200, Vec::new(), body.into())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Whole(status, Vec::new(), b"no".to_vec())
    }

    pub(crate) fn redirect(to: impl Into<String>) -> Self {
        Self::Whole(302, vec![("Location", to.into())], Vec::new())
    }
}

/// A server; it ends when it is dropped.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let answer = Arc::new(answer);
        let thread = {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                    // A connection that the client breaks off is no failure of the server.
                    thread::spawn(move || stream.and_then(|stream| serve(stream, &seen, &*answer)));
                }
            })
        };
        Self { port, seen, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Every request so far, as `METHOD target`.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.requests().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    answer: &(dyn Fn(&Seen) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut lines = input.by_ref().lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let mut seen = Seen {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        ..Seen::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        seen.fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if seen.method.is_empty() {
        return Ok(());
    }
    let length = seen.fields.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    input.take(length).read_to_end(&mut seen.body)?;
    {
        let mut log = log.lock().unwrap();
        seen.before = log.iter().filter(|before| before.target == seen.target).count();
        log.push(seen.clone());
    }
    match answer(&seen) {
        Reply::Whole(status, fields, body) => {
            let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let length =
                if status == 304 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            write!(stream, "HTTP/1.1 {status} x\r\n{fields}{length}Connection: close\r\n\r\n")?;
            stream.write_all(&body)
        }
        Reply::Cut(status, fields, length, body) => {
            let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            write!(stream, "HTTP/1.1 {status} x\r\n{fields}Content-Length: {length}\r\n\r\n")?;
            stream.write_all(&body)
        }
        Reply::Truncated(body) => {
            write!(stream, "HTTP/1.1 200 x\r\nContent-Length: {}\r\n\r\n", body.len() + 1)?;
            stream.write_all(&body)
        }
        Reply::Stuck(body) => {
            write!(stream, "HTTP/1.1 200 x\r\nContent-Length: {}\r\n\r\n", body.len() + 1)?;
            stream.write_all(&body)?;
            stream.read_to_end(&mut Vec::new()).map(|_| ())
        }
        Reply::Closed => Ok(()),
        Reply::Tunnel(to) => {
            let mut other = TcpStream::connect(to)?;
            write!(stream, "HTTP/1.1 200 x\r\n\r\n")?;
            let (mut from, mut back) = (stream.try_clone()?, other.try_clone()?);
            let up = thread::spawn(move || std::io::copy(&mut from, &mut other));
            std::io::copy(&mut back, &mut stream)?;
            stream.shutdown(std::net::Shutdown::Both)?;
            up.join().unwrap().map(|_| ())
        }
    }
}
