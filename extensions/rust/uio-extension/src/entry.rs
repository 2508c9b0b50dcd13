//! The functions that the guest calls.

/// Makes a function `fn(Arguments) -> i32` the entry of `run`.
#[macro_export]
macro_rules! main {
    ($function:path) => {
        // SAFETY: the guest looks for the entry by this name, and nothing else is called so.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            argc: ::core::ffi::c_int,
            argv: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            let function: fn($crate::Arguments) -> i32 = $function;
            // SAFETY: the guest passes so many strings, which stay as long as the run.
            function(unsafe { $crate::Arguments::new(argc, argv) })
        }
    };
}

/// Makes a function `fn() -> Result<(), i32>` what `load` calls once; an error refuses the load.
#[macro_export]
macro_rules! init {
    ($function:path) => {
        // SAFETY: the guest looks for the function by this name, and nothing else is called so.
        #[unsafe(no_mangle)]
        extern "C" fn init() -> ::core::ffi::c_int {
            let function: fn() -> ::core::result::Result<(), i32> = $function;
            match function() {
                ::core::result::Result::Ok(()) => 0,
                // 0 would be taken for success.
                ::core::result::Result::Err(code) => {
                    if code == 0 {
                        -1
                    } else {
                        code
                    }
                }
            }
        }
    };
}

/// Makes a function `fn()` what `unload` calls once.
#[macro_export]
macro_rules! exit {
    ($function:path) => {
        // SAFETY: the guest looks for the function by this name, and nothing else is called so.
        #[unsafe(no_mangle)]
        extern "C" fn exit() {
            let function: fn() = $function;
            function();
        }
    };
}
