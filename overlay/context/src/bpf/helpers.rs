//! What programs of this guest may call.

use uio_bpf::program::HelperTable;

/// Helpers by number.
pub(crate) fn helpers() -> &'static HelperTable {
    &[]
}
