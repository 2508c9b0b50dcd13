//! The transport: hands messages to the server and keeps count of what goes over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use uio_files::ninep::transport::{Exchange, Transport, TransportError};
use uio_files::ninep::wire::MESSAGE_BYTES_MIN;

use crate::server::Server;

/// Changes a reply before it is delivered; the first argument is the request.
pub(crate) type Tamper = Box<dyn FnMut(&[u8], Vec<u8>) -> Result<Vec<u8>, TransportError> + Send>;

pub(crate) struct Link {
    pub(crate) server: Mutex<Server>,
    pub(crate) message_bytes_max: u32,
    pub(crate) in_flight_max: usize,
    pub(crate) tamper: Mutex<Option<Tamper>>,
    /// Time that an exchange takes.
    pub(crate) delay: Duration,
    pub(crate) under_way: Mutex<BTreeSet<u16>>,
    pub(crate) ended: Condvar,
    pub(crate) most_under_way: AtomicUsize,
    pub(crate) counts: Mutex<BTreeMap<u8, usize>>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            server: Mutex::default(),
            message_bytes_max: MESSAGE_BYTES_MIN,
            in_flight_max: 8,
            tamper: Mutex::new(None),
            delay: Duration::ZERO,
            under_way: Mutex::default(),
            ended: Condvar::new(),
            most_under_way: AtomicUsize::new(0),
            counts: Mutex::default(),
        }
    }
}

impl Link {
    /// Messages of a type since the last call, which starts the count again.
    pub(crate) fn take_count(&self, kind: u8) -> usize {
        self.counts.lock().unwrap().remove(&kind).unwrap_or(0)
    }

    /// All messages since counts were last taken.
    pub(crate) fn take_total(&self) -> usize {
        core::mem::take(&mut *self.counts.lock().unwrap()).values().sum()
    }

    /// The most exchanges that were under way at a time.
    pub(crate) fn most_under_way(&self) -> usize {
        self.most_under_way.load(Ordering::Relaxed)
    }

    pub(crate) fn tamper_with(
        &self,
        tamper: impl FnMut(&[u8], Vec<u8>) -> Result<Vec<u8>, TransportError> + Send + 'static,
    ) {
        *self.tamper.lock().unwrap() = Some(Box::new(tamper));
    }

    pub(crate) fn stop_tampering(&self) {
        *self.tamper.lock().unwrap() = None;
    }

    fn begin(&self, exchange: &Exchange<'_>) -> u16 {
        let tag = u16::from_le_bytes([exchange.request[5], exchange.request[6]]);
        let mut under_way = self.under_way.lock().unwrap();
        assert!(under_way.insert(tag), "tag {tag} is in use twice");
        self.most_under_way.fetch_max(under_way.len(), Ordering::Relaxed);
        *self.counts.lock().unwrap().entry(exchange.request[4]).or_default() += 1;
        tag
    }

    fn answer(&self, exchange: &mut Exchange<'_>) {
        let message = [exchange.request, exchange.payload].concat();
        let reply = self.server.lock().unwrap().handle(&message);
        // Taken out while it runs, so that it may use the link itself.
        let tamper = self.tamper.lock().unwrap().take();
        let reply = match tamper {
            Some(mut tamper) => {
                let reply = tamper(&message, reply);
                self.tamper.lock().unwrap().get_or_insert(tamper);
                reply
            }
            None => Ok(reply),
        };
        exchange.outcome = reply.map(|reply| {
            let places = exchange.reply.iter_mut().chain(exchange.destination.iter_mut());
            places.zip(&reply).for_each(|(place, byte)| *place = *byte);
            reply.len()
        });
    }

    fn end(&self, tag: u16) {
        self.under_way.lock().unwrap().remove(&tag);
        self.ended.notify_all();
    }
}

impl Transport for Link {
    fn message_bytes_max(&self) -> u32 {
        self.message_bytes_max
    }

    fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    fn exchange(&self, exchange: &mut Exchange<'_>) {
        self.exchange_many(core::slice::from_mut(exchange));
    }

    fn exchange_many(&self, exchanges: &mut [Exchange<'_>]) {
        assert!(exchanges.len() <= self.in_flight_max.max(1));
        let tags: Vec<u16> = exchanges.iter().map(|exchange| self.begin(exchange)).collect();
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        // In reverse: a server may answer in any order.
        for exchange in exchanges.iter_mut().rev() {
            self.answer(exchange);
        }
        tags.into_iter().for_each(|tag| self.end(tag));
    }

    fn wait_for_progress(&self) {
        let under_way = self.under_way.lock().unwrap();
        drop(self.ended.wait_timeout(under_way, Duration::from_millis(1)).unwrap());
    }
}
