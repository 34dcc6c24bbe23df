// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/nskey"
	"weir.dev/weir/sidecar/wire/listen"
)

// bareFlags are those of the data plane by itself: one snapshot from a file.
type bareFlags struct {
	snapshot  string
	listeners []string
	admin     string
	secret    string
	notes     string
}

func (f *bareFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.snapshot, "snapshot", "", "file of weir compile to serve, without an operator")
	c.Flags().StringArrayVar(&f.listeners, "listener", nil,
		"name=SERVICE/PORT,listen=HOST:PORT,upstream=HOST:PORT, or port=NUMBER in place of name; may be given several times")
	c.Flags().StringVar(&f.admin, "admin", "", "HOST:PORT for health, metrics, dump and pprof (default: none)")
	c.Flags().StringVar(&f.secret, "secret-file", "", "file with the key that idempotency records are kept under, 32 bytes at the least (default: one that everybody knows, for trials)")
	c.Flags().StringVar(&f.notes, "notes-dir", "", "folder for notes on requests in flight, by which a restart settles what a crash has left (default: none)")
}

func (f *bareFlags) given() bool {
	return f.snapshot != "" || len(f.listeners) > 0 || f.admin != "" || f.secret != "" || f.notes != ""
}

func (f *bareFlags) run(ctx context.Context, log *slog.Logger, level *slog.LevelVar) error {
	if f.snapshot == "" || len(f.listeners) == 0 {
		return errors.New("--snapshot and at least one --listener are needed together")
	}
	snap, err := readSnapshot(f.snapshot)
	if err != nil {
		return err
	}
	update := &stream.SnapshotUpdate{Hash: snapshot.Hash(snap), Snapshot: snap}
	m := newMachine(log, f.notes, func(*machine) settings {
		return settings{
			snapshot: func() *stream.SnapshotUpdate { return update },
			ready:    func() bool { return true },
			level:    level,
		}
	})
	defer m.close()
	if err := f.setKeys(m, snap, log); err != nil {
		return err
	}
	if err := m.engine.Apply(snap); err != nil {
		return fmt.Errorf("%s: %w", f.snapshot, err)
	}
	for _, s := range f.listeners {
		l, err := parseListener(s, snap)
		if err != nil {
			return fmt.Errorf("--listener %s: %w", s, err)
		}
		if err := m.listen(l.listen, listen.Fixed(l.port, l.upstream)); err != nil {
			return fmt.Errorf("--listener %s: %w", s, err)
		}
		log.Info("listening", "address", m.listeners[len(m.listeners)-1].Addr().String(), "port", l.port, "upstream", l.upstream)
	}
	if f.admin != "" {
		addr, err := m.serveHTTP(f.admin, m.admin.All())
		if err != nil {
			return err
		}
		log.Info("admin", "address", addr.String())
	}
	return m.run(ctx)
}

// setKeys gives the engine what an operator would.
func (f *bareFlags) setKeys(m *machine, snap *snapshot.Snapshot, log *slog.Logger) error {
	if snap.GetNamespaceKeyVersion() == "" && f.secret == "" {
		return nil
	}
	for _, p := range snap.GetIdempotencyPolicies() {
		if p.GetEncryptionKey() != "" {
			return fmt.Errorf("%s: IdempotencyPolicy %s encrypts, and without an operator nobody has its key: remove spec.encryption", f.snapshot, p.GetName())
		}
	}
	if f.secret == "" {
		log.Warn("idempotency records are kept under a key that everybody knows: give one with --secret-file")
	}
	key, err := nskey.Local(f.secret, snap.GetWorkload().GetCluster(), snap.GetWorkload().GetNamespace())
	if err != nil {
		return fmt.Errorf("--secret-file: %w", err)
	}
	return m.engine.SetSecrets(&stream.Secrets{NamespaceKey: key})
}

func readSnapshot(file string) (*snapshot.Snapshot, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--snapshot: %w", err)
	}
	snap := &snapshot.Snapshot{}
	if err := protojson.Unmarshal(b, snap); err != nil {
		return nil, fmt.Errorf("--snapshot %s is no file of weir compile: %w", file, err)
	}
	if err := snapshot.Validate(snap); err != nil {
		return nil, fmt.Errorf("--snapshot %s: %w", file, err)
	}
	return snap, nil
}

// bareListener is a --listener, its name turned into a container port.
type bareListener struct {
	port             uint16
	listen, upstream string
}

func parseListener(s string, snap *snapshot.Snapshot) (bareListener, error) {
	var l bareListener
	var name string
	for part := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "name":
			name = value
		case "port":
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil || n == 0 {
				return l, fmt.Errorf("port %q is not between 1 and 65535", value)
			}
			l.port = uint16(n)
		case "listen":
			l.listen = value
		case "upstream":
			l.upstream = value
		default:
			return l, fmt.Errorf("%q is not known; use name or port, listen and upstream", key)
		}
	}
	for key, value := range map[string]string{"listen": l.listen, "upstream": l.upstream} {
		if _, _, err := net.SplitHostPort(value); err != nil {
			return l, fmt.Errorf("%s %q is not HOST:PORT", key, value)
		}
	}
	switch {
	case (name == "") == (l.port == 0):
		return l, errors.New("one of name and port is needed")
	case name != "":
		var err error
		if l.port, err = portOf(name, snap); err != nil {
			return l, err
		}
	}
	return l, nil
}

// portOf finds the container port that `service/port` leads to.
func portOf(name string, snap *snapshot.Snapshot) (uint16, error) {
	var known []string
	for _, p := range snap.GetPorts() {
		for _, n := range p.GetNames() {
			if n == name {
				return uint16(p.GetNumber()), nil
			}
		}
		known = append(known, p.GetNames()...)
	}
	if len(known) == 0 {
		return 0, fmt.Errorf("the snapshot has no port %s, and none at all; use port=NUMBER", name)
	}
	return 0, fmt.Errorf("the snapshot has no port %s; it has %s; use port=NUMBER for one that no policy governs", name, strings.Join(known, ", "))
}
