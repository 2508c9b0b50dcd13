//! What the guest and the keeper get from the outside and have to survive: shells that die, bytes that mean nothing,
//! crowds, and the death of one of the two processes.

mod console;
mod deaths;
mod loading;
mod rounds;
