package e2e

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
)

// mustReset expects that a connection ends with a reset, after whatever data.
func mustReset(t *testing.T, who string, r io.Reader) {
	t.Helper()
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %d bytes, then %v; want a reset", who, n, err)
	}
}

// reset closes a connection as a process that dies with data unread does.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func TestTargetResets(t *testing.T) {
	t.Parallel()
	address := target(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "half of the answer")
		_, _ = io.ReadFull(c, make([]byte, 3))
		reset(c)
	})
	one := newPair(t).connect(address)
	mustRead(t, one, []byte("half of the answer"))
	_, _ = io.WriteString(one, "ack")
	mustReset(t, "the tool", one)
}

func TestToolResets(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	address := target(t, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	one := newPair(t).connect(address)
	_, _ = io.WriteString(one, "half of the question")
	reset(one.TCPConn)
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target: %v, want a reset", err)
	}
}

// A tool that has half-closed and goes away while the answer comes.
func TestToolResetsAfterItsEnd(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	address := target(t, func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c)
		b := make([]byte, 64<<10)
		var err error
		for err == nil {
			_, err = c.Write(b)
		}
		ended <- err
	})
	one := newPair(t).connect(address)
	_ = one.CloseWrite()
	mustRead(t, one, make([]byte, 1<<20))
	reset(one.TCPConn)
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the target: %v, want a reset", err)
	}
}

// A target that has ended its direction, and goes away while the upload goes on.
func TestTargetResetsAfterItsEnd(t *testing.T) {
	t.Parallel()
	address := target(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "413")
		_ = c.CloseWrite()
		_, _ = io.ReadFull(c, make([]byte, 1<<20))
		reset(c)
	})
	one := newPair(t).connect(address)
	b := make([]byte, 64<<10)
	var err error
	for err == nil {
		_, err = one.Write(b)
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the tool's upload: %v, want a reset", err)
	}
}

// flood sends until its connection fails.
func flood(c *net.TCPConn) {
	b := make([]byte, 64<<10)
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func TestSessionDies(t *testing.T) {
	t.Parallel()
	for _, who := range []struct {
		name string
		end  func(*pair)
	}{
		{"the endpoint closes", func(p *pair) { _ = p.endpoint.Close() }},
		{"the client closes", func(p *pair) { _ = p.client.Close() }},
	} {
		t.Run(who.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			idleEnded, halfEnded := make(chan error, 1), make(chan error, 1)
			watch := func(ended chan error) func(*net.TCPConn) {
				return func(c *net.TCPConn) {
					_, _ = io.WriteString(c, "hello")
					_, err := io.Copy(io.Discard, c)
					ended <- err
				}
			}
			idle := p.connect(target(t, watch(idleEnded)))
			half := p.connect(target(t, func(c *net.TCPConn) {
				_ = c.CloseWrite()
				_, err := io.Copy(io.Discard, c)
				halfEnded <- err
			}))
			download := p.connect(target(t, flood))
			mustRead(t, idle, []byte("hello"))
			mustEnd(t, half)
			mustRead(t, download, make([]byte, 1<<20))
			who.end(p)
			mustReset(t, "the idle tool", idle)
			mustReset(t, "the downloading tool", download)
			for _, ended := range []chan error{idleEnded, halfEnded} {
				if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the target: %v, want a reset", err)
				}
			}
		})
	}
}

// A cut download must not look complete, wherever the cut falls.
func TestCutDownloadNeverLooksComplete(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		p := newPair(t)
		one := p.connect(target(t, flood))
		mustRead(t, one, make([]byte, i*100_000))
		_ = p.endpoint.Close()
		mustReset(t, "the tool", one)
	}
}

func TestNewSessionAfterTheEndpointRestarts(t *testing.T) {
	t.Parallel()
	address := target(t, echo)
	server := testserver.Config{AllowPrivate: true, Token: "secret"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where := l.Addr().String()
	first := testserver.New(server)
	served := make(chan error, 2)
	go func() { served <- first.Serve(l) }()
	p := newPair(t, func(_ *testserver.Config, c *client.Config) { c.URL, c.Token = "ws://"+where, "secret" })
	old := p.connect(address)
	_ = first.Close()
	mustReset(t, "the old tunnel", old)

	if l, err = net.Listen("tcp", where); err != nil {
		t.Fatal(err)
	}
	second := testserver.New(server)
	defer second.Close()
	go func() { served <- second.Serve(l) }()
	began := time.Now()
	one := p.connect(address) // waits for the new session
	_, _ = io.WriteString(one, "again")
	mustRead(t, one, []byte("again"))
	t.Logf("the next CONNECT took %v", time.Since(began))
}
