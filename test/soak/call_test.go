// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// call is one request and the answer that it must have: both sides know it by its
// target.
type call struct {
	id uint64
	// reply is what the application does, see replies.
	reply string
	// up and down are the sizes of the bodies.
	up, down int
	// method is HEAD, or GET or POST by up.
	method string
	// chunked: the request's body is, and has a trailer.
	chunked bool
	expect  bool
	// limited: a policy may deny it.
	limited bool
}

// target is the path and query that say all of it.
func (c *call) target() string {
	area := "free"
	if c.limited {
		area = "limited"
	}
	return fmt.Sprintf("/%s/%s/%d?up=%d&down=%d", area, c.reply, c.id, c.up, c.down)
}

// parseCall reads a target.
func parseCall(target string) (*call, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(u.Path, "/")
	if len(parts) != 4 {
		return nil, fmt.Errorf("%q is no call", target)
	}
	c := &call{reply: parts[2], limited: parts[1] == "limited"}
	if c.id, err = strconv.ParseUint(parts[3], 10, 64); err == nil {
		if c.up, err = strconv.Atoi(u.Query().Get("up")); err == nil {
			c.down, err = strconv.Atoi(u.Query().Get("down"))
		}
	}
	return c, err
}

// payload is n bytes that no other call's body has.
func payload(id uint64, n int) []byte {
	block := fmt.Appendf(nil, "%016x", id)
	return bytes.Repeat(block, n/len(block)+1)[:n]
}

// upBody and downBody are the bodies both ways.
func (c *call) upBody() []byte   { return payload(c.id, c.up) }
func (c *call) downBody() []byte { return payload(^c.id, c.down) }

// class is what can be said of an answer beforehand.
type class int

const (
	// answered: the application behaves.
	answered class = iota
	// unanswered: it gives no response.
	unanswered
	// torn: it gives half of one.
	torn
	// either: it answers, and may destroy the answer itself.
	either
)

// replies are what the application can do.
var replies = map[string]class{
	"plain": answered, "chunked": answered, "close": answered, "http10": answered, "interim": answered, "slow": answered,
	"drip": answered, "early": answered, "tunnel": answered, "chat": answered, "events": answered, "empty": answered, "unchanged": answered,
	"reset": unanswered, "silent": unanswered, "halfhead": unanswered, "garbage": unanswered,
	"short": torn, "shortreset": torn, "shortchunk": torn,
	"deaf": either,
}

var (
	// orderly replies leave the client's connection open, whatever the request is.
	orderly = []string{"plain", "plain", "plain", "chunked", "close", "http10", "interim", "slow", "drip", "events", "empty", "unchanged"}
	// native are those of an application that speaks HTTP/2, and aborted those that
	// fail.
	native  = []string{"plain", "plain", "chunked", "slow", "events", "empty"}
	aborted = []string{"reset", "shortreset"}
	wrong   = []string{"reset", "silent", "halfhead", "garbage", "short", "shortreset", "shortchunk", "deaf"}
)

func pick(list []string) string { return list[rand.IntN(len(list))] }

// size is a body's: mostly small, sometimes 1 MiB.
func size() int {
	switch rand.IntN(12) {
	case 0:
		return 1 << 20
	case 1, 2:
		return rand.IntN(100_000)
	case 3:
		return 0
	default:
		return rand.IntN(2000)
	}
}

// random returns a call that must go well.
func random(id uint64) *call {
	c := &call{id: id, reply: pick(orderly), down: size(), method: http.MethodGet, limited: rand.IntN(8) == 0}
	switch rand.IntN(4) {
	case 0:
		c.method, c.up = http.MethodPost, size()
	case 1:
		c.method, c.up, c.chunked = http.MethodPost, size(), true
	case 2:
		if rand.IntN(4) == 0 {
			c.method = http.MethodHead
		}
	}
	c.fit()
	return c
}

// fit makes down what the reply can be.
func (c *call) fit() {
	switch c.reply {
	case "drip":
		c.down %= 300
	case "events":
		c.down = 16 * (1 + c.down%6)
	case "empty", "unchanged":
		c.down = 0
	}
}
