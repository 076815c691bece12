// Asks the transparency-dev libraries about a log: checkpoints with their origin, cosignatures, C2SP tlog-policy, C2SP
// tlog-proof and Merkle proofs. Prints `accepted` and ends with 0, or `refused: why` and ends with 1; misuse ends with 2.
//
//	checkpoint NOTE LOG_VKEY POLICY        signed by the log under its origin, and enough of the policy's witnesses
//	proof PROOF ENTRY LOG_VKEY POLICY      the same of the checkpoint in a tlog-proof, and the entry is in it
//	consistency OLD_NOTE NEW_NOTE LOG_VKEY PATH     the new tree begins with the old one; PATH has a base64 hash a line
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: checkpoint|proof|consistency …")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Println("accepted")
}

func run(command string, args []string) error {
	switch command {
	case "checkpoint":
		_, err := accept(fromDisk(args[0]), args[1], fromDisk(args[2]))
		return err
	case "proof":
		return included(fromDisk(args[0]), fromDisk(args[1]), args[2], fromDisk(args[3]))
	case "consistency":
		return consistent(fromDisk(args[0]), fromDisk(args[1]), args[2], string(fromDisk(args[3])))
	}
	fmt.Fprintln(os.Stderr, "no such command:", command)
	os.Exit(2)
	return nil
}

func fromDisk(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return data
}

// The checkpoint, if the log has signed it as its own.
func open(signed []byte, vkey string) (*log.Checkpoint, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	checkpoint, _, _, err := log.ParseCheckpoint(signed, verifier.Name(), verifier)
	return checkpoint, err
}

func accept(signed []byte, vkey string, policy []byte) (*log.Checkpoint, error) {
	checkpoint, err := open(signed, vkey)
	if err != nil {
		return nil, err
	}
	quorum, err := witness.ParsePolicy(policy)
	if err != nil {
		return nil, err
	}
	if !quorum.Satisfied(signed) {
		return nil, fmt.Errorf("too few of the policy's witnesses have cosigned")
	}
	return checkpoint, nil
}

func included(text, entry []byte, vkey string, policy []byte) error {
	var read proof.TLogProof
	if err := read.Unmarshal(text); err != nil {
		return err
	}
	if string(read.Marshal()) != string(text) {
		return fmt.Errorf("the proof is written in another way")
	}
	checkpoint, err := accept(read.Checkpoint, vkey, policy)
	if err != nil {
		return err
	}
	var path [][]byte
	for i := range read.Hashes {
		path = append(path, read.Hashes[i][:])
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(entry)
	return merkle.VerifyInclusion(rfc6962.DefaultHasher, read.Index, checkpoint.Size, leaf, path, checkpoint.Hash)
}

func consistent(older, newer []byte, vkey, lines string) error {
	old, err := open(older, vkey)
	if err != nil {
		return err
	}
	now, err := open(newer, vkey)
	if err != nil {
		return err
	}
	var path [][]byte
	for _, line := range strings.Fields(lines) {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	return merkle.VerifyConsistency(rfc6962.DefaultHasher, old.Size, now.Size, path, old.Hash, now.Hash)
}
