// SPDX-License-Identifier: Apache-2.0

package message

import "encoding/binary"

// Envelope is what a transport says of a message: its bounds and, with headers, more.
type Envelope struct {
	Transport Transport
	// Protocol of the message; 0 where the transport does not say.
	Protocol Protocol
	// Length of the whole, the envelope and the message; 0 where only the message's
	// struct tells: Unframed.
	Length int
	// Message is where the message begins, or what a transform has made of it.
	Message int
	// Seq and Flags of a header.
	Seq   int32
	Flags uint16
	// Zlib: the message is compressed.
	Zlib bool
	// Nested: behind a TTHeader the message has a frame of its own.
	Nested bool
	// Infos in order, the application's own and what stands for them by number.
	Infos []Info

	// id of the protocol as it was written.
	id byte
	// rest are infos of kinds that nobody here knows, in a header.
	rest []byte
	// token of a TTHeader; nil where there is none.
	token []byte
}

// Info is one info of a header: by a key or, in TTHeader, by a number.
type Info struct {
	Key, Value []byte
	// Number and Numbered: it has no Key.
	Number   uint16
	Numbered bool
	// persistent: of the kind that fbthrift keeps for all messages of a connection.
	persistent bool
}

// Numbers of TTHeader's infos.
const (
	// InfoFromService is who calls.
	InfoFromService = 3
	// InfoToService and InfoToMethod are what is called.
	InfoToService = 6
	InfoToMethod  = 9
)

const (
	headerMagic   = 0x0fff
	ttHeaderMagic = 0x1000
	// fixedHeader is a header up to what its words count: length, magic, flags,
	// sequence, words.
	fixedHeader = 14
	// ttStreaming is the flag of messages that are no calls.
	ttStreaming = 0x0002
)

// ParseEnvelope reads what stands before a message at the beginning of b, and keeps
// e's memory. max bounds the length of a frame; 0: MaxFrame.
func ParseEnvelope(t Transport, b []byte, max int, e *Envelope) error {
	*e = Envelope{Transport: t, Infos: e.Infos[:0]}
	if t == Unframed {
		return nil
	}
	if len(b) < 4 {
		return ErrShort
	}
	n := int64(binary.BigEndian.Uint32(b))
	if max <= 0 || max > MaxFrame {
		max = MaxFrame
	}
	if n == 0 || n > int64(max) {
		return Malformed("the length of its frame")
	}
	e.Length, e.Message = 4+int(n), 4
	if t == Framed {
		return nil
	}
	return e.header(b)
}

// header reads what THeader and TTHeader have in common.
func (e *Envelope) header(b []byte) error {
	if e.Length < fixedHeader {
		return Malformed("a frame too short for its header")
	}
	if len(b) < fixedHeader {
		if len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) != e.magic() {
			return Malformed("no header in its frame")
		}
		return ErrShort
	}
	if binary.BigEndian.Uint16(b[4:]) != e.magic() {
		return Malformed("no header in its frame")
	}
	e.Flags = binary.BigEndian.Uint16(b[6:])
	e.Seq = int32(binary.BigEndian.Uint32(b[8:]))
	end := fixedHeader + 4*int(binary.BigEndian.Uint16(b[12:]))
	if end >= e.Length {
		return Malformed("a header as long as its frame")
	}
	if len(b) < end {
		return ErrShort
	}
	e.Message = end
	if e.Transport == TTHeader {
		return e.ttHeader(b[:end], b[end:])
	}
	return e.theader(b[fixedHeader:end:end])
}

func (e *Envelope) magic() uint16 {
	if e.Transport == TTHeader {
		return ttHeaderMagic
	}
	return headerMagic
}

// Get looks an info up by its key, lower case, without case, and says how many there
// are of it.
func (e *Envelope) Get(key string) (value []byte, count int) {
	for i := range e.Infos {
		if in := &e.Infos[i]; !in.Numbered && foldEqual(in.Key, key) {
			if count == 0 {
				value = in.Value
			}
			count++
		}
	}
	return value, count
}

// Number looks an info of a TTHeader up by its number.
func (e *Envelope) Number(n uint16) (value []byte, count int) {
	for i := range e.Infos {
		if in := &e.Infos[i]; in.Numbered && in.Number == n {
			if count == 0 {
				value = in.Value
			}
			count++
		}
	}
	return value, count
}

// foldEqual compares b with s, which is lower case.
func foldEqual(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// Answer makes r the envelope of an answer to a message in e, without infos and without
// compression. It keeps r's memory.
func (e *Envelope) Answer(r *Envelope) {
	*r = Envelope{Transport: e.Transport, Protocol: e.Protocol, Seq: e.Seq, Nested: e.Nested, Infos: r.Infos[:0], id: e.id}
}

// Headers reports whether the transport has infos.
func (t Transport) Headers() bool { return t == Header || t == TTHeader }

// info adds one, within bounds.
func (e *Envelope) info(in Info) error {
	if len(e.Infos) == MaxInfos {
		return Malformed("more infos than there may be")
	}
	e.Infos = append(e.Infos, in)
	return nil
}

// AppendEnvelope appends e, with its Infos, for a message of size bytes as it lies in
// the frame: compressed, if it is. ok is false where the infos have no room.
func AppendEnvelope(dst []byte, e *Envelope, size int) (b []byte, ok bool) {
	if e.Transport == Unframed {
		return dst, true
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if e.Transport != Framed {
		dst = binary.BigEndian.AppendUint16(dst, e.magic())
		dst = binary.BigEndian.AppendUint16(dst, e.Flags)
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.Seq))
		dst = append(dst, 0, 0)
		if e.Transport == TTHeader {
			dst, ok = e.appendTTHeader(dst)
		} else {
			dst, ok = e.appendTHeader(dst)
		}
		if !ok {
			return dst[:start], false
		}
		for (len(dst)-start-fixedHeader)%4 != 0 {
			dst = append(dst, 0)
		}
		words := (len(dst) - start - fixedHeader) / 4
		if words > 0xffff {
			return dst[:start], false
		}
		binary.BigEndian.PutUint16(dst[start+12:], uint16(words))
		if e.Nested {
			dst = binary.BigEndian.AppendUint32(dst, uint32(size))
		}
	}
	whole := len(dst) - start - 4 + size
	if whole > MaxFrame {
		return dst[:start], false
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(whole))
	return dst, true
}
