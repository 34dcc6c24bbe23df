// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"bufio"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSampleApplication: with AtLeastOnce, a payment whose answer the application has
// lost is sent again, and is taken once all the same.
func TestSampleApplication(t *testing.T) {
	app := startSample(t)
	f := startWeir(t, strings.Replace(policy, "wait: 100ms", "wait: 0s, lease: 300ms", 1)+"  guarantee: AtLeastOnce\n", app)
	ask := func() (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.address+"/pay", strings.NewReader("12.50"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "lunch")
		req.Header.Set("Lose-Answer", "true")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Weir-Idempotency-Outcome") != "" {
			t.Error("the client sees what the application says to Weir")
		}
		return resp.StatusCode, string(text)
	}
	if status, text := ask(); status != http.StatusBadGateway {
		t.Fatalf("an answer that was lost: %d %s", status, text)
	}
	status, text := 0, ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		// 409 until the lease is over.
		if status, text = ask(); status != http.StatusConflict {
			break
		}
	}
	if want := `{"payment": 1, "amount": "12.50"}`; status != http.StatusCreated || text != want {
		t.Errorf("%d %s, want 201 %s", status, text, want)
	}
	resp, err := http.Get("http://" + app + "/payments")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != `{"payments": 1}` {
		t.Errorf("%s %v, want one payment", text, err)
	}
}

// startSample runs examples/payments and returns its address.
func startSample(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("python3", "../../../examples/payments/payments.py", "--listen", "127.0.0.1:0", "--database", filepath.Join(t.TempDir(), "payments.db"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("install python3, which the sample application needs: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}
