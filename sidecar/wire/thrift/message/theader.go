// SPDX-License-Identifier: Apache-2.0

package message

import "encoding/binary"

// Numbers of THeader: protocols, transforms, kinds of infos.
const (
	idBinary  = 0
	idJSON    = 1
	idCompact = 2

	transformNone = 0
	transformZlib = 1

	infoPad = 0
	// infoKeyValue holds for one message, infoPersistent, fbthrift's, for all that
	// follow on a connection.
	infoKeyValue   = 1
	infoPersistent = 2
)

func protocolOf(id uint32) (Protocol, error) {
	switch id {
	case idBinary:
		return Binary, nil
	case idJSON:
		return JSON, nil
	case idCompact:
		return Compact, nil
	}
	return 0, Unsupported("the protocol that its header names")
}

// fields reads the varints of a THeader, all of which is in memory.
type fields struct{ b []byte }

func (f *fields) uvarint() (uint32, error) {
	v, n, err := uvarint32(f.b)
	if err != nil {
		return 0, Malformed("a varint in its header")
	}
	f.b = f.b[n:]
	return v, nil
}

func (f *fields) bytes() ([]byte, error) {
	n, err := f.uvarint()
	if err != nil {
		return nil, err
	}
	if int64(n) > int64(len(f.b)) {
		return nil, Malformed("the length of an info")
	}
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b, nil
}

// theader reads b, which the words of the header count.
func (e *Envelope) theader(b []byte) error {
	f := fields{b}
	id, err := f.uvarint()
	if err != nil {
		return err
	}
	transforms, err := f.uvarint()
	if err != nil {
		return err
	}
	if transforms > maxTransforms {
		return Malformed("more transforms than there may be")
	}
	for range transforms {
		t, err := f.uvarint()
		switch {
		case err != nil:
			return err
		case t == transformNone:
		case t == transformZlib && !e.Zlib:
			e.Zlib = true
		default:
			return Unsupported("a transform of its header")
		}
	}
	if e.Protocol, err = protocolOf(id); err != nil {
		return err
	}
	e.id = byte(id)
	return e.theaderInfos(&f)
}

// theaderInfos reads infos. Readers stop at a kind that they do not know, and so must
// what is behind it stay behind it.
func (e *Envelope) theaderInfos(f *fields) error {
	for len(f.b) > 0 {
		all := f.b
		kind, err := f.uvarint()
		if err != nil {
			return err
		}
		if kind == infoPad {
			for _, c := range f.b {
				if c != 0 {
					return Malformed("bytes behind the infos of its header")
				}
			}
			return nil
		}
		if kind != infoKeyValue && kind != infoPersistent {
			e.rest = all
			return nil
		}
		count, err := f.uvarint()
		if err != nil {
			return err
		}
		if count > MaxInfos {
			return Malformed("more infos than there may be")
		}
		for range count {
			in := Info{persistent: kind == infoPersistent}
			if in.Key, err = f.bytes(); err != nil {
				return err
			}
			if in.Value, err = f.bytes(); err != nil {
				return err
			}
			if err := e.info(in); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendTHeader appends what the words count, without padding.
func (e *Envelope) appendTHeader(dst []byte) ([]byte, bool) {
	id := e.id
	if id == 0 && e.Protocol == Compact {
		// A header that nobody has read: 2 is compact's id.
		id = 2
	}
	dst = append(dst, id)
	if e.Zlib {
		dst = append(dst, 1, transformZlib)
	} else {
		dst = append(dst, 0)
	}
	for _, kind := range [...]byte{infoKeyValue, infoPersistent} {
		n := 0
		for i := range e.Infos {
			if !e.Infos[i].Numbered && e.Infos[i].persistent == (kind == infoPersistent) {
				n++
			}
		}
		if n == 0 {
			continue
		}
		dst = append(dst, kind)
		dst = binary.AppendUvarint(dst, uint64(n))
		for i := range e.Infos {
			if in := &e.Infos[i]; !in.Numbered && in.persistent == (kind == infoPersistent) {
				dst = binary.AppendUvarint(dst, uint64(len(in.Key)))
				dst = append(dst, in.Key...)
				dst = binary.AppendUvarint(dst, uint64(len(in.Value)))
				dst = append(dst, in.Value...)
			}
		}
	}
	return append(dst, e.rest...), true
}
