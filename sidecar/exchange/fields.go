// SPDX-License-Identifier: Apache-2.0

package exchange

// fields is a list of response fields over one reused buffer.
type fields struct {
	names  []string
	ends   []int
	values []byte
}

func (f *fields) reset() {
	f.names, f.ends, f.values = f.names[:0], f.ends[:0], f.values[:0]
}

func (f *fields) add(name string, value []byte) {
	f.values = append(f.values, value...)
	f.names = append(f.names, name)
	f.ends = append(f.ends, len(f.values))
}

func (f *fields) each(yield func(name string, value []byte) bool) {
	from := 0
	for i, name := range f.names {
		to := f.ends[i]
		if !yield(name, f.values[from:to]) {
			return
		}
		from = to
	}
}

// sameField compares a field's name with one that is lower case; '_' is '-'.
func sameField(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := 0; i < len(b); i++ {
		c, n := b[i], name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c = '-'
		}
		if n == '_' {
			n = '-'
		}
		if c != n {
			return false
		}
	}
	return true
}
