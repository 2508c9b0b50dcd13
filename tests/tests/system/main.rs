//! Boots guests, drives the shell on them, and looks at what a person would see.

mod commands;
