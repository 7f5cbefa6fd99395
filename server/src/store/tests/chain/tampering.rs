//! Each way to tamper with the log is named.

use super::*;

#[tokio::test]
async fn changed_row_is_named_whichever_column_it_was() {
    let (chained, ids) = Chained::with(5).await;
    let copy = "CREATE TABLE spare AS SELECT * FROM audit";
    sqlx::query(copy).execute(chained.world.pool()).await.unwrap();
    let changes = [
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "replica_id = gen_random_uuid()",
        "actor_id = NULL",
        "actor_name = 'mallory'",
        "space_id = gen_random_uuid()",
        "session_id = NULL",
        "connection_id = gen_random_uuid()",
        "kind = 'access.denied'",
        "allowed = NOT allowed",
        "detail = detail || '{\"because\": \"no reason\"}'",
    ];
    // In the middle, and at the end, which only the head row follows.
    for (seq, row) in [(2, ids[1]), (5, ids[4])] {
        for change in changes {
            chained.tamper(&format!("UPDATE audit SET {change} WHERE id = '{row}'")).await;
            assert_eq!(chained.wrong().await, Wrong::RowChanged { seq, row }, "{change}");
            chained.tamper("DELETE FROM audit; INSERT INTO audit SELECT * FROM spare").await;
            chained.verify_against(None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn removed_row_is_named() {
    let (chained, ids) = Chained::with(5).await;
    let row = ids[3];
    chained.tamper(&format!("DELETE FROM audit WHERE id = '{row}'")).await;
    assert_eq!(chained.wrong().await, Wrong::RowRemoved { seq: 4, row });
}

#[tokio::test]
async fn row_that_is_removed_before_it_is_sealed_is_named() {
    let (chained, _) = Chained::with(2).await;
    let row = chained.decide(1).await[0];
    chained.tamper(&format!("DELETE FROM audit WHERE id = '{row}'")).await;
    chained.decide(1).await;
    assert_eq!(chained.seal().await.seq, 3, "it keeps no other row from its seal");
    assert_eq!(chained.wrong().await, Wrong::QueuedRowRemoved(row));
}

#[tokio::test]
async fn reordered_rows_are_named() {
    let (chained, ids) = Chained::with(6).await;
    let swap = |a: Uuid, b: Uuid| {
        let step = |from, to| format!("UPDATE audit_seals SET audit_id = '{to}' WHERE audit_id = '{from}';");
        [step(a, Uuid::nil()), step(b, a), step(Uuid::nil(), b)].concat()
    };
    chained.tamper(&swap(ids[1], ids[4])).await;
    assert_eq!(chained.wrong().await, Wrong::RowsReordered { seq: 2, was: ids[1], now: ids[4] });
    chained.tamper(&swap(ids[1], ids[4])).await;
    chained.verify_against(None).await.unwrap();

    let step = |from, to| format!("UPDATE audit_seals SET seq = {to} WHERE seq = {from};");
    chained.tamper(&[step(3, 99), step(4, 3), step(99, 4)].concat()).await;
    assert_eq!(chained.wrong().await, Wrong::SealsReordered { was: 3, now: 4 });
}

#[tokio::test]
async fn removed_seal_in_the_middle_is_named() {
    let (chained, ids) = Chained::with(6).await;
    chained.tamper("DELETE FROM audit_seals WHERE seq = 3").await;
    assert_eq!(chained.wrong().await, Wrong::SealRemoved(3));
    // Closing the gap does not help, with the row or without it.
    chained.tamper("UPDATE audit_seals SET seq = seq - 1 WHERE seq > 3").await;
    let broken = Wrong::Broken { seq: 3, row: ids[3] };
    assert_eq!(chained.wrong().await, broken);
    chained.tamper(&format!("DELETE FROM audit WHERE id = '{}'", ids[2])).await;
    assert_eq!(chained.wrong().await, broken);
}

#[tokio::test]
async fn changed_seal_is_named() {
    let (chained, ids) = Chained::with(4).await;
    for seq in [2, 4] {
        let before = "CREATE TABLE IF NOT EXISTS spare AS SELECT * FROM audit_seals;";
        let change = format!("UPDATE audit_seals SET mac = sha256(mac) WHERE seq = {seq}");
        chained.tamper(&format!("{before} {change}")).await;
        let row = ids[usize::try_from(seq).unwrap() - 1];
        assert_eq!(chained.wrong().await, Wrong::SealChanged { seq, row });
        chained.tamper("DELETE FROM audit_seals; INSERT INTO audit_seals SELECT * FROM spare").await;
    }
    chained.tamper("UPDATE audit_seals SET version = 2 WHERE seq = 3").await;
    assert_eq!(chained.wrong().await, Wrong::Version { seq: 3, version: 2 });
}

/// Removes rows and seals after a number.
fn cut(after: i64) -> String {
    format!(
        "DELETE FROM audit WHERE id IN (SELECT audit_id FROM audit_seals WHERE seq > {after});
         DELETE FROM audit_seals WHERE seq > {after};"
    )
}

#[tokio::test]
async fn cut_tail_shows_against_the_head_row() {
    let (chained, _) = Chained::with(5).await;
    chained.tamper(&cut(3)).await;
    let short = Wrong::TailCut { last: 3, head: 5 };
    assert_eq!(chained.wrong().await, short);
    // Sealing on covers nothing up.
    chained.decide(1).await;
    assert_eq!(chained.seal().await.seq, 6);
    assert_eq!(chained.wrong().await, Wrong::SealRemoved(4));
}

#[tokio::test]
async fn head_row_cannot_be_made_to_fit_a_cut_tail() {
    let (chained, _) = Chained::with(5).await;
    let fit = "UPDATE audit_head SET seq = 3, mac = (SELECT mac FROM audit_seals WHERE seq = 3)";
    chained.tamper(&format!("{} {fit}", cut(3))).await;
    assert_eq!(chained.wrong().await, Wrong::HeadChanged);
    chained.decide(1).await;
    let refused = chained.world.store().seal_audit(&chained.key, 3).await;
    assert!(matches!(refused, Err(SealError::Head)), "a sealer does not cover it up: {refused:?}");
    chained.tamper("DELETE FROM audit_head").await;
    assert_eq!(chained.wrong().await, Wrong::HeadRemoved);
    let refused = chained.world.store().seal_audit(&chained.key, 3).await;
    assert!(matches!(refused, Err(SealError::Head)), "{refused:?}");
}

#[tokio::test]
async fn tail_that_was_cut_back_to_an_old_head_row_shows_against_the_log_only() {
    let (chained, _) = Chained::with(3).await;
    let old = chained.seal().await;
    sqlx::query("CREATE TABLE spare AS SELECT * FROM audit_head")
        .execute(chained.world.pool())
        .await
        .unwrap();
    chained.decide(2).await;
    let logged = chained.seal().await;
    let restore = "DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM spare";
    chained.tamper(restore).await;
    assert_eq!(chained.wrong().await, Wrong::HeadOld { last: 5, head: 3 });
    chained.tamper(&cut(3)).await;
    assert_eq!(chained.verify_against(Some(&old)).await.unwrap().head.head, old);
    let short = Wrong::TailCut { last: 3, head: 5 };
    assert_eq!(chained.verify_against(Some(&logged)).await, Err(short));
    // And when the chain has grown again.
    chained.decide(4).await;
    chained.seal().await;
    chained.verify_against(None).await.unwrap();
    let anew = chained.verify_against(Some(&logged)).await;
    assert!(matches!(anew, Err(Wrong::NotAsLogged { seq: 5, .. })), "{anew:?}");
    let forged = Head { mac: Mac([9; 32]), ..old };
    assert!(matches!(chained.verify_against(Some(&forged)).await, Err(Wrong::NotAsLogged { seq: 3, .. })));
}

#[tokio::test]
async fn row_that_waits_too_long_for_its_seal_is_named() {
    let (chained, _) = Chained::with(2).await;
    let row = chained.decide(1).await[0];
    chained.verify_against(None).await.unwrap();
    for queued in ["now() - interval '61 seconds'", "now() + interval '1 year'"] {
        chained.tamper(&format!("UPDATE audit_pending SET queued_at = {queued}")).await;
        assert_eq!(chained.wrong().await, Wrong::Overdue(row));
    }
}

#[tokio::test]
async fn row_that_was_slipped_in_or_taken_out_of_the_queue_is_named() {
    let (chained, _) = Chained::with(2).await;
    let row = chained.decide(1).await[0];
    chained.tamper("DELETE FROM audit_pending").await;
    assert_eq!(chained.wrong().await, Wrong::RowNotInChain(row));
    chained.seal().await;
    assert_eq!(chained.wrong().await, Wrong::RowNotInChain(row));

    let (chained, _) = Chained::with(2).await;
    let row = Uuid::now_v7();
    let insert = "INSERT INTO audit SELECT (jsonb_populate_record(a, jsonb_build_object('id', '{row}'))).* \
                  FROM audit a LIMIT 1";
    chained.tamper(&insert.replace("{row}", &row.to_string())).await;
    assert_eq!(chained.wrong().await, Wrong::RowNotInChain(row));
}

#[tokio::test]
async fn another_key_fits_nothing() {
    let (chained, _) = Chained::with(2).await;
    chained.tamper("DELETE FROM secrets").await;
    let sealing = SealingKey::new(&[7; 32]).unwrap();
    assert!(chained.world.store().existing_chain_key(&sealing).await.unwrap().is_none());
    let other = chained.world.store().chain_key(&sealing).await.unwrap();
    assert!(chained.world.store().existing_chain_key(&sealing).await.unwrap().is_some());
    let found = chained.world.store().verify_audit(&other, None).await;
    assert!(matches!(found, Err(VerifyError::Wrong(Wrong::Broken { seq: 1, .. }))), "{found:?}");
}
