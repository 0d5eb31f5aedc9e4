package client

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const plainHead = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"

// No prefix of a head is one, and none is refused.
func TestTruncatedHeadIsWaitedFor(t *testing.T) {
	for _, head := range []string{plainHead, "GET / HTTP/1.0\n\n", "CONNECT a:1 HTTP/1.1\r\n\r\n"} {
		for n := range len(head) {
			if end, bad := headEnd([]byte(head[:n])); end || bad != nil {
				t.Errorf("%q: complete %v, refused %v; want more to be read", head[:n], end, bad)
			}
		}
		for _, behind := range []string{"", "x", "\r\n\r\n"} {
			if end, bad := headEnd([]byte(head + behind)); !end || bad != nil {
				t.Errorf("%q: complete %v, refused %v; want it complete", head+behind, end, bad)
			}
		}
	}
}

// What comes later never takes back that a head is complete, or that it is bad.
func FuzzHeadDoesNotDependOnHowItArrives(f *testing.F) {
	for _, seed := range []string{plainHead, "\x16\x03\x01", "EHLO x\r\n", "GET / HTTP/1.1\n\r\n", strings.Repeat("x", maxHead+1), "\r\n\r\n"} {
		f.Add([]byte(seed), 7)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if cut < 0 || cut > len(b) {
			return
		}
		end, bad := headEnd(b[:cut])
		endAll, badAll := headEnd(b)
		if end && (!endAll || badAll != nil) {
			t.Errorf("%q was complete; %q is not", b[:cut], b)
		}
		if bad != nil && badAll == nil {
			t.Errorf("%q was refused: %s; %q is not", b[:cut], bad.detail, b)
		}
	})
}

func FuzzTargetIsReadBack(f *testing.F) {
	for _, seed := range []string{"example.com:443", "[::1]:1", "127.0.0.1:65535", "a:0", "a:018443", "u@a:1", "[fe80::1%25eth0]:1", "a:1/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := parseTarget(s)
		if err != nil {
			return
		}
		if target.Port == 0 || target.Host == "" || strings.ContainsAny(target.Host, " @/?#%\r\n\x00") {
			t.Errorf("%q gave the host %q and the port %d", s, target.Host, target.Port)
		}
		if again, err := parseTarget(target.String()); err != nil || again != target {
			t.Errorf("%q gave %v, which is read back as %v, %v", s, target, again, err)
		}
	})
}
