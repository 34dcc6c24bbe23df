// SPDX-License-Identifier: Apache-2.0

// Package imports holds the tests of who may import whom: data flows one way.
package imports
