// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"encoding/binary"
)

// maxName bounds names in messages.
const maxName = 256

// Types of messages.
const (
	typeCall      = 1
	typeReply     = 2
	typeException = 3
	typeOneway    = 4
)

// appendHead appends a call's head: binary protocol's strict one, or compact's.
func appendHead(dst []byte, p Protocol, m *Method, seq int32) []byte {
	typ := byte(typeCall)
	if m.Oneway {
		typ = typeOneway
	}
	if p == Compact {
		dst = append(dst, 0x82, typ<<5|1)
		dst = binary.AppendUvarint(dst, uint64(uint32(seq)))
		dst = binary.AppendUvarint(dst, uint64(len(m.Call)))
		return append(dst, m.Call...)
	}
	dst = append(dst, 0x80, 1, 0, typ)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Call)))
	dst = append(dst, m.Call...)
	return binary.BigEndian.AppendUint32(dst, uint32(seq))
}

// head is the beginning of a message.
type head struct {
	typ  byte
	name []byte
	seq  int32
}

// head reads the beginning of a message: the decoder's protocol is the message's own,
// so a reply in another one is understood.
func (d *decoder) head() (head, error) {
	var h head
	if len(d.in) < 4 {
		return h, errShort
	}
	switch {
	case d.in[0] == 0x82 && d.in[1]&0x1F == 1:
		h.typ = d.in[1] >> 5
		d.compact, d.pos = true, 2
		seq, err := d.uvarint()
		if err != nil {
			return h, err
		}
		h.seq = int32(uint32(seq))
	case d.in[0] == 0x80 && d.in[1] == 1:
		h.typ = d.in[3] & 0xF
		d.compact, d.pos = false, 4
	default:
		return h, bad("it does not begin as a message of binary or compact protocol does")
	}
	var err error
	if h.name, err = d.bytes(); err != nil {
		return h, err
	}
	if len(h.name) > maxName {
		return h, bad("the method's name is too long")
	}
	if !d.compact {
		seq, err := d.integer(wireI32)
		if err != nil {
			return h, err
		}
		h.seq = int32(seq)
	}
	return h, nil
}
