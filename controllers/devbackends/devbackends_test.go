// SPDX-License-Identifier: Apache-2.0

package devbackends

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestKeysExpireByThemselves(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	addr, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- Redis(ctx, "127.0.0.1:0", func(a string) { addr <- a }) }()
	c := redis.NewClient(&redis.Options{Addr: <-addr})
	defer c.Close()
	const script = `local t = redis.call('TIME'); redis.call('SET', KEYS[1], t[1], 'PX', 300); return t[1]`
	if err := c.Eval(ctx, script, []string{"{a}:k"}).Err(); err != nil {
		t.Fatal(err)
	}
	if n := c.Exists(ctx, "{a}:k").Val(); n != 1 {
		t.Fatalf("the key is not there")
	}
	for range 100 {
		if c.Exists(ctx, "{a}:k").Val() == 0 {
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the key did not expire within 5 s")
}

func TestAddressInUse(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	addr, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- Redis(ctx, "127.0.0.1:0", func(a string) { addr <- a }) }()
	if err := Redis(ctx, <-addr, func(string) {}); err == nil {
		t.Error("a second server on the same address started")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
