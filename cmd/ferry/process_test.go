package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, before it fails.
const patience = 30 * time.Second

// startTarget serves "hello" over HTTP on loopback, and returns its address.
func startTarget(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello\n")
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// statusOf returns an exit status as text, or what else went wrong.
func statusOf(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &exit):
		return fmt.Sprint(exit.ExitCode())
	}
	return err.Error()
}

// process is a running ferry.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	url string // the line on standard output

	mu     sync.Mutex
	stderr bytes.Buffer
	ended  chan struct{} // closed once it has exited
}

// start runs ferry with a home of its own until it has printed its URL.
func start(t *testing.T, home string, args ...string) *process {
	t.Helper()
	binary, err := exec.LookPath("ferry") // testscript has put the test binary there
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=")
	p.cmd.Stderr = p
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	if err != nil {
		t.Fatalf("ferry %v said %q, then %v: %s", args, line, err, p.said())
	}
	p.url = strings.TrimSpace(line)
	return p
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// signal sends a signal, unless the process has ended.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// end sends a signal, waits for the end, and returns the exit status.
func (p *process) end(s syscall.Signal) int {
	p.signal(s)
	return p.wait()
}

// wait returns the exit status.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.signal(syscall.SIGKILL)
		p.t.Errorf("ferry did not end in %v: %s", patience, p.said())
		<-p.ended
	}
	return p.cmd.ProcessState.ExitCode()
}

// tunnel opens one through a client to a TCP target, and returns both ends.
func (p *process) tunnel() (tool, far *net.TCPConn) {
	p.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	proxy, err := url.Parse(p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", proxy.Host)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	p.t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\n\r\n", l.Addr())
	answer := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
	if _, err := io.ReadFull(conn, answer); err != nil || !bytes.Contains(answer, []byte(" 200 ")) {
		p.t.Fatalf("CONNECT: %q, %v; want 200: %s", answer, err, p.said())
	}
	target, err := l.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	_ = target.SetDeadline(time.Now().Add(patience))
	p.t.Cleanup(func() { _ = target.Close() })
	return conn.(*net.TCPConn), target.(*net.TCPConn)
}

// startPair runs both halves as processes.
func startPair(t *testing.T) (server, client *process) {
	t.Helper()
	home := t.TempDir()
	server = start(t, home, "testserver", "--listen", "127.0.0.1:0", "--token", "secret", "--allow-private", "--drain-timeout", "5s", "--resume-window", "1s")
	client = start(t, home, "client", "--url", server.url, "--token", "secret", "--grace", "5s")
	return server, client
}

func mustReset(t *testing.T, who string, c net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %d bytes, then %v; want a reset", who, n, err)
	}
}

func TestSIGKILLOfOneHalfResetsTheTunnelsOfTheOther(t *testing.T) {
	t.Parallel()
	server, client := startPair(t)
	tool, _ := client.tunnel()
	server.end(syscall.SIGKILL)
	mustReset(t, "the tool", tool)

	_, client = startPair(t)
	_, target := client.tunnel()
	client.end(syscall.SIGKILL)
	mustReset(t, "the target", target)
}

// SIGTERM lets an open tunnel carry on within the grace; then ferry exits with 0.
func TestSIGTERMLetsTunnelsFinish(t *testing.T) {
	t.Parallel()
	for _, half := range []string{"client", "server"} {
		server, client := startPair(t)
		tool, target := client.tunnel()
		terminated := client
		if half == "server" {
			terminated = server
		}
		terminated.signal(syscall.SIGTERM)
		for !strings.Contains(terminated.said(), "shutting down") {
			time.Sleep(time.Millisecond)
		}
		sent := bytes.Repeat([]byte("ferry"), 200_000)
		go func() {
			_, _ = target.Write(sent)
			_ = target.CloseWrite()
		}()
		got, err := io.ReadAll(tool)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: after SIGTERM the tool got %d bytes, %v; want %d and a clean EOF", half, len(got), err, len(sent))
		}
		_ = tool.CloseWrite()
		if rest, err := io.ReadAll(target); err != nil || len(rest) > 0 {
			t.Errorf("%s: after SIGTERM the target got %d bytes, %v; want a clean EOF", half, len(rest), err)
		}
		if status := terminated.wait(); status != 0 {
			t.Errorf("%s exited with %d, want 0: %s", half, status, terminated.said())
		}
	}
}

func TestSIGTERMCutsTunnelsAfterTheGrace(t *testing.T) {
	t.Parallel()
	server, client := startPair(t)
	tool, _ := client.tunnel()
	began := time.Now()
	server.signal(syscall.SIGTERM)
	mustReset(t, "the tool", tool)
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("cut after %v, want the grace of 5 s", took)
	}
	if status := server.wait(); status != 0 {
		t.Errorf("the server exited with %d, want 0", status)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	_, client := startPair(t)
	tool, _ := client.tunnel()
	client.signal(syscall.SIGINT)
	for !strings.Contains(client.said(), "shutting down") {
		time.Sleep(time.Millisecond)
	}
	client.signal(syscall.SIGTERM)
	mustReset(t, "the tool", tool)
	if status := client.wait(); status != 0 {
		t.Errorf("the client exited with %d, want 0: %s", status, client.said())
	}
}

// A wrong token is said once, plainly; the client keeps trying.
func TestWrongTokenIsSaidOnce(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	server := start(t, home, "testserver", "--listen", "127.0.0.1:0", "--token", "sesame-right")
	client := start(t, home, "client", "--url", server.url, "--token", "sesame-wrong")
	for range 2 {
		curl := exec.Command("curl", "-sS", "-o", os.DevNull, "-w", "%{http_connect}", "-p", "-x", client.url, "http://example.com/")
		out, _ := curl.Output()
		if string(out) != "503" {
			t.Errorf("CONNECT got %s, want 503", out)
		}
	}
	if n := strings.Count(client.said(), "turned the token down"); n != 1 {
		t.Errorf("the client said it %d times, want once: %s", n, client.said())
	}
	if strings.Contains(client.said()+server.said(), "sesame") {
		t.Error("a token stands in the log")
	}
}

func TestTLSSelfSigned(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	dir := filepath.Join(home, "tls")
	server := start(t, home, "testserver", "--listen", "127.0.0.1:0", "--token", "secret", "--allow-private", "--tls-self-signed", dir)
	if !strings.HasPrefix(server.url, "wss://") {
		t.Fatalf("the server's URL is %s, want wss", server.url)
	}
	client := start(t, home, "client", "--url", server.url, "--token", "secret", "--ca", filepath.Join(dir, "cert.pem"))
	tool, target := client.tunnel()
	_, _ = io.WriteString(target, "over TLS")
	_ = target.Close()
	if got, err := io.ReadAll(tool); err != nil || string(got) != "over TLS" {
		t.Errorf("got %q, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dir, "key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v; want mode 0600", info.Mode(), err)
	}

	stranger := start(t, home, "client", "--url", server.url, "--token", "secret", "--connect-wait", "1s")
	out, _ := exec.Command("curl", "-sS", "-o", os.DevNull, "-w", "%{http_connect}", "-p", "-x", stranger.url, "http://example.com/").Output()
	if string(out) != "503" || !strings.Contains(stranger.said(), "certificate") {
		t.Errorf("without --ca: CONNECT got %s, and the client said %q; want 503, and that the certificate is not trusted", out, stranger.said())
	}
}

// env finds the running client, and its variables lead curl through it.
func TestEnvLeadsToolsToTheRunningClient(t *testing.T) {
	t.Parallel()
	server := start(t, t.TempDir(), "testserver", "--listen", "127.0.0.1:0", "--allow-private")
	home := t.TempDir()
	client := start(t, home, "client", "--url", server.url)
	env := func(format string) []byte {
		cmd := exec.Command("ferry", "env", "--format", format)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "NO_PROXY=")
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("ferry env --format %s: %v", format, err)
		}
		return out
	}
	var object map[string]string
	if err := json.Unmarshal(env("json"), &object); err != nil || object["HTTPS_PROXY"] != client.url {
		t.Errorf("json: %v, %v; want HTTPS_PROXY to be %s", object, err, client.url)
	}
	if want := fmt.Sprintf("HTTPS_PROXY=%q\n", client.url); !bytes.Contains(env("dotenv"), []byte(want)) {
		t.Errorf("dotenv lacks %s", want)
	}
	script := string(env("sh")) + "curl -sS -p http://" + startTarget(t) + "/"
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("curl with the variables of ferry env: %q, %v", out, err)
	}
	if status := client.end(syscall.SIGTERM); status != 0 {
		t.Errorf("the client exited with %d, want 0", status)
	}
	cmd := exec.Command("ferry", "env")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=")
	if out, err := cmd.CombinedOutput(); statusOf(err) != "1" || !strings.Contains(string(out), "no client is running") {
		t.Errorf("after the client's end: %s, %v; want status 1 and the reason", out, err)
	}
}

// Killed and started again, the server knows none of its old sessions: their
// tunnels are reset, and the next CONNECT works.
func TestServerKilledAndRestarted(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	server := start(t, home, "testserver", "--listen", "127.0.0.1:0", "--allow-private")
	client := start(t, home, "client", "--url", server.url)
	tool, _ := client.tunnel()
	server.end(syscall.SIGKILL)
	address := strings.TrimPrefix(server.url, "ws://")
	start(t, home, "testserver", "--listen", address, "--allow-private")
	mustReset(t, "the tool", tool)
	client.awaitSaid("does not have it any more", 1) // why the tunnel was cut
	tool, target := client.tunnel()
	_, _ = io.WriteString(target, "again")
	_ = target.Close()
	if got, err := io.ReadAll(tool); err != nil || string(got) != "again" {
		t.Errorf("the next tunnel: %q, %v", got, err)
	}
}

// awaitSaid waits until a process has said something so many times.
func (p *process) awaitSaid(what string, times int) {
	p.t.Helper()
	for began := time.Now(); strings.Count(p.said(), what) < times; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			p.t.Fatalf("not said %d times in %v: %q: %s", times, patience, what, p.said())
		}
	}
}

// A token that is replaced in the file, or SIGHUP, moves to a new session; open
// tunnels carry on. The server lets its old token's sessions go when their
// tunnels have finished.
func TestTokenRotation(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	file := filepath.Join(home, "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	server := start(t, home, "testserver", "--listen", "127.0.0.1:0", "--allow-private", "--token-file", file)
	client := start(t, home, "client", "--url", server.url, "--token-file", file)
	tool, target := client.tunnel()

	client.signal(syscall.SIGHUP)
	client.awaitSaid("session opened", 2)

	write("second")
	server.awaitSaid("token was withdrawn", 1)
	client.awaitSaid("session opened", 3)
	another, far := client.tunnel()
	for _, pair := range []struct{ tool, target net.Conn }{{tool, target}, {another, far}} {
		_, _ = io.WriteString(pair.target, "still here")
		_ = pair.target.Close()
		if got, err := io.ReadAll(pair.tool); err != nil || string(got) != "still here" {
			t.Errorf("a tunnel over a rotation: %q, %v", got, err)
		}
		_ = pair.tool.Close()
	}
	client.awaitSaid("session ended", 2)
	if strings.Contains(client.said()+server.said(), "token down") {
		t.Errorf("a token was turned down in the course: %s", client.said())
	}
}

// Everything at once, on purpose: a transfer survives.
func TestChaos(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	server := start(t, home, "testserver", "--listen", "127.0.0.1:0", "--allow-private",
		"--chaos", "drop=400ms,freeze=1s/200ms,latency=10ms,rate=100mbit")
	client := start(t, home, "client", "--url", server.url)
	tool, target := client.tunnel()
	sent := bytes.Repeat([]byte("chaos"), 4<<20)
	go func() {
		_, _ = target.Write(sent)
		_ = target.CloseWrite()
	}()
	got, err := io.ReadAll(tool)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("through chaos came %d of %d bytes, then %v; want all, and a clean EOF", len(got), len(sent), err)
	}
	client.awaitSaid("session resumed", 3)
}
