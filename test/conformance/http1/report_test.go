// SPDX-License-Identifier: Apache-2.0

package http1

import "testing"

func (r *results) report(t *testing.T) {}
