// SPDX-License-Identifier: Apache-2.0

package exchange

// grpcUnknown stands for numbers that no specification knows.
const grpcUnknown = 2

// GRPCStatusName is the name of a gRPC status, as metrics and traces have it; that
// of a number which is none is UNKNOWN, so that an application cannot make up
// names (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).
func GRPCStatusName(status int) string {
	names := [...]string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
		"DATA_LOSS", "UNAUTHENTICATED",
	}
	if status < 0 || status >= len(names) {
		status = grpcUnknown
	}
	return names[status]
}

// GRPCServerFault reports whether a gRPC status says that the server failed, as
// OpenTelemetry has it for server spans (semantic conventions for gRPC).
func GRPCServerFault(status int) bool {
	switch GRPCStatusName(status) {
	case "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS":
		return true
	}
	return false
}
