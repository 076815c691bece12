//! Verdicts a second and core, as a ratio to the goal.
//!
//! `cargo bench -p quorate-tally` runs all; `--quick` is a small run that only shows that everything works.
//! Results are signed and verified before the clock starts: what is measured is the tally alone.
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, clippy::disallowed_methods, reason = "benchmark")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Timestamp};
use quorate_tally::{Circumstances, Policy, tally_as_of};
use quorate_tests::{Member, SIGNED_AT, artifact, different, equivalent, identical, policy};

/// Verdicts a second and core.
const GOAL: f64 = 50_000.0;

/// Of so many artifacts in turn, so that no verdict is made twice in a row.
const ARTIFACTS: usize = 64;

const FULL: Duration = Duration::from_secs(5);
const QUICK: Duration = Duration::from_millis(100);

/// What is tallied again and again.
struct Load {
    what: &'static str,
    policy: Policy,
    slots: Vec<(ArtifactId, Vec<VerifiedStatement>)>,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    for load in [flat(), disputed(), grouped()] {
        let rate = load.rate(if quick { QUICK } else { FULL });
        println!("{}: {rate:.0} verdicts/s on one core = {:.0} % of the goal ({GOAL})", load.what, 100.0 * rate / GOAL);
    }
}

impl Load {
    /// `says` is what the operator with this number says of every artifact.
    fn new(
        what: &'static str,
        policy: &str,
        members: &mut [Member],
        says: impl Fn(usize, &ArtifactId) -> quorate_proto::result::Outcome,
    ) -> Self {
        let policy = Policy::parse(policy).unwrap();
        let verify = |item| VerifiedStatement::verify_item(&item, policy.enrolled()).unwrap();
        let mut slot = |number: usize| {
            let artifact = artifact("click", &format!("{number}.0"), &number.to_be_bytes());
            let say = |(at, member): (usize, &mut Member)| verify(member.says(&artifact, says(at, &artifact)));
            let results = members.iter_mut().enumerate().map(say).collect();
            (artifact, results)
        };
        let slots = (0..ARTIFACTS).map(&mut slot).collect();
        Self { what, policy, slots }
    }

    /// Verdicts a second on this thread.
    fn rate(&self, span: Duration) -> f64 {
        let circumstances = Circumstances { as_of: Some(Timestamp::from_unix_seconds(SIGNED_AT)), ..Circumstances::default() };
        let began = Instant::now();
        let mut verdicts = 0_u64;
        while began.elapsed() < span {
            for (artifact, statements) in &self.slots {
                black_box(tally_as_of(&self.policy, artifact, black_box(statements), circumstances));
            }
            verdicts += self.slots.len() as u64;
        }
        verdicts as f64 / began.elapsed().as_secs_f64()
    }
}

fn members(count: u8) -> Vec<Member> {
    (1..=count).map(Member::new).collect()
}

/// The usual case: five operators agree.
fn flat() -> Load {
    let mut members = members(5);
    let policy = policy(3, &members);
    Load::new("five operators agree", &policy, &mut members, |_, artifact| identical(artifact))
}

/// The costly case: everybody says something else.
fn disputed() -> Load {
    let mut members = members(5);
    let policy = policy(3, &members);
    Load::new("five operators, three results", &policy, &mut members, |at, artifact| match at {
        0 => identical(artifact),
        1 => equivalent(),
        at => different(if at == 4 { "b" } else { "a" }, "evil.py"),
    })
}

/// A demanding policy: fifteen operators in five groups, three countries, and rules for packages.
fn grouped() -> Load {
    let mut members = members(15);
    let mut policy = policy(3, &members);
    for at in 0..15 {
        let name = format!("name = \"operator-{at}\"\n");
        policy = policy.replace(&name, &format!("{name}country = \"{}\"\n", ["DE", "FR", "JP"][at % 3]));
    }
    for group in 0..5 {
        let names = [group * 3, group * 3 + 1, group * 3 + 2].map(|at| format!("\"operator-{at}\"")).join(", ");
        let _ = write!(policy, "\n[[group]]\nname = \"group-{group}\"\nk = 2\nmembers = [{names}]\n");
    }
    policy += "\n[distinct]\ncountry = 2\n[[package]]\nmatch = \"pkg:npm/*\"\nthreshold = 4\n";
    policy += "[[package]]\nmatch = \"pkg:pypi/click@*\"\nmax_age_days = 90\n";
    Load::new("fifteen operators in five groups", &policy, &mut members, |_, artifact| identical(artifact))
}
