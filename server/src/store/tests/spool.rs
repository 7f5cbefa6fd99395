//! The spool's files, without Postgres.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Barrier};

use super::*;
use crate::store::spool::line::{decode, encode};
use crate::store::spool::{NotTaken, Spool, SpoolError, Weight};

const LIMIT: u64 = 1 << 20;

fn line(n: u64) -> Vec<u8> {
    let change = Change::SessionBytes { session: Uuid::nil(), bytes_in: n, bytes_out: 0 };
    encode(&[change]).unwrap()
}

fn number(line: &[u8]) -> u64 {
    match decode(line).unwrap()[0] {
        Change::SessionBytes { bytes_in, .. } => bytes_in,
        _ => unreachable!(),
    }
}

/// Replays up to `chunks` chunks.
fn replay(spool: &Spool, chunks: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..chunks {
        let Some(chunk) = spool.next().unwrap() else { break };
        numbers.extend(chunk.lines.split_inclusive(|byte| *byte == b'\n').map(number));
        spool.replayed(&chunk).unwrap();
    }
    numbers
}

fn segments(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
    found.sort();
    found
}

#[test]
fn lines_come_back_in_order_and_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), LIMIT).unwrap();
    for n in 0..3000 {
        spool.append(&line(n), Weight::Ordinary).unwrap();
    }
    assert_eq!(replay(&spool, 1).first(), Some(&0));
    spool.append(&line(3000), Weight::Ordinary).unwrap();
    let rest = replay(&spool, usize::MAX);
    assert_eq!(rest.last(), Some(&3000));
    assert!(rest.is_sorted());
    assert!(spool.is_empty());
    assert!(segments(directory.path()).is_empty());
    spool.append(&line(1), Weight::Ordinary).unwrap();
    assert_eq!(replay(&spool, usize::MAX), [1]);
}

#[test]
fn many_writers_share_the_disk_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(directory.path(), LIMIT).unwrap());
    let start = Arc::new(Barrier::new(16));
    let writers: Vec<_> = (0..16u64)
        .map(|writer| {
            let (spool, start) = (spool.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                for n in 0..50 {
                    spool.append(&line(writer * 50 + n), Weight::Ordinary).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    drop(spool);
    let spool = Spool::open(directory.path(), LIMIT).unwrap();
    let replayed = replay(&spool, usize::MAX);
    assert_eq!(replayed.len(), 800);
    assert_eq!(replayed.into_iter().collect::<BTreeSet<_>>(), (0..800).collect());
}

#[test]
fn the_position_survives_and_a_stale_one_repeats() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), LIMIT).unwrap();
    for n in 0..3000 {
        spool.append(&line(n), Weight::Ordinary).unwrap();
    }
    let first = replay(&spool, 1);
    let left = spool.left();
    drop(spool);
    let spool = Spool::open(directory.path(), LIMIT).unwrap();
    assert_eq!(spool.left(), left);
    assert_eq!(replay(&spool, 1).first(), Some(&(first.len() as u64)));
    drop(spool);
    fs::write(directory.path().join("position"), "1 nonsense").unwrap();
    let spool = Spool::open(directory.path(), LIMIT).unwrap();
    assert_eq!(replay(&spool, usize::MAX).len(), 3000);
}

#[test]
fn a_torn_tail_is_cut_wherever_it_was_torn() {
    let whole: Vec<u8> = (0..3).flat_map(line).collect();
    let last = line(2).len();
    for torn in 1..last {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("00000001.jsonl"), &whole[..whole.len() - torn]).unwrap();
        let spool = Spool::open(directory.path(), LIMIT).unwrap();
        spool.append(&line(7), Weight::Ordinary).unwrap();
        assert_eq!(replay(&spool, usize::MAX), [0, 1, 7], "torn {torn} bytes before the end");
    }
}

#[test]
fn the_last_tenth_is_kept_for_what_is_essential() {
    let directory = tempfile::tempdir().unwrap();
    let size = line(10).len() as u64;
    let spool = Spool::open(directory.path(), size * 20).unwrap();
    let mut ordinary = 0;
    while spool.append(&line(10), Weight::Ordinary).is_ok() {
        ordinary += 1;
    }
    assert_eq!(ordinary, 18);
    spool.append(&line(10), Weight::Essential).unwrap();
    spool.append(&line(10), Weight::Essential).unwrap();
    assert!(matches!(spool.append(&line(10), Weight::Essential), Err(NotTaken::Full)));
    assert_eq!(replay(&spool, usize::MAX).len(), 20);
    spool.append(&line(10), Weight::Ordinary).unwrap();
}

#[test]
fn a_second_process_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), LIMIT).unwrap();
    assert!(matches!(Spool::open(directory.path(), LIMIT), Err(SpoolError::InUse(_))));
    drop(spool);
    Spool::open(directory.path(), LIMIT).unwrap();
}

#[test]
fn segments_go_as_they_are_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 64 << 20).unwrap();
    let reason = "x".repeat(100_000);
    let change = Change::LinkClosed { link: Uuid::nil(), at: NOON, reason };
    let long = encode(&[change]).unwrap();
    for _ in 0..100 {
        spool.append(&long, Weight::Ordinary).unwrap();
    }
    assert_eq!(segments(directory.path()).len(), 3);
    let mut chunks = 0;
    while let Some(chunk) = spool.next().unwrap() {
        assert_eq!(chunk.lines, long);
        spool.replayed(&chunk).unwrap();
        chunks += 1;
        if chunks == 50 {
            assert_eq!(segments(directory.path()).len(), 2);
        }
    }
    assert_eq!(chunks, 100);
}
