// Asks Go's own checksum database code (golang.org/x/mod/sumdb) about a log. Prints `accepted` and ends with 0, or
// `refused: why` and ends with 1; misuse ends with 2. It has no cosignatures and no origins: what it judges is the
// log's signature, the tiles, and the proofs.
//
//	checkpoint NOTE LOG_VKEY               signed by the log
//	tiles LOCATION LOG_VKEY [REMEMBERED]   all tiles lead to the served root, which extends the remembered one
//	proof PROOF ENTRY LOG_VKEY             the entry is in the checkpoint of this C2SP tlog-proof
package main

import (
	"errors"
	"fmt"
	"io/ioutil"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: checkpoint|tiles|proof …")
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
		_, err := open(fromDisk(args[0]), args[1])
		return err
	case "tiles":
		return tiles(location(args[0]), args[1], args[2:])
	case "proof":
		return proof(string(fromDisk(args[0])), fromDisk(args[1]), args[2])
	}
	fmt.Fprintln(os.Stderr, "no such command:", command)
	os.Exit(2)
	return nil
}

// A file that a test wrote: without it nothing is judged.
func fromDisk(path string) []byte {
	data, err := ioutil.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return data
}

// The tree of a signed checkpoint.
func open(signed []byte, vkey string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 {
		return tlog.Tree{}, errors.New("no checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func tiles(at location, vkey string, remembered []string) error {
	signed, err := at.read("checkpoint")
	if err != nil {
		return err
	}
	tree, err := open(signed, vkey)
	if err != nil {
		return err
	}
	// Every tile is authenticated against the root before a hash of it is given out.
	hashes := tlog.TileHashReader(tree, at)
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return errors.New("the tiles do not lead to the root")
	}
	for index := int64(0); index < tree.N; index += 256 {
		path, err := tlog.ProveRecord(tree.N, index, hashes)
		if err != nil {
			return err
		}
		entry, err := at.entry(index, tree.N)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
			return err
		}
	}
	for _, path := range remembered {
		old, err := open(fromDisk(path), vkey)
		if err != nil {
			return err
		}
		if old.N > tree.N {
			return fmt.Errorf("the log went back from %d to %d", old.N, tree.N)
		}
		consistent, err := tlog.ProveTree(tree.N, old.N, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(consistent, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return err
		}
	}
	return nil
}

func proof(text string, entry []byte, vkey string) error {
	parts := strings.SplitN(text, "\n\n", 2)
	lines := strings.Split(parts[0], "\n")
	if len(parts) != 2 || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("no tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	tree, err := open([]byte(parts[1]), vkey)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

// A folder, or an address.
type location string

func (at location) read(path string) ([]byte, error) {
	if !strings.HasPrefix(string(at), "http://") {
		return ioutil.ReadFile(filepath.Join(string(at), filepath.FromSlash(path)))
	}
	answer, err := http.Get(strings.TrimSuffix(string(at), "/") + "/" + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", path, answer.StatusCode)
	}
	return ioutil.ReadAll(answer.Body)
}

// Go writes the height into the paths, C2SP does not, and calls entries `data`.
func (at location) tile(tile tlog.Tile) ([]byte, error) {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return at.read(strings.Replace(path, "tile/data/", "tile/entries/", 1))
}

func (at location) entry(index, size int64) ([]byte, error) {
	tile := tlog.Tile{H: 8, L: -1, N: index / 256, W: 256}
	if size-tile.N*256 < 256 {
		tile.W = int(size - tile.N*256)
	}
	data, err := at.tile(tile)
	if err != nil {
		return nil, err
	}
	for skip := index % 256; ; skip-- {
		if len(data) < 2 || len(data) < 2+int(data[0])<<8+int(data[1]) {
			return nil, errors.New("an entry bundle breaks off")
		}
		length := int(data[0])<<8 + int(data[1])
		if skip == 0 {
			return append([]byte(nil), data[2:2+length]...), nil
		}
		data = data[2+length:]
	}
}

func (at location) Height() int { return 8 }

func (at location) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range wanted {
		data, err := at.tile(tile)
		if err != nil {
			return nil, err
		}
		read = append(read, data)
	}
	return read, nil
}

func (at location) SaveTiles([]tlog.Tile, [][]byte) {}
