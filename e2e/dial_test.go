package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/nettest"

	"ferry/wire"
)

// A dialed tunnel behaves as any net.Conn must, with a TCP target behind it.
func TestDialContextConformance(t *testing.T) {
	p := newPair(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		near, err := p.client.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			return nil, nil, nil, err
		}
		far, err := l.Accept()
		if err != nil {
			return nil, nil, nil, err
		}
		return near, far, func() {
			_ = near.Close()
			_ = far.Close()
		}, nil
	})
}

func TestDialContextServesAnHTTPClient(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer web.Close()
	transport := &http.Transport{DialContext: p.client.DialContext}
	defer transport.CloseIdleConnections()
	one := http.Client{Transport: transport}
	for range 3 {
		answer, err := one.Post(web.URL, "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if got := body(answer); got != "hello" {
			t.Errorf("got %q, want hello", got)
		}
		_ = answer.Body.Close()
	}
}

func TestDialContextRefusals(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var refused *wire.RefusedError
	if _, err := p.client.DialContext(t.Context(), "tcp", "127.0.0.1:1"); !errors.As(err, &refused) || refused.Code != wire.ConnectionRefused {
		t.Errorf("a closed port: %v, want a RefusedError with connection_refused", err)
	}
	for _, bad := range []struct{ network, address string }{
		{"udp", "127.0.0.1:53"}, {"tcp", "127.0.0.1"}, {"tcp", "127.0.0.1:0"}, {"tcp", "127.0.0.1:http"},
	} {
		if conn, err := p.client.DialContext(t.Context(), bad.network, bad.address); err == nil {
			_ = conn.Close()
			t.Errorf("%s %s: dialed, want an error", bad.network, bad.address)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.client.DialContext(ctx, "tcp", target(t, echo)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v, want its error", err)
	}
}

// The proxy works as a handler in somebody else's server.
func TestHandlerInAServerOfOnesOwn(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	own := httptest.NewServer(p.client.Handler())
	defer own.Close()
	address := target(t, echo)
	conn, err := net.Dial("tcp", own.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	one := p.wrap(conn.(*net.TCPConn))
	_, _ = io.WriteString(one, "CONNECT "+address+" HTTP/1.1\r\n\r\nearly")
	if answer := one.answer(); answer.StatusCode != http.StatusOK {
		t.Fatalf("got %s, want 200", answer.Status)
	}
	mustRead(t, one, []byte("early"))
	_ = one.CloseWrite()
	mustEnd(t, one)
}
