//! Network attempts, read from the kernel's own counters of a network namespace.
//!
//! In a namespace with loopback alone, what the command tried is what moved (seen on Linux 6.18): a TCP
//! connect, a datagram or a connected datagram socket to an outside address moves `Ip OutNoRoutes` (IPv6:
//! `Ip6OutNoRoutes`); a name look-up with no resolver configured goes to port 53 of loopback, where nobody
//! listens, and moves `Udp NoPorts`. Raw, packet and ping sockets are refused before they count. Connections
//! within loopback move neither, so the relay is never mistaken for an attempt.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// The counters that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets to addresses that no route leads to.
    pub unroutable: u64,
    /// Datagrams to ports of loopback where nobody listens.
    pub refused_datagrams: u64,
}

impl Counters {
    /// Reads those of the network namespace of this process.
    pub(super) fn read() -> io::Result<Self> {
        let four = Self::parse(&fs::read_to_string("/proc/net/snmp")?);
        // Absent where IPv6 is switched off.
        let six = Self::parse_six(&fs::read_to_string("/proc/net/snmp6").unwrap_or_default());
        Ok(Self { unroutable: four.unroutable + six.unroutable, refused_datagrams: four.refused_datagrams + six.refused_datagrams })
    }

    /// What moved since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            unroutable: self.unroutable.saturating_sub(earlier.unroutable),
            refused_datagrams: self.refused_datagrams.saturating_sub(earlier.refused_datagrams),
        }
    }

    /// Pairs of lines: `Ip: name name …` above `Ip: value value …`.
    fn parse(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let value = |family: &str, name: &str| {
            lines
                .chunks_exact(2)
                .filter(|pair| pair[0].split_whitespace().next() == Some(family))
                .flat_map(|pair| pair[0].split_whitespace().zip(pair[1].split_whitespace()))
                .find(|(column, _)| *column == name)
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(0)
        };
        Self { unroutable: value("Ip:", "OutNoRoutes"), refused_datagrams: value("Udp:", "NoPorts") }
    }

    /// Lines of name and value.
    fn parse_six(text: &str) -> Self {
        let value = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(char::is_whitespace))
                .find(|(column, _)| *column == name)
                .and_then(|(_, value)| value.trim().parse().ok())
                .unwrap_or(0)
        };
        Self { unroutable: value("Ip6OutNoRoutes"), refused_datagrams: value("Udp6NoPorts") }
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn counters_are_found_by_column_name_not_by_place() {
        let text = "Ip: Forwarding OutNoRoutes\nIp: 1 7\nUdp: InDatagrams NoPorts InErrors\nUdp: 9 4 0\nUdpLite: InDatagrams NoPorts\nUdpLite: 1 99\n";
        assert_eq!(Counters::parse(text), Counters { unroutable: 7, refused_datagrams: 4 });
        let six = "Ip6InReceives                   \t3\nIp6OutNoRoutes                  \t2\nUdp6NoPorts \t5\n";
        assert_eq!(Counters::parse_six(six), Counters { unroutable: 2, refused_datagrams: 5 });
    }

    #[test]
    fn garbage_counts_as_nothing() {
        assert_eq!(Counters::parse("Ip:\n"), Counters::default());
        assert_eq!(Counters::parse("Ip: OutNoRoutes\nIp: many\n"), Counters::default());
    }
}
