// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Traffic is what a Redis has done so far.
type Traffic struct {
	// Reads of connections. Of a client that waits for each answer every round trip
	// is one; under load, several commands come with one.
	Reads int64
	// In and Out are bytes.
	In, Out int64
}

// Traffic asks for it. Each time it is asked is a read more.
func (r *Redis) Traffic() (Traffic, error) {
	info, err := r.info("stats")
	if err != nil {
		return Traffic{}, err
	}
	return parseTraffic(info)
}

func parseTraffic(info string) (t Traffic, err error) {
	for name, into := range map[string]*int64{
		"total_reads_processed": &t.Reads, "total_net_input_bytes": &t.In, "total_net_output_bytes": &t.Out,
	} {
		m := regexp.MustCompile(`(?m)^` + name + `:(\d+)`).FindStringSubmatch(info)
		if m == nil {
			return t, fmt.Errorf("INFO stats has no %s: Redis 6.0 or later is needed", name)
		}
		if *into, err = strconv.ParseInt(m[1], 10, 64); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Empty removes all keys.
func (r *Redis) Empty(ctx context.Context) error {
	c := redis.NewClient(&redis.Options{Addr: r.Address})
	defer c.Close()
	return c.FlushAll(ctx).Err()
}

// KeyBytes is the memory that a key takes with what it holds, by MEMORY USAGE: the mean
// of some keys, taken at random.
func (r *Redis) KeyBytes(ctx context.Context) (float64, error) {
	const sample = 200
	c := redis.NewClient(&redis.Options{Addr: r.Address})
	defer c.Close()
	var sum int64
	for range sample {
		key, err := c.RandomKey(ctx).Result()
		if err != nil {
			return 0, err
		}
		n, err := c.MemoryUsage(ctx, key).Result()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return float64(sum) / sample, nil
}
