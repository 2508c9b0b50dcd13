//! Programs bound to maps, their inputs, and ways to run them.

mod bound;
mod buffer;
mod guard;
mod input;
mod pages;
mod regions;
mod services;

pub(crate) use bound::emit;
pub use bound::{Bound, Compiled, PrepareError, Verified};
pub use guard::{Contained, Violation, ViolationKind, Watch, Watched};
pub use input::{Input, Memory, Output};
pub use pages::PagesError;
pub(crate) use pages::{Pages, Protection};
pub use services::{Clock, Replayed};
