//! The provider against servers that misbehave: the reliability cases R017, R021–R023, R025 and R026.

mod auth;
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{StreamExt as _, TryStreamExt as _};

use super::*;
use crate::retry::Retrying;
use crate::{BucketExt as _, SharedBucket};
use server::{Answer, Request, Server, Then};

/// A bucket at the server, with static keys, a region, and no time to lose.
fn bucket(server: &Server, more: &str) -> S3 {
    let yaml = format!(
        "endpoint: '{}'\nbucket: b\nregion: r\ninsecure: true\naccess_key: k\nsecret_key: s\n{more}",
        server.address
    );
    let config = Config::parse(&serde_norway::from_str(&yaml).unwrap()).unwrap();
    let mut s3 = S3::new(config, "test", &|_| None).unwrap();
    s3.policy = Policy { attempts: 3, first: Duration::ZERO, longest: Duration::ZERO };
    s3
}

fn patient(s3: S3) -> SharedBucket {
    let policy = s3.policy;
    Arc::new(Retrying::new(Arc::new(s3), policy))
}

/// What was asked for, first and last byte.
fn range(request: &Request) -> Option<(usize, usize)> {
    let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().unwrap_or(usize::MAX)))
}

/// What a good server answers to a read of `whole`.
fn good(whole: &[u8], request: &Request) -> Answer {
    let tag = |a: Answer| a.with("etag", "\"v1\"").with("last-modified", "Sun, 22 Nov 2026 14:58:53 GMT");
    match range(request) {
        Some((first, _)) if first >= whole.len() => Answer::error(416, "InvalidRange"),
        Some((first, last)) => {
            let last = last.min(whole.len() - 1);
            let range = format!("bytes {first}-{last}/{}", whole.len());
            tag(Answer::new(206, &whole[first..=last])).with("content-range", range)
        }
        None => tag(Answer::new(200, whole)),
    }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn r017_a_short_body_is_resumed_where_it_broke_off() {
    for cut in [0, 1, 500, 999] {
        let whole = bytes(1000);
        let for_server = whole.clone();
        let server = Server::start(move |n, request| {
            let mut answer = good(&for_server, request);
            if n == 0 {
                answer.length = Some(answer.body.len());
                answer.body.truncate(cut);
                answer.then = Then::Close;
            }
            answer
        })
        .await;
        // Alone: an error that may pass, whatever had come.
        let s3 = bucket(&server, "");
        assert_eq!(
            s3.read("get", "k", None).await.unwrap().collect().await.unwrap_err().kind(),
            ErrorKind::Retry
        );
        // Patient: the rest is asked for.
        let for_server = whole.clone();
        let server = Server::start(move |n, request| {
            let mut answer = good(&for_server, request);
            if n == 0 {
                answer.length = Some(answer.body.len());
                answer.body.truncate(cut);
                answer.then = Then::Close;
            }
            answer
        })
        .await;
        let got = patient(bucket(&server, "")).read("k").await.unwrap();
        assert_eq!(got, whole);
        assert_eq!(server.requests()[1].header("range"), Some(format!("bytes={cut}-999").as_str()));
    }
}

#[tokio::test]
async fn r021_a_part_that_fails_leaves_no_object_and_no_parts() {
    let script = |_: usize, request: &Request| match (request.method.as_str(), request.target.as_str()) {
        ("POST", t) if t.contains("uploads") => Answer::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        ("PUT", t) if t.contains("partNumber=3") => Answer::error(500, "InternalError"),
        ("PUT", _) => Answer::new(200, "").with("etag", "\"p\""),
        ("DELETE", t) if t.contains("uploadId=u") => Answer::new(204, ""),
        other => panic!("unexpected {other:?}"),
    };
    let server = Server::start(script).await;
    let mut s3 = bucket(&server, "");
    s3.config.part_size = 1000;
    let error = s3.upload("k", UploadBody::Bytes(bytes(3500).into())).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("InternalError"), "{error}");
    let log = server.log();
    assert_eq!(log.iter().filter(|l| l.contains("partNumber=3")).count(), 3, "{log:?}");
    assert!(log.last().unwrap().starts_with("DELETE"), "{log:?}");
}

#[tokio::test]
async fn r021_an_error_within_success_is_an_error() {
    let completions = Arc::new(AtomicUsize::new(0));
    let counted = completions.clone();
    let server = Server::start(move |_, request| match (request.method.as_str(), request.target.as_str()) {
        ("POST", t) if t.contains("uploads") => Answer::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        ("POST", _) => match counted.fetch_add(1, Ordering::SeqCst) {
            // The second try works; later uploads never.
            1 => Answer::new(
                200,
                "<CompleteMultipartUploadResult><ETag>\"t\"</ETag></CompleteMultipartUploadResult>",
            ),
            _ => Answer::error(200, "InternalError"),
        },
        ("PUT", _) => Answer::new(200, "").with("etag", "\"p\""),
        ("DELETE", _) => Answer::new(204, ""),
        other => panic!("unexpected {other:?}"),
    })
    .await;
    let mut s3 = bucket(&server, "");
    s3.config.part_size = 1000;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes(2500)).unwrap();
    let body = || UploadBody::File(file.path().to_owned());
    s3.upload("k", body()).await.unwrap();
    // The parts, in order of number, are the file, and each carries its sum.
    let mut parts: Vec<Request> = server.requests().into_iter().filter(|r| r.method == "PUT").collect();
    parts.sort_by_key(|r| r.target.clone());
    assert_eq!(parts.iter().flat_map(|p| p.body.clone()).collect::<Vec<_>>(), bytes(2500));
    assert!(parts.iter().all(|p| p.header("content-md5").is_some()));
    assert!(s3.upload("k", body()).await.is_err());
    assert!(server.log().last().unwrap().starts_with("DELETE"));
}

#[tokio::test]
async fn r021_an_upload_given_up_removes_its_parts() {
    let server = Server::start(|_, request| match (request.method.as_str(), request.target.as_str()) {
        ("POST", _) => Answer::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        ("PUT", t) if t.contains("partNumber=2") => {
            Answer { status: 0, ..Answer::new(0, "").then(Then::Hang) }
        }
        ("PUT", _) => Answer::new(200, "").with("etag", "\"p\""),
        _ => Answer::new(204, ""),
    })
    .await;
    let mut s3 = bucket(&server, "");
    s3.config.part_size = 1000;
    let upload = tokio::spawn(async move { s3.upload("k", UploadBody::Bytes(bytes(2500).into())).await });
    while !server.log().iter().any(|l| l.contains("partNumber=2")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    upload.abort();
    while !server.log().iter().any(|l| l.starts_with("DELETE") && l.contains("uploadId=u")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Completion took effect, but its answer was lost: the next try finds no upload, and an object.
#[tokio::test]
async fn r019_a_completion_that_was_not_acknowledged() {
    let server = Server::start(|n, request| match (request.method.as_str(), request.target.as_str()) {
        ("POST", t) if t.contains("uploads") => Answer::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        ("POST", _) if n < 5 => Answer { status: 0, ..Answer::new(0, "").then(Then::Close) },
        ("POST", _) => Answer::error(404, "NoSuchUpload"),
        ("PUT", _) => Answer::new(200, "").with("etag", "\"p\""),
        ("HEAD", _) => Answer { length: Some(2500), ..Answer::new(200, "") },
        _ => Answer::new(204, ""),
    })
    .await;
    let mut s3 = bucket(&server, "");
    s3.config.part_size = 1000;
    s3.upload("k", UploadBody::Bytes(bytes(2500).into())).await.unwrap();
    assert!(!server.log().iter().any(|l| l.starts_with("DELETE")), "{:?}", server.log());
}

#[tokio::test]
async fn r022_a_refusal_is_not_absence() {
    for code in ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Anything"] {
        let server = Server::start(move |_, _| Answer::error(403, code)).await;
        let s3 = bucket(&server, "");
        let kinds = [
            s3.get("k").await.unwrap_err().kind(),
            s3.get_range("k", 0, Some(1)).await.unwrap_err().kind(),
            s3.attributes("k").await.unwrap_err().kind(),
            s3.exists("k").await.unwrap_err().kind(),
            s3.delete("k").await.unwrap_err().kind(),
            s3.upload("k", UploadBody::Bytes("v".into())).await.unwrap_err().kind(),
            s3.list("", ListOptions::default()).await.map(drop).unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ErrorKind::AccessDenied; 7], "{code}");
    }
}

#[tokio::test]
async fn only_a_missing_object_is_not_found() {
    let server = Server::start(|_, request| match request.target.as_str() {
        t if t.starts_with("/b/object") => Answer::error(404, "NoSuchKey"),
        _ => Answer::error(404, "NoSuchBucket"),
    })
    .await;
    let s3 = bucket(&server, "");
    assert!(s3.get("object").await.unwrap_err().is_not_found());
    assert!(!s3.exists("object").await.unwrap());
    for error in [s3.get("k").await.map(drop), s3.list("", ListOptions::default()).await.map(drop)] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    }
    assert_eq!(s3.get("").await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn r023_odd_range_answers_give_the_right_bytes_or_an_error() {
    let whole = bytes(100);
    let cases = [(0, Some(10)), (10, Some(20)), (90, Some(50)), (40, None), (100, Some(5)), (500, Some(5))];
    // A server that knows no ranges.
    let answer = whole.clone();
    let server = Server::start(move |_, _| Answer::new(200, answer.clone())).await;
    let s3 = bucket(&server, "");
    for (offset, len) in cases {
        let want = &whole[whole.len().min(offset as usize)..];
        let want = &want[..len.map_or(want.len(), |l| want.len().min(l as usize))];
        let stream = s3.get_range("k", offset, len).await.unwrap();
        assert_eq!((stream.len, stream.collect().await.unwrap().as_ref()), (want.len() as u64, want));
    }
    // One that always sends the last half.
    let answer = whole.clone();
    let server =
        Server::start(move |_, _| Answer::new(206, &answer[50..]).with("content-range", "bytes 50-99/100"))
            .await;
    let s3 = bucket(&server, "");
    assert_eq!(s3.read_range("k", 60, 10).await.unwrap(), whole[60..70]);
    assert!(s3.get_range("k", 40, Some(20)).await.is_err(), "the window does not begin there");
    // One that sends less than it has.
    let answer = whole.clone();
    let server =
        Server::start(move |_, _| Answer::new(206, &answer[..5]).with("content-range", "bytes 0-4/100"))
            .await;
    assert!(bucket(&server, "").get_range("k", 0, Some(20)).await.is_err());
}

#[tokio::test]
async fn r025_throttling_is_tried_again_and_then_said() {
    for (status, code) in
        [(503, "SlowDown"), (500, "InternalError"), (429, "x"), (400, "RequestTimeout"), (520, "")]
    {
        let server = Server::start(move |n, request| {
            if n < 2 || request.target.starts_with("/b/never") {
                Answer::error(status, code)
            } else {
                good(b"value", request)
            }
        })
        .await;
        let patient = patient(bucket(&server, ""));
        assert_eq!(patient.read("k").await.unwrap(), "value", "{status} {code}");
        assert_eq!(server.requests().len(), 3);
        let error = patient.read("never").await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert_eq!(server.requests().len(), 6, "no more tries than configured");
    }
}

#[tokio::test]
async fn r026_hanging_and_dripping_answers_end() {
    let silent = || Answer { status: 0, ..Answer::new(0, "").then(Then::Hang) };
    let hang = || Answer { length: Some(1000), ..Answer::new(200, bytes(10)).then(Then::Hang) };
    let drip = || Answer { length: Some(1 << 30), ..Answer::new(200, bytes(10)).then(Then::Drip) };
    let server = Server::start(move |_, request| match request.target.split('?').next() {
        Some("/b/silent") => silent(),
        Some("/b/hang") => hang(),
        _ => drip(),
    })
    .await;
    let mut s3 = bucket(&server, "");
    s3.transport.head = Duration::from_millis(300);
    s3.transport.stall = Duration::from_millis(300);
    let error = s3.get("silent").await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("awaiting response headers"), "{error}");
    for key in ["hang", "drip"] {
        let error = s3.get(key).await.unwrap().collect().await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("the body brought"), "{key}: {error}");
    }
}

#[tokio::test]
async fn r026_a_reader_that_gives_up_closes_the_connection() {
    let server =
        Server::start(|_, _| Answer { length: Some(1000), ..Answer::new(200, bytes(10)).then(Then::Hang) })
            .await;
    let s3 = bucket(&server, "http_config: {max_conns_per_host: 1}");
    for _ in 0..3 {
        // Each takes the only connection, and gives it back.
        let mut stream = s3.get("k").await.unwrap();
        assert!(stream.body.try_next().await.unwrap().is_some());
        drop(stream);
    }
    server.closed().await;
}

/// A reader that takes its time is no fault of the server's.
#[tokio::test]
async fn a_slow_reader_is_no_stall() {
    let server = Server::start(|_, request| good(&bytes(3 << 20), request)).await;
    let mut s3 = bucket(&server, "");
    s3.transport.stall = Duration::from_millis(100);
    let mut stream = s3.get("k").await.unwrap();
    let first = stream.body.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let rest: usize =
        stream.body.map_ok(|f| f.len()).try_fold(0, |a, b| async move { Ok(a + b) }).await.unwrap();
    assert_eq!(first.len() + rest, 3 << 20);
}

#[tokio::test]
async fn listings_go_page_by_page_or_fail() {
    let page = |keys: &[&str], folders: &[&str], next: &str| {
        let mut xml = "<ListBucketResult><EncodingType>url</EncodingType>".to_owned();
        for key in keys {
            xml += &format!(
                "<Contents><Key>{key}</Key><Size>3</Size><LastModified>2026-11-22T14:58:53.000Z</LastModified></Contents>"
            );
        }
        for folder in folders {
            xml += &format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
        }
        let (truncated, token) = match next {
            "" => (false, String::new()),
            "none" => (true, String::new()),
            next => (true, format!("<NextContinuationToken>{next}</NextContinuationToken>")),
        };
        Answer::new(200, xml + &format!("<IsTruncated>{truncated}</IsTruncated>{token}</ListBucketResult>"))
    };
    let server = Server::start(move |n, request| {
        let t = request.target.as_str();
        match t {
            // The second page fails once.
            _ if t.contains("prefix=ok") && t.contains("continuation-token=2") && n < 2 => {
                Answer::error(503, "SlowDown")
            }
            _ if t.contains("prefix=ok") && t.contains("continuation-token=2") => {
                page(&["ok/x"], &["ok/y/"], "")
            }
            _ if t.contains("prefix=ok") => page(&["ok/", "ok/a+b%2B", "ok/c"], &["ok/b/"], "2"),
            _ if t.contains("prefix=cut") => page(&["cut/a"], &[], "none"),
            _ if t.contains("prefix=circle") => page(&["circle/a"], &[], "same"),
            _ => page(&["elsewhere/a"], &[], ""),
        }
    })
    .await;
    let s3 = bucket(&server, "");
    let all = async |dir: &str| s3.list(dir, ListOptions::default()).await?.try_collect::<Vec<_>>().await;
    let keys: Vec<String> = all("ok").await.unwrap().into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["ok/a b+", "ok/b/", "ok/c", "ok/x", "ok/y/"]);
    for dir in ["cut", "circle", "other"] {
        assert_eq!(all(dir).await.unwrap_err().kind(), ErrorKind::Other, "{dir}");
    }
}
