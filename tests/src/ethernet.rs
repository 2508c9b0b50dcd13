//! Ethernet frames with ARP and ping in them, made and read by hand, so that the guest's network code does not test itself.
//!
//! Sources: RFC 826 (ARP), RFC 791 (IPv4), RFC 792 (ICMP), RFC 1071 (checksum).

/// An Ethernet address.
pub type Mac = [u8; 6];
/// An IPv4 address.
pub type Ip = [u8; 4];

/// Everybody.
pub const BROADCAST: Mac = [0xff; 6];
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// Bytes in front of a frame's payload.
pub const ETHERNET_BYTES: usize = 14;
/// Bytes of an IPv4 header without options.
pub const IP_BYTES: usize = 20;
/// Bytes in front of an echo's payload.
pub const ECHO_BYTES: usize = 8;

const ARP_BYTES: usize = 28;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const PROTOCOL_ICMP: u8 = 1;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const TIME_TO_LIVE: u8 = 64;

/// One end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its IPv4 address.
    pub ip: Ip,
}

/// A ping's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Who sent the ping.
    pub id: u16,
    /// Which of them.
    pub sequence: u16,
    /// What it carried.
    pub payload: Vec<u8>,
}

/// The Internet checksum: 0 over bytes that hold their own right checksum.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A frame.
#[must_use]
pub fn frame(from: Mac, to: Mac, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], &ether_type.to_be_bytes()[..], payload].concat()
}

fn arp(operation: u16, from: Host, to: Host) -> Vec<u8> {
    // Ethernet addresses of 6 bytes for IPv4 addresses of 4.
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    packet.extend([&from.mac[..], &from.ip, &to.mac, &to.ip].concat());
    packet
}

/// "Who has `ip`?", to everybody.
#[must_use]
pub fn arp_request(from: Host, ip: Ip) -> Vec<u8> {
    frame(from.mac, BROADCAST, ARP, &arp(ARP_REQUEST, from, Host { mac: [0; 6], ip }))
}

/// "I have."
#[must_use]
pub fn arp_reply(from: Host, to: Host) -> Vec<u8> {
    frame(from.mac, to.mac, ARP, &arp(ARP_REPLY, from, to))
}

/// Who says to whom, if the frame is ARP of that operation and its two layers name the same sender.
fn read_arp(frame: &[u8], operation: u16) -> Option<(Host, Host)> {
    let packet = payload(frame, ARP)?.get(..ARP_BYTES)?;
    let host = |at: usize| {
        let (mac, ip) = (packet[at..at + 6].try_into().ok()?, packet[at + 6..at + 10].try_into().ok()?);
        Some(Host { mac, ip })
    };
    let (from, to) = (host(8)?, host(18)?);
    let right = packet[..6] == [0, 1, 8, 0, 6, 4] && packet[6..8] == operation.to_be_bytes();
    (right && frame[6..12] == from.mac).then_some((from, to))
}

/// Who asks, and for which address, if the frame is an ARP request.
#[must_use]
pub fn read_arp_request(frame: &[u8]) -> Option<(Host, Ip)> {
    read_arp(frame, ARP_REQUEST).map(|(from, to)| (from, to.ip))
}

/// Who answers whom, if the frame is an ARP reply.
#[must_use]
pub fn read_arp_reply(frame: &[u8]) -> Option<(Host, Host)> {
    read_arp(frame, ARP_REPLY)
}

fn payload(frame: &[u8], ether_type: u16) -> Option<&[u8]> {
    (*frame.get(12..ETHERNET_BYTES)? == ether_type.to_be_bytes()).then(|| &frame[ETHERNET_BYTES..])
}

/// A frame with an IPv4 packet.
#[must_use]
pub fn ip_packet(from: Host, to: Host, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut header = [0; IP_BYTES];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((IP_BYTES + body.len()) as u16).to_be_bytes());
    header[8] = TIME_TO_LIVE;
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.ip);
    header[16..].copy_from_slice(&to.ip);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame(from.mac, to.mac, IPV4, &[&header[..], body].concat())
}

/// A ping.
#[must_use]
pub fn echo_request(from: Host, to: Host, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![ECHO_REQUEST, 0, 0, 0];
    body.extend([&id.to_be_bytes()[..], &sequence.to_be_bytes()[..], payload].concat());
    let sum = checksum(&body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    ip_packet(from, to, PROTOCOL_ICMP, &body)
}

/// Reads the answer to a ping. `None` if the frame is no echo reply from `from` to `to`.
///
/// # Panics
///
/// If it is ICMP from `from` to `to`, but not right: addresses, lengths, checksums.
#[must_use]
pub fn read_echo_reply(frame: &[u8], from: Host, to: Host) -> Option<Echo> {
    let packet = payload(frame, IPV4)?;
    let addressed = packet.len() >= IP_BYTES && packet[12..16] == from.ip && packet[16..20] == to.ip;
    if !addressed || packet[9] != PROTOCOL_ICMP {
        return None;
    }
    assert_eq!(
        (&frame[..6], &frame[6..12]),
        (&to.mac[..], &from.mac[..]),
        "Ethernet addresses of {frame:x?}"
    );
    assert_eq!(packet[0], 0x45, "version and header length of {packet:x?}");
    assert_eq!(checksum(&packet[..IP_BYTES]), 0, "IP checksum of {packet:x?}");
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    assert!((IP_BYTES + ECHO_BYTES..=packet.len()).contains(&length), "length of {packet:x?}");
    let body = &packet[IP_BYTES..length];
    assert_eq!(checksum(body), 0, "ICMP checksum of {body:x?}");
    // An error report, for example.
    if body[..2] != [ECHO_REPLY, 0] {
        return None;
    }
    let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    Some(Echo { id: word(4), sequence: word(6), payload: body[ECHO_BYTES..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Host = Host { mac: [2, 0, 0, 0, 0, 1], ip: [10, 9, 0, 1] };
    const B: Host = Host { mac: [2, 0, 0, 0, 0, 2], ip: [10, 9, 0, 2] };

    #[test]
    fn checksums_as_in_the_example_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0x12]), !0x1200);
    }

    #[test]
    fn a_ping_turned_round_is_its_answer() {
        let mut reply = echo_request(A, B, 7, 9, b"hello");
        assert_eq!(checksum(&reply[ETHERNET_BYTES..ETHERNET_BYTES + IP_BYTES]), 0);
        assert_eq!(reply.len(), 14 + 20 + 8 + 5);
        // Type 8 to type 0: the checksum grows by what the type word shrinks.
        let icmp = ETHERNET_BYTES + IP_BYTES;
        reply[icmp] = 0;
        let sum = u16::from_be_bytes([reply[icmp + 2], reply[icmp + 3]]).wrapping_add(0x0800);
        reply[icmp + 2..icmp + 4].copy_from_slice(&sum.to_be_bytes());
        let echo = read_echo_reply(&reply, A, B).expect("a reply");
        assert_eq!(echo, Echo { id: 7, sequence: 9, payload: b"hello".to_vec() });
        assert_eq!(read_echo_reply(&reply, B, A), None);
    }

    #[test]
    fn arp_comes_back_as_it_was_made() {
        assert_eq!(read_arp_request(&arp_request(A, B.ip)), Some((A, B.ip)));
        assert_eq!(read_arp_reply(&arp_reply(B, A)), Some((B, A)));
        assert_eq!(read_arp_reply(&arp_request(A, B.ip)), None);
        assert_eq!(read_arp_reply(&arp_reply(B, A)[..41]), None);
    }
}
