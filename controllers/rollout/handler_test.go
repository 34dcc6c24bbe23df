// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"testing"
)

// A CLI that is older than the operator reads what it knows.
func TestDecodeOfANewerView(t *testing.T) {
	v := View{Pods: []json.RawMessage{json.RawMessage(`{"pod": "a", "invented": {"later": 1}}`)}}
	pods, err := v.Decode()
	if err != nil || len(pods) != 1 || pods[0].GetPod() != "a" {
		t.Errorf("got %v and %v", pods, err)
	}
}
