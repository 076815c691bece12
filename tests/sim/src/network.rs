//! The network: late, lossy, repeating, out of order, and now and then in two halves. Or, where messages go over
//! streams as libp2p's do: late, and later where something was lost, but whole and in order between two nodes.
//!
//! It knows who speaks to whom and how many bytes, never what is said.

use std::collections::HashMap;
use std::time::Duration;

use crate::random::Random;

/// How bad a network is.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// The shortest time of a message from one to the next.
    pub hop_min: Duration,
    /// The longest. Each message draws its own, so messages overtake each other, but for those on streams.
    pub hop_max: Duration,
    /// Messages in a thousand that are lost on the way.
    pub lost_per_mille: u64,
    /// What becomes of them.
    pub lost: Lost,
    /// Messages in a thousand that arrive twice.
    pub doubled_per_mille: u64,
    /// What a line carries: large messages take longer.
    pub bytes_per_second: u64,
}

/// What becomes of a message that is lost on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It is sent again after a while, and after twice that, and what follows on the line waits for it: streams.
    Repaired,
    /// It never arrives: harsher than any stream.
    ForGood,
}

/// The first pause before a lost message is sent again.
const REPAIR_AFTER: Duration = Duration::from_millis(200);

impl Conditions {
    /// Hops of 20 to 120 ms, streams on which one message in a hundred is lost and sent again, lines of 100 Mbit/s.
    pub const fn ordinary() -> Self {
        Self {
            hop_min: Duration::from_millis(20),
            hop_max: Duration::from_millis(120),
            lost_per_mille: 10,
            lost: Lost::Repaired,
            doubled_per_mille: 0,
            bytes_per_second: 12_500_000,
        }
    }

    /// One message in five lost for good, one in ten doubled, hops of up to 1.5 s, lines of 10 Mbit/s.
    pub const fn bad() -> Self {
        Self {
            hop_min: Duration::from_millis(5),
            hop_max: Duration::from_millis(1500),
            lost_per_mille: 200,
            lost: Lost::ForGood,
            doubled_per_mille: 100,
            bytes_per_second: 1_250_000,
        }
    }
}

/// The network between numbered places.
#[derive(Debug)]
pub struct Network {
    conditions: Conditions,
    random: Random,
    /// Which half each place is in, while there are halves.
    halves: Option<Vec<Half>>,
    /// Bytes that were put on the way to each place, lost ones too.
    bytes_to: Vec<u64>,
    /// When the last message on each line arrives, where they arrive in order.
    last_at: HashMap<(usize, usize), Duration>,
}

/// A side of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The one.
    Left,
    /// The other.
    Right,
    /// Neither loses it.
    Both,
}

impl Network {
    /// A network of `places`.
    pub fn new(conditions: Conditions, places: usize, random: Random) -> Self {
        Self { conditions, random, halves: None, bytes_to: vec![0; places], last_at: HashMap::new() }
    }

    /// Nobody hears the other half from now on; none: everybody hears everybody.
    pub fn split(&mut self, halves: Option<Vec<Half>>) {
        self.halves = halves;
    }

    /// Whether a message could pass.
    pub fn joins(&self, from: usize, to: usize) -> bool {
        let apart = |halves: &Vec<Half>| matches!((halves[from], halves[to]), (Half::Left, Half::Right) | (Half::Right, Half::Left));
        !self.halves.as_ref().is_some_and(apart)
    }

    /// When each copy of a message that is sent at `now` arrives.
    pub fn send(&mut self, from: usize, to: usize, bytes: usize, now: Duration) -> Vec<Duration> {
        self.bytes_to[to] += bytes as u64;
        if !self.joins(from, to) {
            return Vec::new();
        }
        let mut repaired = Duration::ZERO;
        while self.random.chance(self.conditions.lost_per_mille) {
            if self.conditions.lost == Lost::ForGood {
                return Vec::new();
            }
            self.bytes_to[to] += bytes as u64;
            repaired = repaired * 2 + REPAIR_AFTER;
        }
        let copies = 1 + usize::from(self.random.chance(self.conditions.doubled_per_mille));
        let carried = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / self.conditions.bytes_per_second);
        (0..copies).map(|_| self.arrival(from, to, now + repaired + carried)).collect()
    }

    fn arrival(&mut self, from: usize, to: usize, sent: Duration) -> Duration {
        let at = sent + self.random.between(self.conditions.hop_min, self.conditions.hop_max);
        if self.conditions.lost == Lost::ForGood {
            return at;
        }
        let last = self.last_at.entry((from, to)).or_default();
        *last = at.max(*last);
        *last
    }

    /// Bytes that were put on the way to a place.
    pub fn bytes_to(&self, place: usize) -> u64 {
        self.bytes_to[place]
    }
}
