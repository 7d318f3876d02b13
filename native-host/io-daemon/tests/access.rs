//! Which requests are let in, and what a page may read of the answer.

use crate::support::{Bed, PORT, TOKEN, anonymous, request, set_of};
use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use piecewise_io_daemon::disk::Limits;
use piecewise_io_daemon::token::Token;
use serde_json::json;

const PAGE: &str = "http://localhost:8080";

fn empty(request: Builder) -> Request<Body> {
    request.body(Body::empty()).unwrap()
}

fn narrowed() -> Bed {
    Bed::with(Limits::default(), Some(vec![PAGE.to_owned()]))
}

#[tokio::test]
async fn fault_62_a_foreign_host_is_refused() {
    let bed = Bed::new();
    let with_host = |host: &str| {
        Request::builder()
            .method("POST")
            .uri("/v1/control/ping")
            .header("host", host)
            .header("authorization", format!("Bearer {TOKEN}"))
    };
    for own in
        [format!("127.0.0.1:{PORT}"), format!("localhost:{PORT}"), format!("LocalHost:{PORT}"), format!("[::1]:{PORT}")]
    {
        bed.send(empty(with_host(&own))).await.is(204, "");
    }
    for foreign in [
        "evil.com".to_owned(),
        format!("evil.com:{PORT}"),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        format!("127.0.0.1:{}", PORT + 1),
        format!("127.0.0.1:0{PORT}"),
        format!("127.0.0.1.evil.com:{PORT}"),
        format!("localhost.:{PORT}"),
        format!("evil@localhost:{PORT}"),
        format!("0.0.0.0:{PORT}"),
        String::new(),
    ] {
        bed.send(empty(with_host(&foreign))).await.is(403, "forbidden_host");
    }
    let missing = Request::post("/v1/control/ping").header("authorization", format!("Bearer {TOKEN}"));
    bed.send(empty(missing)).await.is(403, "forbidden_host");
    let twice = with_host(&format!("localhost:{PORT}")).header("host", "evil.com");
    bed.send(empty(twice)).await.is(403, "forbidden_host");
    let absolute = request("POST", "http://evil.com/v1/control/ping");
    bed.send(empty(absolute)).await.is(403, "forbidden_host");
    let health = Request::get("/health").header("host", "evil.com");
    bed.send(empty(health)).await.is(403, "forbidden_host");
}

#[tokio::test]
async fn fault_63_no_request_passes_without_the_token() {
    let bed = Bed::new();
    for origin in [None, Some("null"), Some("https://evil.com"), Some(PAGE)] {
        for (method, path) in [
            ("PUT", "/v1/sets/set"),
            ("POST", "/v1/sets/set/write"),
            ("GET", "/v1/sets/set/read"),
            ("DELETE", "/v1/sets/set"),
            ("POST", "/v1/hash/sha1"),
            ("POST", "/v1/control/shutdown"),
            ("GET", "/v1/control/stats"),
            ("GET", "/v1/config"),
            ("GET", "/v1/sockets"),
            ("GET", "/nowhere"),
            ("POST", "/health"),
        ] {
            let mut ask = anonymous(method, path).header("content-type", "text/plain");
            if let Some(origin) = origin {
                ask = ask.header("origin", origin);
            }
            let answer = bed.send(ask.body(set_of(&[("a", 1)]).to_string().into()).unwrap()).await;
            answer.is(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(bed.send(empty(anonymous("GET", "/health"))).await.body, "ok");
    let stats = bed.stats().await;
    assert_eq!((&stats["unauthorized"], &stats["sets"]), (&json!(44), &json!(0)));
    assert!(!bed.state.shutdown().is_cancelled());
}

#[tokio::test]
async fn fault_64_an_origin_that_is_not_listed_reaches_no_handler() {
    let bed = narrowed();
    for origin in ["https://evil.com", "null", "http://localhost:80800", "http://localhost", ""] {
        let write = request("PUT", "/v1/sets/set").header("origin", origin);
        let answer = bed.send(write.body(set_of(&[("a", 1)]).to_string().into()).unwrap()).await;
        answer.is(403, "forbidden_origin");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("vary"), Some("origin"));

        let preflight = anonymous("OPTIONS", "/v1/sets/set").header("origin", origin);
        let answer = bed.send(empty(preflight.header("access-control-request-method", "PUT"))).await;
        answer.is(403, "forbidden_origin");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(bed.stats().await["sets"], 0);
    let two = request("GET", "/v1/config").header("origin", PAGE).header("origin", "https://evil.com");
    bed.send(empty(two)).await.is(403, "forbidden_origin");
}

const OWN_FOLDER: &str = r#"{"root":"root","files":[{"path":[".piecewise","a"],"length":1}]}"#;

#[tokio::test]
async fn fault_64_every_error_can_be_read_by_an_allowed_page() {
    let bed = narrowed();
    bed.open(&[("a", 4), ("folder", 4)]).await;
    let large = request("POST", "/v1/sets/set/write").header("content-range", "bytes 0-1/*");
    let mismatch = crate::support::sha1_of(b"x");
    let asked = [
        (401, empty(anonymous("GET", "/v1/config"))),
        (403, request("PUT", "/v1/sets/own").body(OWN_FOLDER.into()).unwrap()),
        (403, empty(Request::get("/health").header("host", "evil.com"))),
        (404, empty(request("GET", "/nowhere"))),
        (404, empty(request("GET", "/v1/sets/none/read"))),
        (405, empty(request("PUT", "/v1/control/ping"))),
        (400, empty(request("POST", "/v1/sets/set/write"))),
        (400, request("POST", "/v1/sets/set/prepare").body(r#"{"skipped":[2]}"#.into()).unwrap()),
        (409, large.header("content-digest", mismatch).body("ab".into()).unwrap()),
        (416, empty(request("GET", "/v1/sets/set/read"))),
        (413, {
            let body = Body::from(vec![b' '; 4 * crate::support::MIB + 1]);
            request("POST", "/v1/sets/set/digests").body(body).unwrap()
        }),
    ];
    for (status, mut ask) in asked {
        ask.headers_mut().insert("origin", PAGE.parse().unwrap());
        let answer = bed.send(ask).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{status}");
        assert_eq!(answer.header("vary"), Some("origin"));
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in ["content-range", "content-digest", "retry-after", "www-authenticate"] {
            assert!(exposed.split(',').any(|one| one.trim() == name), "{exposed}");
        }
    }
}

#[tokio::test]
async fn fault_64_a_preflight_needs_no_token_and_names_what_is_allowed() {
    for bed in [Bed::new(), narrowed()] {
        let preflight = anonymous("OPTIONS", "/v1/sets/set/write")
            .header("origin", PAGE)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-range,content-digest")
            .header("access-control-request-private-network", "true");

        let answer = bed.send(empty(preflight)).await;

        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET,PUT,POST,DELETE"));
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert_eq!(headers, "authorization,content-type,content-range,content-digest,range");
        assert_eq!(answer.header("access-control-max-age"), Some("86400"));
        assert_eq!(answer.header("access-control-allow-private-network"), Some("true"));
        assert_eq!(answer.header("vary"), Some("origin"));
        assert_eq!(bed.stats().await["preflights"], 1);
    }
}

#[tokio::test]
async fn fault_67_only_the_whole_token_passes() {
    let bed = Bed::new();
    for good in [format!("Bearer {TOKEN}"), format!("bearer {TOKEN}"), format!("BEARER {TOKEN}")] {
        bed.send(empty(anonymous("POST", "/v1/control/ping").header("authorization", good))).await.is(204, "");
    }
    let prefix = &TOKEN[..TOKEN.len() - 1];
    for bad in [
        String::new(),
        TOKEN.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer{TOKEN}"),
        format!("Basic {TOKEN}"),
        format!("Bearer {prefix}"),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Bearer {TOKEN}, Bearer {TOKEN}"),
    ] {
        let ask = anonymous("POST", "/v1/control/ping").header("authorization", &bad);
        bed.send(empty(ask)).await.is(401, "unauthorized");
    }
    let query = anonymous("POST", &format!("/v1/control/ping?token={TOKEN}&access_token={TOKEN}"));
    bed.send(empty(query)).await.is(401, "unauthorized");
    let twice = request("POST", "/v1/control/ping").header("authorization", format!("Bearer {TOKEN}"));
    bed.send(empty(twice)).await.is(401, "unauthorized");
}

#[tokio::test]
async fn fault_67_a_subprotocol_carries_the_token_for_a_web_socket_alone() {
    let bed = Bed::new();
    let offer = format!("piecewise.sockets.v1, bearer.{TOKEN}");
    let ping = anonymous("POST", "/v1/control/ping").header("sec-websocket-protocol", &offer);
    bed.send(empty(ping)).await.is(401, "unauthorized");
    for wrong in ["piecewise.sockets.v1", "bearer.", &format!("bearer.{TOKEN}x"), TOKEN] {
        let ask =
            anonymous("GET", "/v1/sockets").header("upgrade", "websocket").header("sec-websocket-protocol", wrong);
        bed.send(empty(ask)).await.is(401, "unauthorized");
    }
    let right = anonymous("GET", "/v1/sockets").header("upgrade", "websocket").header("sec-websocket-protocol", offer);
    assert_ne!(bed.send(empty(right)).await.status, 401);
}

#[test]
fn fault_67_a_token_is_16_to_256_plain_characters_and_never_shown() {
    assert!(Token::parse("aA0._~-aA0._~-aA").is_some());
    assert!(Token::parse(&"a".repeat(256)).is_some());
    for bad in [
        "",
        "short",
        "fifteen-letters",
        "with space 123456",
        "with,comma-123456",
        "ümlaut-1234567890",
        &"a".repeat(257),
    ] {
        assert!(Token::parse(bad).is_none(), "{bad}");
    }
    assert_eq!(format!("{:?}", Token::parse(TOKEN).unwrap()), "Token");
}

#[tokio::test]
async fn the_configuration_is_shown_and_a_bad_one_changes_nothing() {
    let bed = narrowed();
    let shown = bed.send(empty(request("GET", "/v1/config"))).await.json();

    assert_eq!(shown, json!({ "roots": { "root": bed.root }, "allowOrigins": [PAGE], "config": null }));
    assert_eq!(bed.send(empty(request("POST", "/v1/config/reload"))).await.json(), shown);
}
