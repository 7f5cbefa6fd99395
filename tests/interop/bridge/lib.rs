//! Only tests: see `exec.rs`.
