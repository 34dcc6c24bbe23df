// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"mime"
	"strings"
)

// Forms that a body was read in, so that no two forms have the same digest.
const (
	formBytes     = 'b'
	formJSON      = 'j'
	formMultipart = 'm'
)

// Digest of a body. contentType is the field as it was sent, coded that there is a
// Content-Encoding other than identity. A body is read as JSON where contentType says
// so or is empty; exclude has an effect there only.
func (c *Canon) Digest(contentType []byte, coded bool, body []byte, exclude []Pointer) (sum [sha256.Size]byte) {
	defer c.release()
	switch kind := mediaType(contentType); {
	case coded:
	case len(kind) == 0 || isJSON(kind):
		if c.encode(body, exclude) {
			if c.excluded {
				c.arena = c.arena[:0]
			}
			h := sha256.New()
			_, _ = h.Write([]byte{formJSON})
			_, _ = h.Write(c.arena)
			h.Sum(sum[:0])
			return sum
		}
	case equalFold(kind, "multipart/form-data"):
		if boundary := boundaryOf(contentType); boundary != "" {
			if h, ok := multipart(boundary, body); ok {
				h.Sum(sum[:0])
				return sum
			}
		}
	}
	h := sha256.New()
	_, _ = h.Write([]byte{formBytes})
	_, _ = h.Write(body)
	h.Sum(sum[:0])
	return sum
}

// mediaType is a Content-Type without parameters.
func mediaType(field []byte) []byte {
	kind, _, _ := bytes.Cut(field, []byte{';'})
	return bytes.Trim(kind, " \t")
}

func isJSON(kind []byte) bool {
	if equalFold(kind, "application/json") || equalFold(kind, "text/json") {
		return true
	}
	const suffix = "+json"
	return len(kind) > len(suffix) && equalFold(kind[len(kind)-len(suffix):], suffix)
}

func equalFold(b []byte, lower string) bool {
	return len(b) == len(lower) && strings.EqualFold(string(b), lower)
}

func boundaryOf(field []byte) string {
	_, params, err := mime.ParseMediaType(string(field))
	if err != nil {
		return ""
	}
	return params["boundary"]
}

// multipart digests a body (RFC 2046 section 5.1.1) without the boundary's text: what
// stands between delimiters, each with its length. It is not ok where the body does
// not begin with a delimiter, or is not closed.
func multipart(boundary string, body []byte) (hash.Hash, bool) {
	delimiter := []byte("\r\n--" + boundary)
	if !bytes.HasPrefix(body, delimiter[2:]) {
		return nil, false
	}
	h := sha256.New()
	_, _ = h.Write([]byte{formMultipart})
	for rest := body[len(delimiter)-2:]; ; {
		if bytes.HasPrefix(rest, []byte("--")) {
			piece(h, rest)
			return h, true
		}
		part, after, found := bytes.Cut(rest, delimiter)
		if !found {
			return nil, false
		}
		piece(h, part)
		rest = after
	}
}

func piece(h hash.Hash, b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	_, _ = h.Write(n[:])
	_, _ = h.Write(b)
}
