//! What happens to networks, and what must hold all the same. Each name is the sentence that is shown.

use std::pin::Pin;

use crate::network::Ports;
use crate::town::{Node, Plan, Town, Transport, Way};

type Scenario = fn() -> Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// All of them.
pub(crate) const SCENARIOS: [(&str, Scenario); 9] = [
    ("both halves of a parted network sign on, and after it heals everybody holds everything", || Box::pin(partition())),
    ("a node that is killed and comes back has lost nothing and missed nothing", || Box::pin(lost_node())),
    ("nodes go on without a coordinator, and one that comes back has all of it in one log", || Box::pin(lost_coordinator())),
    ("a volunteer behind NAT is heard by everybody and hears everybody", || Box::pin(volunteer())),
    ("two volunteers, each behind NAT, meet through a relay, come to a TCP connection of their own and need it no more", || {
        Box::pin(met_through_a_relay(Transport::Tcp))
    }),
    ("two volunteers, each behind NAT, do the same over QUIC", || Box::pin(met_through_a_relay(Transport::Quic))),
    ("two volunteers whose routers draw their ports stay on the relay, and have everything of each other", || Box::pin(kept_apart())),
    ("a node behind a slow link gets everything and holds up nobody", || Box::pin(slow_link())),
    ("a clock that is off by five minutes is no matter, and one far ahead harms nobody else", || Box::pin(wrong_clocks())),
];

async fn partition() -> anyhow::Result<()> {
    let mut town = Town::found(Plan { nodes: 4, ..Plan::default() }).await?;
    town.open().await?;
    sign(&mut town.nodes, 2).await?;
    town.until_everybody_holds_everything().await?;
    town.network.part(&[&town.nodes[0].host, &town.nodes[1].host])?;
    sign(&mut town.nodes, 3).await?;
    // The half with the coordinator has its own results; those of the other half must not have crossed.
    town.until_all_hold(&[2, 3], &[2, 3]).await?;
    let crossed = town.nodes[2].entries_of(&town.nodes[0]).await?.len();
    anyhow::ensure!(crossed == 2, "the network was not parted: {crossed} results of the other half came");
    town.network.heal()?;
    town.until_everybody_holds_everything().await
}

async fn lost_node() -> anyhow::Result<()> {
    let mut town = Town::found(Plan { nodes: 3, ..Plan::default() }).await?;
    town.open().await?;
    sign(&mut town.nodes, 2).await?;
    town.nodes[0].kill().await?;
    town.nodes[1].sign(5).await?;
    // Two more are waiting for it when it comes back.
    town.nodes[0].sign(2).await?;
    town.nodes[0].start().await?;
    town.until_everybody_holds_everything().await
}

async fn lost_coordinator() -> anyhow::Result<()> {
    let mut town = Town::found(Plan { nodes: 3, ..Plan::default() }).await?;
    town.open().await?;
    sign(&mut town.nodes, 3).await?;
    town.until_everybody_holds_everything().await?;
    town.coordinator.kill().await?;
    sign(&mut town.nodes, 3).await?;
    town.until_everybody_holds_everything().await?;
    town.coordinator.start().await?;
    town.until_everybody_holds_everything().await?;
    town.coordinator.kill().await
}

async fn volunteer() -> anyhow::Result<()> {
    let mut town = Town::found(Plan { nodes: 3, volunteers: 1, ..Plan::default() }).await?;
    town.open().await?;
    sign(&mut town.nodes, 3).await?;
    town.until_everybody_holds_everything().await
}

async fn met_through_a_relay(transport: Transport) -> anyhow::Result<()> {
    let mut town = Town::of_volunteers(transport, Ports::Kept).await?;
    town.until_connected(1, 2, Way::Direct).await?;
    town.nodes[0].kill().await?;
    sign(&mut town.nodes[1..], 3).await?;
    town.until_all_hold(&[1, 2], &[1, 2]).await
}

async fn kept_apart() -> anyhow::Result<()> {
    let mut town = Town::of_volunteers(Transport::Tcp, Ports::Drawn).await?;
    town.until_one_gave_up_punching(1, 2).await?;
    sign(&mut town.nodes[1..], 3).await?;
    // The relay takes nothing of theirs: what they have of each other it has only carried.
    town.until_all_hold(&[1, 2], &[1, 2]).await?;
    town.until_connected(1, 2, Way::Relayed).await
}

async fn slow_link() -> anyhow::Result<()> {
    let mut town = Town::found(Plan { nodes: 3, ..Plan::default() }).await?;
    town.open().await?;
    town.network.slow(&town.nodes[0].host, "128kbit")?;
    town.nodes[1].sign(40).await?;
    // The others first: nobody waits for the slow one.
    town.until_all_hold(&[1], &[2]).await?;
    town.nodes[0].sign(3).await?;
    town.until_everybody_holds_everything().await
}

async fn wrong_clocks() -> anyhow::Result<()> {
    let mut town = Town::found(Plan { nodes: 4, ..Plan::default() }).await?;
    (town.nodes[0].ahead, town.nodes[1].ahead, town.nodes[2].ahead) = (300, -300, 3600);
    town.open().await?;
    sign(&mut town.nodes, 2).await?;
    // The one an hour ahead signs, and takes all of the others; its own results wait for their time.
    town.until_all_hold(&[0, 1, 3], &[0, 1, 2, 3]).await?;
    sign(&mut town.nodes, 2).await?;
    town.until_all_hold(&[0, 1, 3], &[0, 1, 2, 3]).await?;
    let early = town.nodes[3].entries_of(&town.nodes[2]).await?.len();
    anyhow::ensure!(early == 0, "{early} results were taken that are from an hour ahead");
    Ok(())
}

async fn sign(nodes: &mut [Node], each: usize) -> anyhow::Result<()> {
    for node in nodes {
        node.sign(each).await?;
    }
    Ok(())
}
