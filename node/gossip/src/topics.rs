//! The two topics of gossip. Nothing else is passed on, remembered or counted as said.
//!
//! Gossipsub remembers what it has seen by its id, before anybody has looked at it. So an id names the topic, too: what
//! a liar says on one topic must not make the same bytes a duplicate on the other, nor its honest senders liars. And
//! messages and subscriptions of other topics, which nobody here would ever judge, go before they are kept.

use std::io;

use libp2p::gossipsub::{DataTransform, IdentTopic, Message, MessageId, RawMessage, TopicHash, WhitelistSubscriptionFilter};
use quorate_proto::Digest;
use quorate_proto::wire::{FEED_TOPIC, NOTICE_TOPIC};

/// The topic of feed items.
pub(crate) fn feed_topic() -> IdentTopic {
    IdentTopic::new(FEED_TOPIC)
}

/// The topic of what everybody should know.
pub(crate) fn notice_topic() -> IdentTopic {
    IdentTopic::new(NOTICE_TOPIC)
}

/// SHA-256 of the topic, a zero byte and the data.
pub(crate) fn message_id(message: &Message) -> MessageId {
    let named = [message.topic.as_str().as_bytes(), b"\0", &message.data].concat();
    MessageId::from(Digest::of(&named).as_bytes().to_vec())
}

/// Subscriptions that are remembered of a peer.
pub(crate) fn subscriptions() -> WhitelistSubscriptionFilter {
    WhitelistSubscriptionFilter([feed_topic().hash(), notice_topic().hash()].into())
}

/// Lets messages of the two topics through as they are, and no others.
pub(crate) struct OurTopics;

impl DataTransform for OurTopics {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        if ![FEED_TOPIC, NOTICE_TOPIC].contains(&raw.topic.as_str()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a topic that is none of ours"));
        }
        Ok(Message { source: raw.source, data: raw.data, sequence_number: raw.sequence_number, topic: raw.topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(topic: &str) -> RawMessage {
        let topic = TopicHash::from_raw(topic);
        RawMessage { source: None, data: b"x".to_vec(), sequence_number: None, topic, signature: None, key: None, validated: false }
    }

    #[test]
    fn messages_of_other_topics_go_before_they_are_kept() {
        for (topic, ours) in [(FEED_TOPIC, true), (NOTICE_TOPIC, true), ("quorate/v2/feed", false), ("", false)] {
            assert_eq!(OurTopics.inbound_transform(raw(topic)).is_ok(), ours, "{topic}");
        }
    }

    #[test]
    fn one_thing_said_on_two_topics_is_two_messages() {
        let id = |topic| OurTopics.inbound_transform(raw(topic)).map(|message| message_id(&message)).ok();
        assert_ne!(id(FEED_TOPIC), id(NOTICE_TOPIC));
        assert_eq!(id(FEED_TOPIC), id(FEED_TOPIC));
    }
}
