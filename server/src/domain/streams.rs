//! The budget of streams: AWS allows ten live ones per space and neither lists nor ends them for us.

use std::fmt;

/// How many live streams AWS allows per space.
pub const STREAMS_PER_SPACE: usize = 10;
/// How many of them only the owner may take.
pub const KEPT_FOR_OWNER: usize = 1;

/// What is known of a space's streams over all replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamUse {
    /// Live streams of living replicas, per user's name.
    pub live: Vec<(String, usize)>,
    /// Streams of replicas that died: AWS may keep them until its idle limit.
    pub doubtful: usize,
}

impl StreamUse {
    /// All of ours that may count at AWS.
    #[must_use]
    pub fn ours(&self) -> usize {
        self.live.iter().map(|(_, n)| n).sum::<usize>() + self.doubtful
    }

    /// Whether another stream may be asked for. Doubtful ones do not refuse by themselves: AWS's answer tells.
    ///
    /// # Errors
    /// When the budget is spent.
    pub fn admit(&self, owner: bool) -> Result<(), NoFreeStream> {
        let live: usize = self.live.iter().map(|(_, n)| n).sum();
        let limit = if owner { STREAMS_PER_SPACE } else { STREAMS_PER_SPACE - KEPT_FOR_OWNER };
        if live < limit { Ok(()) } else { Err(NoFreeStream { used: self.clone(), by_aws: false, owner }) }
    }
}

/// The budget is spent, by our count or by AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoFreeStream {
    /// What we know.
    pub used: StreamUse,
    /// Whether AWS said so: then what is not ours is foreign.
    pub by_aws: bool,
    /// Whether the owner asked.
    pub owner: bool,
}

impl fmt::Display for NoFreeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live: usize = self.used.live.iter().map(|(_, n)| n).sum();
        write!(f, "AWS allows {STREAMS_PER_SPACE} to a space.")?;
        if live > 0 {
            let who: Vec<String> = self.used.live.iter().map(|(user, n)| format!("{user} {n}")).collect();
            write!(f, " In use by {}.", who.join(", "))?;
        }
        if self.used.doubtful > 0 {
            write!(f, " {} may be left from a gateway that died.", self.used.doubtful)?;
        }
        let foreign = STREAMS_PER_SPACE.saturating_sub(self.used.ours());
        if self.by_aws && foreign > 0 {
            write!(f, " {foreign} were opened without this gateway.")?;
        }
        if !self.by_aws && !self.owner {
            f.write_str(" The last is kept for the owner.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(live: &[(&str, usize)], doubtful: usize) -> StreamUse {
        StreamUse { live: live.iter().map(|(user, n)| ((*user).to_owned(), *n)).collect(), doubtful }
    }

    #[test]
    fn last_stream_is_kept_for_the_owner() {
        let nine = used(&[("alice", 4), ("bo", 3), ("dana", 2)], 0);
        assert!(nine.admit(true).is_ok());
        let refused = nine.admit(false).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "AWS allows 10 to a space. In use by alice 4, bo 3, dana 2. The last is kept for the owner."
        );
        assert!(used(&[("alice", 10)], 0).admit(true).is_err());
    }

    #[test]
    fn doubtful_streams_refuse_nobody_until_aws_does() {
        let doubtful = used(&[("alice", 2)], 8);
        assert!(doubtful.admit(false).is_ok());
        let refused = NoFreeStream { used: used(&[("alice", 2)], 5), by_aws: true, owner: false };
        assert_eq!(
            refused.to_string(),
            "AWS allows 10 to a space. In use by alice 2. 5 may be left from a gateway that died. \
             3 were opened without this gateway."
        );
    }
}
