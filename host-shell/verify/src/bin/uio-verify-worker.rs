//! One verification: a job on standard input, its outcome on standard output. What the service's tests start.
#![forbid(unsafe_code)]

fn main() -> std::io::Result<()> {
    uio_verify::worker::serve()
}
