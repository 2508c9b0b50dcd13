//! Time to compile: from slots to machine code in memory that is already there.

use std::time::Duration;

use uio_bpf::instruction::decode;
use uio_bpf::jit::{EmitError, Options, Plan};
use uio_bpf::program::{Executable, Parts};

use super::timing::median_of;
use crate::run::{Bound, PrepareError};

impl Bound {
    /// The median of `times` compilations by our JIT: decoding, binding, planning, emitting.
    ///
    /// # Errors
    ///
    /// [`PrepareError::Emit`] if the compiler gives up.
    pub fn compile_time(&self, options: &Options, times: usize) -> Result<Duration, PrepareError> {
        const ADDRESS: u64 = 0x1000_0000;
        let executable = self.executable();
        let mut buffer = vec![0; Plan::new(executable, options).bytes_bound()];
        if let Err(EmitError::TooSmall { bytes }) = Plan::new(executable, options).emit(&mut buffer, ADDRESS)
        {
            buffer.resize(bytes, 0);
        }
        Plan::new(executable, options).emit(&mut buffer, ADDRESS).map_err(PrepareError::Emit)?;
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
            let plan = Plan::new(&fresh, options);
            plan.emit(&mut buffer, ADDRESS).ok()
        };
        Ok(median_of(times, once))
    }
}
