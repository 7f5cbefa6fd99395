//! The budget of streams: AWS allows ten live ones per space and neither lists nor ends them for us.

use std::fmt;

/// How many live streams AWS allows per space.
pub const STREAMS_PER_SPACE: usize = 10;
/// How many of them only the owner may take.
pub const KEPT_FOR_OWNER: usize = 1;
/// How many of them only people may take.
pub const KEPT_FOR_PEOPLE: usize = 3;

/// Who asks for a stream to a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// Its owner.
    Owner,
    /// Another person.
    Person,
    /// The gateway, to look inside.
    Probe,
}

impl Seat {
    /// A person's.
    #[must_use]
    pub const fn of(owner: bool) -> Self {
        if owner { Self::Owner } else { Self::Person }
    }

    /// How many streams there may be before theirs is one too many.
    const fn limit(self) -> usize {
        match self {
            Self::Owner => STREAMS_PER_SPACE,
            Self::Person => STREAMS_PER_SPACE - KEPT_FOR_OWNER,
            Self::Probe => STREAMS_PER_SPACE - KEPT_FOR_PEOPLE,
        }
    }
}

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
    pub fn admit(&self, seat: Seat) -> Result<(), NoFreeStream> {
        let live: usize = self.live.iter().map(|(_, n)| n).sum();
        if live < seat.limit() {
            return Ok(());
        }
        Err(NoFreeStream { used: self.clone(), by_aws: false, seat })
    }
}

/// The budget is spent, by our count or by AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoFreeStream {
    /// What we know.
    pub used: StreamUse,
    /// Whether AWS said so: then what is not ours is foreign.
    pub by_aws: bool,
    /// Who asked.
    pub seat: Seat,
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
        match self.seat {
            Seat::Person if !self.by_aws => f.write_str(" The last is kept for the owner."),
            Seat::Probe if !self.by_aws => f.write_str(" The last three are kept for people."),
            _ => Ok(()),
        }
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
        assert!(nine.admit(Seat::Owner).is_ok());
        let refused = nine.admit(Seat::Person).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "AWS allows 10 to a space. In use by alice 4, bo 3, dana 2. The last is kept for the owner."
        );
        assert!(used(&[("alice", 10)], 0).admit(Seat::Owner).is_err());
    }

    #[test]
    fn looks_leave_the_last_three_to_people() {
        assert!(used(&[("alice", 6)], 4).admit(Seat::Probe).is_ok());
        assert_eq!(
            used(&[("alice", 7)], 0).admit(Seat::Probe).unwrap_err().to_string(),
            "AWS allows 10 to a space. In use by alice 7. The last three are kept for people."
        );
    }

    #[test]
    fn doubtful_streams_refuse_nobody_until_aws_does() {
        let doubtful = used(&[("alice", 2)], 8);
        assert!(doubtful.admit(Seat::Person).is_ok());
        let refused = NoFreeStream { used: used(&[("alice", 2)], 5), by_aws: true, seat: Seat::Person };
        assert_eq!(
            refused.to_string(),
            "AWS allows 10 to a space. In use by alice 2. 5 may be left from a gateway that died. \
             3 were opened without this gateway."
        );
    }
}
