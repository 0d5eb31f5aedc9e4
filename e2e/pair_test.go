// Package e2e tests the running pair: a client and an endpoint in one process,
// real connections on loopback between them and to tools and targets. What a
// tunnel owes its user is written down here.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ferry/client"
	"ferry/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen, before it fails.
const patience = 30 * time.Second

// pair is a client and its endpoint.
type pair struct {
	t        *testing.T
	endpoint *testserver.Endpoint
	client   *client.Client
	logs     *logs
}

// newPair starts a pair that ends with the test. Targets on loopback are allowed
// unless a change says otherwise.
func newPair(t *testing.T, changes ...func(*testserver.Config, *client.Config)) *pair {
	t.Helper()
	return newPairWith(t, func(endpoint *testserver.Endpoint, c *client.Config) {
		if c.URL == "" {
			c.URL = endpoint.URL
		}
	}, changes...)
}

// newPairWith lets point say how the client finds the endpoint.
func newPairWith(t *testing.T, point func(*testserver.Endpoint, *client.Config), changes ...func(*testserver.Config, *client.Config)) *pair {
	t.Helper()
	p := &pair{t: t, logs: &logs{}}
	log := slog.New(slog.NewTextHandler(p.logs, nil))
	server := testserver.Config{AllowPrivate: true, Resolver: resolver(t), Log: log.With("half", "server")}
	local := client.Config{Log: log.With("half", "client")}
	for _, change := range changes {
		change(&server, &local)
	}
	var err error
	if p.endpoint, err = testserver.Start(server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.endpoint.Close() })
	point(p.endpoint, &local)
	if local.Token == "" && local.TokenSource == nil {
		local.Token = p.endpoint.Token
	}
	p.client = run(t, local)
	return p
}

// run runs a client until the test ends.
func run(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	one, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- one.Run(context.Background()) }()
	t.Cleanup(func() {
		_ = one.Close()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return one
}

// logs is what both halves said.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines returns the lines that contain all of the words.
func (l *logs) lines(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.b.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			found = append(found, line)
		}
	}
	return found
}

// target serves each connection with serve, and returns its address. It closes
// the connection when serve returns.
func target(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// echo sends back what comes, then half-closes.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	_ = c.CloseWrite()
}

// dial opens a connection to the proxy.
func (p *pair) dial() *net.TCPConn { return p.dialFor(patience) }

// dialFor is dial for a connection that lasts longer.
func (p *pair) dialFor(last time.Duration) *net.TCPConn {
	p.t.Helper()
	conn, err := net.Dial("tcp", p.client.ProxyURL().Host)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(last))
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// connect opens a tunnel as a tool would.
func (p *pair) connect(address string) *tool { return p.connectFor(address, patience) }

// connectFor is connect for a tunnel that lasts longer.
func (p *pair) connectFor(address string, last time.Duration) *tool {
	p.t.Helper()
	t := p.wrap(p.dialFor(last))
	_, _ = io.WriteString(t, "CONNECT "+address+" HTTP/1.1\r\nHost: "+address+"\r\n\r\n")
	if answer := t.answer(); answer.StatusCode != http.StatusOK {
		p.t.Fatalf("CONNECT %s: %s, want 200: %s", address, answer.Status, body(answer))
	}
	return t
}

// send opens a connection to the proxy and writes a request as it stands.
func (p *pair) send(request string) *tool {
	p.t.Helper()
	conn := p.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		p.t.Fatal(err)
	}
	return p.wrap(conn)
}

func (p *pair) wrap(conn *net.TCPConn) *tool {
	return &tool{TCPConn: conn, t: p.t, r: bufio.NewReader(conn)}
}

// tool is a tool's end of a connection to the proxy.
type tool struct {
	*net.TCPConn
	t *testing.T
	r *bufio.Reader
}

func (t *tool) Read(p []byte) (int, error) { return t.r.Read(p) }

// answer reads the answer to a CONNECT.
func (t *tool) answer() *http.Response {
	t.t.Helper()
	answer, err := http.ReadResponse(t.r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.t.Fatalf("the proxy's answer: %v", err)
	}
	if answer.StatusCode != http.StatusOK {
		// The answer to a CONNECT has a body only if it is a refusal.
		rest, err := io.ReadAll(t.r)
		if err != nil {
			t.t.Errorf("after %s: %v, want an EOF", answer.Status, err)
		}
		answer.Body = io.NopCloser(bytes.NewReader(rest))
	}
	return answer
}

func body(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// noise returns n bytes that a seed reproduces.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

// mustRead reads exactly want from r.
func mustRead(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if err != nil {
		t.Fatalf("after %d of %d bytes: %v", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the %d bytes that came are not those that were sent", n)
	}
}

// mustEnd expects a clean EOF and nothing before it.
func mustEnd(t *testing.T, r io.Reader) {
	t.Helper()
	rest, err := io.ReadAll(r)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes more, then %v; want a clean EOF at once", len(rest), err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: still not %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
