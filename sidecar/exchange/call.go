// SPDX-License-Identifier: Apache-2.0

package exchange

// Call is what is particular to Thrift: x.Call, nil where the request is none. The
// infos of a THeader or TTHeader are x.Request, and x.Response's of a reply's; other
// transports have none, so x.Add, SetUpstream and HideResponse do nothing there.
// x.Path is "/Service/method", or "/method" where names are not multiplexed.
//
// x.Body is the struct of arguments in the message's own protocol, decompressed.
// Recorders are shown the struct of the reply's result likewise. x.Answer sends such a
// struct again, in the caller's own envelope, under its own name and sequence number:
// with Status 200 it is a reply, with any other a TApplicationException; Header is what
// infos it has. Whoever kept it makes sure that the protocol is the same.
//
// x.Status of a reply is 200, of a TApplicationException 500, and 404 where it says
// that there is no such method. A oneway call that was written whole has Status 200 and
// the outcome Replied, with no ResponseHead. What denies it is never told the caller.
type Call struct {
	// Service is the part of the name before its first colon; empty where there is
	// none. Method is the rest.
	Service, Method []byte
	// Protocol is "binary", "compact" or "json".
	Protocol string
	// Oneway: nobody waits for an answer. A filter sets it in Head for methods that old
	// clients call like any other although nothing may answer them.
	Oneway bool
	// Args are the call's arguments.
	Args Args

	// ExceptionCode is the type of the TApplicationException that a denial becomes; 0:
	// 6, INTERNAL_ERROR. Set by who denies.
	ExceptionCode int32
	// ExceptionField above 0 makes a denial a reply in which the field of this id is
	// set to a struct {1: string message}, the exception that the method declares there.
	ExceptionField int16

	// Result is what the reply says, from ResponseHead on.
	Result CallResult
}

// Args are the arguments of a call, read without an IDL.
type Args interface {
	// Field reads the field that path leads to by ids. text is the value, numbers in
	// decimal, valid until the next call.
	Field(path []int16) (text []byte, state FieldState)
	// Digest is a fingerprint of all arguments, the same in whatever order maps, sets
	// and fields were written, and in binary and compact. Only once x.Body is there.
	Digest() (sum [32]byte, err error)
}

// FieldState is how a look for a field has ended.
type FieldState uint8

const (
	// FieldAbsent: there is none, or it is a struct, a container or a double.
	FieldAbsent FieldState = iota
	// FieldFound: text is its value.
	FieldFound
	// FieldBeyond: it has not come yet; NeedBody, then look again.
	FieldBeyond
	// FieldInvalid: it comes twice, or the arguments are malformed.
	FieldInvalid
)

// CallResult is what a reply says.
type CallResult struct {
	// Exception: it is a TApplicationException, with this code.
	Exception bool
	Code      int32
	// Field of the result that is set: 0 is success, above it an exception that the
	// method declares, -1 none, which is the success of a void method.
	Field int16
}
