// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginx reads with nginx, which gives what it has read to the collector: whole
// requests only, since it buffers bodies.
func nginx(t testing.TB, collector string) *reader {
	bin := program(t, "nginx")
	if bin == "" {
		return nil
	}
	const config = `daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  large_client_header_buffers 4 32k;
  client_max_body_size 0;
  server {
    listen 127.0.0.1:%s;
    location / {
      rewrite ^ /seen break;
      proxy_pass http://%s;
      proxy_method POST;
      proxy_http_version 1.1;
      proxy_pass_request_headers off;
      proxy_ignore_client_abort on;
      proxy_set_header X-Reader-From $remote_addr;
      proxy_set_header X-Reader-Request "$request_method $request_uri";
    }
  }
}
`
	dir := t.TempDir()
	return start(t, "nginx", func(port string) *exec.Cmd {
		write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(config, port, collector))
		return exec.Command(bin, "-p", dir, "-c", "nginx.conf", "-e", "stderr")
	})
}

// haproxy reads with HAProxy, in front of the collector.
func haproxy(t testing.TB, collector string) *reader {
	bin := program(t, "haproxy")
	if bin == "" {
		return nil
	}
	const config = `global
  maxconn 512
  tune.bufsize 32768
defaults
  mode http
  timeout connect 10s
  timeout client 20s
  timeout server 20s
frontend cases
  bind 127.0.0.1:%s
  http-request set-header X-Reader-From %%[src]
  http-request set-header X-Reader-Request "%%[method] %%[url]"
  http-request del-header Expect
  http-request del-header Upgrade
  http-request set-method POST
  http-request set-uri /seen
  default_backend collector
backend collector
  http-request set-header Host collector
  server collector %s
`
	dir := t.TempDir()
	return start(t, "haproxy", func(port string) *exec.Cmd {
		file := filepath.Join(dir, "haproxy.cfg")
		write(t, file, fmt.Sprintf(config, port, collector))
		return exec.Command(bin, "-db", "-q", "-f", file)
	})
}

// node reads with Node's http module, which is llhttp.
func node(t testing.TB, collector string) *reader {
	bin := program(t, "node")
	if bin == "" {
		return nil
	}
	return start(t, "node", func(port string) *exec.Cmd {
		return exec.Command(bin, filepath.Join("testdata", "reader.js"), port, collector)
	})
}

// program finds a reader; Debian keeps servers where not every PATH leads.
func program(t testing.TB, name string) string {
	t.Helper()
	for _, f := range []string{name, "/usr/sbin/" + name} {
		if bin, err := exec.LookPath(f); err == nil {
			return bin
		}
	}
	t.Logf("%s is not installed: it reads nothing here", name)
	return ""
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs a program that listens on the port that it is given, and tries
// others when somebody has taken that in between.
func start(t testing.TB, name string, command func(port string) *exec.Cmd) *reader {
	t.Helper()
	var said string
	for range 3 {
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		cmd := command(port)
		output := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = output, output
		cmd.WaitDelay = time.Second
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait()
		}()
		if listens(addr, ended) {
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-ended
			})
			return &reader{name: name, addr: addr}
		}
		_ = cmd.Process.Kill()
		<-ended
		said = strings.TrimSpace(output.String())
	}
	t.Fatalf("%s does not start: %s", name, said)
	return nil
}

// listens waits until addr takes connections. It reports false when the program
// ends before.
func listens(addr string, ended <-chan struct{}) bool {
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
