//! One test for each class of verifier bugs that was exploited in Linux, and for each gap of MorphOS's verifier: the
//! program is refused, or what it does stays inside.
//!
//! A program that has to be refused does harm: contained, it is seen to try.

mod cves;
mod morphos;
mod support;
