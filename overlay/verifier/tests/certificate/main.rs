//! Certificates, packages and policies as a guest meets them.

mod claims;
mod order;
mod policy;
mod properties;
mod support;
mod vectors;
