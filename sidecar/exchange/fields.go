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
