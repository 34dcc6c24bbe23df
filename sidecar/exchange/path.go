// SPDX-License-Identifier: Apache-2.0

package exchange

import "unicode/utf8"

// PathFlags say what is unusual about a path.
type PathFlags uint8

const (
	// EncodedSlash: %2F, %5C, %00 or a raw backslash, which one server takes for
	// a separator (or an end) and the next one does not.
	EncodedSlash PathFlags = 1 << iota
	// InvalidPath: a broken percent escape, a control character, a space, a '#',
	// or bytes above 0x7F that are not UTF-8: no path by any RFC, and routers
	// disagree about each of them.
	InvalidPath
	// EncodedDots: a dot segment of which a dot is escaped. net/http and Express
	// take it for a name, browsers and nginx for a step: no client that means
	// well sends it.
	EncodedDots
	// DotSegments: "." or ".." as a segment. Servers that do not resolve them,
	// such as Express, route by what KeepDots returns.
	DotSegments
)

// NormalizePath appends to dst the form of raw, a request's path without its
// query, that routes are matched against: unreserved characters (RFC 3986
// §2.3) decoded, other escapes in upper case, empty segments and dot segments
// removed, no slash at the end except of "/" itself. It is idempotent and never
// longer than raw, but for an empty path, which becomes "/".
func NormalizePath(dst, raw []byte) ([]byte, PathFlags) { return normalize(dst, raw, true) }

// KeepDots is NormalizePath but for dot segments, which stay. Its result can
// route otherwise only if NormalizePath has returned DotSegments.
func KeepDots(dst, raw []byte) []byte {
	dst, _ = normalize(dst, raw, false)
	return dst
}

// DropParams appends raw without path parameters: what follows a ';' in each
// segment. Tomcat and Spring do so before they resolve dot segments, so that
// "/a/..;x/b" is "/b" there.
func DropParams(dst, raw []byte) []byte {
	param := false
	for _, c := range raw {
		switch c {
		case '/':
			param = false
		case ';':
			param = true
		}
		if !param {
			dst = append(dst, c)
		}
	}
	return dst
}

// OpenSlashes appends raw with what EncodedSlash flags, but for %00, as the slash
// that some servers take it for. net/http is one of them: a path that has a
// character which ought to be escaped is decoded as a whole before it is routed.
func OpenSlashes(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if n, ok := unescape(raw[i:]); ok && (n == '/' || n == '\\') {
				c = '/'
				i += 2
			}
		}
		if c == '\\' {
			c = '/'
		}
		dst = append(dst, c)
	}
	return dst
}

func normalize(dst, raw []byte, resolve bool) ([]byte, PathFlags) {
	base := len(dst)
	var flags PathFlags
	for i := 0; i < len(raw); {
		if raw[i] == '/' {
			i++
			continue
		}
		start, from := len(dst), i
		dst = append(dst, '/')
		var f PathFlags
		dst, i, f = appendSegment(dst, raw, i)
		flags |= f
		if s := string(dst[start:]); s != "/." && s != "/.." {
			continue
		}
		flags |= DotSegments
		if i-from != len(dst)-start-1 {
			flags |= EncodedDots
		}
		if resolve {
			dst = resolveDots(dst, base, start)
		}
	}
	if len(dst) == base {
		dst = append(dst, '/')
	}
	return dst, flags
}

// resolveDots removes the dot segment at dst[start:], which begins with its slash:
// "..", with the segment before it.
func resolveDots(dst []byte, base, start int) []byte {
	if len(dst)-start == len("/.") {
		return dst[:start]
	}
	for start > base {
		start--
		if dst[start] == '/' {
			break
		}
	}
	return dst[:start]
}

// appendSegment appends the segment of raw that begins at i and returns where it
// ends.
func appendSegment(dst, raw []byte, i int) ([]byte, int, PathFlags) {
	var flags PathFlags
	for i < len(raw) && raw[i] != '/' {
		c := raw[i]
		switch {
		case c == '%':
			n, ok := unescape(raw[i:])
			if !ok {
				flags |= InvalidPath
				dst = append(dst, '%')
				i++
				continue
			}
			if unreserved(n) {
				dst = append(dst, n)
			} else {
				dst = append(dst, '%', upper(raw[i+1]), upper(raw[i+2]))
				if n == '/' || n == '\\' || n == 0 {
					flags |= EncodedSlash
				}
			}
			i += 3
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(raw[i:])
			if r == utf8.RuneError && size <= 1 {
				flags |= InvalidPath
			}
			dst = append(dst, raw[i:i+size]...)
			i += size
		default:
			switch {
			case c == '\\':
				flags |= EncodedSlash
			case c <= ' ' || c == 0x7F || c == '#':
				flags |= InvalidPath
			}
			dst = append(dst, c)
			i++
		}
	}
	return dst, i, flags
}

// unescape decodes the %XX that b begins with.
func unescape(b []byte) (byte, bool) {
	if len(b) < 3 {
		return 0, false
	}
	hi, ok1 := unhex(b[1])
	lo, ok2 := unhex(b[2])
	return hi<<4 | lo, ok1 && ok2
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'f' {
		return c - 'a' + 'A'
	}
	return c
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
