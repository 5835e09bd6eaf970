//! One test for each limit: the connection ends, or the answer says which limit it was.

use super::*;

/// Moves the clock second by second until the door closes `stream`; what it said, and how many seconds that took.
async fn closed(world: &World, stream: &mut TcpStream) -> (String, u64) {
    let mut said = Vec::new();
    for seconds in 0..120 {
        let mut piece = [0; 4096];
        match tokio::time::timeout(Duration::from_millis(20), stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => return (String::from_utf8(said).unwrap(), seconds),
            Ok(Ok(n)) => said.extend_from_slice(&piece[..n]),
            Err(_nothing_yet) => world.clock.advance(Duration::from_secs(1)),
        }
    }
    panic!("never closed");
}

fn public(limits: Limits) -> Options {
    Options { limits, trusted_proxies: Some(Vec::new()) }
}

#[tokio::test]
async fn a_connection_that_sends_no_head_is_closed_after_5_s() {
    let world = World::new(&["clinic"], Options::default());
    for begun in ["", "GET /healthz HTTP/1.1\r\nhost: d"] {
        let mut stream = world.connect().await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let (said, seconds) = closed(&world, &mut stream).await;
        assert_eq!(said, "");
        assert!((5..15).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn a_dripped_head_gets_no_longer() {
    let world = World::new(&["clinic"], Options::default());
    let mut stream = world.connect().await;
    for byte in b"GET /healthz HTTP/1.1\r\nhost: door door door door door\r\n" {
        let gone = stream.write_all(&[*byte]).await.is_err();
        let mut piece = [0; 16];
        match tokio::time::timeout(Duration::from_millis(20), stream.read(&mut piece)).await {
            Ok(_closed) => return,
            Err(_still_open) => assert!(!gone),
        }
        world.clock.advance(Duration::from_secs(1));
    }
    panic!("never closed");
}

#[tokio::test]
async fn an_idle_connection_lives_15_s_and_its_next_head_5_s() {
    let world = World::new(&["clinic"], Options::default());
    let mut stream = world.connect().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, "GET /healthz", "").await.status, 200);
        world.clock.advance(Duration::from_secs(14));
    }
    assert_eq!(ask(&mut stream, "GET /healthz", "").await.status, 200, "kept over 5 s");
    let (said, seconds) = closed(&world, &mut stream).await;
    assert_eq!(said, "");
    assert!((15..30).contains(&seconds), "{seconds}");

    let mut stream = world.connect().await;
    assert_eq!(ask(&mut stream, "GET /healthz", "").await.status, 200);
    stream.write_all(b"GET /hea").await.unwrap();
    let (_, seconds) = closed(&world, &mut stream).await;
    assert!((5..15).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_slow_body_is_408_after_10_s() {
    let world = World::new(&["clinic"], Options::default());
    let mut stream = world.connect().await;
    stream.write_all(b"POST /v1/login HTTP/1.1\r\ncontent-length: 20\r\n\r\n{\"code\"").await.unwrap();
    let (said, seconds) = closed(&world, &mut stream).await;
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("slow_body"), "{said}");
    assert!((10..30).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_body_beyond_64_kib_is_413_whether_it_says_so_or_not() {
    let world = World::new(&["clinic"], Options::default());
    let fits = " ".repeat(64 * 1024);
    let reply = world.ask("POST /v1/login", &fits).await;
    assert_eq!((reply.status, reply.problem().as_str()), (400, "not_json"));
    let reply = world.ask("POST /v1/login", &(fits.clone() + " ")).await;
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too_large_body"));
    assert_eq!(reply.header("connection"), Some("close"));

    let mut stream = world.connect().await;
    let head = "POST /v1/login HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{fits}\r\n", fits.len());
    stream.write_all([head, &chunk, &chunk].concat().as_bytes()).await.unwrap();
    let reply = answer(&mut stream).await;
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too_large_body"));
}

#[tokio::test]
async fn who_sends_on_after_413_can_read_it_and_is_then_closed() {
    let world = World::new(&["clinic"], Options::default());
    let mut stream = world.connect().await;
    stream.write_all(b"POST /v1/login HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut stream).await.status, 413);
    let piece = vec![b' '; 64 * 1024];
    for _ in 0..8 {
        within(stream.write_all(&piece)).await.expect("an answer under way is not reset");
    }
    within(async { while stream.write_all(&piece).await.is_ok() {} }).await;

    let mut stream = world.connect().await;
    stream.write_all(b"POST /v1/login HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut stream).await.status, 413);
    until(|| {
        world.clock.advance(Duration::from_secs(1));
        stream.try_write(b" ").is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    })
    .await;
}

#[tokio::test]
async fn a_head_beyond_16_kib_or_100_headers_is_431() {
    let world = World::new(&["clinic"], Options::default());
    let headers = |n: usize| "x: y\r\n".repeat(n);
    let line = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    let table = [
        (headers(server::HEADERS), 200),
        (headers(server::HEADERS + 1), 431),
        (line(15 * 1024), 200),
        (line(17 * 1024), 431),
    ];
    for (headers, status) in table {
        let mut stream = world.connect().await;
        let text = format!("GET /healthz HTTP/1.1\r\n{headers}\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await.status, status, "{} bytes", text.len());
    }
}

#[tokio::test]
async fn an_unread_answer_ends_its_connection_after_15_s() {
    let world = World::new(&["clinic"], Options::default());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    let mut stream = within(socket.connect(world.at)).await.unwrap();
    let requests = "GET /healthz HTTP/1.1\r\n\r\n".repeat(100);
    let stuck = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    let waited = tokio::time::timeout(Duration::from_secs(1), stuck).await;
    assert!(waited.is_err(), "the door stops reading when it cannot write");
    let mut seconds = 0;
    until(|| {
        world.clock.advance(Duration::from_secs(1));
        seconds += 1;
        stream.try_write(b"G").is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    })
    .await;
    assert!(seconds >= 15, "{seconds}");
}

#[tokio::test]
async fn connections_beyond_the_limit_in_all_are_503() {
    let limits = Limits { connections: 3, ..Limits::default() };
    let world = World::new(&["clinic"], Options { limits, trusted_proxies: None });
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = world.connect().await;
        assert_eq!(ask(&mut stream, "GET /healthz", "").await.status, 200);
        held.push(stream);
    }
    let mut fourth = world.connect().await;
    let reply = answer(&mut fourth).await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "connections"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    drop(held);
    within(async {
        loop {
            let mut stream = world.connect().await;
            let sent = stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await;
            if sent.is_ok() && answer(&mut stream).await.status == 200 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn connections_of_one_address_beyond_its_limit_are_429_and_proxies_are_exempt() {
    let limits = Limits { per_address: 2, ..Limits::default() };
    for (options, third) in [(public(limits.clone()), 429), (Options { limits, trusted_proxies: None }, 200)]
    {
        let world = World::new(&["clinic"], options);
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = world.connect().await;
            assert_eq!(ask(&mut stream, "GET /healthz", "").await.status, 200);
            held.push(stream);
        }
        let mut stream = world.connect().await;
        let reply =
            if third == 429 { answer(&mut stream).await } else { ask(&mut stream, "GET /healthz", "").await };
        assert_eq!(reply.status, third);
        if third == 429 {
            assert_eq!(reply.problem(), "connections");
        }
    }
}

/// Through a proxy a hoarder has no connections of his own to count, but requests.
#[tokio::test]
async fn requests_of_one_address_under_way_beyond_its_limit_are_429_through_a_proxy_too() {
    let limits = Limits { per_address: 2, ..Limits::default() };
    let world = World::new(&["clinic"], Options { limits, trusted_proxies: None });
    let health = |address: &str| format!("GET /healthz\nx-forwarded-for: 7.7.7.7, {address}");
    let mut held = Vec::new();
    for address in ["2001:db8::1", "2001:db8::2"] {
        let mut stream = world.connect().await;
        let head = format!(
            "POST /v1/consents HTTP/1.1\r\nx-forwarded-for: {address}\r\ncontent-length: 9\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let third = health("2001:db8::3");
    // The door may not have read them yet.
    let mut reply = world.ask(&third, "").await;
    for _ in 0..2000 {
        if reply.status == 200 {
            reply = world.ask(&third, "").await;
        }
    }
    assert_eq!((reply.status, reply.problem().as_str()), (429, "connections"), "one network");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(world.ask(&health("2001:db8:0:1::1"), "").await.status, 200, "another network");
    assert_eq!(world.ask("GET /healthz", "").await.status, 200, "the proxy itself");
    held.pop().unwrap().write_all(b"        ").await.unwrap();
    within(async { while world.ask(&third, "").await.status != 200 {} }).await;
}

#[test]
fn production_has_the_limits_that_are_promised() {
    let limits = Limits::default();
    let seconds = [limits.head, limits.body, limits.idle, limits.unread].map(|limit| limit.as_secs());
    assert_eq!(seconds, [5, 10, 15, 15]);
    assert_eq!((limits.body_bytes, limits.connections, limits.per_address), (65_536, 1024, 128));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_503() {
    let world = World::new(&["clinic"], Options::default());
    world.flow.gate.forget_permits(1);
    let bearer = format!("POST /v1/consents\nauthorization: Bearer {}", world.session().await);
    let event = format!("POST /wechat/clinic?{}", events::signed(start().timestamp()));
    // WeChat hangs up after 5 s.
    for (n, (head, body, seconds)) in
        [(bearer, r#"{"report":"r1","results":{}}"#, 30), (event, events::REFUSAL, 4)].into_iter().enumerate()
    {
        let mut stream = world.connect().await;
        let (flow, clock) = (Arc::clone(&world.flow), world.clock.clone());
        let asked = async { (ask(&mut stream, &head, body).await, clock.now()) };
        let late = async {
            until(|| *flow.n_waiting.lock().unwrap() == n + 1).await;
            let began = clock.now();
            for _ in 0..seconds {
                let _no_event =
                    tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
                clock.advance(Duration::from_secs(1));
            }
            began
        };
        let ((reply, answered_at), began) = tokio::join!(asked, late);
        assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"), "{head}");
        assert_eq!((answered_at - began).num_seconds(), seconds, "{head}");
    }
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_waits_for_requests() {
    let mut world = World::new(&["clinic"], Options::default());
    let head = format!("POST /v1/consents\nauthorization: Bearer {}", world.session().await);
    world.flow.gate.forget_permits(1);
    let (mut idle, mut busy, mut silent) =
        (world.connect().await, world.connect().await, world.connect().await);
    assert_eq!(ask(&mut idle, "GET /healthz", "").await.status, 200);
    let flow = Arc::clone(&world.flow);
    let stop = world.stop.take().unwrap();
    let asked = ask(&mut busy, &head, r#"{"report":"r1","results":{}}"#);
    let stopped = async {
        until(|| *flow.n_waiting.lock().unwrap() == 1).await;
        stop.send(()).unwrap();
        let mut byte = [0; 1];
        assert_eq!(within(idle.read(&mut byte)).await.unwrap(), 0, "idle ones are closed at once");
        assert_eq!(within(silent.read(&mut byte)).await.unwrap(), 0, "and those that said nothing");
        flow.gate.add_permits(1);
    };
    let (reply, ()) = tokio::join!(asked, stopped);
    assert_eq!(reply.status, 200);
    drop((idle, busy, silent));
    within(world.served.join_next()).await.unwrap().unwrap();
    assert!(TcpStream::connect(world.at).await.is_err(), "nobody listens");
    assert_eq!(world.said().len(), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut world = World::new(&["clinic"], Options::default());
    let head = format!("POST /v1/consents\nauthorization: Bearer {}", world.session().await);
    world.flow.gate.forget_permits(1);
    let mut busy = world.connect().await;
    let body = r#"{"report":"r1","results":{}}"#;
    let text =
        format!("{}\r\ncontent-length: {}\r\n\r\n{body}", head.replace('\n', " HTTP/1.1\r\n"), body.len());
    busy.write_all(text.as_bytes()).await.unwrap();
    let flow = Arc::clone(&world.flow);
    until(|| *flow.n_waiting.lock().unwrap() == 1).await;
    world.stop.take().unwrap().send(()).unwrap();
    let clock = world.clock.clone();
    let mut seconds = 0;
    until(|| {
        clock.advance(Duration::from_secs(1));
        seconds += 1;
        world.served.try_join_next().is_some()
    })
    .await;
    assert!(seconds >= 20, "{seconds}");
    assert!(world.said().is_empty());
}
