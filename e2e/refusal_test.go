package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
)

// refused checks that an answer refuses as it should: its status, its
// Proxy-Status (RFC 9209), a body that says what to do, and the end of the
// connection. (answer has read up to a clean EOF.)
func refused(t *testing.T, what string, answer *http.Response, status int, code string) {
	t.Helper()
	text := body(answer)
	if answer.StatusCode != status {
		t.Errorf("%s: got %s, want %d: %s", what, answer.Status, status, text)
	}
	if got := answer.Header.Get("Proxy-Status"); !strings.HasPrefix(got, "ferry; error="+code+"; details=\"") {
		t.Errorf("%s: Proxy-Status is %q, want the error %s", what, got, code)
	}
	if !strings.HasPrefix(text, "ferry: ") || !strings.Contains(text, "; ") || strings.Count(text, "\n") != 1 {
		t.Errorf("%s: the body is %q, want one line that says what happened and what to do", what, text)
	}
	if answer.Header.Get("Content-Length") != strconv.Itoa(len(text)) || !answer.Close {
		t.Errorf("%s: the answer is not framed as the connection's last: %v", what, answer.Header)
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, bad := range []string{
		"CONNECT example.com HTTP/1.1\r\n\r\n",
		"CONNECT example.com: HTTP/1.1\r\n\r\n",
		"CONNECT :443 HTTP/1.1\r\n\r\n",
		"CONNECT example.com:0 HTTP/1.1\r\n\r\n",
		"CONNECT example.com:99999 HTTP/1.1\r\n\r\n",
		"CONNECT example.com:018443 HTTP/1.1\r\n\r\n",
		"CONNECT example.com:+443 HTTP/1.1\r\n\r\n",
		"CONNECT example.com:https HTTP/1.1\r\n\r\n",
		"CONNECT user@example.com:443 HTTP/1.1\r\n\r\n",
		"CONNECT user:password@example.com:443 HTTP/1.1\r\n\r\n",
		"CONNECT example.com:443/path HTTP/1.1\r\n\r\n",
		"CONNECT http://example.com:443 HTTP/1.1\r\n\r\n",
		"CONNECT example.com:443?q HTTP/1.1\r\n\r\n",
		"CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\n\r\n",
		"CONNECT [fe80::1%eth0]:443 HTTP/1.1\r\n\r\n",
		"CONNECT fe80::1:443 HTTP/1.1\r\n\r\n",
		"CONNECT [127.0.0.1]:443 HTTP/1.1\r\n\r\n",
		"CONNECT exa\x00mple.com:443 HTTP/1.1\r\n\r\n",
		"CONNECT " + strings.Repeat("a", 256) + ":443 HTTP/1.1\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
		"CONNECT example.com:443 HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nBad Field: x\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nno colon\r\n\r\n",
		"CONNECT example.com:443 HTTP/3.9\r\n\r\n",
		"CONNECT example.com:443\r\n\r\n",
		"EHLO mail.example.com\r\n\r\n",
		"\x05\x01\x00", // SOCKS 5
	} {
		refused(t, strconv.Quote(bad), p.send(bad).answer(), http.StatusBadRequest, "http_request_error")
	}
}

func TestCarelessToolsAreServed(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	address := target(t, echo)
	for _, careless := range []string{
		" HTTP/1.0\r\n\r\n",
		" HTTP/1.1\r\n\r\n",
		" HTTP/1.1\r\nHost: somewhere.else:1\r\n\r\n",
		" HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		" HTTP/1.1\nHost: bare.line.feeds\n\n",
		" HTTP/1.1\r\nProxy-Connection: keep-alive\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n",
	} {
		one := p.send("CONNECT " + address + careless)
		if answer := one.answer(); answer.StatusCode != http.StatusOK {
			t.Errorf("%q: got %s, want 200", careless, answer.Status)
			continue
		}
		_, _ = io.WriteString(one, "ping")
		mustRead(t, one, []byte("ping"))
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, request := range []string{
		"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello",
		"POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000),
	} {
		answer := p.send(request).answer()
		if got := answer.Header.Get("Allow"); got != "CONNECT" {
			t.Errorf("%.20q: Allow is %q, want CONNECT", request, got)
		}
		refused(t, request[:20], answer, http.StatusMethodNotAllowed, "http_request_error")
	}
}

func TestLargeHeadIsRefused(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	address := target(t, echo)
	// head is a request whose head has exactly n bytes.
	head := func(n int) string {
		s := "CONNECT " + address + " HTTP/1.1\r\nX: "
		return s + strings.Repeat("x", n-len(s)-4) + "\r\n\r\n"
	}
	if answer := p.send(head(16 << 10)).answer(); answer.StatusCode != http.StatusOK {
		t.Errorf("a head of 16 KiB: got %s, want 200", answer.Status)
	}
	for _, n := range []int{16<<10 + 1, 64 << 10, 1 << 20} {
		refused(t, strconv.Itoa(n), p.send(head(n)).answer(), http.StatusRequestHeaderFieldsTooLarge, "http_request_error")
	}
}

func TestSlowHeadIsRefused(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var all sync.WaitGroup
	for _, begun := range []string{"CONNECT example.com:443 HTTP/1.1\r\nHost:", "C", ""} {
		began := time.Now()
		one := p.send(begun)
		all.Go(func() {
			refused(t, strconv.Quote(begun), one.answer(), http.StatusRequestTimeout, "http_request_error")
			if took := time.Since(began); took < 8*time.Second {
				t.Errorf("%q: refused after %v; a tool may take 10 s", begun, took)
			}
		})
	}
	all.Wait()
}

func TestTLSToTheProxyIsExplained(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	conn := p.dial()
	if err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Fatal("a TLS handshake with the proxy succeeded")
	}
	var hello [64]byte
	hello[0] = 0x16
	answer := p.send(string(hello[:])).answer()
	if text := body(answer); answer.StatusCode != http.StatusBadRequest || !strings.Contains(text, "TLS") {
		t.Errorf("TLS spoken to the proxy: %s %q, want a 400 that names TLS", answer.Status, text)
	}
}

func TestTargetsThatCannotBeReached(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	for _, c := range []struct {
		address string
		status  int
		code    string
	}{
		{closed, http.StatusBadGateway, "connection_refused"},
		{"[100::1]:443", http.StatusBadGateway, "destination_ip_unroutable"}, // discard-only, RFC 6666
	} {
		one := p.send("CONNECT " + c.address + " HTTP/1.1\r\n\r\n")
		refused(t, c.address, one.answer(), c.status, c.code)
	}
	if lines := p.logs.lines("half=server", "tunnel", "connection_refused", closed); len(lines) != 1 {
		t.Errorf("the endpoint logged %d lines about the refused target, want 1: %v", len(lines), lines)
	}
}

func TestTargetThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(s *testserver.Config, _ *client.Config) { s.DialTimeout = 300 * time.Millisecond })
	answer := p.send("CONNECT " + fullBacklog(t) + " HTTP/1.1\r\n\r\n").answer()
	refused(t, "a full backlog", answer, http.StatusGatewayTimeout, "connection_timeout")
}

func TestPrivateAddressesAreForbidden(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(s *testserver.Config, _ *client.Config) { s.AllowPrivate = false })
	_, port, _ := net.SplitHostPort(target(t, echo))
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]",
		"10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]",
		"169.254.1.1", "[fe80::1]", "169.254.169.254", "[fd00:ec2::254]", "168.63.129.16", "100.100.100.200",
		"224.0.0.1", "255.255.255.255", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
	} {
		answer := p.send("CONNECT " + host + ":" + port + " HTTP/1.1\r\n\r\n").answer()
		refused(t, host, answer, http.StatusForbidden, "destination_ip_prohibited")
	}
}

func TestTooManyTunnels(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(s *testserver.Config, c *client.Config) {
		s.MaxTunnels = 2
		c.EarlyOpen = client.EarlyOpenNever // the client knows the target, but not the limit
	})
	address := target(t, echo)
	first, second := p.connect(address), p.connect(address)
	answer := p.send("CONNECT " + address + " HTTP/1.1\r\n\r\n").answer()
	refused(t, "the third tunnel", answer, http.StatusServiceUnavailable, "connection_limit_reached")
	_ = first.CloseWrite()
	mustEnd(t, first)
	eventually(t, "let in after one was closed", func() bool {
		return p.send("CONNECT "+address+" HTTP/1.1\r\n\r\n").answer().StatusCode == http.StatusOK
	})
	_ = second.Close()
}

// A refusal must not be swallowed by a reset, even if the tool goes on sending.
func TestRefusalReachesAToolThatGoesOnSending(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for range 20 {
		one := p.send("CONNECT no-such-name.invalid:443 HTTP/1.1\r\n\r\n")
		if _, err := one.Write(noise(1, 1<<20)); err != nil {
			t.Fatalf("the tool could not go on sending: %v", err)
		}
		refused(t, "while sending", one.answer(), http.StatusBadGateway, "dns_error")
		_ = one.Close()
	}
}

func TestNoEndpoint(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(_ *testserver.Config, c *client.Config) {
		c.URL = "ws://127.0.0.1:1"
		c.ConnectWait = 200 * time.Millisecond
	})
	answer := p.send("CONNECT example.com:443 HTTP/1.1\r\n\r\n").answer()
	if got := answer.Header.Get("Proxy-Status"); !strings.Contains(got, "connection refused") {
		t.Errorf("Proxy-Status is %q, want the reason why there is no session", got)
	}
	refused(t, "without an endpoint", answer, http.StatusServiceUnavailable, "destination_unavailable")
}

func TestWrongToken(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(s *testserver.Config, c *client.Config) { s.Token, c.Token = "right", "wrong" })
	for range 3 {
		began := time.Now()
		answer := p.send("CONNECT example.com:443 HTTP/1.1\r\n\r\n").answer()
		if got := answer.Header.Get("Proxy-Status"); !strings.Contains(got, "token") {
			t.Errorf("Proxy-Status is %q, want it to name the token", got)
		}
		refused(t, "with the wrong token", answer, http.StatusServiceUnavailable, "destination_unavailable")
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the refusal took %v; waiting does not make a token right", took)
		}
	}
	if lines := p.logs.lines("half=client", "level=ERROR", "turned the token down"); len(lines) != 1 {
		t.Errorf("the client said %d times that the token is wrong, want once: %v", len(lines), lines)
	}
}
