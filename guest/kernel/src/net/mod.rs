//! The network: smoltcp over the first network card, served by a thread of its own.
//!
//! The thread answers ARP and ping, gets an address (`uio.ip=10.0.2.15/24 uio.gateway=10.0.2.2` on the command line,
//! else DHCP), and sleeps until a frame comes or a timer of smoltcp is due.

mod device;
mod options;

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Cidr};

use self::options::FixedAddress;
use crate::sync::InterruptLock;
use crate::thread::{self, Priority, scheduler};
use crate::time::{self, timer};
use crate::virtio::net::{Card, Counters};

/// Frames taken before anything else is looked at.
const BATCH_FRAMES: usize = 64;
/// Rounds of sending after a batch; smoltcp says after each whether another could send more.
const SEND_ROUNDS: usize = 16;
/// How long the thread goes on without a pause while frames keep coming.
const TURN_NS: u64 = 200_000;
/// Longest pause: a gigabit of small frames fills the receive queue in that time.
const PAUSE_NS_MAX: u64 = 400_000;

/// The network's state, for `info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetStatus {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// The cable is in.
    pub link_up: bool,
    /// The address comes by DHCP.
    pub dhcp: bool,
    /// IPv4 address and bits of the network's part; `None` while DHCP has given none.
    pub address: Option<(Ipv4Addr, u8)>,
    /// Where packets to other networks go.
    pub gateway: Option<Ipv4Addr>,
    /// Frames received.
    pub received: Counters,
    /// Frames sent.
    pub sent: Counters,
}

static STATUS: InterruptLock<Option<NetStatus>> = InterruptLock::new(None);

/// The network's state; `None` without a card.
#[must_use]
pub fn status() -> Option<NetStatus> {
    STATUS.with(|status| *status)
}

/// Starts the thread that serves `card`.
pub(crate) fn start(card: Card) {
    let fixed = fixed_address();
    let status = NetStatus {
        mac: card.mac(),
        link_up: card.link_is_up(),
        dhcp: fixed.is_none(),
        address: None,
        gateway: None,
        received: Counters::default(),
        sent: Counters::default(),
    };
    STATUS.with(|slot| *slot = Some(status));
    if thread::spawn("net", Priority::Driver, move || Network::new(card, fixed, status).serve()).is_err() {
        crate::warn!("no memory for the network's thread");
    }
}

#[cfg(not(test))]
fn fixed_address() -> Option<FixedAddress> {
    crate::start::with_boot_info(|info| {
        options::parse(info.option("uio.ip"), info.option("uio.gateway")).unwrap_or_else(|error| {
            crate::warn!("network: {error:?} on the command line; asking for an address instead");
            None
        })
    })
}

/// A test process has no command line of its own.
#[cfg(test)]
fn fixed_address() -> Option<FixedAddress> {
    options::parse(None, None).unwrap_or(None)
}

struct Network {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    status: NetStatus,
}

fn now() -> Instant {
    Instant::from_micros(time::now_ns() as i64 / 1000)
}

impl Network {
    fn new(mut card: Card, fixed: Option<FixedAddress>, status: NetStatus) -> Self {
        let mut config = Config::new(EthernetAddress(card.mac()).into());
        let mut seed = [0; 8];
        // Without a source the clock has to do: it starts port numbers and sequence numbers.
        config.random_seed = if crate::virtio::rng::fill(&mut seed, 0) {
            u64::from_le_bytes(seed)
        } else {
            crate::arch::cpu::cycles()
        };
        let interface = Interface::new(config, &mut card, now());
        let mut network = Self { card, interface, sockets: SocketSet::new(Vec::new()), dhcp: None, status };
        match fixed {
            Some(fixed) => {
                network.set_address(Some((fixed.address, fixed.prefix_bits)), fixed.gateway);
            }
            None => network.dhcp = Some(network.sockets.add(dhcpv4::Socket::new())),
        }
        network
    }

    /// The thread.
    fn serve(mut self) {
        let mut busy_since = time::now_ns();
        loop {
            self.card.begin_work();
            let frames = self.poll();
            self.follow_dhcp();
            self.card.flush();
            if frames == 0 {
                // Woken without a frame: it may have been about the cable.
                self.follow_link();
            }
            (self.status.received, self.status.sent) = self.card.counters();
            STATUS.with(|status| *status = Some(self.status));
            let deadline_ns = self.deadline_ns();
            if self.card.wait(deadline_ns) {
                busy_since = time::now_ns();
                continue;
            }
            // Drivers come before everybody, so once this thread has been busy for a while, others get as long.
            let busy_ns = time::now_ns() - busy_since;
            if busy_ns >= TURN_NS {
                if scheduler::somebody_is_ready() {
                    thread::sleep_ns(busy_ns.min(PAUSE_NS_MAX));
                }
                busy_since = time::now_ns();
            }
        }
    }

    /// When the stack wants to run next if nothing comes.
    fn deadline_ns(&mut self) -> u64 {
        // What is due cannot be sent, and room for it is waited for anyway.
        if self.card.transmitter.is_blocked() {
            return timer::NEVER;
        }
        match self.interface.poll_delay(now(), &self.sockets) {
            Some(delay) => time::now_ns().saturating_add(delay.total_micros().saturating_mul(1000)),
            None => timer::NEVER,
        }
    }

    /// Takes a batch of frames and sends what there is to send; how many frames were taken.
    fn poll(&mut self) -> usize {
        let now = now();
        self.interface.poll_maintenance(now);
        let mut frames = 0;
        while frames < BATCH_FRAMES
            && self.interface.poll_ingress_single(now, &mut self.card, &mut self.sockets)
                != PollIngressSingleResult::None
        {
            frames += 1;
        }
        for _ in 0..SEND_ROUNDS {
            if self.interface.poll_egress(now, &mut self.card, &mut self.sockets) == PollResult::None {
                break;
            }
        }
        frames
    }

    fn follow_dhcp(&mut self) {
        let Some(handle) = self.dhcp else {
            return;
        };
        let lease = match self.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => None,
            Some(dhcpv4::Event::Configured(config)) => Some((config.address, config.router)),
        };
        match lease {
            Some((address, router)) => {
                self.set_address(Some((address.address(), address.prefix_len())), router);
            }
            // At the start too, when there was no address.
            None if self.status.address.is_some() => {
                crate::warn!("network: the address is not ours any more");
                self.set_address(None, None);
            }
            None => {}
        }
    }

    fn follow_link(&mut self) {
        let up = self.card.link_is_up();
        if up == self.status.link_up {
            return;
        }
        self.status.link_up = up;
        crate::info!("network: link {}", if up { "up" } else { "down" });
        // The other end may be another network now.
        if up && let Some(handle) = self.dhcp {
            self.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).reset();
        }
    }

    fn set_address(&mut self, address: Option<(Ipv4Addr, u8)>, gateway: Option<Ipv4Addr>) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            if let Some((address, prefix_bits)) = address {
                // The list was just emptied.
                let _ = addresses.push(IpCidr::Ipv4(Ipv4Cidr::new(address, prefix_bits)));
            }
        });
        let routes = self.interface.routes_mut();
        routes.remove_default_ipv4_route();
        if let Some(gateway) = gateway
            && routes.add_default_ipv4_route(gateway).is_err()
        {
            crate::warn!("network: no room for the route to {gateway}");
        }
        if let Some((address, prefix_bits)) = address
            && self.status.address != Some((address, prefix_bits))
        {
            crate::info!("network: address {address}/{prefix_bits}");
        }
        self.status.address = address;
        self.status.gateway = gateway;
    }
}
