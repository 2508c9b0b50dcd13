//! The overlay in a Linux process: real frames in and out, real extensions compiled from C.

mod extensions;
mod maps;
mod programs;
mod sessions;
mod support;
