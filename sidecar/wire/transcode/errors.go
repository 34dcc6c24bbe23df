// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"weir.dev/weir/sidecar/exchange"
)

// Problem types, see docs/problems.md.
const (
	ProblemRequest   = "https://weir.dev/problems/thrift-request-invalid"
	ProblemNoRoute   = "https://weir.dev/problems/thrift-no-route"
	ProblemException = "https://weir.dev/problems/thrift-exception"
	ProblemMethod    = "https://weir.dev/problems/thrift-unknown-method"
	ProblemFailed    = "https://weir.dev/problems/thrift-application-failed"
	ProblemReply     = "https://weir.dev/problems/thrift-reply-invalid"
	ProblemNoMapping = "https://weir.dev/problems/thrift-no-mapping"
)

// Refusal is an answer that needs no application, or takes the place of its own.
type Refusal struct {
	exchange.Denial
	// allow is the field Allow of a 405.
	allow string
}

func (r *Refusal) Error() string { return r.Detail }

func refuse(status int, typ, title, detail string) *Refusal {
	return &Refusal{Denial: exchange.Denial{Status: status, Type: typ, Title: title, Detail: detail}}
}

// asRefusal is for errors that are one.
func asRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return badRequest("the request", err)
}

// valueError says what is wrong with a value, and where: each level adds its name as
// the error goes up, so that a conversion which goes well builds no path.
type valueError struct {
	// where is a JSON pointer.
	where string
	what  string
	// whole: it is about all of the document.
	whole bool
	// large: a limit is reached.
	large bool
}

func (e *valueError) Error() string {
	if e.whole || e.where == "" {
		return e.what
	}
	return e.where + " " + e.what
}

// under adds a member's name or an element's number to where.
func under(err error, name string) error {
	var v *valueError
	if errors.As(err, &v) && !v.whole {
		v.where = "/" + name + v.where
	}
	return err
}

func underIndex(err error, i int) error { return under(err, strconv.Itoa(i)) }

func bad(what string) error { return &valueError{what: what} }

// badRequest makes a refusal of what is wrong with a value of the request.
func badRequest(place string, err error) *Refusal {
	var v *valueError
	if errors.As(err, &v) && v.large {
		return refuse(http.StatusRequestEntityTooLarge, ProblemRequest, "Request Too Large", "The request is larger than a Thrift call may be.")
	}
	if errors.As(err, &v) && !v.whole && v.where != "" {
		return refuse(http.StatusBadRequest, ProblemRequest, "Invalid Request", "In "+place+", "+v.where+" "+v.what+".")
	}
	if v != nil && !v.whole {
		return refuse(http.StatusBadRequest, ProblemRequest, "Invalid Request", strings.ToUpper(place[:1])+place[1:]+" "+v.what+".")
	}
	return refuse(http.StatusBadRequest, ProblemRequest, "Invalid Request", "In "+place+", "+err.Error()+".")
}

// badReply makes a refusal of a reply that is none.
func badReply(err error) *Refusal {
	return refuse(http.StatusBadGateway, ProblemReply, "Invalid Reply", "The application's reply cannot be read: "+err.Error()+".")
}
