// SPDX-License-Identifier: Apache-2.0

package message

import (
	"encoding/binary"
	"math"
)

// Kinds of TTHeader's infos.
const (
	ttPad      = 0x00
	ttKeyed    = 0x01
	ttNumbered = 0x10
	ttToken    = 0x11
)

// words reads the lengths of a TTHeader, all of which is in memory.
type words struct{ b []byte }

func (w *words) uint16() (uint16, error) {
	if len(w.b) < 2 {
		return 0, Malformed("the length of an info")
	}
	n := binary.BigEndian.Uint16(w.b)
	w.b = w.b[2:]
	return n, nil
}

func (w *words) bytes() ([]byte, error) {
	n, err := w.uint16()
	if err != nil {
		return nil, err
	}
	if int(n) > len(w.b) {
		return nil, Malformed("the length of an info")
	}
	b := w.b[:n:n]
	w.b = w.b[n:]
	return b, nil
}

// ttHeader reads header, and looks at what has come of the message after it.
func (e *Envelope) ttHeader(header, after []byte) error {
	if e.Flags&ttStreaming != 0 {
		return Unsupported("streaming over TTHeader")
	}
	b := header[fixedHeader:]
	if len(b) < 2 {
		return Malformed("a header too short for what it must say")
	}
	e.id = b[0]
	if transforms := b[1]; transforms > 0 {
		return Unsupported("a transform of its header")
	}
	if err := e.ttInfos(&words{b[2:]}); err != nil {
		return err
	}
	return e.ttMessage(after)
}

// ttMessage looks at what the message is: its protocol by its first byte, in a frame of
// its own or not.
func (e *Envelope) ttMessage(b []byte) error {
	room := e.Length - e.Message
	if len(b) < min(5, room) {
		return ErrShort
	}
	if b[0] == 0 {
		if room < 5 || int64(binary.BigEndian.Uint32(b)) != int64(room-4) {
			return Malformed("the length of the frame behind its header")
		}
		e.Nested = true
		e.Message += 4
		b = b[4:]
	}
	switch b[0] {
	case 0x80:
		e.Protocol = Binary
	case 0x82:
		e.Protocol = Compact
	default:
		return Unsupported("the protocol behind its header")
	}
	return nil
}

func (e *Envelope) ttInfos(w *words) error {
	for len(w.b) > 0 {
		kind := w.b[0]
		w.b = w.b[1:]
		switch kind {
		case ttPad:
			continue
		case ttToken:
			token, err := w.bytes()
			if err != nil {
				return err
			}
			if e.token != nil {
				return Malformed("two tokens in its header")
			}
			e.token = token
			continue
		case ttKeyed, ttNumbered:
		default:
			return Malformed("a kind of infos that there is not")
		}
		count, err := w.uint16()
		if err != nil {
			return err
		}
		for range count {
			in := Info{Numbered: kind == ttNumbered}
			if in.Numbered {
				in.Number, err = w.uint16()
			} else {
				in.Key, err = w.bytes()
			}
			if err != nil {
				return err
			}
			if in.Value, err = w.bytes(); err != nil {
				return err
			}
			if err := e.info(in); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendTTHeader appends what the words count, without padding.
func (e *Envelope) appendTTHeader(dst []byte) ([]byte, bool) {
	dst = append(dst, e.id, 0)
	if e.token != nil {
		dst = append(dst, ttToken)
		dst = appendWords(dst, e.token)
	}
	for _, numbered := range [...]bool{true, false} {
		n := 0
		for i := range e.Infos {
			if e.Infos[i].Numbered == numbered {
				n++
			}
			if len(e.Infos[i].Key) > math.MaxUint16 || len(e.Infos[i].Value) > math.MaxUint16 {
				return dst, false
			}
		}
		if n == 0 {
			continue
		}
		if numbered {
			dst = append(dst, ttNumbered)
		} else {
			dst = append(dst, ttKeyed)
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
		for i := range e.Infos {
			in := &e.Infos[i]
			switch {
			case in.Numbered != numbered:
				continue
			case numbered:
				dst = binary.BigEndian.AppendUint16(dst, in.Number)
			default:
				dst = appendWords(dst, in.Key)
			}
			dst = appendWords(dst, in.Value)
		}
	}
	return dst, true
}

func appendWords(dst, b []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b)))
	return append(dst, b...)
}
