//! What a run measures: times and ratios, gathered over seeds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Milliseconds of simulated time.
    Milliseconds,
    /// Thousandths.
    PerMille,
    /// Things.
    Count,
    /// One for yes, none for no.
    Runs,
}

/// Named series of numbers.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<(&'static str, Unit), Vec<u64>>);

impl Figures {
    /// One more time.
    pub fn time(&mut self, name: &'static str, span: Duration) {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.0.entry((name, Unit::Milliseconds)).or_default().push(ms);
    }

    /// One more number.
    pub fn number(&mut self, name: &'static str, unit: Unit, value: u64) {
        self.0.entry((name, unit)).or_default().push(value);
    }

    /// Whether something was so in this run.
    pub fn run(&mut self, name: &'static str, so: bool) {
        self.number(name, Unit::Runs, u64::from(so));
    }

    /// Takes up another run's.
    pub fn absorb(&mut self, other: Self) {
        for (name, values) in other.0 {
            self.0.entry(name).or_default().extend(values);
        }
    }

    /// The value that so many in a thousand do not exceed.
    pub fn quantile(&self, name: &str, per_mille: usize) -> Option<u64> {
        let mut values = self.0.iter().find(|((known, _), _)| *known == name)?.1.clone();
        values.sort_unstable();
        let rank = (values.len() * per_mille).div_ceil(1000).max(1);
        values.get(rank - 1).copied()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, unit), values) in &self.0 {
            let unit = match unit {
                Unit::Milliseconds => " ms",
                Unit::PerMille => " ‰",
                Unit::Count => "",
                Unit::Runs => {
                    writeln!(f, "  {name}: {} of {}", values.iter().sum::<u64>(), values.len())?;
                    continue;
                }
            };
            let at = |per_mille| self.quantile(name, per_mille).unwrap_or_default();
            writeln!(f, "  {name}: p50 {}{unit}, p99 {}{unit}, max {}{unit} (n = {})", at(500), at(990), at(1000), values.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_occurs() {
        let mut figures = Figures::default();
        (1..=100).for_each(|n| figures.number("n", Unit::Count, n));
        assert_eq!([500, 990, 1000].map(|q| figures.quantile("n", q)), [Some(50), Some(99), Some(100)]);
        assert_eq!(figures.quantile("other", 500), None);
    }
}
