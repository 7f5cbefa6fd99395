//! The chain of seals: what is done to the log is found and named, and nobody waits for sealing.

mod sealing;
mod tampering;

use serde_json::Value;

use super::*;
use crate::domain::chain::{Head, Mac};
use crate::store::chain::export::Wanted;
use crate::store::chain::verify::{VerifyError, Whole, Wrong};
use crate::store::chain::{ChainKey, Pass, SealError};
use crate::store::secrets::SealingKey;

/// A world whose audit log is sealed.
struct Chained {
    world: World,
    key: ChainKey,
}

impl Chained {
    async fn new() -> Self {
        let world = World::new().await;
        let sealing = SealingKey::new(&[7; 32]).unwrap();
        let key = world.store().chain_key(&sealing).await.unwrap();
        Self { world, key }
    }

    /// One with this many sealed rows, and their ids in the order of the seals.
    async fn with(rows: usize) -> (Self, Vec<Uuid>) {
        let chained = Self::new().await;
        let ids = chained.decide(rows).await;
        chained.seal().await;
        (chained, ids)
    }

    /// Writes decisions, each in a transaction of its own; answers their ids.
    async fn decide(&self, rows: usize) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for _ in 0..rows {
            let change = self.decision();
            self.world.write(std::slice::from_ref(&change)).await;
            let Change::Audit { audit, .. } = change else { unreachable!() };
            ids.push(audit);
        }
        ids
    }

    fn decision(&self) -> Change {
        self.world.audit("access.allowed", &self.world.session(self.world.replica))
    }

    /// Seals everything; answers the chain's end.
    async fn seal(&self) -> Head {
        loop {
            let Pass::Done { rows, head } = self.world.store().seal_audit(&self.key, 3).await.unwrap() else {
                continue;
            };
            if rows < 3 {
                return head.head;
            }
        }
    }

    async fn verify_against(&self, logged: Option<&Head>) -> Result<Whole, Wrong> {
        match self.world.store().verify_audit(&self.key, logged).await {
            Ok(whole) => Ok(whole),
            Err(VerifyError::Wrong(wrong)) => Err(wrong),
            Err(VerifyError::Store(error)) => panic!("{}", error.detail()),
        }
    }

    async fn wrong(&self) -> Wrong {
        self.verify_against(None).await.unwrap_err()
    }

    /// What somebody does who may do anything in the database.
    async fn tamper(&self, statements: &str) {
        let tables = ["audit", "audit_seals"];
        let switch = |what| tables.map(|table| format!("ALTER TABLE {table} {what} TRIGGER USER;")).concat();
        let all = format!("BEGIN; {} {statements}; {} COMMIT", switch("DISABLE"), switch("ENABLE"));
        sqlx::raw_sql(sqlx::AssertSqlSafe(all)).execute(self.world.pool()).await.unwrap();
    }
}

#[tokio::test]
async fn whole_log_verifies_and_says_where_it_ends() {
    let (chained, ids) = Chained::with(10).await;
    let first = chained.verify_against(None).await.unwrap();
    assert_eq!((first.head.head.seq, first.waiting), (10, 0));
    let logged = first.head.head;
    chained.decide(2).await;
    let waiting = chained.verify_against(Some(&logged)).await.unwrap();
    assert_eq!((waiting.head.head, waiting.waiting), (logged, 2));
    let head = chained.seal().await;
    assert_eq!(chained.verify_against(Some(&logged)).await.unwrap().head.head, head);
    assert_eq!(chained.verify_against(Some(&head)).await.unwrap().head.head.seq, 12);
    let sealed: Vec<Uuid> = sqlx::query_scalar("SELECT audit_id FROM audit_seals ORDER BY seq LIMIT 10")
        .fetch_all(chained.world.pool())
        .await
        .unwrap();
    assert_eq!(sealed, ids);
}

#[tokio::test]
async fn log_larger_than_a_page_is_walked_to_its_end() {
    let chained = Chained::new().await;
    let many = "INSERT INTO audit (id, at, replica_id, actor_name, kind, detail)
                SELECT gen_random_uuid(), now() - make_interval(secs => n), gen_random_uuid(), 'anna', 'k' || n % 2,
                       jsonb_build_object('n', n)
                FROM generate_series(1, 1203) n";
    sqlx::query(many).execute(chained.world.pool()).await.unwrap();
    while chained.world.count("SELECT count(*) FROM audit_pending").await > 0 {
        chained.world.store().seal_audit(&chained.key, 500).await.unwrap();
    }
    assert_eq!(chained.verify_against(None).await.unwrap().head.head.seq, 1203);
    chained.tamper("UPDATE audit SET actor_name = 'ben' WHERE detail @> '{\"n\": 1100}'").await;
    assert!(matches!(chained.wrong().await, Wrong::RowChanged { seq: 1100, .. }));

    let mut export = chained.world.store().export_audit(Wanted::default());
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let page = export.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        rows.extend(page);
    }
    assert_eq!(rows.len(), 1203);
    let numbers: Vec<i64> = rows.iter().map(|row| row["detail"]["n"].as_i64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1] + 1), "oldest first");
    assert_eq!(rows[1202]["seq"], 1);
}

#[tokio::test]
async fn export_gives_the_wanted_rows_with_their_seals() {
    let (chained, _) = Chained::with(1).await;
    let insert = "INSERT INTO audit (id, at, replica_id, actor_name, kind, allowed, detail)
                  VALUES (gen_random_uuid(), '2026-05-02T00:00:00Z', gen_random_uuid(), 'anna', 'a', false, '{}'),
                         (gen_random_uuid(), '2026-05-02T00:00:01Z', gen_random_uuid(), 'anna', 'b', null,
                          '{\"huge\": 1e400}')";
    sqlx::query(insert).execute(chained.world.pool()).await.unwrap();
    let wanted = async |wanted| chained.world.store().export_audit(wanted).next().await.unwrap();
    let all = wanted(Wanted::default()).await;
    assert_eq!(all.len(), 3);
    let head = chained.verify_against(None).await.unwrap().head.head;
    assert_eq!((all[0]["seq"].as_i64(), all[0]["mac"].as_str().unwrap()), (Some(1), &*head.mac.to_string()));
    assert_eq!(all[0]["at"], "2026-05-01T12:00:00.123456Z");
    assert_eq!(all[0]["actor"], chained.world.user.to_string());
    assert_eq!((&all[1]["seq"], &all[1]["allowed"]), (&Value::Null, &json!(false)));
    let midnight = datetime!(2026-05-02 00:00 UTC);
    let since = wanted(Wanted { since: Some(midnight), ..Wanted::default() }).await;
    assert_eq!(since, all[1..]);
    let until = wanted(Wanted { until: Some(midnight), ..Wanted::default() }).await;
    assert_eq!(until, all[..1]);
    let kind = wanted(Wanted { kind: Some("b".to_owned()), ..Wanted::default() }).await;
    assert_eq!(kind, all[2..]);
}

/// The bytes of a row rest on this.
#[tokio::test]
async fn one_value_has_one_text_however_it_was_written() {
    let world = World::new().await;
    let text: String = sqlx::query_scalar(
        r#"SELECT '{ "b":1, "aa":{"d":1.50,"c":"\u00e9"}, "b":100000000000000000000000001 }'::jsonb::text"#,
    )
    .fetch_one(world.pool())
    .await
    .unwrap();
    assert_eq!(text, "{\"b\": 100000000000000000000000001, \"aa\": {\"c\": \"\u{e9}\", \"d\": 1.50}}");
}
