// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestStoreLogSaysEachChangeOnce(t *testing.T) {
	var out bytes.Buffer
	l := NewStoreLog(NewMetrics(), slog.New(slog.NewTextHandler(&out, nil)))
	l.StoreBreaker("default", false) // it connects at first
	if out.Len() > 0 {
		t.Errorf("nothing has happened yet: %s", out.String())
	}
	for range 3 {
		l.StoreError("default", "connection")
		l.StoreBreaker("default", true)
	}
	l.StoreBreaker("default", false)
	text := out.String()
	if strings.Count(text, "does not answer") != 1 || strings.Count(text, "answers again") != 1 || !strings.Contains(text, "error=connection") {
		t.Errorf("it says:\n%s", text)
	}
}
