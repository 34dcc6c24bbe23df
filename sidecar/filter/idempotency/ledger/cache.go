// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"container/list"
	"sync"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// entry is a record that will not change any more, with its response in plain.
type entry struct {
	id     record.ID
	rec    record.Record
	plain  []byte
	expire time.Time
}

// entryCost is what an entry takes besides its response.
const entryCost = 400

func (e *entry) size() int { return entryCost + len(e.plain) }

// cacheParts each have a lock and a part of the room.
const cacheParts = 8

// cache keeps the entries that were used last.
type cache struct{ parts [cacheParts]cachePart }

type cachePart struct {
	mu    sync.Mutex
	room  int
	used  int
	index map[record.ID]*list.Element
	// recent has the one used last at its front.
	recent list.List
}

func (c *cache) init(room int) {
	for i := range c.parts {
		c.parts[i].room = max(0, room) / cacheParts
		c.parts[i].index = map[record.ID]*list.Element{}
	}
}

func (c *cache) part(id record.ID) *cachePart { return &c.parts[int(id[1])%cacheParts] }

// get returns an entry that is not to be changed, or nil.
func (c *cache) get(id record.ID, now time.Time) *entry {
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.index[id]
	if at == nil {
		return nil
	}
	e := at.Value.(*entry)
	if !now.Before(e.expire) {
		p.drop(at)
		return nil
	}
	p.recent.MoveToFront(at)
	return e
}

// put keeps e until expire, in the place of what there was.
func (c *cache) put(e *entry, expire time.Time) {
	p := c.part(e.id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.index[e.id]; at != nil {
		p.drop(at)
	}
	// What would displace most others is not kept.
	if expire.IsZero() || e.size() > p.room/2 {
		return
	}
	e.expire = expire
	p.index[e.id] = p.recent.PushFront(e)
	for p.used += e.size(); p.used > p.room; {
		p.drop(p.recent.Back())
	}
}

// remove takes out what there is of id.
func (c *cache) remove(id record.ID) {
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.index[id]; at != nil {
		p.drop(at)
	}
}

func (p *cachePart) drop(at *list.Element) {
	e := p.recent.Remove(at).(*entry)
	delete(p.index, e.id)
	p.used -= e.size()
}
