"""Writes the layout of a consumer who trusts these nodes, with in-toto's own library.

usage: layout.py FOLDER THRESHOLD FILE PUBLIC_KEY_HEX...
FOLDER/root.layout asks that THRESHOLD of the nodes have rebuilt FILE, all of them to what lies beside the layout;
FOLDER/owner.pub is the key that signed it.
"""

import sys
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from in_toto.models.layout import Inspection, Layout, Step
from in_toto.models.metadata import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

folder, threshold, file, *nodes = sys.argv[1:]
keys = {}
for public in nodes:
    key_id = sha256(bytes.fromhex(public)).hexdigest()
    keys[key_id] = {"keyid": key_id, "keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}

rebuild = Step(name="rebuild", pubkeys=list(keys), threshold=int(threshold))
rebuild.expected_products = [["REQUIRE", file], ["ALLOW", file], ["DISALLOW", "*"]]
published = Inspection(name="published", run=["true"])
published.expected_materials = [["REQUIRE", file], ["MATCH", file, "WITH", "PRODUCTS", "FROM", "rebuild"], ["DISALLOW", file]]
layout = Layout(steps=[rebuild], inspect=[published], keys=keys)
layout.set_relative_expiration(days=1)

owner = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
public = owner.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
envelope = Envelope.from_signable(layout)
envelope.create_signature(CryptoSigner(owner, SSlibKey.from_crypto(owner.public_key())))
Path(folder, "owner.pub").write_bytes(public)
envelope.dump(str(Path(folder, "root.layout")))
