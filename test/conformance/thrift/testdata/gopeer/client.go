// SPDX-License-Identifier: Apache-2.0

//go:build crosstest

package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"weir.dev/weir/test/conformance/thrift/testdata/gopeer/thrifttest"
)

// limit of a call, so that one that hangs is a failure.
const limit = 15 * time.Second

// peer is a connection to a server.
type peer struct {
	*thrifttest.ThriftTestClient
	second *thrifttest.SecondServiceClient
	close  func() error
}

// dial opens a connection of a form.
func dial(f form, addr string) (*peer, error) {
	conf := &thrift.TConfiguration{ConnectTimeout: limit, SocketTimeout: limit}
	var trans thrift.TTransport = thrift.NewTSocketConf(addr, conf)
	var err error
	if f.transport == "http" {
		trans, err = thrift.NewTHttpClient("http://" + addr + "/")
	} else {
		trans, err = f.transports().GetTransport(trans)
	}
	if err != nil {
		return nil, err
	}
	protocols, err := f.protocols()
	if err != nil {
		return nil, err
	}
	if err := trans.Open(); err != nil {
		return nil, err
	}
	proto := protocols.GetProtocol(trans)
	p := &peer{close: trans.Close}
	if !f.multiplexed {
		p.ThriftTestClient = thrifttest.NewThriftTestClient(thrift.NewTStandardClient(proto, proto))
		return p, nil
	}
	p.ThriftTestClient = thrifttest.NewThriftTestClient(thrift.NewTStandardClient(proto, thrift.NewTMultiplexedProtocol(proto, "ThriftTest")))
	p.second = thrifttest.NewSecondServiceClient(thrift.NewTStandardClient(proto, thrift.NewTMultiplexedProtocol(proto, "SecondService")))
	return p, nil
}

// test is one test, on a connection of its own.
type test struct {
	name string
	run  func(context.Context, *peer) error
}

// call runs all tests, and says which have failed.
func call(ctx context.Context, f form, addr string) error {
	failed := 0
	for _, t := range tests() {
		if err := one(ctx, f, addr, t); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", t.name, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d tests failed", failed, len(tests()))
	}
	fmt.Printf("%d tests passed\n", len(tests()))
	return nil
}

func one(ctx context.Context, f form, addr string, t test) error {
	p, err := dial(f, addr)
	if err != nil {
		return err
	}
	defer func() { _ = p.close() }()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return t.run(ctx, p)
}

// same calls a method that returns what it is given.
func same[T any](name string, method func(*peer) func(context.Context, T) (T, error), values ...T) test {
	return test{name: name, run: func(ctx context.Context, p *peer) error {
		for _, want := range values {
			got, err := method(p)(ctx, want)
			if err := equal(got, want, err); err != nil {
				return err
			}
		}
		return nil
	}}
}

// equal is an error unless a call has returned what is wanted.
func equal(got, want any, err error) error {
	if err == nil && !reflect.DeepEqual(got, want) {
		err = fmt.Errorf("got %v, not %v", got, want)
	}
	return err
}

func tests() []test {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	x := &thrifttest.Xtruct{StringThing: "Zero", ByteThing: 1, I32Thing: -3, I64Thing: -5}
	return []test{
		{name: "testVoid", run: func(ctx context.Context, p *peer) error { return p.TestVoid(ctx) }},
		same("testString", func(p *peer) func(context.Context, string) (string, error) { return p.TestString },
			"", "Go", strings.Repeat("Go", 20), "\b\t\n/\\\r{}:パイソン\" ⰔⰎⰑⰂⰡ 中文 𝄞", strings.Repeat("long ", 50_000)),
		same("testBool", func(p *peer) func(context.Context, bool) (bool, error) { return p.TestBool }, true, false),
		same("testByte", func(p *peer) func(context.Context, int8) (int8, error) { return p.TestByte }, 63, -127),
		same("testI32", func(p *peer) func(context.Context, int32) (int32, error) { return p.TestI32 }, 0, -1, 1<<31-1, -1<<31),
		same("testI64", func(p *peer) func(context.Context, int64) (int64, error) { return p.TestI64 }, 1, -34359738368, 1<<62),
		same("testDouble", func(p *peer) func(context.Context, float64) (float64, error) { return p.TestDouble }, 0, -1, -5.235098235, -0.000341012439638598279),
		same("testBinary", func(p *peer) func(context.Context, []byte) ([]byte, error) { return p.TestBinary }, all),
		same("testStruct", func(p *peer) func(context.Context, *thrifttest.Xtruct) (*thrifttest.Xtruct, error) {
			return p.TestStruct
		}, x),
		same("testNest", func(p *peer) func(context.Context, *thrifttest.Xtruct2) (*thrifttest.Xtruct2, error) {
			return p.TestNest
		},
			&thrifttest.Xtruct2{ByteThing: 1, StructThing: x, I32Thing: 5}),
		same("testMap", func(p *peer) func(context.Context, map[int32]int32) (map[int32]int32, error) { return p.TestMap },
			map[int32]int32{}, map[int32]int32{0: 1, 1: 2, -1: -2}),
		same("testStringMap", func(p *peer) func(context.Context, map[string]string) (map[string]string, error) {
			return p.TestStringMap
		},
			map[string]string{"a": "2", "b": "blah", "some": "thing", "": "empty"}),
		{name: "testSet", run: testSet},
		same("testList", func(p *peer) func(context.Context, []int32) ([]int32, error) { return p.TestList }, []int32{}, []int32{1, 4, 9, -42}),
		same("testEnum", func(p *peer) func(context.Context, thrifttest.Numberz) (thrifttest.Numberz, error) { return p.TestEnum },
			thrifttest.Numberz_ONE, thrifttest.Numberz_FIVE, thrifttest.Numberz_EIGHT),
		same("testTypedef", func(p *peer) func(context.Context, thrifttest.UserId) (thrifttest.UserId, error) {
			return p.TestTypedef
		}, 0xffffffffffffff),
		{name: "testMapMap", run: testMapMap},
		{name: "testInsanity", run: testInsanity},
		{name: "testMulti", run: testMulti},
		{name: "testException", run: testException},
		{name: "testMultiException", run: testMultiException},
		{name: "testOnewayThenNormal", run: testOneway},
		{name: "testMultiplexed", run: testMultiplexed},
	}
}

func testSet(ctx context.Context, p *peer) error {
	got, err := p.TestSet(ctx, []int32{8, 1, 42})
	have := map[int32]bool{}
	for _, v := range got {
		have[v] = true
	}
	return equal(have, map[int32]bool{8: true, 1: true, 42: true}, err)
}

func testMapMap(ctx context.Context, p *peer) error {
	got, err := p.TestMapMap(ctx, 42)
	want, _ := handler{}.TestMapMap(ctx, 42)
	return equal(got, want, err)
}

func testInsanity(ctx context.Context, p *peer) error {
	in := &thrifttest.Insanity{
		UserMap: map[thrifttest.Numberz]thrifttest.UserId{thrifttest.Numberz_FIVE: 5, thrifttest.Numberz_EIGHT: 8},
		Xtructs: []*thrifttest.Xtruct{{StringThing: "Goodbye4", ByteThing: 4, I32Thing: 4, I64Thing: 4}},
	}
	got, err := p.TestInsanity(ctx, in)
	if err != nil {
		return err
	}
	return equal([]any{got[1][thrifttest.Numberz_TWO], got[1][thrifttest.Numberz_THREE], len(got), len(got[2])}, []any{in, in, 2, 1}, nil)
}

func testMulti(ctx context.Context, p *peer) error {
	want := &thrifttest.Xtruct{StringThing: "Hello2", ByteThing: 74, I32Thing: 0xff00ff, I64Thing: 0xffffffffd0d0}
	got, err := p.TestMulti(ctx, want.ByteThing, want.I32Thing, want.I64Thing, map[int16]string{0: "abc"}, thrifttest.Numberz_FIVE, 0xf0f0f0)
	return equal(got, want, err)
}

func testException(ctx context.Context, p *peer) error {
	if err := p.TestException(ctx, "Safe"); err != nil {
		return err
	}
	x, ok := errors.AsType[*thrifttest.Xception](p.TestException(ctx, "Xception"))
	if !ok || x.ErrorCode != 1001 || x.Message != "Xception" {
		return fmt.Errorf("it threw %v", x)
	}
	err := p.TestException(ctx, "TException")
	if _, ok := errors.AsType[thrift.TApplicationException](err); !ok {
		return fmt.Errorf("it threw %v", err)
	}
	return p.TestException(ctx, "success")
}

func testMultiException(ctx context.Context, p *peer) error {
	_, err := p.TestMultiException(ctx, "Xception", "ignore")
	x, ok := errors.AsType[*thrifttest.Xception](err)
	if !ok || x.ErrorCode != 1001 || x.Message != "This is an Xception" {
		return fmt.Errorf("it threw %v", err)
	}
	_, err = p.TestMultiException(ctx, "Xception2", "ignore")
	x2, ok := errors.AsType[*thrifttest.Xception2](err)
	if !ok || x2.ErrorCode != 2002 || x2.StructThing.StringThing != "This is an Xception2" {
		return fmt.Errorf("it threw %v", err)
	}
	got, err := p.TestMultiException(ctx, "success", "foobar")
	return equal(got, &thrifttest.Xtruct{StringThing: "foobar"}, err)
}

// What comes after a oneway call must get its own reply.
func testOneway(ctx context.Context, p *peer) error {
	if err := p.TestOneway(ctx, 1); err != nil {
		return err
	}
	got, err := p.TestString(ctx, "Go")
	return equal(got, "Go", err)
}

func testMultiplexed(ctx context.Context, p *peer) error {
	if p.second == nil {
		return nil
	}
	got, err := p.second.SecondtestString(ctx, "foobar")
	return equal(got, `testString("foobar")`, err)
}
