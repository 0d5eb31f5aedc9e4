package e2e

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"ferry/client"
	"ferry/testserver"
)

// resolver returns a resolver whose only server answers on loopback: names below
// test. are 127.0.0.1, names below silent.test. get no answer, and no other name
// exists.
func resolver(t *testing.T) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		b := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := answerTo(b[:n]); answer != nil {
				_, _ = server.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		if err == nil {
			// Go's resolver waits 5 s for an answer, whatever its caller does.
			t.Cleanup(func() { _ = conn.Close() })
		}
		return conn, err
	}}
}

// answerTo answers a query, or returns nil for no answer.
func answerTo(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := q.Name.String()
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	switch {
	case strings.HasSuffix(name, ".silent.test."):
		return nil
	case !strings.HasSuffix(name, ".test."):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

// Names are resolved at the endpoint.
func TestNamesAreResolvedAtTheEndpoint(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	_, port, _ := net.SplitHostPort(target(t, echo))
	one := p.connect("service.test:" + port)
	_, _ = one.Write([]byte("x"))
	mustRead(t, one, []byte("x"))
}

func TestNamesThatCannotBeResolved(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(s *testserver.Config, _ *client.Config) { s.DialTimeout = 500 * time.Millisecond })
	answer := p.send("CONNECT no-such-name.invalid:443 HTTP/1.1\r\n\r\n").answer()
	refused(t, "a name that does not exist", answer, http.StatusBadGateway, "dns_error")
	answer = p.send("CONNECT www.silent.test:443 HTTP/1.1\r\n\r\n").answer()
	refused(t, "a name nobody answers for", answer, http.StatusGatewayTimeout, "dns_timeout")
}

// A name is no way around the policy.
func TestNameOfAPrivateAddressIsForbidden(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(s *testserver.Config, _ *client.Config) { s.AllowPrivate = false })
	answer := p.send("CONNECT inside.test:443 HTTP/1.1\r\n\r\n").answer()
	refused(t, "a name that leads to loopback", answer, http.StatusForbidden, "destination_ip_prohibited")
}
