// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/admin"
)

// The commands against the admin that they are for.
func TestAsk(t *testing.T) {
	level := &slog.LevelVar{}
	a := admin.New(admin.Options{
		Version: "v1.2.3", Ready: func() bool { return true }, Metrics: admin.NewMetrics(), Level: level,
		Snapshot: func() *stream.SnapshotUpdate {
			return &stream.SnapshotUpdate{Hash: "h4sh", Snapshot: &snapshot.Snapshot{Workload: &snapshot.Workload{Namespace: "shop"}}}
		},
	})
	s := httptest.NewServer(a.Local())
	defer s.Close()
	address := s.Listener.Addr().String()
	for _, tc := range []struct {
		args    []string
		want    string
		level   slog.Level
		wantErr string
	}{
		{nil, "info\n", slog.LevelInfo, ""},
		{[]string{"debug"}, "debug\n", slog.LevelDebug, ""},
		{[]string{"loud&level=error"}, "", slog.LevelDebug, "level is debug, info, warn or error"},
		{nil, "debug\n", slog.LevelDebug, ""},
	} {
		var out strings.Builder
		err := logLevel(t.Context(), address, tc.args, &out)
		if out.String() != tc.want || level.Level() != tc.level || fmt.Sprint(err) == "<nil>" != (tc.wantErr == "") || !strings.Contains(fmt.Sprint(err), tc.wantErr) {
			t.Errorf("loglevel %v: %q, error %v, level %s", tc.args, out.String(), err, level.Level())
		}
	}
	var out strings.Builder
	if err := ask(t.Context(), http.MethodGet, address, "/dump", &out); err != nil || !strings.Contains(out.String(), `"hash": "h4sh"`) {
		t.Errorf("dump: %q, error %v", out.String(), err)
	}
}
