//! The guest's address, as the command line gives it.

use core::net::Ipv4Addr;

/// An address that the command line fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FixedAddress {
    /// The guest's address.
    pub(super) address: Ipv4Addr,
    /// Bits of the network's part.
    pub(super) prefix_bits: u8,
    /// Where packets to other networks go.
    pub(super) gateway: Option<Ipv4Addr>,
}

/// Why the options make no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionError<'a> {
    /// `uio.ip` is not `a.b.c.d/bits` with an address that a host can have.
    Address(&'a str),
    /// `uio.gateway` is not an address of the same network.
    Gateway(&'a str),
}

/// Reads `uio.ip` (`10.0.2.15/24`) and `uio.gateway` (`10.0.2.2`). Without the first the address comes by DHCP: `None`.
pub(super) fn parse<'a>(
    address: Option<&'a str>,
    gateway: Option<&'a str>,
) -> Result<Option<FixedAddress>, OptionError<'a>> {
    let Some(text) = address else {
        return Ok(None);
    };
    let (address, prefix_bits) = text
        .split_once('/')
        .and_then(|(address, bits)| Some((address.parse::<Ipv4Addr>().ok()?, bits.parse::<u8>().ok()?)))
        .filter(|(address, bits)| *bits <= 32 && is_host(*address))
        .ok_or(OptionError::Address(text))?;
    let gateway = match gateway {
        None => None,
        Some(text) => Some(
            text.parse::<Ipv4Addr>()
                .ok()
                .filter(|gateway| is_host(*gateway) && same_network(*gateway, address, prefix_bits))
                .ok_or(OptionError::Gateway(text))?,
        ),
    };
    Ok(Some(FixedAddress { address, prefix_bits, gateway }))
}

fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()
}

fn same_network(one: Ipv4Addr, other: Ipv4Addr, prefix_bits: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
    (one.to_bits() ^ other.to_bits()) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let fixed = FixedAddress {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix_bits: 24,
            gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
        };
        assert_eq!(parse(Some("10.0.2.15/24"), Some("10.0.2.2")), Ok(Some(fixed)));
        assert_eq!(parse(Some("10.0.2.15/24"), None), Ok(Some(FixedAddress { gateway: None, ..fixed })));
        assert_eq!(parse(None, Some("10.0.2.2")), Ok(None));
    }

    #[test]
    fn names_what_is_wrong() {
        for wrong in [
            "",
            "10.0.2.15",
            "10.0.2.15/33",
            "10.0.2/24",
            "0.0.0.0/8",
            "224.0.0.1/4",
            "255.255.255.255/0",
            "a/b",
        ] {
            assert_eq!(parse(Some(wrong), None), Err(OptionError::Address(wrong)));
        }
        for wrong in ["", "10.0.3.2", "10.0.2.2/24", "0.0.0.0"] {
            assert_eq!(parse(Some("10.0.2.15/24"), Some(wrong)), Err(OptionError::Gateway(wrong)));
        }
    }

    #[test]
    fn takes_every_prefix_length() {
        let far = Ipv4Addr::new(192, 168, 0, 1);
        let here = Ipv4Addr::new(10, 0, 2, 15);
        assert!(same_network(far, here, 0));
        assert!(!same_network(far, here, 1));
        assert!(same_network(here, here, 32));
        assert!(!same_network(Ipv4Addr::new(10, 0, 2, 14), here, 32));
    }
}
