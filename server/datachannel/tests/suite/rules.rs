//! One test per rule of the protocol, and per trap that other clients fell into. Names say the behaviour.

mod close;
mod handshake;
mod hostile;
mod pace;
mod pause;
mod receive;
mod reconnect;
mod resend;
