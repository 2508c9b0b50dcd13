//! Boots guests, drives the shell on them, and looks at what a person would see.

mod busy;
mod commands;
mod concurrency;
mod console;
mod containment;
mod demo;
mod extensions;
mod files;
mod lifecycle;
mod links;
mod machines;
mod memory;
mod network;
mod prompt;
mod resilience;
mod robustness;
