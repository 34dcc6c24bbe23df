// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import "testing"

func TestCountCalls(t *testing.T) {
	for name, test := range map[string]struct {
		info string
		want int64
	}{
		"none":     {"# Commandstats\r\n", 0},
		"commands": {"cmdstat_incrby:calls=7,usec=1\r\ncmdstat_expire:calls=7,usec=1\r\ncmdstat_info:calls=3,usec=1\r\ncmdstat_client|setname:calls=1,usec=1\r\n", 14},
		// What a script calls is in the statistics too.
		"scripts": {"cmdstat_evalsha:calls=5,usec=1\r\ncmdstat_eval:calls=1,usec=1\r\ncmdstat_get:calls=6,usec=1\r\ncmdstat_script|load:calls=2,usec=1\r\n", 6},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := countCalls(test.info)
			if err != nil || got != test.want {
				t.Errorf("got %d, %v, want %d", got, err, test.want)
			}
		})
	}
}
