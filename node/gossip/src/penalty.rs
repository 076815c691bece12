//! What a peer has done wrong, as a number that fades: a ban is a pure function of it and of the time.
//!
//! Points halve every [`HALF_LIFE_S`]. Who reaches [`BANNED_FROM`] is given as many again, so that a ban lasts at
//! least one half-life; there is a ceiling, so that it lasts at most [`BAN_S_MAX`]. What costs points is what no
//! honest peer does (`docs/spec/mesh.md`, section 6).

/// Seconds in which points halve.
pub const HALF_LIFE_S: u64 = 600;

/// Points from which on a peer is banned.
pub const BANNED_FROM: u32 = 100;

/// The most points that anybody has.
const POINTS_MAX: u32 = 1600;

/// The longest ban, in seconds.
pub const BAN_S_MAX: u64 = 4 * HALF_LIFE_S;

/// Points are kept in thousandths.
const UNIT: u64 = 1000;

/// An offence, by what it costs in thousandths of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// A frame over the peer's rate: an honest burst costs little, a flood much.
    OverRate,
    /// A request that cannot be read, or a record of addresses that does not hold.
    Malformed,
    /// An item, notice or answer that no honest peer passes on. Two of them are as much as gossipsub's own score
    /// takes before it stops listening.
    Rejected,
    /// Of an address: a peer that was connected from it was banned.
    BannedPeer,
}

impl Offence {
    fn cost(self) -> u64 {
        match self {
            Self::OverRate => 50,
            Self::Malformed => 10 * UNIT,
            Self::Rejected => 50 * UNIT,
            Self::BannedPeer => 40 * UNIT,
        }
    }
}

/// The points of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Penalty {
    thousandths: u64,
    /// Seconds since the Epoch.
    at: u64,
}

impl Penalty {
    /// What was written down.
    pub(crate) fn from_parts(thousandths: u64, at: u64) -> Self {
        Self { thousandths: thousandths.min(u64::from(POINTS_MAX) * UNIT), at }
    }

    /// What is to be written down.
    pub(crate) fn parts(&self) -> (u64, u64) {
        (self.thousandths, self.at)
    }

    /// What is left at `now`. Between two halvings points fall in a straight line.
    fn left(&self, now: u64) -> u64 {
        let passed = now.saturating_sub(self.at);
        let halved = self.thousandths.checked_shr(u32::try_from(passed / HALF_LIFE_S).unwrap_or(u32::MAX)).unwrap_or(0);
        halved - halved * (passed % HALF_LIFE_S) / (2 * HALF_LIFE_S)
    }

    /// Whole points at `now`.
    pub fn points(&self, now: u64) -> u32 {
        u32::try_from(self.left(now) / UNIT).unwrap_or(POINTS_MAX)
    }

    /// Whether the peer is banned at `now`.
    pub fn is_banned(&self, now: u64) -> bool {
        self.points(now) >= BANNED_FROM
    }

    /// Whether nothing is left to remember.
    pub(crate) fn is_spent(&self, now: u64) -> bool {
        self.points(now) == 0
    }

    /// Adds an offence; whether it is the one that bans.
    pub fn add(&mut self, offence: Offence, now: u64) -> bool {
        let before = self.is_banned(now);
        let mut thousandths = self.left(now) + offence.cost();
        let bans = !before && thousandths >= u64::from(BANNED_FROM) * UNIT;
        if bans {
            thousandths += u64::from(BANNED_FROM) * UNIT;
        }
        // A clock that was set back must not freeze what fades.
        *self = Self { thousandths: thousandths.min(u64::from(POINTS_MAX) * UNIT), at: now };
        bans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(offences: usize, offence: Offence) -> Penalty {
        let mut penalty = Penalty::default();
        for _ in 0..offences {
            penalty.add(offence, 1000);
        }
        penalty
    }

    #[test]
    fn two_bad_frames_ban_for_ten_minutes_and_one_does_not() {
        assert!(!after(1, Offence::Rejected).is_banned(1000));
        let banned = after(2, Offence::Rejected);
        assert!(banned.is_banned(1000) && banned.is_banned(1000 + HALF_LIFE_S));
        assert!(!banned.is_banned(1000 + HALF_LIFE_S + 30));
    }

    #[test]
    fn no_ban_lasts_longer_than_its_limit_whatever_was_done() {
        let worst = after(10_000, Offence::Rejected);
        assert!(worst.is_banned(1000 + BAN_S_MAX - 1));
        assert!(!worst.is_banned(1000 + BAN_S_MAX + 30));
        assert!(worst.is_spent(1000 + 20 * HALF_LIFE_S) && worst.is_spent(u64::MAX));
    }

    #[test]
    fn an_honest_burst_is_forgotten_and_a_flood_is_not() {
        let mut burst = after(500, Offence::OverRate);
        assert!(!burst.is_banned(1000));
        assert!(!burst.add(Offence::OverRate, 1000 + HALF_LIFE_S));
        assert!(burst.points(1000 + HALF_LIFE_S) <= 13);
        assert!(after(2000, Offence::OverRate).is_banned(1000));
    }

    #[test]
    fn points_never_rise_by_themselves() {
        let penalty = after(40, Offence::Rejected);
        let points: Vec<u32> = (0..5000).map(|s| penalty.points(1000 + s)).collect();
        assert!(points.windows(2).all(|two| two[0] >= two[1]));
        assert_eq!(penalty.points(0), penalty.points(1000), "a clock that was set back");
    }
}
