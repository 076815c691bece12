//! Signed addresses: where a peer says that it can be dialled, signed by its transport key, so that anybody may
//! pass it on and nobody can change it.
//!
//! The bytes are those of libp2p's peer records (RFC 0002 and 0003), as other implementations write them. This is
//! the one door: size → form → signature → addresses that can be dialled. `docs/spec/mesh.md`, section 5.

use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::core::{PeerRecord, SignedEnvelope};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use quorate_proto::wire::PEER_RECORD_BYTES_MAX;

/// Addresses in one record. More is nobody's need, and a way to make others dial.
pub const ADDRESSES_MAX: usize = 8;

/// A record that was checked: the peer's own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    peer: PeerId,
    sequence: u64,
    addresses: Vec<Multiaddr>,
    bytes: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`PEER_RECORD_BYTES_MAX`].
    #[error("record of {got} bytes, limit {PEER_RECORD_BYTES_MAX}")]
    TooLong {
        /// Bytes given.
        got: usize,
    },
    /// Not a signed envelope.
    #[error("record is no signed envelope")]
    Malformed,
    /// Not signed by the peer that it is about, or of another kind.
    #[error("record is not signed by its peer")]
    Signature,
    /// None, too many, or one that can only be a mistake or bait.
    #[error("record has {0} addresses that can be dialled, expected 1 to {ADDRESSES_MAX} and no others")]
    Addresses(usize),
    /// The own record could not be signed.
    #[error("own record could not be signed")]
    Sign,
}

/// What an address leads to, as far as it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// This machine.
    Loopback,
    /// The first half of an IPv4 address.
    V4([u8; 2]),
    /// The first 32 bits of an IPv6 address.
    V6([u16; 2]),
}

impl Record {
    /// Signs the addresses that can be dialled, the first ones if there are more than fit.
    pub fn sign(key: &Keypair, addresses: impl IntoIterator<Item = Multiaddr>) -> Result<Self, RecordError> {
        let own = key.public().to_peer_id();
        let mut kept: Vec<Multiaddr> = Vec::new();
        for address in addresses.into_iter().filter_map(|address| dialable(&address, own)) {
            if kept.len() < ADDRESSES_MAX && !kept.contains(&address) {
                kept.push(address);
            }
        }
        let record = PeerRecord::new_interop(key, kept).map_err(|_| RecordError::Sign)?;
        Self::verify(&record.into_signed_envelope().into_protobuf_encoding())
    }

    /// Checks a record.
    pub fn verify(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > PEER_RECORD_BYTES_MAX {
            return Err(RecordError::TooLong { got: bytes.len() });
        }
        let envelope = SignedEnvelope::from_protobuf_encoding(bytes).map_err(|_| RecordError::Malformed)?;
        let record = PeerRecord::from_signed_envelope_interop(envelope).map_err(|_| RecordError::Signature)?;
        let (peer, said) = (record.peer_id(), record.addresses());
        let addresses: Vec<_> = said.iter().filter_map(|address| dialable(address, peer)).collect();
        if addresses.is_empty() || addresses.len() != said.len() || addresses.len() > ADDRESSES_MAX {
            return Err(RecordError::Addresses(addresses.len()));
        }
        Ok(Self { peer, sequence: record.seq(), addresses, bytes: bytes.to_vec() })
    }

    /// Who says so.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Of two records of one peer the one with the higher number holds.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Where the peer can be dialled; without its own id at the end.
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// What is passed on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The network of the first address.
    pub fn network(&self) -> Option<Network> {
        self.addresses.first().and_then(network_of)
    }
}

/// The network that an address begins in.
pub fn network_of(address: &Multiaddr) -> Option<Network> {
    match address.iter().next()? {
        Protocol::Ip4(ip) if ip.is_loopback() => Some(Network::Loopback),
        Protocol::Ip6(ip) if ip.is_loopback() => Some(Network::Loopback),
        Protocol::Ip4(ip) => Some(Network::V4([ip.octets()[0], ip.octets()[1]])),
        Protocol::Ip6(ip) => Some(Network::V6([ip.segments()[0], ip.segments()[1]])),
        _ => None,
    }
}

/// The address without `peer` at its end, if it is of a form that we dial: an IP address and a port over QUIC or TCP,
/// or a circuit through a relay that is at such an address.
pub(crate) fn dialable(address: &Multiaddr, peer: PeerId) -> Option<Multiaddr> {
    let mut parts: Vec<Protocol<'_>> = address.iter().collect();
    if parts.last() == Some(&Protocol::P2p(peer)) {
        parts.pop();
    }
    let direct = match parts.as_slice() {
        [direct @ .., Protocol::P2p(relay), Protocol::P2pCircuit] if *relay != peer => direct,
        direct => direct,
    };
    let ip = match direct.first()? {
        Protocol::Ip4(ip) => is_host_v4(*ip),
        Protocol::Ip6(ip) => is_host_v6(*ip),
        _ => false,
    };
    let port = match &direct[1..] {
        [Protocol::Udp(port), Protocol::QuicV1] | [Protocol::Tcp(port)] => *port,
        _ => 0,
    };
    (ip && port != 0).then(|| parts.into_iter().collect())
}

fn is_host_v4(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast())
}

fn is_host_v6(ip: Ipv6Addr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_record_says_who_signed_it_and_where_that_peer_is() {
        let key = Keypair::generate_ed25519();
        let said = addresses(&["/ip4/192.0.2.1/udp/4001/quic-v1", "/ip6/2001:db8::1/tcp/4001"]);
        let record = Record::sign(&key, said.clone()).unwrap();
        let read = Record::verify(record.bytes()).unwrap();
        assert_eq!((read.peer(), read.addresses()), (key.public().to_peer_id(), said.as_slice()));
        assert_eq!(read.network(), Some(Network::V4([192, 0])));
    }

    #[test]
    fn a_changed_record_is_refused_at_every_byte() {
        let record = Record::sign(&Keypair::generate_ed25519(), addresses(&["/ip4/192.0.2.1/tcp/4001"])).unwrap();
        for index in 0..record.bytes().len() {
            let mut bytes = record.bytes().to_vec();
            bytes[index] ^= 1;
            assert!(Record::verify(&bytes).is_err(), "byte {index}");
        }
        assert!(Record::verify(&[]).is_err());
        assert!(matches!(Record::verify(&[0; PEER_RECORD_BYTES_MAX + 1]), Err(RecordError::TooLong { .. })));
    }

    #[test]
    fn only_addresses_that_can_be_dialled_are_said_and_believed() {
        let key = Keypair::generate_ed25519();
        let (own, relay) = (key.public().to_peer_id(), PeerId::random());
        let bait = [
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip4/192.0.2.1/tcp/0",
            "/ip4/192.0.2.1/tcp/1/ws",
            "/dns4/peer.example/tcp/1",
            "/ip6/::/udp/1/quic-v1",
            "/memory/1",
        ];
        for address in addresses(&bait) {
            assert_eq!(dialable(&address, own), None, "{address}");
            let forged = PeerRecord::new_interop(&key, vec![address]).unwrap().into_signed_envelope().into_protobuf_encoding();
            assert!(matches!(Record::verify(&forged), Err(RecordError::Addresses(0))));
        }
        let circuit: Multiaddr = format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit").parse().unwrap();
        assert_eq!(dialable(&circuit.clone().with(Protocol::P2p(own)), own), Some(circuit));
        let through_itself: Multiaddr = format!("/ip4/192.0.2.1/tcp/1/p2p/{own}/p2p-circuit").parse().unwrap();
        assert_eq!(dialable(&through_itself, own), None);
        let many = addresses(&["/ip4/192.0.2.1/tcp/1"; 1])
            .into_iter()
            .cycle()
            .take(1)
            .chain((2..20).map(|port| format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()));
        assert_eq!(Record::sign(&key, many).unwrap().addresses().len(), ADDRESSES_MAX);
    }
}
