// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// user is an argument: the field 1 of a call.
type user struct {
	name  []byte
	state exchange.FieldState
}

func (u *user) Field([]int16) ([]byte, exchange.FieldState) { return u.name, u.state }
func (u *user) Digest() ([32]byte, error)                   { return [32]byte{}, nil }

func callOf(method, name string) *exchange.Exchange {
	x := request("")
	x.Call = &exchange.Call{Method: []byte(method), Args: &user{[]byte(name), exchange.FieldFound}}
	return x
}

// perUser counts calls of charge by the first argument.
func perUser(n uint64) *snapshot.Limit {
	l := perClient("per-user", n)
	l.Key = []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_ThriftField{ThriftField: "1"}}}
	l.Match = []*snapshot.Match{{Kind: &snapshot.Match_Thrift{Thrift: &snapshot.ThriftMatch{Methods: []string{"charge"}}}}}
	return l
}

// askCall asks as the codec does; a call whose arguments are too long is never given to
// Body.
func askCall(t *testing.T, f *ratelimit.Filter, x *exchange.Exchange, long bool) (v exchange.Verdict, asked bool) {
	t.Helper()
	v = f.Head(x)
	if v == exchange.NeedBody {
		asked = true
		if f.MaxBody() < 64<<10 {
			t.Errorf("MaxBody is %d", f.MaxBody())
		}
		if long {
			v = f.Oversize(x)
		} else {
			x.Body = []byte{0}
			v = f.Body(x)
		}
	}
	f.End(x, exchange.NotSent)
	return v, asked
}

// Arguments are read whole before a limit counts by one, and not where none does.
func TestCallsAreCountedByArguments(t *testing.T) {
	f := newWorld(t).filter(t, policy(perUser(1)))
	for i, step := range []struct {
		method, user string
		want         exchange.Verdict
		asked        bool
	}{
		{"charge", "a", exchange.Continue, true}, {"charge", "a", exchange.Respond, true}, {"charge", "b", exchange.Continue, true},
		{"ping", "a", exchange.Continue, false},
	} {
		x := callOf(step.method, step.user)
		if got, asked := askCall(t, f, x, false); got != step.want || asked != step.asked {
			t.Errorf("step %d: verdict %d, asked %v, want %d, %v", i, got, asked, step.want, step.asked)
		}
	}
}

// Arguments that are too long to be looked at, and a field that comes twice, are no way
// around a limit: they count by the client's address, also where calls without the field
// would be skipped.
func TestCallsWithDoubtfulArguments(t *testing.T) {
	for _, missing := range []snapshot.OnMissingKey{snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP, snapshot.OnMissingKey_ON_MISSING_KEY_SKIP} {
		l := perUser(1)
		l.OnMissingKey = missing
		f := newWorld(t).filter(t, policy(l))
		for i, want := range []exchange.Verdict{exchange.Continue, exchange.Respond} {
			if got, _ := askCall(t, f, callOf("charge", string(rune('a'+i))), true); got != want {
				t.Errorf("%s: long call %d: verdict %d, want %d", missing, i, got, want)
			}
		}
		x := callOf("charge", "c")
		x.Call.Args = &user{[]byte("c"), exchange.FieldInvalid}
		if got, _ := askCall(t, f, x, false); got != exchange.Respond {
			t.Errorf("%s: a field twice: verdict %d", missing, got)
		}
	}
}

// Denials are as the policy says; oneway methods are marked, also for who is exempt.
func TestAnswersToCalls(t *testing.T) {
	p := policy(perUser(1))
	p.Thrift = &snapshot.ThriftAnswers{ExceptionCode: 7, ExceptionField: 3, OnewayMethods: []string{"charge"}}
	f := newWorld(t).filter(t, p)
	_, _ = askCall(t, f, callOf("charge", "a"), false)
	x := callOf("charge", "a")
	v, _ := askCall(t, f, x, false)
	if c := x.Call; v != exchange.Respond || c.ExceptionCode != 7 || c.ExceptionField != 3 || !c.Oneway || x.Denial.Status != 429 {
		t.Errorf("verdict %d, %+v, %+v", v, c, x.Denial)
	}
	if x = callOf("ping", "a"); f.Head(x) != exchange.Continue || x.Call.Oneway {
		t.Error("another method is oneway")
	}
	p.Exempt = []*snapshot.Exemption{{Kind: &snapshot.Exemption_SourceCidr{SourceCidr: "192.0.2.0/24"}}}
	f = newWorld(t).filter(t, p)
	if x = callOf("charge", "a"); f.Head(x) != exchange.Continue || !x.Call.Oneway {
		t.Error("a call of an exempt client is not oneway")
	}
}

// Nobody takes the infos of calls from their clients as they do identity headers of HTTP.
func TestInfosExemptNobody(t *testing.T) {
	p := policy(perUser(1))
	p.Exempt = []*snapshot.Exemption{{Kind: &snapshot.Exemption_Header{Header: &snapshot.HeaderMatch{Name: "x-probe", Value: "1"}}}}
	f := newWorld(t).filter(t, p).Under(&exchange.Identity{Headers: []string{"x-probe"}})
	for _, want := range []exchange.Verdict{exchange.Continue, exchange.Respond} {
		x := callOf("charge", "a")
		x.Request = headers{{"x-probe", "1"}}
		if got, _ := askCall(t, f, x, false); got != want {
			t.Errorf("verdict %d, want %d", got, want)
		}
	}
}

func TestCallsDoNotAllocate(t *testing.T) {
	p := policy(perUser(1_000_000))
	p.Thrift = &snapshot.ThriftAnswers{OnewayMethods: []string{"note"}}
	env := newWorld(t).env()
	env.Metrics = nil
	f, err := ratelimit.Compile(p, env)
	if err != nil {
		t.Fatal(err)
	}
	x := request("")
	args, body := &user{[]byte("0123456789abcdef"), exchange.FieldFound}, []byte{0}
	c := &exchange.Call{}
	name := []byte("charge")
	got := testing.AllocsPerRun(1000, func() {
		x.Reset()
		*c = exchange.Call{Method: name, Args: args}
		x.Call, x.Request, x.Client = c, fixed, addr
		if f.Head(x) != exchange.NeedBody {
			t.Error("it does not ask for the arguments")
		}
		x.Body = body
		if f.Body(x) != exchange.Continue {
			t.Error("denied")
		}
		f.End(x, exchange.Replied)
	})
	if got > 0 {
		t.Errorf("%v allocations", got)
	}
}
