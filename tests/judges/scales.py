"""Asks tlog-scales about a log. Prints `accepted` and ends with 0, or `refused: why` and ends with 1.

checkpoint NOTE LOG_VKEY QUORUM [WITNESS_VKEY...]   signed by the log, cosigned by so many witnesses
tiles      LOCATION LOG_VKEY [REMEMBERED_NOTE]      the tiles lead to the served checkpoint's root, which extends another
proof      PROOF ENTRY LOG_VKEY                     the entry is in the checkpoint of this C2SP tlog-proof
"""

import sys
from pathlib import Path

from tlog_scales import backend, tiles, tlog
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.utils import b64dec


class Refused(Exception):
    pass


def checkpoint(note, log, quorum, *witnesses):
    seen = tlog.Checkpoint.from_text(Path(note).read_text())
    opened(seen, log)
    keys = VkeySet(*map(Vkey.from_string, witnesses))
    cosigned = {key.name for key, _ in keys.verify(seen.signatures, seen)}
    if len(cosigned) < int(quorum):
        raise Refused(f"{len(cosigned)} cosignatures, {quorum} are asked for")


def tiles_of(location, log, remembered=None):
    reader = TilesReader(backend.make_backend(location))
    served = reader.get_checkpoint()
    opened(served, log)
    if reader.calculate_root_hash() != served.root_hash:
        raise Refused("the tiles do not lead to the root")
    # The reader takes hashes of full subtrees from upper tiles: the lowest level is looked at by inclusion proofs.
    for index in {0, served.size // 3, served.size // 2, served.size - 1}:
        entry = reader.get_entry(index)
        reader.get_inclusion_proof(index, served.size).check(tiles.leaf_hash(entry), served.root_hash)
    if remembered:
        old = tlog.Checkpoint.from_text(Path(remembered).read_text())
        opened(old, log)
        if old.size > served.size:
            raise Refused(f"the log went back from {old.size} to {served.size}")
        reader.get_consistency_proof(old.size, served.size).check(old.root_hash, served.root_hash)


def proof(path, entry, log):
    head, _, note = Path(path).read_text().partition("\n\n")
    first, index, *hashes = head.split("\n")
    if first != "c2sp.org/tlog-proof@v1":
        raise Refused("no tlog-proof")
    seen = tlog.Checkpoint.from_text(note)
    opened(seen, log)
    included = tlog.InclusionProof(int(index.removeprefix("index ")), seen.size, [b64dec(h) for h in hashes])
    included.check(tiles.leaf_hash(Path(entry).read_bytes()), seen.root_hash)


def opened(seen, log):
    key = Vkey.from_string(log)
    seen.verify(key)
    # What the specification asks of the reader.
    if seen.origin != key.name:
        raise Refused(f"origin {seen.origin}")


def main():
    command = {"checkpoint": checkpoint, "tiles": tiles_of, "proof": proof}[sys.argv[1]]
    try:
        command(*sys.argv[2:])
    except (OSError, TypeError, AttributeError):
        raise
    except Exception as error:
        print(f"refused: {type(error).__name__} {error}")
        sys.exit(1)
    print("accepted")


main()
