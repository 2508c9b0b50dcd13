//! Time to compile: from slots to machine code that can run, memory for it included.

use std::time::Duration;

use uio_bpf::instruction::decode;
use uio_bpf::jit::Options;
use uio_bpf::program::{Executable, Parts};

use super::timing::median_of;
use crate::run::{Bound, PrepareError, emit};

impl Bound {
    /// The median of `times` compilations by our JIT: decoding, binding, fresh pages, code, no longer writable.
    ///
    /// # Errors
    ///
    /// [`PrepareError::Emit`] if the compiler gives up.
    pub fn compile_time(&self, options: &Options, times: usize) -> Result<Duration, PrepareError> {
        let executable = self.executable();
        emit(executable, options)?;
        let once = || {
            let parts = Parts {
                kind: executable.kind(),
                operations: decode(self.slots()).ok()?,
                functions: executable.functions().to_vec(),
                maps: executable.maps().to_vec(),
                helpers: executable.helpers(),
                fuelled: Vec::new(),
            };
            let fresh = Executable::new(parts).ok()?;
            emit(&fresh, options).ok()
        };
        Ok(median_of(times, once))
    }
}
