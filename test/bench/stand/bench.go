// SPDX-License-Identifier: Apache-2.0

//go:build linux

package stand

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"weir.dev/weir/test/bench/report"
)

// Options are the flags that all benchmarks have.
type Options struct {
	Weir, Version, Nginx    string
	Rounds, Seconds         int
	Scenarios, Peers, Write string
	Timeout                 time.Duration
}

// Register makes flags of o, whose Rounds and Seconds are the defaults, and whose
// Scenarios and Peers are the ids that there are. name is that of the files that are
// written.
func (o *Options) Register(f *flag.FlagSet, name string) {
	f.StringVar(&o.Weir, "weir", "bin/weir-sidecar", "`program` to measure")
	f.StringVar(&o.Version, "version", "", "what --weir is, such as a commit (default: what it says)")
	f.StringVar(&o.Nginx, "nginx", "nginx", "an nginx `program`, which is the application")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often each measurement is made, all in turn")
	f.IntVar(&o.Seconds, "seconds", o.Seconds, "of a measurement")
	f.StringVar(&o.Scenarios, "scenarios", "", "ids with commas (default: all): "+o.Scenarios)
	f.StringVar(&o.Peers, "peers", "", "with commas (default: all there are): "+o.Peers)
	f.StringVar(&o.Write, "write", "", fmt.Sprintf("`folder` for %s.md, %[1]s.svg and %[1]s.json (default: only the terminal)", name))
	f.DurationVar(&o.Timeout, "timeout", 20*time.Minute, "for all of it")
}

// Needs are the programs of every benchmark, each with what it is for and how it is
// had.
func (o *Options) Needs() map[string]string {
	return map[string]string{
		"wrk":     "it makes the load: apt-get install wrk",
		"taskset": "it pins to cores: apt-get install util-linux",
		o.Nginx:   "it is the application: apt-get install nginx",
		o.Weir:    "it is what is measured: make build",
	}
}

// Main is the main function of a benchmark: it reads the flags, and ends with an
// interrupt, or when the time is over.
func Main(name string, o *Options, run func(context.Context) error) {
	// Children are told to end when the thread that has started them does: this one.
	runtime.LockOSThread()
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	err := errors.New("--rounds and --seconds are at least 1")
	if o.Rounds >= 1 && o.Seconds >= 1 {
		err = run(ctx)
	}
	cancel()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Bench is one run of a benchmark.
type Bench struct {
	*Stand

	write string
	began time.Time
	notes *[]string
}

// Begin prepares a run of command, of which run is to tell, and notes with sentences
// on what was not as it should be. It is closed in the end.
func Begin(ctx context.Context, command string, o *Options, needs map[string]string, run *report.Run, notes *[]string) (*Bench, error) {
	st, err := New(ctx, o.Nginx, needs)
	if err != nil {
		return nil, err
	}
	b := &Bench{Stand: st, write: o.Write, began: time.Now(), notes: notes}
	run.Date, run.Command = b.began.UTC().Format(time.DateOnly), command
	run.Rounds, run.Seconds = o.Rounds, o.Seconds
	if run.Machine, err = Machine(); err != nil {
		st.Close()
		return nil, err
	}
	if busy := Busy(); busy != "" {
		b.Note("%s", busy)
	}
	return b, nil
}

// Say prints a line.
func (b *Bench) Say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Note prints a sentence that stays with the report.
func (b *Bench) Note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	*b.notes = append(*b.notes, s)
	b.Say("%s", s)
}

// Page is a report.
type Page interface {
	Text() string
	Markdown() string
	SVG() string
}

// End prints a report and writes it, as a page, a plot and the raw results, where
// that was asked for.
func (b *Bench) End(name string, p Page) error {
	fmt.Print(p.Text())
	b.Say("\nIt took %v.", time.Since(b.began).Round(time.Second))
	if b.write == "" {
		return nil
	}
	if err := os.MkdirAll(b.write, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err
	}
	for suffix, text := range map[string]string{".md": p.Markdown(), ".svg": p.SVG(), ".json": string(raw) + "\n"} {
		file := filepath.Join(b.write, name+suffix)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		b.Say("wrote %s", file)
	}
	return nil
}

// Micros is d in microseconds.
func Micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
