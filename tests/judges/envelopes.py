"""Asks securesystemslib and in-toto-attestation about a DSSE envelope. Prints `accepted` and ends with 0, or `refused: why`
and ends with 1.

envelope  FILE PUBLIC_KEY_HEX        securesystemslib: one signature by this key
statement FILE PREDICATE_TYPE        in-toto-attestation: a valid Statement v1; predicates that it knows are read as such
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

import in_toto_attestation.v1.statement_pb2 as statement_pb2
from google.protobuf.json_format import ParseDict, ParseError
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error
from securesystemslib.signer import SSlibKey

PREDICATES = {
    "https://slsa.dev/provenance/v1": provenance_pb2.Provenance,
    "https://slsa.dev/verification_summary/v1": vsa_pb2.VerificationSummary,
}


def envelope(path, public):
    read = Envelope.from_dict(json.loads(Path(path).read_bytes()))
    key_id = sha256(bytes.fromhex(public)).hexdigest()
    read.verify([SSlibKey(key_id, "ed25519", "ed25519", {"public": public})], 1)
    return read


def statement(path, kind):
    read = Envelope.from_dict(json.loads(Path(path).read_bytes()))
    if read.payload_type != "application/vnd.in-toto+json":
        raise ValueError(f"payload type {read.payload_type}")
    said = json.loads(read.payload)
    message = ParseDict(said, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    if message.predicate_type != kind:
        raise ValueError(f"predicate type {message.predicate_type}")
    if kind in PREDICATES:
        # In SLSA's specification a list, in these bindings one text.
        said["predicate"].pop("verifiedLevels", None)
        # Extension members have names that are no names of the specification's.
        ParseDict(said["predicate"], PREDICATES[kind](), ignore_unknown_fields=True)


def main():
    command = {"envelope": envelope, "statement": statement}[sys.argv[1]]
    try:
        command(*sys.argv[2:])
    except (Error, ValueError, ParseError, KeyError) as error:
        print(f"refused: {type(error).__name__} {error}")
        sys.exit(1)
    print("accepted")


main()
