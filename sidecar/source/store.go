// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/stream"
)

const (
	stateFile = "last-good"
	// magic begins the file and names its form.
	magic = "weir-state-1\n"
)

// store keeps the last good state: magic, the SHA-256 of the rest, a LastGood.
type store struct{ dir string }

// load returns nil when nothing was kept.
func (s *store) load() (*stream.LastGood, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok || len(b) < sha256.Size {
		return nil, errors.New("the file is not a state of this version")
	}
	if sum := sha256.Sum256(b[sha256.Size:]); !bytes.Equal(sum[:], b[:sha256.Size]) {
		return nil, errors.New("the file is damaged: its checksum does not fit")
	}
	state := &stream.LastGood{}
	if err := proto.Unmarshal(b[sha256.Size:], state); err != nil {
		return nil, fmt.Errorf("the file is damaged: %w", err)
	}
	if state.GetSnapshot().GetSnapshot() == nil {
		return nil, errors.New("the file has no snapshot")
	}
	return state, nil
}

// save replaces the file whole or not at all.
func (s *store) save(state *stream.LastGood) error {
	body, err := proto.Marshal(state)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	// CreateTemp makes files of mode 0600.
	f, err := os.CreateTemp(s.dir, stateFile+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Join([][]byte{[]byte(magic), sum[:], body}, nil))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, stateFile))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
