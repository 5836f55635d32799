//! Names against a real server, rounds against scripted failures.

use std::time::Duration;

use prometheus::Registry;

use super::*;
use crate::metrics::text;
use crate::testing::dns::Server;

const LIMIT: Duration = Duration::from_secs(20);

fn provider(server: &Server, kind: Kind) -> (Provider, Registry) {
    let registry = Registry::new();
    let resolver = SystemResolver::from_server(kind, server.address()).unwrap();
    let provider = Provider::with_resolver(&registry, "thanos_query_endpoints", Box::new(resolver)).unwrap();
    (provider, registry)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// The lines of our metrics, without comments.
fn shown(registry: &Registry) -> Vec<String> {
    text::encode(&registry.gather()).lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
}

#[tokio::test]
async fn addresses_follow_the_server_and_plain_ones_pass_through() {
    let server = Server::start().await;
    server.addresses("store.example", &["10.0.0.1", "10.0.0.2"]);
    let (provider, registry) = provider(&server, Kind::Miekgdns);
    let configured = words(&["dns+store.example:10901", "plain:1234"]);
    provider.resolve(&configured, LIMIT).await.unwrap();
    assert_eq!(provider.addresses(), ["10.0.0.1:10901", "10.0.0.2:10901", "plain:1234"]);
    server.addresses("store.example", &["10.0.0.3"]);
    provider.resolve(&configured, LIMIT).await.unwrap();
    assert_eq!(provider.addresses(), ["10.0.0.3:10901", "plain:1234"]);
    assert_eq!(provider.addresses_of("dns+store.example:10901"), ["10.0.0.3:10901"]);
    assert_eq!(
        shown(&registry),
        [
            "thanos_query_endpoints_dns_failures_total 0",
            "thanos_query_endpoints_dns_lookups_total 2",
            "thanos_query_endpoints_dns_provider_results{addr=\"dns+store.example:10901\"} 1",
            "thanos_query_endpoints_dns_provider_results{addr=\"plain:1234\"} 1",
        ]
    );
}

#[tokio::test]
async fn failures_keep_the_last_answer_and_a_missing_name_is_an_answer() {
    let server = Server::start().await;
    server.addresses("a.example", &["10.0.0.1"]);
    server.addresses("b.example", &["10.0.0.2"]);
    let (provider, registry) = provider(&server, Kind::Miekgdns);
    provider.resolve(&words(&["dns+a.example:1", "dns+b.example:1"]), LIMIT).await.unwrap();

    server.fail("a.example", true);
    server.addresses("b.example", &["10.0.0.3"]);
    let err = provider.resolve(&words(&["dns+a.example:1", "dns+b.example:1"]), LIMIT).await.unwrap_err();
    assert!(err.to_string().starts_with("lookup IP addresses \"a.example\": "), "{err}");
    assert_eq!(provider.addresses(), ["10.0.0.1:1", "10.0.0.3:1"]);

    // With a failure in the round, addresses that are no longer configured stay as well.
    provider.resolve(&words(&["dns+a.example:1"]), LIMIT).await.unwrap_err();
    assert_eq!(provider.addresses(), ["10.0.0.1:1", "10.0.0.3:1"]);
    let text = shown(&registry);
    assert!(text.contains(&"thanos_query_endpoints_dns_failures_total 2".to_owned()), "{text:?}");
    assert!(text.contains(&"thanos_query_endpoints_dns_lookups_total 5".to_owned()), "{text:?}");

    server.fail("a.example", false);
    server.remove("a.example");
    provider.resolve(&words(&["dns+a.example:1"]), LIMIT).await.unwrap();
    assert_eq!(provider.addresses(), Vec::<String>::new());
    assert_eq!(
        shown(&registry).last().unwrap(),
        "thanos_query_endpoints_dns_provider_results{addr=\"dns+a.example:1\"} 0"
    );
}

#[tokio::test]
async fn services_give_targets_with_or_without_their_addresses() {
    let server = Server::start().await;
    server.services("_grpc._tcp.example", &[("one.example", 10901), ("two.example", 10902)]);
    server.addresses("one.example", &["10.0.0.1", "10.0.0.2"]);
    server.addresses("two.example", &["fd00::2"]);
    let (provider, _) = provider(&server, Kind::Miekgdns);
    let resolve = async |configured: &str| {
        provider.resolve(&words(&[configured]), LIMIT).await.unwrap();
        provider.addresses()
    };
    assert_eq!(
        resolve("dnssrv+_grpc._tcp.example").await,
        ["10.0.0.1:10901", "10.0.0.2:10901", "[fd00::2]:10902"]
    );
    assert_eq!(resolve("dnssrvnoa+_grpc._tcp.example").await, ["one.example:10901", "two.example:10902"]);
    // A port given by hand wins, and a scheme is kept.
    assert_eq!(resolve("dnssrvnoa+_grpc._tcp.example:99").await, ["one.example:99", "two.example:99"]);
    assert_eq!(
        resolve("dnssrvnoa+http://_grpc._tcp.example").await,
        ["http://one.example:10901", "http://two.example:10902"]
    );
}

#[tokio::test]
async fn the_two_clients_differ_in_address_families() {
    let server = Server::start().await;
    server.addresses("both.example", &["10.0.0.1", "fd00::1"]);
    server.addresses("four.example", &["10.0.0.4"]);
    server.alias("alias.example", "both.example");
    for (kind, prefix, name, wanted) in [
        (Kind::Miekgdns, "dns", "both", &["[fd00::1]:1"][..]),
        (Kind::Miekgdns, "dns", "four", &["10.0.0.4:1"]),
        (Kind::Miekgdns, "dns", "alias", &["[fd00::1]:1"]),
        (Kind::Miekgdns, "dnsdualstack", "both", &["[fd00::1]:1", "10.0.0.1:1"]),
        (Kind::Golang, "dns", "both", &["10.0.0.1:1", "[fd00::1]:1"]),
        (Kind::Golang, "dns", "four", &["10.0.0.4:1"]),
        (Kind::Golang, "dnsdualstack", "four", &["10.0.0.4:1"]),
    ] {
        let (provider, _) = provider(&server, kind);
        provider.resolve(&[format!("{prefix}+{name}.example:1")], LIMIT).await.unwrap();
        assert_eq!(provider.addresses(), wanted, "{kind:?} {prefix} {name}");
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_looked_up_are_named() {
    let server = Server::start().await;
    let (provider, _) = provider(&server, Kind::Golang);
    let err = provider.resolve(&words(&["dns+noport", "nonsense+x:1"]), LIMIT).await.unwrap_err();
    assert_eq!(
        err.to_string(),
        "2 errors: missing port in address given for dns lookup: noport; invalid lookup scheme \"nonsense\""
    );
}

#[tokio::test]
async fn a_server_that_never_answers_costs_the_limit_only() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = SystemResolver::from_server(Kind::Miekgdns, silent.local_addr().unwrap()).unwrap();
    let registry = Registry::new();
    let provider = Provider::with_resolver(&registry, "x", Box::new(resolver)).unwrap();
    let limit = Duration::from_millis(50);
    let err = provider.resolve(&words(&["dns+a.example:1", "b:2"]), limit).await.unwrap_err();
    assert!(err.to_string().contains("context deadline exceeded"), "{err}");
    assert_eq!(provider.addresses(), ["b:2"]);
}

#[test]
fn a_plus_behind_a_word_makes_an_address_dynamic() {
    for (address, dynamic) in
        [("1.2.3.4", false), ("gibberish+1.1.1.1+noa", true), ("", false), ("dns+aaa", true), ("+a", false)]
    {
        assert_eq!(is_dynamic(address), dynamic, "{address}");
    }
}
