// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Request is what is sent, over and over.
type Request struct {
	Method string
	// URL is http://host:port/path.
	URL string
	// Header is one field, as `Name: value`.
	Header string
	// Body is the length of the body; Text is the body itself, in its place.
	Body int
	Text string
	// Key is one more field, unless it has no name.
	Key Key
}

// Key is a field by which requests differ.
type Key struct {
	// Name of the field, and what its values begin with; a number of keyDigits digits
	// follows.
	Name, Prefix string
	// Count is after how many requests the numbers begin again; 0: they do not.
	Count int64
}

const keyDigits = 10

func (k Key) number(n int64) int64 {
	if k.Count > 0 {
		return n % k.Count
	}
	return n
}

// text is the body.
func (r Request) text() string {
	if r.Text != "" {
		return r.Text
	}
	return strings.Repeat("x", r.Body)
}

// Result is what a run has done.
type Result struct {
	Requests  int64
	PerSecond float64
	P50, P99  time.Duration
	// NotOK are answers that were neither 2xx nor 3xx, Errors requests that got no
	// answer.
	NotOK, Errors int64
	// Failed are answers of 500 and above, and Passed those below 400 by the second of
	// the clock that they came in; only OpenLoop counts them.
	Failed int64
	Passed map[int64]int64
}

// Wrk runs wrk with one thread in a closed loop. The folder is for its script.
func Wrk(ctx context.Context, folder string, r Request, connections int, d time.Duration) (Result, error) {
	seconds := max(1, int(d.Round(time.Second)/time.Second))
	args := []string{
		"-t1", "-c" + strconv.Itoa(connections), "-d" + strconv.Itoa(seconds) + "s", "--timeout", "5s", "--latency", "-H", r.Header,
	}
	if r.text() != "" || r.Key.Name != "" {
		file, err := script(folder, r)
		if err != nil {
			return Result{}, err
		}
		args = append(args, "-s", file)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+15*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "wrk", append(args, r.URL)...).CombinedOutput()
	if err != nil {
		return Result{}, fmt.Errorf("wrk: %w: %s", errors.Join(err, ctx.Err()), strings.TrimSpace(string(out)))
	}
	return parseWrk(string(out))
}

// script makes wrk send a body, and the numbers of the key: what else there is of its
// request is put together once.
func script(folder string, r Request) (string, error) {
	f, err := os.CreateTemp(folder, "wrk-*.lua")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if r.Key.Name == "" {
		_, err = fmt.Fprintf(f, "wrk.method = %q\nwrk.body = %q\n", r.Method, r.text())
		return f.Name(), err
	}
	_, message, keyAt, err := r.bytesOf()
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(f, `local before, after = %s, %s
local count, n = %d, -1
function request()
  n = n + 1
  if count > 0 and n == count then
    n = 0
  end
  return before .. string.format("%%0%dd", n) .. after
end
`, luaQuote(message[:keyAt]), luaQuote(message[keyAt+keyDigits:]), r.Key.Count, keyDigits)
	return f.Name(), err
}

// luaQuote writes every byte by its number: Go's quotes are not Lua's.
func luaQuote(b []byte) string {
	var s strings.Builder
	s.WriteByte('"')
	for _, c := range b {
		fmt.Fprintf(&s, "\\%03d", c)
	}
	s.WriteByte('"')
	return s.String()
}

var (
	wrkTotal   = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate    = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)`)
	wrkPercent = regexp.MustCompile(`(?m)^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)$`)
	wrkNotOK   = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
	wrkErrors  = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// parseWrk reads what wrk --latency has printed.
func parseWrk(s string) (Result, error) {
	var r Result
	total, rate := wrkTotal.FindStringSubmatch(s), wrkRate.FindStringSubmatch(s)
	percents := wrkPercent.FindAllStringSubmatch(s, -1)
	if total == nil || rate == nil || len(percents) != 2 {
		return r, fmt.Errorf("wrk printed no result: %q", s)
	}
	var err error
	if r.Requests, err = strconv.ParseInt(total[1], 10, 64); err != nil {
		return r, err
	}
	if r.PerSecond, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return r, err
	}
	for _, p := range percents {
		d, err := time.ParseDuration(p[2] + p[3])
		if err != nil {
			return r, err
		}
		if p[1] == "50" {
			r.P50 = d
		} else {
			r.P99 = d
		}
	}
	if m := wrkNotOK.FindStringSubmatch(s); m != nil {
		if r.NotOK, err = strconv.ParseInt(m[1], 10, 64); err != nil {
			return r, err
		}
	}
	if m := wrkErrors.FindStringSubmatch(s); m != nil {
		for _, f := range m[1:] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return r, err
			}
			r.Errors += n
		}
	}
	return r, nil
}
