//! Which peers there are, by names that change and by groups.

mod support;

use std::sync::Arc;
use std::time::Duration;

use component::discovery::{Kind, SystemResolver};
use component::flags::{self, Args as _, Verb};
use component::testing::dns;
use component::{Env, clock};
use querier::Args;
use querier::peers::Discovery;
use storeapi::endpoints::EndpointSet;
use storeapi_proto::thanos;
use support::Store;

fn args(words: &[&str]) -> Args {
    let verbs = [Verb { name: "query", about: "", flags: flags::specs::<Args>() }];
    let words: Vec<String> = ["query"].iter().chain(words).map(|w| (*w).to_owned()).collect();
    let parsed = flags::parse(&[], &verbs, &words).unwrap();
    flags::read(&parsed, Args::declare).unwrap().values
}

fn start(names: &dns::Server, words: &[&str]) -> (Arc<EndpointSet>, Env) {
    let env = Env::for_tests("query", clock::SystemClock::shared());
    let resolver = || Box::new(SystemResolver::from_server(Kind::Miekgdns, names.address()).unwrap());
    let args = args(words);
    let discovery =
        Discovery::with_resolvers(&args.endpoints, &args.client, &env, [resolver(), resolver()]).unwrap();
    let set = discovery.set();
    discovery.start(&env);
    (set, env)
}

async fn becomes(set: &EndpointSet, want: &[String]) {
    for _ in 0..200 {
        let got: Vec<String> = set.stores().iter().map(|e| e.addr.clone()).collect();
        if got == want {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{set:?} instead of {want:?}");
}

const QUICK: [&str; 2] = ["--store.sd-dns-interval=100ms", "--endpoint.info-timeout=500ms"];

/// R057: names are looked up again, an answer that fails changes nothing, what goes is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn r057_peers_follow_their_names() {
    let (one, two) = (Store::start().await, Store::start().await);
    let names = dns::Server::start().await;
    names.addresses("host.example", &["127.0.0.1"]);
    names.services("_grpc._tcp.stores.example", &[("host.example", one.port())]);
    let (set, env) = start(
        &names,
        &[
            "--endpoint=dnssrv+_grpc._tcp.stores.example",
            &format!("--endpoint={}", one.address),
            QUICK[0],
            QUICK[1],
        ],
    );
    set.first_update().await;
    assert_eq!(set.stores().len(), 1);
    becomes(&set, std::slice::from_ref(&one.address)).await;
    names
        .services("_grpc._tcp.stores.example", &[("host.example", one.port()), ("host.example", two.port())]);
    let mut both = [one.address.clone(), two.address.clone()];
    both.sort();
    becomes(&set, &both).await;
    names.fail("_grpc._tcp.stores.example", true);
    tokio::time::sleep(Duration::from_millis(400)).await;
    becomes(&set, &both).await;
    names.fail("_grpc._tcp.stores.example", false);
    names.services("_grpc._tcp.stores.example", &[("host.example", one.port())]);
    becomes(&set, std::slice::from_ref(&one.address)).await;
    let shown = component::metrics::text::encode(&env.registry.gather());
    let duplicates =
        shown.lines().find(|l| l.starts_with("thanos_query_duplicated_endpoint_addresses_total"));
    assert!(duplicates.is_some_and(|l| !l.ends_with(" 0")), "{duplicates:?}");
    env.shutdown.fail(anyhow::anyhow!("over"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_one_peer_that_survives_its_members() {
    let (one, two) = (Store::start().await, Store::start().await);
    let names = dns::Server::start().await;
    names.addresses("host.example", &["127.0.0.1"]);
    let service = "_grpc._tcp.group.example";
    names.services(service, &[("host.example", one.port()), ("host.example", two.port())]);
    let group = format!("dnssrv+{service}");
    let (set, env) = start(&names, &[&format!("--endpoint-group={group}"), QUICK[0], QUICK[1]]);
    becomes(&set, &[format!("thanos:///{group}")]).await;
    let peer = set.stores()[0].peer.clone();
    drop(one);
    for _ in 0..6 {
        let request = thanos::LabelNamesRequest::default();
        let names = peer.label_names(request, storeapi::Call::default()).await.unwrap();
        assert_eq!(names.names, ["job"]);
    }
    env.shutdown.fail(anyhow::anyhow!("over"));
}

/// Files are read again when they change.
#[tokio::test(flavor = "multi_thread")]
async fn peers_follow_their_files() {
    let (one, two) = (Store::start().await, Store::start().await);
    let names = dns::Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stores.yml");
    std::fs::write(&file, format!("- targets: [\"{}\"]\n", one.address)).unwrap();
    let pattern = format!("--store.sd-files={}/*.yml", folder.path().display());
    let (set, env) = start(&names, &[&pattern, QUICK[0], QUICK[1]]);
    becomes(&set, std::slice::from_ref(&one.address)).await;
    std::fs::write(&file, format!("- targets: [\"{}\"]\n  labels: {{}}\n", two.address)).unwrap();
    becomes(&set, std::slice::from_ref(&two.address)).await;
    env.shutdown.fail(anyhow::anyhow!("over"));
}
