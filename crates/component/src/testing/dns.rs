//! A DNS server for tests, on a port of its own.
//!
//! Answers A, AAAA, SRV and CNAME from a zone that the test changes while it runs, and fails when
//! told to. It knows UDP only. Invariant: what is not in the zone does not exist (NXDOMAIN); a name
//! that has other records is answered empty.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::net::UdpSocket;

#[derive(Debug, Default)]
struct Zone {
    records: BTreeMap<String, Vec<RData>>,
    failing: Vec<String>,
    asked: Vec<String>,
}

/// The server; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_str(text).expect("a valid name");
    name.set_fqdn(true);
    name
}

fn key(text: &str) -> String {
    text.trim_end_matches('.').to_ascii_lowercase()
}

impl Server {
    /// Listens on a free port of 127.0.0.1, with an empty zone.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let zone = Arc::<Mutex<Zone>>::default();
        let task = tokio::spawn(serve(socket, zone.clone()));
        Server { address, zone, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `host` has these addresses from now on.
    pub fn addresses(&self, host: &str, ips: &[&str]) {
        let ip = |text: &&str| match text.parse().expect("an IP address") {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        };
        self.set(host, ips.iter().map(ip).collect());
    }

    /// `service` is at these hosts and ports from now on.
    pub fn services(&self, service: &str, targets: &[(&str, u16)]) {
        let srv = |(host, port): &(&str, u16)| RData::SRV(SRV::new(0, 0, *port, name(host)));
        self.set(service, targets.iter().map(srv).collect());
    }

    /// `alias` stands for `host` from now on.
    pub fn alias(&self, alias: &str, host: &str) {
        self.set(alias, vec![RData::CNAME(CNAME(name(host)))]);
    }

    /// `host` does not exist any more.
    pub fn remove(&self, host: &str) {
        self.zone.lock().records.remove(&key(host));
    }

    /// Questions about `host` are answered SERVFAIL while `fails`.
    pub fn fail(&self, host: &str, fails: bool) {
        let mut zone = self.zone.lock();
        zone.failing.retain(|h| *h != key(host));
        if fails {
            zone.failing.push(key(host));
        }
    }

    /// The names asked for so far, in order.
    pub fn asked(&self) -> Vec<String> {
        self.zone.lock().asked.clone()
    }

    fn set(&self, host: &str, records: Vec<RData>) {
        self.zone.lock().records.insert(key(host), records);
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { return };
        let Ok(request) = Message::from_vec(&buffer[..length]) else { continue };
        let Ok(answer) = answer(&request, &mut zone.lock()).to_vec() else { continue };
        // A client that is gone needs no answer.
        let _ = socket.send_to(&answer, from).await;
    }
}

fn answer(request: &Message, zone: &mut Zone) -> Message {
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    let Some(query) = request.queries.first() else { return response };
    response.add_query(query.clone());
    let mut owner = query.name().clone();
    let mut asked = key(&owner.to_ascii());
    zone.asked.push(asked.clone());
    if zone.failing.contains(&asked) {
        response.metadata.response_code = ResponseCode::ServFail;
        return response;
    }
    loop {
        let Some(records) = zone.records.get(&asked) else {
            response.metadata.response_code = ResponseCode::NXDomain;
            return response;
        };
        let mut next = None;
        for data in records {
            let kind = data.record_type();
            if kind == query.query_type() || kind == RecordType::CNAME {
                response.add_answer(Record::from_rdata(owner.clone(), 30, data.clone()));
            }
            if let RData::CNAME(alias) = data {
                next = Some(alias.0.clone());
            }
        }
        let Some(alias) = next else { return response };
        asked = key(&alias.to_ascii());
        owner = alias;
    }
}
