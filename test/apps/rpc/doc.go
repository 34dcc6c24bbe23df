// SPDX-License-Identifier: Apache-2.0

// Command rpc is an application that speaks what plain requests are not: gRPC
// (the interoperability service of the gRPC project), WebSocket and Server-Sent
// Events. The same binary is their client.
//
// It must never import a package of Weir: what it sees is what any app sees.
package main
