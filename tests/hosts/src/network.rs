//! Hosts, two switches and the cable between them, out of network namespaces and virtual Ethernet.

use std::fmt;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, bail};

/// What all names begin with; the number of this process follows.
const PREFIX: &str = "quorate";

/// The street: 10.77.0.0/24. The first address is never given out.
const STREET: [u8; 3] = [10, 77, 0];

/// Some hosts that see each other as long as the cable is in. Removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    street: String,
    spaces: Vec<String>,
    hosts: u8,
}

/// What a router does with the ports of those who live behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Ports {
    /// Keeps them, so that others see the same port whoever they are.
    #[default]
    Kept,
    /// Draws one anew for each connection: what one peer sees is of no use to another.
    Drawn,
}

/// This machine's kernel translates no addresses.
#[derive(Debug)]
pub(crate) struct NoTranslation;

impl fmt::Display for NoTranslation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("addresses cannot be translated here")
    }
}

/// A machine with one address.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    space: String,
    /// Its end of the cable, in the street's namespace.
    port: String,
    /// Its address. Behind NAT, nobody else reaches it.
    pub address: Ipv4Addr,
}

/// Whether this machine lets us make namespaces.
pub(crate) fn can_be_had() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("that takes root");
    }
    let space = format!("{PREFIX}-{}-try", std::process::id());
    run("ip", &["netns", "add", &space])?;
    let tried = run("ip", &["-n", &space, "link", "add", "west", "type", "bridge"]);
    run("ip", &["netns", "del", &space])?;
    tried
}

impl Network {
    /// Two switches and the cable between them, and no host.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut network = Self { street: String::new(), spaces: Vec::new(), hosts: 0 };
        network.street = network.space("street")?;
        for switch in ["west", "east"] {
            network.on_street(&["link", "add", switch, "type", "bridge", "forward_delay", "0", "stp_state", "0"])?;
            network.on_street(&["link", "set", switch, "up"])?;
        }
        network.on_street(&["link", "add", "to-east", "type", "veth", "peer", "name", "to-west"])?;
        network.on_street(&["link", "set", "to-east", "master", "west"])?;
        network.on_street(&["link", "set", "to-west", "master", "east"])?;
        network.heal()?;
        Ok(network)
    }

    /// A host at the western switch.
    pub(crate) fn host(&mut self, name: &str) -> anyhow::Result<Host> {
        let space = self.space(name)?;
        self.hosts += 1;
        let [a, b, c] = STREET;
        let host = Host { space, port: format!("port{}", self.hosts), address: Ipv4Addr::new(a, b, c, self.hosts + 1) };
        self.on_street(&["link", "add", &host.port, "type", "veth", "peer", "name", "eth0", "netns", &host.space])?;
        self.on_street(&["link", "set", &host.port, "master", "west", "up"])?;
        host.give("eth0", host.address)?;
        host.ip(&["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// A host in a home: it reaches everybody through its router, which lets nobody in.
    pub(crate) fn host_behind_nat(&mut self, name: &str, ports: Ports) -> anyhow::Result<Host> {
        let router = self.host(&format!("{name}-router"))?;
        let space = self.space(name)?;
        let (inside, address) = (Ipv4Addr::new(192, 168, 77, 1), Ipv4Addr::new(192, 168, 77, 2));
        router.ip(&["link", "add", "home", "type", "veth", "peer", "name", "eth0", "netns", &space])?;
        router.give("home", inside)?;
        router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        let masquerade = match ports {
            Ports::Kept => "masquerade",
            Ports::Drawn => "masquerade fully-random",
        };
        let rules = format!(
            "table ip home {{
                 chain out {{ type nat hook postrouting priority srcnat; oifname eth0 {masquerade}; }}
                 chain in {{ type filter hook forward priority filter; iifname eth0 ct state new drop; }}
                 chain own {{ type filter hook input priority filter; iifname eth0 ct state new drop; }}
             }}"
        );
        router.run("nft", &[&rules]).context(NoTranslation)?;
        let host = Host { space, port: router.port, address };
        host.give("eth0", address)?;
        host.ip(&["link", "set", "lo", "up"])?;
        host.ip(&["route", "add", "default", "via", &inside.to_string()])?;
        Ok(host)
    }

    /// Pulls the cable, with these hosts at the eastern switch and all others at the western one.
    pub(crate) fn part(&self, away: &[&Host]) -> anyhow::Result<()> {
        self.on_street(&["link", "set", "to-east", "down"])?;
        away.iter().try_for_each(|host| self.on_street(&["link", "set", &host.port, "master", "east"]))
    }

    /// Puts the cable in.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        self.on_street(&["link", "set", "to-west", "up"])?;
        self.on_street(&["link", "set", "to-east", "up"])
    }

    /// Lets no more through between a host and its switch, either way, than this: tc's words, such as `256kbit`.
    pub(crate) fn slow(&self, host: &Host, rate: &str) -> anyhow::Result<()> {
        let shape = ["root", "tbf", "rate", rate, "burst", "8kb", "latency", "400ms"];
        let on = |device| [["qdisc", "add", "dev", device].as_slice(), &shape].concat();
        run("tc", &[["-n", &self.street].as_slice(), &on(&host.port)].concat())?;
        run("tc", &[["-n", &host.space].as_slice(), &on("eth0")].concat())
    }

    fn space(&mut self, name: &str) -> anyhow::Result<String> {
        let space = format!("{PREFIX}-{}-{name}", std::process::id());
        run("ip", &["netns", "add", &space])?;
        self.spaces.push(space.clone());
        Ok(space)
    }

    fn on_street(&self, args: &[&str]) -> anyhow::Result<()> {
        run("ip", &[["-n", &self.street].as_slice(), args].concat())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // With a namespace go its devices, and the other ends of their cables.
        for space in &self.spaces {
            if let Err(error) = run("ip", &["netns", "del", space]) {
                eprintln!("{error:#}");
            }
        }
    }
}

impl Host {
    /// What a command begins with that is to run on this host.
    pub(crate) fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.space]
    }

    fn give(&self, device: &str, address: Ipv4Addr) -> anyhow::Result<()> {
        self.ip(&["addr", "add", &format!("{address}/24"), "dev", device])?;
        self.ip(&["link", "set", device, "up"])
    }

    fn ip(&self, args: &[&str]) -> anyhow::Result<()> {
        run("ip", &[["-n", &self.space].as_slice(), args].concat())
    }

    fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<()> {
        let [ip, before @ ..] = self.prefix();
        run(ip, &[before.as_slice(), &[program], args].concat())
    }
}

fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
