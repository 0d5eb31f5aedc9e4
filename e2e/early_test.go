package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
	"ferry/wire"
)

func opening(early client.EarlyOpen) func(*testserver.Config, *client.Config) {
	return func(_ *testserver.Config, c *client.Config) { c.EarlyOpen = early }
}

// use opens a tunnel to an echo and closes it, so that the client knows the target.
func (p *pair) use(address string) {
	p.t.Helper()
	one := p.connect(address)
	_, _ = io.WriteString(one, "ping")
	_ = one.CloseWrite()
	mustRead(p.t, one, []byte("ping"))
	mustEnd(p.t, one)
}

// ask sends a CONNECT and does not wait for the answer.
func (p *pair) ask(address string) *tool {
	p.t.Helper()
	return p.send("CONNECT " + address + " HTTP/1.1\r\n\r\n")
}

// mustWait expects that a tool has got no answer.
func mustWait(t *testing.T, what string, one *tool) {
	t.Helper()
	_ = one.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := one.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: %q, %v while the endpoint could not be heard; want no answer yet", what, b, err)
	}
	_ = one.SetReadDeadline(time.Now().Add(patience))
}

// mustOpen expects a 200, and that the tunnel works.
func mustOpen(t *testing.T, what string, one *tool) {
	t.Helper()
	if answer := one.answer(); answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, want 200", what, answer.Status)
	}
	_, _ = io.WriteString(one, "ping")
	_ = one.CloseWrite()
	mustRead(t, one, []byte("ping"))
	mustEnd(t, one)
}

// The client answers for a target that it knows, though nothing can be heard from
// the endpoint.
func TestKnownTargetIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0)
	known, other := target(t, echo), target(t, echo)
	p.use(known)
	path.freeze()
	waiting := p.ask(other)
	early := p.connect(known)
	data := noise(1, 1<<20) // more than a stream's window
	go func() {
		_, _ = early.Write(data)
		_ = early.CloseWrite()
	}()
	mustWait(t, "a new target", waiting)
	path.thaw()
	mustRead(t, early, data)
	mustEnd(t, early)
	mustOpen(t, "a new target", waiting)
}

// A dialed tunnel makes its target known as well.
func TestDialedTargetIsKnown(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0)
	address := target(t, echo)
	conn, err := p.client.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	path.freeze()
	one := p.connect(address)
	path.thaw()
	_, _ = io.WriteString(one, "ping")
	mustRead(t, one, []byte("ping"))
}

func TestAlwaysAndNever(t *testing.T) {
	t.Parallel()
	t.Run("always", func(t *testing.T) {
		t.Parallel()
		p, path := pairOver(t, 0, opening(client.EarlyOpenAlways))
		eventually(t, "up", func() bool { return len(p.logs.lines("half=client", "session opened")) == 1 })
		path.freeze()
		one := p.connect(target(t, echo)) // a new target
		path.thaw()
		_, _ = io.WriteString(one, "ping")
		mustRead(t, one, []byte("ping"))
	})
	t.Run("never", func(t *testing.T) {
		t.Parallel()
		p, path := pairOver(t, 0, opening(client.EarlyOpenNever))
		address := target(t, echo)
		p.use(address)
		path.freeze()
		one := p.ask(address)
		mustWait(t, "a known target", one)
		path.thaw()
		mustOpen(t, "a known target", one)
	})
}

// Without a session there is no 200, early or not.
func TestNoEndpointIsNeverAnsweredEarly(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(_ *testserver.Config, c *client.Config) {
		c.URL, c.ConnectWait, c.EarlyOpen = "ws://127.0.0.1:1", 200*time.Millisecond, client.EarlyOpenAlways
	})
	refused(t, "without an endpoint", p.ask("example.com:443").answer(), http.StatusServiceUnavailable, "destination_unavailable")
}

// A target that was known and then refuses: one reset, and the truth from then on.
func TestKnownTargetThatRefuses(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	go func() {
		if conn, err := l.Accept(); err == nil {
			echo(conn.(*net.TCPConn))
			_ = conn.Close()
		}
		_ = l.Close() // with the first connection
	}()
	p.use(address)
	eventually(t, "closed", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	mustReset(t, "the tool", p.connect(address))
	refused(t, "the next time", p.ask(address).answer(), http.StatusBadGateway, "connection_refused")
	eventually(t, "logged", func() bool {
		return len(p.logs.lines("half=client", "level=WARN", "tunnel refused after an early 200",
			"target="+address, "connection_refused (nothing listens on that port)")) == 1
	})
}

// A target that connects and resets before it has sent anything is not known.
func TestTargetThatResetsWithoutAWordIsForgotten(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0)
	var well atomic.Bool
	address := target(t, func(c *net.TCPConn) {
		if well.Load() {
			echo(c)
			return
		}
		_, _ = io.ReadFull(c, make([]byte, 1))
		reset(c)
	})
	failing := p.connect(address)
	_, _ = io.WriteString(failing, "x")
	mustReset(t, "the tool", failing)
	eventually(t, "logged", func() bool { return len(p.logs.lines("half=client", "tunnel failed", address)) == 1 })
	well.Store(true)
	path.freeze()
	one := p.ask(address)
	mustWait(t, "a target that failed", one)
	path.thaw()
	mustOpen(t, "a target that failed", one)
}

// A lost session is no fault of the target's: it stays known.
func TestTargetOfALostSessionStaysKnown(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0, func(s *testserver.Config, _ *client.Config) { s.ResumeWindow = -1 })
	address := target(t, echo)
	p.use(address)
	path.freeze()
	early := p.connect(address)
	path.cut()
	mustReset(t, "the tool", early)
	path.thaw()
	eventually(t, "up again", func() bool { return len(p.logs.lines("half=client", "session opened")) == 2 })
	path.freeze()
	again := p.connect(address)
	path.thaw()
	_, _ = io.WriteString(again, "ping")
	mustRead(t, again, []byte("ping"))
}

func TestDialContextIsNeverEarly(t *testing.T) {
	t.Parallel()
	p := newPair(t, opening(client.EarlyOpenAlways))
	var refused *wire.RefusedError
	if _, err := p.client.DialContext(t.Context(), "tcp", "127.0.0.1:1"); !errors.As(err, &refused) {
		t.Errorf("a closed port: %v, want a RefusedError", err)
	}
}

// heldResolver returns a resolver that finds nothing, once it is released.
func heldResolver(t *testing.T) (held *net.Resolver, release func()) {
	ctx, release := context.WithCancel(context.Background())
	t.Cleanup(release)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		<-ctx.Done()
		return nil, errors.New("no server")
	}}, release
}

// Whatever the tool has done by the time that the refusal comes, it sees a reset
// and never an EOF: the target has sent none.
func TestRefusalAfterAnEarlyAnswerIsAReset(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*testing.T, *tool){
		"nothing was sent":     func(*testing.T, *tool) {},
		"some was sent":        func(_ *testing.T, one *tool) { _, _ = io.WriteString(one, "hello") },
		"the tool half-closed": func(_ *testing.T, one *tool) { _ = one.CloseWrite() },
		"some was sent, and the tool half-closed": func(_ *testing.T, one *tool) {
			_, _ = one.Write(noise(1, 200<<10))
			_ = one.CloseWrite()
		},
		"the window is full": func(t *testing.T, one *tool) { fill(t, one.TCPConn) },
		"the window is full, and the tool half-closed": func(t *testing.T, one *tool) {
			fill(t, one.TCPConn)
			_ = one.CloseWrite()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolver, release := heldResolver(t)
			p := newPair(t, func(s *testserver.Config, c *client.Config) {
				s.Resolver, c.EarlyOpen = resolver, client.EarlyOpenAlways
			})
			one := p.connect("held.test:443")
			act(t, one)
			release()
			mustReset(t, "the tool", one)
			eventually(t, "logged", func() bool {
				return len(p.logs.lines("half=client", "tunnel refused after an early 200", "target=held.test:443", "dns_error")) == 1
			})
		})
	}
}

// fill writes until nothing more is taken: the windows on the way are full.
func fill(t *testing.T, c *net.TCPConn) {
	t.Helper()
	var err error
	for b := make([]byte, 64<<10); err == nil; {
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		_, err = c.Write(b)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("filling the window: %v", err)
	}
	_ = c.SetWriteDeadline(time.Now().Add(patience))
}

// A refusal in the middle of an upload ends that with a reset.
func TestRefusalAfterAnEarlyAnswerStopsAnUpload(t *testing.T) {
	t.Parallel()
	p := newPair(t, opening(client.EarlyOpenAlways))
	for range 20 {
		one := p.send("CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n" + strings.Repeat("x", 16<<10))
		var err error
		for b := make([]byte, 64<<10); err == nil; {
			_, err = one.Write(b)
		}
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the upload: %v, want a reset", err)
		}
		_ = one.Close()
	}
}

// To the first byte it takes a round trip if the target is known, and two if not.
// The figures stand in the log: a test on a busy machine can only assert what no
// tunnel that waits could do.
func TestEarlyOpenSavesARoundTrip(t *testing.T) {
	t.Parallel()
	const trip = 80 * time.Millisecond
	p, _ := pairOver(t, trip/2)
	eventually(t, "up", func() bool { return len(p.logs.lines("half=client", "session opened")) == 1 })
	firstByte := func(address string) time.Duration {
		began := time.Now()
		one := p.connect(address)
		_, _ = io.WriteString(one, "x")
		mustRead(t, one, []byte("x"))
		took := time.Since(began)
		_ = one.Close()
		return took
	}
	fresh, known := time.Hour, time.Hour
	for range 10 {
		address := target(t, echo)
		fresh = min(fresh, firstByte(address))
		known = min(known, firstByte(address))
	}
	t.Logf("the first byte of a new target came after %.2f round trips, of a known one after %.2f",
		fresh.Seconds()/trip.Seconds(), known.Seconds()/trip.Seconds())
	if fresh < 2*trip || known >= 2*trip {
		t.Errorf("the first byte came after %v, and %v once the target was known; at a round trip of %v that must be two and one", fresh, known, trip)
	}
}

// Whoever is drained loses nothing, also not what was opened early: the endpoint
// waits for what is on its way while its client moves.
func TestEarlyTunnelsOutliveADrain(t *testing.T) {
	t.Parallel()
	other, err := testserver.Start(testserver.Config{Token: "secret", AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	p, _ := pairOver(t, 40*time.Millisecond, func(s *testserver.Config, c *client.Config) {
		s.Token, c.Token, c.Fallbacks = "secret", "secret", []string{other.URL}
	})
	address := target(t, echo)
	p.use(address)
	drained := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		drained <- p.endpoint.Shutdown(ctx)
	})
	tunnels, waiting := 0, true
	for deadline := time.Now().Add(patience); waiting && time.Now().Before(deadline); tunnels++ {
		p.use(address)
		select {
		case err := <-drained:
			waiting = false
			if err != nil {
				t.Errorf("the drain: %v; want nil, all tunnels finished", err)
			}
		default:
		}
	}
	if waiting {
		t.Error("the drain has not come to its end")
	}
	if got := p.logs.lines("half=client", "session opened"); len(got) != 2 {
		t.Errorf("%d sessions were opened; want the second behind the drain", len(got))
	}
	t.Logf("%d tunnels, one after the other, while the endpoint was drained", tunnels)
}
