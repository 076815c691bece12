//! What happens to networks, and what must hold all the same. Each name is the sentence that is shown.

use std::pin::Pin;

use crate::town::{Plan, Town};

type Scenario = fn() -> Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// All of them.
pub(crate) const SCENARIOS: [(&str, Scenario); 6] = [
    ("both halves of a parted network sign on, and after it heals everybody holds everything", || Box::pin(partition())),
    ("a node that is killed and comes back has lost nothing and missed nothing", || Box::pin(lost_node())),
    ("nodes go on without a coordinator, and one that comes back has all of it in one log", || Box::pin(lost_coordinator())),
    ("a volunteer behind NAT is heard by everybody and hears everybody", || Box::pin(volunteer())),
    ("a node behind a slow link gets everything and holds up nobody", || Box::pin(slow_link())),
    ("a clock that is off by five minutes is no matter, and one far ahead harms nobody else", || Box::pin(wrong_clocks())),
];

async fn partition() -> anyhow::Result<()> {
    let mut town = Town::found(Plan { nodes: 4, ..Plan::default() }).await?;
    town.open().await?;
    sign(&mut town, 2).await?;
    town.until_everybody_holds_everything().await?;
    town.network.part(&[&town.nodes[0].host, &town.nodes[1].host])?;
    sign(&mut town, 3).await?;
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
    sign(&mut town, 2).await?;
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
    sign(&mut town, 3).await?;
    town.until_everybody_holds_everything().await?;
    town.coordinator.kill().await?;
    sign(&mut town, 3).await?;
    town.until_everybody_holds_everything().await?;
    town.coordinator.start().await?;
    town.until_everybody_holds_everything().await?;
    town.coordinator.kill().await
}

async fn volunteer() -> anyhow::Result<()> {
    let mut town = Town::found(Plan { nodes: 3, has_volunteer: true }).await?;
    town.open().await?;
    sign(&mut town, 3).await?;
    town.until_everybody_holds_everything().await
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
    sign(&mut town, 2).await?;
    // The one an hour ahead signs, and takes all of the others; its own results wait for their time.
    town.until_all_hold(&[0, 1, 3], &[0, 1, 2, 3]).await?;
    sign(&mut town, 2).await?;
    town.until_all_hold(&[0, 1, 3], &[0, 1, 2, 3]).await?;
    let early = town.nodes[3].entries_of(&town.nodes[2]).await?.len();
    anyhow::ensure!(early == 0, "{early} results were taken that are from an hour ahead");
    Ok(())
}

async fn sign(town: &mut Town, each: usize) -> anyhow::Result<()> {
    for node in &mut town.nodes {
        node.sign(each).await?;
    }
    Ok(())
}
