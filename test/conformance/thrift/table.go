// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// dimensions of a matrix.
type dimensions struct{ languages, protocols, transports []string }

// matrix is what make test-thrift runs, or make soak-thrift.
func matrix(full bool) dimensions {
	if full {
		return dimensions{
			languages:  []string{"python", "go", "node", "java"},
			protocols:  []string{"binary", "compact", "json", "header", "multi", "multic", "multij", "multih"},
			transports: []string{"buffered", "framed", "http"},
		}
	}
	return dimensions{languages: []string{"python", "go"}, protocols: []string{"binary", "compact", "json", "header"}, transports: []string{"buffered", "framed"}}
}

func (d dimensions) forms() []form {
	var out []form
	for _, p := range d.protocols {
		for _, t := range d.transports {
			out = append(out, form{p, t})
		}
	}
	return out
}

// key is a cell's place.
type key struct {
	client, server string
	form
}

// cell is what came of it, each way; "" is a pass.
type cell struct{ outcomes [len(ways)]string }

func (c cell) equal() bool {
	for _, o := range c.outcomes {
		if o != c.outcomes[0] {
			return false
		}
	}
	return true
}

// table is a run.
type table struct {
	matrix dimensions
	weir   string
	logs   string
	all    []*language
	out    io.Writer

	mu    sync.Mutex
	cells map[key]cell
	// bad are what makes the run fail, beside cells that differ.
	bad []error
}

// job is one server, with all its clients.
type job struct {
	server *language
	form
}

func (t *table) run(ctx context.Context, out io.Writer) error {
	t.out, t.cells = out, map[key]cell{}
	begun := time.Now()
	t.all = slices.DeleteFunc(t.all, func(l *language) bool {
		if !slices.Contains(t.matrix.languages, l.name) {
			return true
		}
		if l.there() {
			return false
		}
		fmt.Fprintf(out, "%s is left out: its peers could not be made here.\n", l.name)
		return true
	})
	if len(t.all) == 0 {
		return errors.New("there is no peer at all")
	}
	jobs := make(chan job)
	var wg sync.WaitGroup
	// Most of the time servers sleep, as they are asked to.
	for range 3 {
		wg.Go(func() {
			for j := range jobs {
				if err := t.server(ctx, j); err != nil {
					t.fail(fmt.Errorf("%s, %s: %w", j.server.name, j.form, err))
				}
			}
		})
	}
	for _, l := range t.all {
		for _, f := range t.matrix.forms() {
			if l.serves(f) {
				jobs <- job{l, f}
			}
		}
	}
	close(jobs)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d cells, each %d times, in %s\n", len(t.cells), len(ways), time.Since(begun).Round(time.Second))
	return t.verdict()
}

func (t *table) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bad = append(t.bad, err)
}

// server starts one and calls it with all clients, each way.
func (t *table) server(ctx context.Context, j job) error {
	s, port, err := serve(ctx, j.server, j.form)
	if err != nil {
		return err
	}
	defer s.stop()
	w, err := startWeir(ctx, t.weir, port)
	if err != nil {
		return err
	}
	defer w.stop()
	for _, client := range t.all {
		if !client.calls(j.form) {
			continue
		}
		k, c := key{client.name, j.server.name, j.form}, cell{}
		var logs [len(ways)]string
		for i := range ways {
			c.outcomes[i], logs[i] = call(ctx, client, j.form, w.ports[i])
		}
		t.mu.Lock()
		t.cells[k] = c
		t.mu.Unlock()
		if !c.equal() {
			t.keep(k, logs, w.out.String())
		}
	}
	if j.transport == "http" {
		// The limits are of the connections that Thrift is on, not of those of HTTP.
		return nil
	}
	return w.governs(ctx)
}

// keep writes what clients have said of a cell that differs.
func (t *table) keep(k key, logs [len(ways)]string, weir string) {
	if t.logs == "" {
		return
	}
	name := filepath.Join(t.logs, strings.ReplaceAll(fmt.Sprintf("%s-%s-%s", k.client, k.server, k.form), "/", "-"))
	for i, log := range logs {
		_ = os.WriteFile(name+"-"+ways[i]+".log", []byte(log), 0o600)
	}
	_ = os.WriteFile(name+"-weir.log", []byte(weir), 0o600)
}
