// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// form is what a client and a server speak.
type form struct{ protocol, transport string }

func (f form) String() string { return f.protocol + "/" + f.transport }

// command is a program with its arguments, run in a folder.
type command struct {
	dir  string
	args []string
	env  []string
}

// language is one of Apache's implementations.
type language struct {
	name string
	// there says whether its peers have been made.
	there func() bool
	// protocols and transports that its peers have: of clients, and of servers.
	protocols, transports []string
	// serverTransports are those of the server, where they are others.
	serverTransports []string
	serve            func(f form, port int) command
	call             func(f form, port int) command
	// failure begins or is within a line of the client's output about what failed.
	failure []string
}

func (l *language) calls(f form) bool {
	return slices.Contains(l.protocols, f.protocol) && slices.Contains(l.transports, f.transport)
}

func (l *language) serves(f form) bool {
	transports := l.serverTransports
	if transports == nil {
		transports = l.transports
	}
	return slices.Contains(l.protocols, f.protocol) && slices.Contains(transports, f.transport)
}

// failures are the names of the tests that failed, as the client says them.
func (l *language) failures(output string) []string {
	var out []string
	for line := range strings.Lines(output) {
		for _, f := range l.failure {
			if strings.HasPrefix(line, f) {
				name, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, f)), ":")
				name, _, _ = strings.Cut(name, " (")
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// languages are those whose peers hack/conformance/thrift.sh makes in a folder.
func languages(dir string) []*language {
	exists := func(path ...string) func() bool {
		return func() bool {
			_, err := os.Stat(filepath.Join(append([]string{dir}, path...)...))
			return err == nil
		}
	}
	port := func(p int) string { return fmt.Sprintf("--port=%d", p) }
	python := filepath.Join(dir, "venv", "bin", "python")
	jars := filepath.Join(dir, "java", "jars", "*") + ":" + filepath.Join(dir, "java", "classes")
	all := []string{"binary", "compact", "json", "header", "multi", "multic", "multij", "multih"}
	without := []string{"binary", "compact", "json", "multi", "multic", "multij"}
	return []*language{
		{
			name: "python", there: exists("venv", "installed"), protocols: all, transports: []string{"buffered", "framed", "http"},
			serve: func(f form, p int) command {
				return command{dir: filepath.Join(dir, "py"), args: []string{python, "TestServer.py", port(p), "--protocol=" + f.protocol, "--transport=" + f.transport, "TThreadedServer"}}
			},
			call: func(f form, p int) command {
				return command{
					dir: filepath.Join(dir, "py"), env: []string{"PYTHONDONTWRITEBYTECODE=1"},
					args: []string{python, "TestClient.py", "--genpydir=gen-py", "--host=127.0.0.1", port(p), "--protocol=" + f.protocol, "--transport=" + f.transport},
				}
			},
			failure: []string{"FAIL:", "ERROR:"},
		},
		{
			name: "go", there: exists("gopeer"), protocols: all, transports: []string{"buffered", "framed", "http"},
			serve: func(f form, p int) command {
				return command{dir: dir, args: []string{"./gopeer", "serve", fmt.Sprintf("--addr=127.0.0.1:%d", p), "--protocol=" + f.protocol, "--transport=" + f.transport}}
			},
			call: func(f form, p int) command {
				return command{dir: dir, args: []string{"./gopeer", "call", fmt.Sprintf("--addr=127.0.0.1:%d", p), "--protocol=" + f.protocol, "--transport=" + f.transport}}
			},
			failure: []string{"FAIL "},
		},
		{
			// Over HTTP its client has a connection for each call, and its test ends with
			// the reply to the last call sent, whichever others are still to come.
			name: "node", there: exists("node", "installed"), protocols: []string{"binary", "compact", "json", "header"},
			transports: []string{"buffered", "framed"}, serverTransports: []string{"buffered", "framed", "http"},
			serve: func(f form, p int) command {
				return command{dir: filepath.Join(dir, "node"), args: []string{"node", "--no-deprecation", "server.mjs", port(p), "-p", f.protocol, "-t", f.transport}}
			},
			call: func(f form, p int) command {
				return command{dir: filepath.Join(dir, "node"), args: []string{"node", "--no-deprecation", "client.mjs", "--callback", "--host", "127.0.0.1", port(p), "-p", f.protocol, "-t", f.transport}}
			},
			failure: []string{"not ok "},
		},
		{
			// Its server has no HTTP but in a servlet container.
			name: "java", there: exists("java", "installed"), protocols: without, transports: []string{"buffered", "framed", "http"}, serverTransports: []string{"buffered", "framed"},
			serve: func(f form, p int) command {
				return command{dir: dir, args: []string{"java", "-Xshare:auto", "-cp", jars, "org.apache.thrift.test.TestServer", port(p), "--protocol=" + f.protocol, "--transport=" + f.transport}}
			},
			call: func(f form, p int) command {
				return command{dir: dir, args: []string{"java", "-Xshare:auto", "-cp", jars, "org.apache.thrift.test.TestClient", "--host=127.0.0.1", port(p), "--protocol=" + f.protocol, "--transport=" + f.transport}}
			},
			failure: []string{"*** FAILURE"},
		},
	}
}
