// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"testing"
)

func TestDeriveNamespaceKey(t *testing.T) {
	one, two := bytes.Repeat([]byte{1}, MinRootKey), bytes.Repeat([]byte{2}, MinRootKey)
	a := DeriveNamespaceKey(one, nil, "c", "shop")
	if len(a.GetCurrent()) != keyBytes || len(a.GetPrevious()) != 0 || len(a.GetVersion()) != 2*versionBytes {
		t.Errorf("a key of %d bytes, previous %d, version %q", len(a.GetCurrent()), len(a.GetPrevious()), a.GetVersion())
	}
	if b := DeriveNamespaceKey(one, nil, "c", "shop"); !bytes.Equal(a.GetCurrent(), b.GetCurrent()) || a.GetVersion() != b.GetVersion() {
		t.Error("the same gives another key")
	}
	rotated := DeriveNamespaceKey(two, one, "c", "shop")
	if !bytes.Equal(rotated.GetPrevious(), a.GetCurrent()) {
		t.Error("the key before is not the previous one")
	}
	seen := map[string]string{}
	for name, k := range map[string]string{
		"shop": string(a.GetCurrent()), "other": string(DeriveNamespaceKey(one, nil, "c", "other").GetCurrent()),
		"other cluster": string(DeriveNamespaceKey(one, nil, "d", "shop").GetCurrent()), "boundary": string(DeriveNamespaceKey(one, nil, "cs", "hop").GetCurrent()),
		"other root": string(rotated.GetCurrent()), "version": a.GetVersion(), "version with a previous one": DeriveNamespaceKey(one, two, "c", "shop").GetVersion(),
	} {
		if same, there := seen[k]; there {
			t.Errorf("%s and %s are the same", name, same)
		}
		seen[k] = name
	}
}
