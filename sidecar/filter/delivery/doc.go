// SPDX-License-Identifier: Apache-2.0

// Package delivery tells Weir's own deliveries from requests of others.
//
// In: the field weir-delivery of requests, the namespace's key for the purpose
// "delivery". Out: exchange.Delivery where the field is valid; the field itself, for
// who delivers. The filter is the first of a chain, so that those after it know, and
// lets everything pass: a field that is not valid, or is there twice, is taken away and
// the request is one like others.
//
// The field:
//
//	v1;op=<operation>;attempt=<n>;exp=<t>;sig=<signature>
//
// op is 1 to 128 letters, digits, '.', '_', '~' and '-'. n is a decimal number from 1 to
// 4294967295, t a time in seconds since 1970, from which on the field is not valid;
// neither has zeros before it. The signature is HMAC-SHA256 of all that stands before
// ";sig=", in base64url without padding (RFC 4648 section 5). Nothing else is read: no
// white space, no other order, no other parameters.
//
// The field says that Weir delivers, not what: who can read it can send other requests
// with it until it expires, to ports of this namespace. It has no meaning elsewhere.
package delivery
