// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "h2spec:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "origin":
		return origin(args[1])
	case len(args) == 3 && args[0] == "compare":
		bare, err := readReport(args[1])
		if err != nil {
			return err
		}
		weir, err := readReport(args[2])
		if err != nil {
			return err
		}
		return compare(os.Stdout, bare, weir)
	}
	return fmt.Errorf("usage: h2spec origin ADDRESS | h2spec compare BARE.xml WEIR.xml")
}

// origin serves until it is killed.
func origin(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println(l.Addr())
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(answer), ErrorLog: log.New(io.Discard, "", 0)}
	return s.Serve(l)
}

func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, "An answer of some length, for what windows and frames allow.\n")
}
