// SPDX-License-Identifier: Apache-2.0

//go:build crosstest

package main

import (
	"context"
	"errors"
	"net"
	"time"

	"weir.dev/weir/test/conformance/thrift/testdata/gopeer/thrifttest"
)

func listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

// handler answers as Apache's servers do in other languages.
type handler struct{}

func (handler) TestVoid(context.Context) error                           { return nil }
func (handler) TestString(_ context.Context, v string) (string, error)   { return v, nil }
func (handler) TestBool(_ context.Context, v bool) (bool, error)         { return v, nil }
func (handler) TestByte(_ context.Context, v int8) (int8, error)         { return v, nil }
func (handler) TestI32(_ context.Context, v int32) (int32, error)        { return v, nil }
func (handler) TestI64(_ context.Context, v int64) (int64, error)        { return v, nil }
func (handler) TestDouble(_ context.Context, v float64) (float64, error) { return v, nil }
func (handler) TestBinary(_ context.Context, v []byte) ([]byte, error)   { return v, nil }
func (handler) TestSet(_ context.Context, v []int32) ([]int32, error)    { return v, nil }
func (handler) TestList(_ context.Context, v []int32) ([]int32, error)   { return v, nil }
func (handler) SecondtestString(_ context.Context, v string) (string, error) {
	return `testString("` + v + `")`, nil
}

func (handler) TestStruct(_ context.Context, v *thrifttest.Xtruct) (*thrifttest.Xtruct, error) {
	return v, nil
}

func (handler) TestNest(_ context.Context, v *thrifttest.Xtruct2) (*thrifttest.Xtruct2, error) {
	return v, nil
}

func (handler) TestMap(_ context.Context, v map[int32]int32) (map[int32]int32, error) { return v, nil }

func (handler) TestStringMap(_ context.Context, v map[string]string) (map[string]string, error) {
	return v, nil
}

func (handler) TestEnum(_ context.Context, v thrifttest.Numberz) (thrifttest.Numberz, error) {
	return v, nil
}

func (handler) TestTypedef(_ context.Context, v thrifttest.UserId) (thrifttest.UserId, error) {
	return v, nil
}

func (handler) TestMapMap(context.Context, int32) (map[int32]map[int32]int32, error) {
	out := map[int32]map[int32]int32{4: {}, -4: {}}
	for i := int32(1); i <= 4; i++ {
		out[4][i], out[-4][-i] = i, -i
	}
	return out, nil
}

func (handler) TestInsanity(_ context.Context, v *thrifttest.Insanity) (map[thrifttest.UserId]map[thrifttest.Numberz]*thrifttest.Insanity, error) {
	return map[thrifttest.UserId]map[thrifttest.Numberz]*thrifttest.Insanity{
		1: {thrifttest.Numberz_TWO: v, thrifttest.Numberz_THREE: v},
		2: {thrifttest.Numberz_SIX: {}},
	}, nil
}

func (handler) TestMulti(_ context.Context, b int8, i int32, l int64, _ map[int16]string, _ thrifttest.Numberz, _ thrifttest.UserId) (*thrifttest.Xtruct, error) {
	return &thrifttest.Xtruct{StringThing: "Hello2", ByteThing: b, I32Thing: i, I64Thing: l}, nil
}

func (handler) TestException(_ context.Context, what string) error {
	switch what {
	case "Xception":
		return &thrifttest.Xception{ErrorCode: 1001, Message: what}
	case "TException":
		return errors.New("this is a TException")
	}
	return nil
}

func (handler) TestMultiException(_ context.Context, what, other string) (*thrifttest.Xtruct, error) {
	switch what {
	case "Xception":
		return nil, &thrifttest.Xception{ErrorCode: 1001, Message: "This is an Xception"}
	case "Xception2":
		return nil, &thrifttest.Xception2{ErrorCode: 2002, StructThing: &thrifttest.Xtruct{StringThing: "This is an Xception2"}}
	}
	return &thrifttest.Xtruct{StringThing: other}, nil
}

func (handler) TestOneway(_ context.Context, seconds int32) error {
	time.Sleep(time.Duration(seconds) * time.Second / 3)
	return nil
}
