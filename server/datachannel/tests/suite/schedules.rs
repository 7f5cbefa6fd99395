//! Random schedules: our channel against the model agent over a bad path, with cuts, absences, slow readers.
//! No byte may be lost, changed or repeated, nothing may hang, and every bound holds at every step.
//!
//! `SPACEPORT_SCHEDULES=N` runs more of them, `SPACEPORT_SEED=S` starts at another one; a failure prints its
//! seed, and `SPACEPORT_SCHEDULES=1 SPACEPORT_SEED=S` repeats it.

mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::World;

const SCHEDULES: u64 = 20_000;
/// Of the machines that run this, the smallest has two cores.
const THREADS: u64 = 2;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn no_byte_is_lost_changed_or_repeated_whatever_the_path_does() {
    let first = number("SPACEPORT_SEED", 1);
    let count = number("SPACEPORT_SCHEDULES", SCHEDULES);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let seed = first.wrapping_add(index);
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
                        eprintln!(
                            "schedule {seed} failed: SPACEPORT_SCHEDULES=1 SPACEPORT_SEED={seed} repeats it"
                        );
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}
