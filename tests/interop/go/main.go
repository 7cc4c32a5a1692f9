// Command logcheck checks a Hermetic audit log with the transparency-log packages of the Go project
// (golang.org/x/mod/sumdb/note and tlog), which share no code with Hermetic.
//
//	logcheck FOLDER
//
// FOLDER holds:
//
//	key          the log's verifier key
//	receipt      a receipt (c2sp.org/tlog-proof), the leaf in its `extra` line
//	old          an earlier checkpoint
//	consistency  the proof from `old` to the checkpoint of the receipt, one base64 hash a line
//	export/      the log as tiles (c2sp.org/tlog-tiles)
//
// It prints a line for each check, and exits with 1 at the first that fails.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 2 {
		fail("usage", fmt.Errorf("logcheck FOLDER"))
	}
	folder := os.Args[1]
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(folder, "key"))))
	fail("key", err)
	known := note.VerifierList(verifier)

	leaf, index, path, signed := splitReceipt(read(folder, "receipt"))
	tree := open("checkpoint", signed, known)
	fail("inclusion", tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(leaf)))

	old := open("old checkpoint", read(folder, "old"), known)
	fail("consistency", tlog.CheckTree(hashes(string(read(folder, "consistency"))), tree.N, tree.Hash, old.N, old.Hash))

	export := tiles(filepath.Join(folder, "export"))
	whole := open("exported checkpoint", read(string(export), "checkpoint"), known)
	hashed := tlog.TileHashReader(whole, export)
	for _, at := range []int64{0, index, whole.N / 2, whole.N - 1} {
		made, err := tlog.ProveRecord(whole.N, at, hashed)
		fail("proof from tiles", err)
		fail("entry from bundle", tlog.CheckRecord(made, whole.N, whole.Hash, at, tlog.RecordHash(export.entry(whole.N, at))))
	}
	proof, err := tlog.ProveTree(whole.N, old.N, hashed)
	fail("consistency from tiles", err)
	fail("consistency from tiles", tlog.CheckTree(proof, whole.N, whole.Hash, old.N, old.Hash))
	fmt.Println("all good: sizes", old.N, tree.N, whole.N)
}

func fail(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
	fmt.Println(what)
}

func read(folder, name string) []byte {
	raw, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		fail(name, err)
	}
	return raw
}

func open(what string, signed []byte, known note.Verifiers) tlog.Tree {
	opened, err := note.Open(signed, known)
	fail(what, err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		fail(what, fmt.Errorf("not three lines"))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	fail(what+": size", err)
	root, err := tlog.ParseHash(lines[2])
	fail(what+": root", err)
	return tlog.Tree{N: size, Hash: root}
}

func splitReceipt(raw []byte) (leaf []byte, index int64, path tlog.RecordProof, checkpoint []byte) {
	head, checkpoint, found := bytes.Cut(raw, []byte("\n\n"))
	lines := strings.SplitN(string(head), "\n", 4)
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		fail("receipt", fmt.Errorf("not a proof"))
	}
	leaf, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	fail("receipt: leaf", err)
	index, err = strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	fail("receipt: index", err)
	if len(lines) == 4 {
		path = tlog.RecordProof(hashes(lines[3]))
	}
	return leaf, index, path, checkpoint
}

func hashes(text string) []tlog.Hash {
	var found []tlog.Hash
	for _, line := range strings.Fields(text) {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			fail("hash", err)
		}
		found = append(found, hash)
	}
	return found
}

// tiles is a folder in the layout of c2sp.org/tlog-tiles, which leaves out the tile height that Go's own paths name.
type tiles string

func (folder tiles) Height() int { return 8 }

func (folder tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		raw, err := os.ReadFile(filepath.Join(string(folder), strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		found = append(found, raw)
	}
	return found, nil
}

func (folder tiles) entry(size, index int64) []byte {
	tile := tlog.Tile{H: 8, L: -1, N: index / 256, W: int(min(256, size-index/256*256))}
	raw := read(string(folder), strings.Replace(tile.Path(), "tile/8/data", "tile/entries", 1))
	for ; index%256 > 0; index-- {
		raw = raw[2+binary.BigEndian.Uint16(raw):]
	}
	return raw[2 : 2+binary.BigEndian.Uint16(raw)]
}
