// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/snapshot"
)

func TestParseTraffic(t *testing.T) {
	const info = "# Stats\r\ntotal_connections_received:1\r\ntotal_net_input_bytes:20\r\ntotal_net_output_bytes:300\r\ntotal_reads_processed:4\r\ntotal_writes_processed:5\r\n"
	got, err := parseTraffic(info)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Traffic{Reads: 4, In: 20, Out: 300}, got); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
	if _, err := parseTraffic("# Stats\r\ntotal_net_input_bytes:20\r\n"); err == nil {
		t.Error("no error where reads are not counted")
	}
}

func TestOnceSnapshot(t *testing.T) {
	if err := snapshot.Validate(Once{Redis: &Redis{Address: "127.0.0.1:6379"}}.snapshot()); err != nil {
		t.Error(err)
	}
}
