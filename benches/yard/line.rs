//! One kept-alive connection that asks what was prepared: as little client as there can be.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection.
pub(crate) struct Line {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Line {
    pub(crate) async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, heard: Vec::with_capacity(4096) }
    }

    /// Asks, and reads one whole answer: status and body.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> (u16, String) {
        self.stream.write_all(request).await.unwrap();
        self.heard.clear();
        loop {
            let n = self.stream.read_buf(&mut self.heard).await.unwrap();
            assert!(n > 0, "closed before the answer ended");
            if let Some(answer) = whole(&self.heard) {
                return answer;
            }
        }
    }
}

/// The answer, when all of it is there.
fn whole(heard: &[u8]) -> Option<(u16, String)> {
    let (head, body) = std::str::from_utf8(heard).ok()?.split_once("\r\n\r\n")?;
    let length: usize = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    })?;
    (body.len() >= length).then(|| (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
}
