//! Boots guests, drives the shell on them, and looks at what a person would see.

mod busy;
mod certificates;
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
mod maps;
mod memory;
mod network;
mod programs;
mod prompt;
mod resilience;
mod robustness;
