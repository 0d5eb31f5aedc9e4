package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// web serves handler over TLS, and returns its URL and a file with its
// certificate.
func web(t *testing.T, handler http.Handler) (url, certificate string) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	certificate = filepath.Join(t.TempDir(), "cert.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(certificate, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, certificate
}

// tool runs a command in dir with the proxy's variables, as it would run in a
// sandbox, and returns its output. It must succeed.
func (p *pair) tool(dir, certificate string, command ...string) []byte {
	p.t.Helper()
	proxy := p.client.ProxyURL().String()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
		"HTTPS_PROXY=" + proxy, "https_proxy=" + proxy, "NO_PROXY=", "no_proxy=",
		"CURL_CA_BUNDLE=" + certificate, "GIT_SSL_CAINFO=" + certificate,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("%v: %v (is it installed?)\n%s", command, err, &stderr)
	}
	return out
}

func TestCurlDownloadsAndUploads(t *testing.T) {
	t.Parallel()
	data := noise(7, 50<<20)
	url, certificate := web(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			sum := sha256.New()
			_, _ = io.Copy(sum, r.Body)
			_, _ = fmt.Fprintf(w, "%x", sum.Sum(nil))
			return
		}
		_, _ = w.Write(data)
	}))
	p := newPair(t)
	dir := t.TempDir()
	if got := p.tool(dir, certificate, "curl", "-sS", "--fail", url); !bytes.Equal(got, data) {
		t.Errorf("curl downloaded %d bytes that are not the %d of the file", len(got), len(data))
	}
	file := filepath.Join(dir, "upload")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := string(p.tool(dir, certificate, "curl", "-sS", "--fail", "-T", file, url+"/upload")), fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		t.Errorf("curl uploaded a file with the checksum %s, want %s", got, want)
	}
	if n := len(p.logs.lines("half=server", "msg=tunnel")); n == 0 {
		t.Error("curl went around the proxy")
	}
}

func TestGitClonesAndPushes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	execPath := bytes.TrimSpace(newPair(t).tool(root, "", "git", "--exec-path"))
	url, certificate := web(t, &cgi.Handler{
		Path: filepath.Join(string(execPath), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=a", "REMOTE_ADDR=127.0.0.1"},
	})
	p := newPair(t)
	work := t.TempDir()
	git := func(args ...string) []byte { return p.tool(work, certificate, append([]string{"git"}, args...)...) }
	git("init", "-q", "--bare", filepath.Join(root, "repo.git"))
	git("clone", "-q", url+"/repo.git", "one")
	if err := os.WriteFile(filepath.Join(work, "one", "file"), noise(8, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	git("-C", "one", "add", "file")
	git("-C", "one", "commit", "-q", "-m", "a file")
	// Go's cgi takes no chunked request, so git must not send the pack as one.
	git("-C", "one", "-c", "http.postBuffer=16777216", "push", "-q", "origin", "HEAD:refs/heads/main")
	git("clone", "-q", "-b", "main", url+"/repo.git", "two")
	got, err := os.ReadFile(filepath.Join(work, "two", "file"))
	if err != nil || !bytes.Equal(got, noise(8, 3<<20)) {
		t.Errorf("the clone's file has %d bytes, %v; want what was pushed", len(got), err)
	}
}

// curl and git don't notice a hundred cuts of the WebSocket under them.
func TestCurlAndGitSurviveAHundredCuts(t *testing.T) {
	t.Parallel()
	root, work := t.TempDir(), t.TempDir()
	p, path := pairOver(t, 0)
	execPath := bytes.TrimSpace(p.tool(root, "", "git", "--exec-path"))
	data := noise(9, 100<<20)
	backend := &cgi.Handler{
		Path: filepath.Join(string(execPath), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=a", "REMOTE_ADDR=127.0.0.1"},
	}
	url, certificate := web(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/file" {
			_, _ = w.Write(data)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	git := func(args ...string) { p.tool(work, certificate, append([]string{"git"}, args...)...) }
	git("init", "-q", "-b", "main", filepath.Join(root, "repo.git"))
	file := filepath.Join(root, "repo.git", "file")
	if err := os.WriteFile(file, data[:20<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	git("-C", filepath.Join(root, "repo.git"), "add", "file")
	git("-C", filepath.Join(root, "repo.git"), "commit", "-q", "-m", "a file")

	stop := make(chan struct{})
	var cutter, tools sync.WaitGroup
	var cuts atomic.Int64
	cutter.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(80 * time.Millisecond):
				path.cut()
				cuts.Add(1)
			}
		}
	})
	tools.Go(func() {
		got := p.tool(work, certificate, "curl", "-sS", "--fail", "--limit-rate", "10M", url+"/file")
		if !bytes.Equal(got, data) {
			t.Errorf("curl downloaded %d bytes that are not the %d of the file", len(got), len(data))
		}
	})
	tools.Go(func() {
		for i := 0; cuts.Load() < 100; i++ {
			clone := fmt.Sprintf("clone%d", i)
			git("clone", "-q", "-b", "main", url+"/repo.git", clone)
			got, err := os.ReadFile(filepath.Join(work, clone, "file"))
			if err != nil || !bytes.Equal(got, data[:20<<20]) {
				t.Errorf("clone %d: the file has %d bytes, %v; want what was committed", i, len(got), err)
			}
			_ = os.RemoveAll(filepath.Join(work, clone))
		}
	})
	tools.Wait()
	close(stop)
	cutter.Wait()
	resumes := len(p.logs.lines("half=client", "session resumed"))
	t.Logf("%d cuts, %d resumes", cuts.Load(), resumes)
	if resumes < 50 {
		t.Errorf("the session was resumed %d times in %d cuts; the tools were not put to the test", resumes, cuts.Load())
	}
}
