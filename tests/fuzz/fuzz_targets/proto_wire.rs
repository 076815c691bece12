//! Frames of the mesh: any bytes are read or refused, and what is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{Notice, SyncRequest, SyncResponse};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(item) = FeedItem::decode(bytes) {
        assert_eq!(FeedItem::decode(&item.encode()).expect("own frame"), item);
    }
    if let Ok(notice) = Notice::decode(bytes) {
        assert_eq!(Notice::decode(&notice.encode()).expect("own notice"), notice);
    }
    if let Ok(request) = SyncRequest::decode(bytes) {
        assert_eq!(SyncRequest::decode(&request.encode()).expect("own request"), request);
    }
    if let Ok(response) = SyncResponse::decode(bytes) {
        assert_eq!(SyncResponse::decode(&response.encode()).expect("own response"), response);
    }
});
