// SPDX-License-Identifier: Apache-2.0

package load

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const wrkPlain = `Running 3s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms   99.00us   9.50ms   95.10%
    Req/Sec    30.37k     1.01k   32.00k    70.00%
  Latency Distribution
     50%  980.00us
     75%    1.01ms
     90%    1.10ms
     99%    2.25ms
  90312 requests in 3.00s, 15.62MB read
Requests/sec:  30103.07
Transfer/sec:      5.20MB
`

func TestParseWrk(t *testing.T) {
	for name, test := range map[string]struct {
		out  string
		want Result
	}{
		"all is well": {wrkPlain, Result{Requests: 90312, PerSecond: 30103.07, P50: 980 * time.Microsecond, P99: 2250 * time.Microsecond}},
		"denials and errors": {
			strings.Replace(strings.Replace(wrkPlain, "Requests/sec", "  Socket errors: connect 1, read 20, write 0, timeout 3\n  Non-2xx or 3xx responses: 90307\nRequests/sec", 1), "2.25ms", "1.50s", 1),
			Result{Requests: 90312, PerSecond: 30103.07, P50: 980 * time.Microsecond, P99: 1500 * time.Millisecond, NotOK: 90307, Errors: 24},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseWrk(test.out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no result", func(t *testing.T) {
		if _, err := parseWrk("unable to connect to 127.0.0.1:1 Connection refused\n"); err == nil {
			t.Error("no error")
		}
	})
}
