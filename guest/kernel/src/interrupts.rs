//! Device interrupts: handlers by vector.

use crate::arch::traps::{DEVICE_VECTORS, VECTOR_DEVICES};
use crate::sync::InterruptLock;

/// Runs with interrupts off on the interrupt stack: acknowledges the device and wakes whom it concerns.
pub type Handler = fn(argument: usize);

struct Table {
    handlers: [Option<(Handler, usize)>; DEVICE_VECTORS as usize],
    used: usize,
}

static TABLE: InterruptLock<Table> =
    InterruptLock::new(Table { handlers: [None; DEVICE_VECTORS as usize], used: 0 });

/// Takes a vector for a handler; `None` if all are taken.
#[must_use]
pub fn allocate(handler: Handler, argument: usize) -> Option<u8> {
    TABLE.with(|table| {
        let slot = table.handlers.get_mut(table.used)?;
        *slot = Some((handler, argument));
        table.used += 1;
        Some(VECTOR_DEVICES + (table.used - 1) as u8)
    })
}

/// Calls the handler of vector `VECTOR_DEVICES + index`.
pub(crate) fn deliver(index: u8) {
    let handler = TABLE.with(|table| table.handlers.get(usize::from(index)).copied().flatten());
    if let Some((handler, argument)) = handler {
        handler(argument);
    }
}
