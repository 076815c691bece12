//! Envelopes and the statements in them: any bytes are read or refused, and what is read is canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_proto::bundle::Bundle;
use quorate_proto::certificate::NodeCertificate;
use quorate_proto::commitment::Commitment;
use quorate_proto::declaration::{Declaration, VerifiedDeclaration};
use quorate_proto::drill::Drill;
use quorate_proto::dsse::Envelope;
use quorate_proto::provenance::Provenance;
use quorate_proto::result::RebuildResult;
use quorate_proto::statement::Statement;
use quorate_proto::witness_check::WitnessCheck;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::parse(bytes, 1 << 20) {
        assert_eq!(envelope.bytes(), bytes);
    }
    if let Ok(statement) = Statement::<RebuildResult>::parse(bytes) {
        let again = Statement::<RebuildResult>::parse(&statement.to_payload());
        assert_eq!(again.as_ref(), Ok(&statement));
        let _ = statement.artifact();
    }
    if let Ok(statement) = Statement::<Commitment>::parse(bytes) {
        assert_eq!(Statement::<Commitment>::parse(&statement.to_payload()).as_ref(), Ok(&statement));
        let _ = statement.predicate.task();
    }
    if let Ok(statement) = Statement::<WitnessCheck>::parse(bytes) {
        assert_eq!(Statement::<WitnessCheck>::parse(&statement.to_payload()).as_ref(), Ok(&statement));
        let _ = statement.predicate.task();
    }
    if let Ok(statement) = Statement::<Drill>::parse(bytes) {
        assert_eq!(Statement::<Drill>::parse(&statement.to_payload()).as_ref(), Ok(&statement));
        let _ = statement.predicate.commitment();
    }
    if let Ok(declaration) = Declaration::parse(bytes) {
        let _ = (declaration.subject(), declaration.kind());
    }
    let _ = VerifiedDeclaration::verify(bytes);
    let _ = Statement::<Provenance>::parse(bytes);
    let _ = Statement::<NodeCertificate>::parse(bytes);
    let _ = Bundle::parse(bytes);
});
