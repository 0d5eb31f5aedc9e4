package mux

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/sys/unix"
)

// lowat returns TCP_NOTSENT_LOWAT of the connection below a session.
func lowat(t *testing.T, s *Session) int {
	t.Helper()
	s.link.mu.Lock()
	conn := s.link.ws.NetConn()
	s.link.mu.Unlock()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	value := -1
	_ = raw.Control(func(fd uintptr) {
		value, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
	})
	return value
}

// Both ends keep the kernel's queue short, under TLS too.
func TestKernelQueueIsShort(t *testing.T) {
	for name, start := range map[string]func(http.Handler) *httptest.Server{
		"TCP": httptest.NewServer, "TLS": httptest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			acceptor := NewAcceptor(AcceptConfig{})
			accepted := make(chan *Session, 1)
			server := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _, err := acceptor.Accept(w, r, "")
				if err != nil {
					t.Errorf("Accept: %v", err)
				}
				accepted <- s
			}))
			defer server.Close()
			config := DialConfig{TLS: &tls.Config{RootCAs: x509.NewCertPool()}}
			if certificate := server.Certificate(); certificate != nil {
				config.TLS.RootCAs.AddCert(certificate)
			}
			client, err := Dial(t.Context(), "ws"+server.URL[len("http"):], config)
			if err != nil {
				t.Fatal(err)
			}
			far := <-accepted
			for who, s := range map[string]*Session{"client": client, "endpoint": far} {
				if got := lowat(t, s); got != notSentLowat {
					t.Errorf("at the %s TCP_NOTSENT_LOWAT is %d, want %d", who, got, notSentLowat)
				}
			}
			_ = client.Close(CloseDone, "")
			_ = far.Close(CloseDone, "")
		})
	}
}
