// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"weir.dev/weir/sidecar/wire/transcode"
)

// callOutput is what --output json prints.
type callOutput struct {
	Result      json.RawMessage       `json:"result,omitempty"`
	Exception   *thrownOutput         `json:"exception,omitempty"`
	Application *applicationException `json:"applicationException,omitempty"`
}

type thrownOutput struct {
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

type applicationException struct {
	Type    int32  `json:"type"`
	Message string `json:"message"`
}

// print writes a result; an exception is the error too.
func (f *thriftCallFlags) print(m *transcode.Method, r *transcode.Result, w io.Writer) error {
	out := callOutput{Result: r.Value}
	var failure error
	switch {
	case r.Exception != "":
		out.Exception = &thrownOutput{Type: r.Exception, Value: r.Thrown}
		failure = fmt.Errorf("%s.%s threw %s: %s", m.Service, m.Name, r.Exception, r.Thrown)
	case r.Application != nil:
		out.Application = &applicationException{Type: r.Application.Code, Message: r.Application.Message}
		failure = fmt.Errorf("the application answers %s.%s with %w", m.Service, m.Name, r.Application)
	}
	if f.output == "json" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(out); err != nil {
			return err
		}
		return failure
	}
	if failure != nil {
		return failure
	}
	var b bytes.Buffer
	if err := json.Indent(&b, r.Value, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n", b.Bytes())
	return err
}
