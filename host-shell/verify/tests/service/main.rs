//! The service over real sockets.

mod api;
mod http;
mod processes;
mod signing;
mod stopping;
mod support;
