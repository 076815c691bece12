//! Who takes part: honest nodes, and every kind of dishonest one.

use std::collections::BTreeSet;

use quorate_tests::{Member, SIGNED_AT};

use crate::random::Random;

/// How a node behaves on the mesh. What it *says* of an artifact is the scenario's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// As written.
    Honest,
    /// Honest, and all its neighbours but one are dishonest.
    Eclipsed,
    /// Honest, and comes when much has been said.
    Late,
    /// Answers every sync question with a lie of some kind.
    Liar,
    /// Signs two histories and tells each neighbour one of them.
    Equivocator,
    /// Says its own, passes nothing on, and lets questions run into their timeout.
    Withholder,
    /// Passes nothing on, says that it holds nothing, and knows no file.
    Eclipser,
    /// Sends what does not count as fast as the line carries it.
    Spammer,
}

/// What a node does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Answers it.
    Truly,
    /// Answers something else.
    Falsely,
    /// That there is nothing.
    Empty,
    /// Not at all.
    Never,
}

impl Role {
    /// Whether promises are made to it and about it.
    pub fn is_honest(self) -> bool {
        matches!(self, Self::Honest | Self::Eclipsed | Self::Late)
    }

    /// Whether it passes on what others say.
    pub fn relays(self) -> bool {
        self.is_honest()
    }

    /// What it does with questions.
    pub fn answers(self) -> Answers {
        match self {
            Self::Honest | Self::Eclipsed | Self::Late | Self::Equivocator => Answers::Truly,
            Self::Liar => Answers::Falsely,
            Self::Eclipser | Self::Spammer => Answers::Empty,
            Self::Withholder => Answers::Never,
        }
    }
}

/// How many of each dishonest kind, and of those with a special place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    /// Honest nodes whose neighbours are bad but one.
    pub eclipsed: usize,
    /// Honest nodes that come late.
    pub late: usize,
    /// See [`Role`].
    pub liars: usize,
    /// See [`Role`].
    pub equivocators: usize,
    /// See [`Role`].
    pub withholders: usize,
    /// See [`Role`].
    pub eclipsers: usize,
    /// See [`Role`].
    pub spammers: usize,
}

impl Mix {
    /// `nodes` roles, in any order.
    pub fn roles(self, nodes: usize, random: &mut Random) -> Vec<Role> {
        let kinds = [
            (Role::Eclipsed, self.eclipsed),
            (Role::Late, self.late),
            (Role::Liar, self.liars),
            (Role::Equivocator, self.equivocators),
            (Role::Withholder, self.withholders),
            (Role::Eclipser, self.eclipsers),
            (Role::Spammer, self.spammers),
        ];
        let mut roles: Vec<Role> = kinds.into_iter().flat_map(|(role, count)| std::iter::repeat_n(role, count)).collect();
        roles.resize(nodes.max(roles.len()), Role::Honest);
        random.shuffle(&mut roles);
        roles
    }
}

/// Operators with keys, each with as many nodes as it takes: 200 operators at most.
pub fn members(nodes: usize) -> Vec<Member> {
    const OPERATORS_MAX: usize = 200;
    let member = |number: usize| {
        let seed = u8::try_from(1 + number % OPERATORS_MAX).expect("below 201");
        let index = u8::try_from(number / OPERATORS_MAX).expect("at most 51,200 nodes");
        Member::with_validity(seed, index, SIGNED_AT - 86_400, SIGNED_AT + 86_400)
    };
    (0..nodes).map(member).collect()
}

/// Who is connected with whom: a ring of the honest, and random lines up to about `degree` a node. The honest
/// among them are connected without anybody's help; an eclipsed one has one honest neighbour.
pub fn lines(roles: &[Role], degree: usize, random: &mut Random) -> Vec<BTreeSet<usize>> {
    let mut lines = vec![BTreeSet::new(); roles.len()];
    let mut join = |a: usize, b: usize| {
        if a != b {
            lines[a].insert(b);
            lines[b].insert(a);
        }
    };
    let those = |wanted: &dyn Fn(Role) -> bool| (0..roles.len()).filter(|node| wanted(roles[*node])).collect::<Vec<_>>();
    let mut ring = those(&|role| role.is_honest() && role != Role::Eclipsed);
    random.shuffle(&mut ring);
    (0..ring.len()).for_each(|n| join(ring[n], ring[(n + 1) % ring.len()]));
    let free = those(&|role| role != Role::Eclipsed);
    for node in &free {
        (0..degree.saturating_sub(2) / 2).for_each(|_| join(*node, free[random.index(free.len())]));
    }
    let bad = those(&|role| !role.is_honest());
    for victim in those(&|role| role == Role::Eclipsed) {
        join(victim, ring[random.index(ring.len())]);
        (1..degree).filter(|_| !bad.is_empty()).for_each(|_| join(victim, bad[random.index(bad.len())]));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_honest_are_connected_without_the_others_and_degrees_are_bounded() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let roles = Mix { eclipsed: 2, late: 3, liars: 9, eclipsers: 9, ..Mix::default() }.roles(80, &mut random);
            let lines = lines(&roles, 8, &mut random);
            let mut reached = BTreeSet::new();
            let mut open = vec![roles.iter().position(|role| *role == Role::Honest).unwrap_or_default()];
            while let Some(next) = open.pop() {
                if reached.insert(next) {
                    open.extend(lines[next].iter().filter(|to| roles[**to].is_honest()));
                }
            }
            assert_eq!(reached.len(), roles.iter().filter(|role| role.is_honest()).count());
            assert!(lines.iter().all(|to| to.len() < 30));
            for victim in (0..80).filter(|node| roles[*node] == Role::Eclipsed) {
                assert_eq!(lines[victim].iter().filter(|to| roles[**to].is_honest()).count(), 1);
            }
        }
    }
}
