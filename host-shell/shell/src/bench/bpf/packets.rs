//! The ring: 256 packets of 64 bytes.

use uio_bpf::map::UpdateFlags;
use uio_bpf_measure::run::{Bound, Input};

use crate::bench::error::BenchError;

/// Packets in the ring.
pub(super) const RING: usize = 256;
/// Bytes of each.
pub(super) const PACKET_BYTES: usize = 64;
/// First port that the firewall has a rule for.
const RULES_FROM: u16 = 1000;

const UDP: u8 = 17;
/// 10.0.0.0.
const INSIDE: u32 = 0x0a00_0000;
/// 198.51.100.7.
const SERVER: u32 = 0xc633_6407;
/// 192.0.2.1, NAT's outer address.
const OUTER: u32 = 0xc000_0201;
const SERVER_PORT: u16 = 80;
/// First port that NAT gives out here.
const OUTER_PORTS: u16 = 20_000;

/// Number `index` of the ring: UDP from an inside address and port of its own to `port`.
fn packet(index: usize, port: u16) -> Vec<u8> {
    let mut bytes = vec![0; PACKET_BYTES];
    bytes[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    bytes[12..14].copy_from_slice(&[8, 0]);
    // IPv4, 20 bytes of header, 50 of all, no fragment, 64 hops.
    bytes[14..24].copy_from_slice(&[0x45, 0, 0, 50, 0, 0, 0, 0, 64, UDP]);
    bytes[26..30].copy_from_slice(&(INSIDE + index as u32 + 1).to_be_bytes());
    bytes[30..34].copy_from_slice(&SERVER.to_be_bytes());
    bytes[34..36].copy_from_slice(&inside_port(index).to_be_bytes());
    bytes[36..38].copy_from_slice(&port.to_be_bytes());
    bytes[38..40].copy_from_slice(&30u16.to_be_bytes());
    bytes
}

fn inside_port(index: usize) -> u16 {
    5_000 + index as u16
}

/// Packets to one server.
pub(super) fn to_server() -> Vec<Input> {
    ring(|_| SERVER_PORT)
}

/// Packets to ports spread over all `rules` of a firewall.
pub(super) fn to_rules(rules: u32) -> Vec<Input> {
    // A step that is odd and has no factor with the sizes used, so that the ring meets all parts of the rules.
    const STEP: usize = 7_919;
    ring(|index| RULES_FROM.wrapping_add((index * STEP % rules as usize) as u16))
}

fn ring(port: impl Fn(usize) -> u16) -> Vec<Input> {
    (0..RING).map(|index| Input { bytes: packet(index, port(index)), ..Input::default() }).collect()
}

/// Makes NAT know every packet of [`to_server`], and what it becomes: each run turns one into the other.
pub(super) fn fill_nat(bound: &Bound) -> Result<(), BenchError> {
    let map = bound.maps().iter().find(|map| map.spec().name == "connections");
    let map =
        map.ok_or(BenchError::Malformed { what: "the NAT sample", found: "no map `connections`".into() })?;
    for index in 0..RING {
        let inside = [INSIDE + index as u32 + 1, SERVER];
        let ports = [inside_port(index), SERVER_PORT];
        let (outer, outer_ports) = ([OUTER, SERVER], [OUTER_PORTS + index as u16, SERVER_PORT]);
        for (from, to) in [((inside, ports), (outer, outer_ports)), ((outer, outer_ports), (inside, ports))] {
            let value = addresses(from.0, from.1);
            let mut key = value;
            key.extend([UDP, 0, 0, 0]);
            map.update(&key, &addresses(to.0, to.1), UpdateFlags::Any).map_err(|error| {
                BenchError::Malformed { what: "the NAT sample's map", found: error.to_string() }
            })?;
        }
    }
    Ok(())
}

fn addresses(addresses: [u32; 2], ports: [u16; 2]) -> Vec<u8> {
    let mut bytes: Vec<u8> = addresses.into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend(ports.into_iter().flat_map(u16::to_be_bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_have_distinct_packets_of_the_right_size() {
        for ring in [to_server(), to_rules(10_000)] {
            assert_eq!(ring.len(), RING);
            assert!(ring.iter().all(|input| input.bytes.len() == PACKET_BYTES));
            let mut all: Vec<&[u8]> = ring.iter().map(|input| &input.bytes[..]).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), RING);
        }
    }
}
